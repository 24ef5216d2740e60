//! Runs a loop nest as machine code beside its interpreter and compares what they leave behind.

use cranelift_codegen::Context;
use cranelift_codegen::control::ControlPlane;
use cranelift_codegen::ir::{ExternalName, UserExternalName};
use cranelift_codegen::isa::OwnedTargetIsa;
use cranelift_codegen::settings::{self, Configurable};
use cranelift_jit::{JITBuilder, JITModule};
use cranelift_module::{FuncId, Linkage, Module, ModuleReloc, default_libcall_names};
use tensorc_codegen::cpu;
use tensorc_codegen::loopnest::{LoopNest, interp};
use tensorc_ir::{DType, Scalar};

/// This machine, optimising so much, without some of its features.
pub fn isa(opt_level: &str, without: &[&str]) -> OwnedTargetIsa {
    let mut flags = settings::builder();
    flags.set("opt_level", opt_level).unwrap();
    flags.set("enable_verifier", "true").unwrap();
    flags.set("is_pic", "false").unwrap();
    let mut builder = cranelift_native::builder().unwrap();
    for name in without {
        builder.set(name, "false").unwrap();
    }
    builder.finish(settings::Flags::new(flags)).unwrap()
}

/// A 64-bit Arm machine.
pub fn arm_isa() -> OwnedTargetIsa {
    let builder = cranelift_codegen::isa::lookup_by_name("aarch64-unknown-linux-gnu").unwrap();
    builder.finish(settings::Flags::new(settings::builder())).unwrap()
}

extern "C" fn fmodf(a: f32, b: f32) -> f32 {
    a % b
}

extern "C" fn fmod(a: f64, b: f64) -> f64 {
    a % b
}

extern "C" fn fmaf(a: f32, b: f32, c: f32) -> f32 {
    a.mul_add(b, c)
}

extern "C" fn fma(a: f64, b: f64, c: f64) -> f64 {
    a.mul_add(b, c)
}

/// Compiles `nest` for a machine that need not be this one, and gives the code's size in bytes.
pub fn compile_for(nest: &LoopNest, isa: &OwnedTargetIsa) -> Result<usize, String> {
    let func = cpu::emit(nest, &**isa, "kernel").map_err(|e| e.to_string())?;
    let mut context = Context::for_function(func);
    let code = context.compile(&**isa, &mut ControlPlane::default()).map_err(|e| format!("{:?}", e.inner))?;
    Ok(code.code_buffer().len())
}

/// A compiled loop nest.
pub struct Kernel {
    module: Option<JITModule>,
    entry: unsafe extern "C" fn(*const u64, u64, u64),
    /// Bytes of machine code.
    #[allow(dead_code, reason = "only the benchmark and failing tests look at it")]
    pub size: usize,
}

impl Kernel {
    /// Compiles `nest`.
    pub fn new(nest: &LoopNest, isa: &OwnedTargetIsa) -> Result<Kernel, String> {
        let mut builder = JITBuilder::with_isa(isa.clone(), default_libcall_names());
        builder.symbol(cpu::FMODF, fmodf as *const u8);
        builder.symbol(cpu::FMOD, fmod as *const u8);
        // What Cranelift calls where there is no instruction for it.
        builder.symbol("fmaf", fmaf as *const u8);
        builder.symbol("fma", fma as *const u8);
        let mut module = JITModule::new(builder);
        let mut func = cpu::emit(nest, &**isa, "kernel").map_err(|e| e.to_string())?;
        let id = module.declare_function("kernel", Linkage::Export, &func.signature).map_err(|e| e.to_string())?;
        for f in func.dfg.ext_funcs.keys().collect::<Vec<_>>() {
            let data = func.dfg.ext_funcs[f].clone();
            let ExternalName::TestCase(name) = &data.name else { continue };
            let name = std::str::from_utf8(name.raw()).map_err(|e| e.to_string())?;
            let signature = func.dfg.signatures[data.signature].clone();
            let callee = module.declare_function(name, Linkage::Import, &signature).map_err(|e| e.to_string())?;
            let user = func.declare_imported_user_function(UserExternalName::new(0, callee.as_u32()));
            func.dfg.ext_funcs[f].name = ExternalName::user(user);
        }
        let mut context = Context::for_function(func);
        let code = context.compile(&**isa, &mut ControlPlane::default()).map_err(|e| format!("{:?}", e.inner))?;
        let bytes = code.code_buffer().to_vec();
        let align = u64::from(code.buffer.alignment).max(32);
        let relocs = code.buffer.relocs().to_vec();
        let relocs: Vec<_> = relocs.iter().map(|r| ModuleReloc::from_mach_reloc(r, &context.func, id)).collect();
        module.define_function_bytes(id, align, &bytes, &relocs).map_err(|e| e.to_string())?;
        module.finalize_definitions().map_err(|e| e.to_string())?;
        let address = module.get_finalized_function(FuncId::from_u32(id.as_u32()));
        // SAFETY: a finalized function of exactly this signature.
        let entry = unsafe { std::mem::transmute::<*const u8, unsafe extern "C" fn(*const u64, u64, u64)>(address) };
        Ok(Kernel { module: Some(module), entry, size: bytes.len() })
    }

