//! Runs a loop nest as machine code beside its interpreter and compares what they leave behind.

use cranelift_codegen::Context;
use cranelift_codegen::control::ControlPlane;
use cranelift_codegen::isa::OwnedTargetIsa;
use cranelift_codegen::settings;
use tensorc_codegen::cpu;
use tensorc_codegen::loopnest::{LoopNest, interp};
use tensorc_ir::{DType, Result, Scalar};
use tensorc_runtime::jit::{Code, Helper, Item, KernelPtr, OptLevel, Options, Target};

/// A 64-bit Arm machine.
pub fn arm_isa() -> OwnedTargetIsa {
    let builder = cranelift_codegen::isa::lookup_by_name("aarch64-unknown-linux-gnu").unwrap();
    builder.finish(settings::Flags::new(settings::builder())).unwrap()
}

/// Compiles `nest` for a machine that need not be this one, and gives the code's size in bytes.
pub fn compile_for(nest: &LoopNest, isa: &OwnedTargetIsa) -> std::result::Result<usize, String> {
    let emitted = cpu::emit(nest, &**isa, "kernel").map_err(|e| e.to_string())?;
    let mut context = Context::for_function(emitted.function);
    let code = context.compile(&**isa, &mut ControlPlane::default()).map_err(|e| format!("{:?}", e.inner))?;
    Ok(code.code_buffer().len())
}

extern "C" fn fmodf(a: f32, b: f32) -> f32 {
    a % b
}

extern "C" fn fmod(a: f64, b: f64) -> f64 {
    a % b
}

/// A compiled loop nest.
pub struct Kernel {
    entry: KernelPtr,
    _code: Code,
}

impl Kernel {
    /// Compiles `nest`.
    pub fn new(nest: &LoopNest, target: &Target, level: OptLevel) -> Result<Kernel> {
        let emitted = cpu::emit(nest, &**target.isa(level), "kernel")?;
        let helpers = [(cpu::FMODF, fmodf as *const u8), (cpu::FMOD, fmod as *const u8)];
        let helpers = helpers.map(|(name, address)| Helper { name, address });
        let items = Item::emitted("kernel", emitted, level);
        let code = Code::build(target, items, &helpers, Options { verify: true })?;
        Ok(Kernel { entry: code.kernel("kernel").expect("it has a kernel's signature"), _code: code })
    }

    /// Runs it.
    ///
    /// # Safety
    /// As [`KernelPtr::call`].
    pub unsafe fn call(&self, args: &[u64], begin: u64, end: u64) {
        // SAFETY: the caller's promise; the code lives as long as `self`.
        unsafe { self.entry.call(args.as_ptr(), begin, end) }
    }
}

/// Bytes around each buffer that nothing may change.
const MARGIN: usize = 64;

/// Runs `nest` over its whole range (the parallel loop in the pieces given by `cuts`) both ways.
///
/// Panics if they differ in a byte of a buffer (any NaN equals any NaN), in whether there was a fault, or if the machine
/// code writes outside its buffers.
pub fn compare(nest: &LoopNest, kernel: &Kernel, bufs: &[Vec<u8>], params: &[i64], ranges: &[(i64, i64)]) {
    // Ordinary stores, and such as go past the caches, to buffers that start where a cache line does or elsewhere.
    for (streams, from) in [(false, 0), (true, 0), (true, 8), (true, 1)] {
        compare_once(nest, kernel, bufs, params, ranges, streams, from);
    }
}

fn compare_once(
    nest: &LoopNest,
    kernel: &Kernel,
    bufs: &[Vec<u8>],
    params: &[i64],
    ranges: &[(i64, i64)],
    streams: bool,
    from: usize,
) {
    let mut want = bufs.to_vec();
    let mut want_fault = 0;
    for r in ranges {
        let fault = interp::run_range(nest, &mut want, params, Some(*r)).expect("the interpreter accepts it");
        want_fault = if want_fault == 0 { fault } else { want_fault };
    }
    let mut got: Vec<Vec<u8>> = bufs.iter().map(|b| vec![0xa5; b.len() + 4 * MARGIN]).collect();
    let starts: Vec<usize> = got.iter().map(|b| MARGIN + b.as_ptr().align_offset(MARGIN) + from).collect();
    for ((got, b), start) in got.iter_mut().zip(bufs).zip(&starts) {
        got[*start..start + b.len()].copy_from_slice(b);
        got[start + b.len()..].fill(0x5a);
    }
    let mut fault = 0u64;
    let mut args: Vec<u64> = got.iter_mut().zip(&starts).map(|(b, s)| b[*s..].as_mut_ptr().addr() as u64).collect();
    args.extend(params.iter().map(|p| *p as u64));
    args.push((&raw mut fault).addr() as u64);
    args.push(u64::from(streams));
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
        let start = starts[i];
        assert!(got[..start].iter().all(|b| *b == 0xa5), "b{i} written in front of its start\n{nest}");
        assert!(got[start + want.len()..].iter().all(|b| *b == 0x5a), "b{i} written behind its end\n{nest}");
        let elements = got[start..].chunks(dtype.size()).zip(want.chunks(dtype.size()));
        for (k, (g, w)) in elements.enumerate() {
            let same = g == w || (is_nan(dtype, g) && is_nan(dtype, w));
            assert!(same, "b{i}[{k}] is {:?}, expected {:?}\n{nest}", Scalar::read(dtype, g), Scalar::read(dtype, w));
        }
    }
}

fn is_nan(dtype: DType, bytes: &[u8]) -> bool {
    dtype.is_float() && Scalar::read(dtype, bytes).to_f64().is_nan()
}