    /// Runs it.
    ///
    /// # Safety
    /// `args` are the words the kernel was compiled to expect, their pointers valid for its accesses.
    pub unsafe fn call(&self, args: &[u64], begin: u64, end: u64) {
        // SAFETY: the caller's promise; the module lives as long as `self`.
        unsafe { (self.entry)(args.as_ptr(), begin, end) }
    }
}

impl Drop for Kernel {
    fn drop(&mut self) {
        if let Some(module) = self.module.take() {
            // SAFETY: `entry` is private and only called through `&self`.
            unsafe { module.free_memory() }
        }
    }
}

/// Bytes around each buffer that nothing may change.
const MARGIN: usize = 64;

/// Runs `nest` over its whole range (the parallel loop in the pieces given by `cuts`) both ways.
///
/// Panics if they differ in a byte of a buffer (any NaN equals any NaN), in whether there was a fault, or if the machine
/// code writes outside its buffers.
pub fn compare(nest: &LoopNest, kernel: &Kernel, bufs: &[Vec<u8>], params: &[i64], ranges: &[(i64, i64)]) {
    let mut want = bufs.to_vec();
    let mut want_fault = 0;
    for r in ranges {
        let fault = interp::run_range(nest, &mut want, params, Some(*r)).expect("the interpreter accepts it");
        want_fault = if want_fault == 0 { fault } else { want_fault };
    }
    let padded = |b: &Vec<u8>| [vec![0xa5; MARGIN], b.clone(), vec![0x5a; MARGIN]].concat();
    let mut got: Vec<Vec<u8>> = bufs.iter().map(padded).collect();
    let mut fault = 0u64;
    let mut args: Vec<u64> = got.iter_mut().map(|b| b[MARGIN..].as_mut_ptr().addr() as u64).collect();
    args.extend(params.iter().map(|p| *p as u64));
    args.push((&raw mut fault).addr() as u64);
    // The kernel gets the pointers as integers.
    got.iter_mut().for_each(|b| _ = b.as_mut_ptr().expose_provenance());
    _ = (&raw mut fault).expose_provenance();
    for (begin, end) in ranges {
        // SAFETY: the interpreter has checked every access of the same loop nest with the same arguments against the
        // buffers' lengths, and the buffers are alive and not otherwise in use.
        unsafe { kernel.call(&args, *begin as u64, *end as u64) };
    }
    assert_eq!(std::hint::black_box(fault) != 0, want_fault != 0, "fault {fault}, expected {want_fault}\n{nest}");
    for (i, (got, want)) in got.iter().zip(&want).enumerate() {
        let dtype = nest.bufs[i].dtype;
        assert!(got[..MARGIN].iter().all(|b| *b == 0xa5), "b{i} written in front of its start\n{nest}");
        assert!(got[MARGIN + want.len()..].iter().all(|b| *b == 0x5a), "b{i} written behind its end\n{nest}");
        let elements = got[MARGIN..].chunks(dtype.size()).zip(want.chunks(dtype.size()));
        for (k, (g, w)) in elements.enumerate() {
            let same = g == w || (is_nan(dtype, g) && is_nan(dtype, w));
            assert!(same, "b{i}[{k}] is {:?}, expected {:?}\n{nest}", Scalar::read(dtype, g), Scalar::read(dtype, w));
        }
    }
}

fn is_nan(dtype: DType, bytes: &[u8]) -> bool {
    dtype.is_float() && Scalar::read(dtype, bytes).to_f64().is_nan()
}
