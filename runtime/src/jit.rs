//! Loading machine code: Cranelift functions and ready-made bytes become callable kernels.
//!
//! One [`Code`] is what one program needs: all its functions are compiled, relocated and made executable together, and
//! freed together when it is dropped. A module a program is cheap (below a microsecond) and is the only granularity at
//! which Cranelift gives memory back.
//!
//! Functions refer to each other, and to helpers of the host, by name (`%fmodf`, see [`Item`]), so that whoever emits
//! them need not know their order. Every reference is resolved here before Cranelift sees it, since Cranelift's own
//! answer to an unknown name is a panic; the panics that remain (an instruction without a lowering for its type) are
//! caught and become errors. Nothing here decides what code to emit, and building never runs any of it: only
//! [`KernelPtr::call`] does, and that is `unsafe`.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, OnceLock};

use cranelift_codegen::control::ControlPlane;
use cranelift_codegen::ir::{AbiParam, Function, Signature, types};
use cranelift_codegen::isa::{CallConv, OwnedTargetIsa, TargetIsa};
use cranelift_codegen::settings::{self, Configurable};
use cranelift_codegen::{Context, FinalizedMachReloc, verify_function};
use cranelift_jit::{JITBuilder, JITModule};
use cranelift_module::{FuncId, Linkage, Module, ModuleError, ModuleReloc, default_libcall_names};
use tensorc_codegen::cpu::Emitted;
use tensorc_ir::error::err;
use tensorc_ir::{Error, Result};

use crate::link::{Import, Linker};

/// How much Cranelift may rearrange a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OptLevel {
    /// Common subexpressions, constants, loop invariants; the order of instructions is lost.
    Speed,
    /// Instructions stay in the order written, which is what hand-scheduled reductions and tiles need.
    None,
}

/// The machine that code is made for: one Cranelift ISA for each [`OptLevel`].
pub struct Target {
    speed: OwnedTargetIsa,
    none: OwnedTargetIsa,
}

impl Target {
    /// This machine, with every feature it has. Made once a process.
    ///
    /// # Errors
    /// `unsupported` if Cranelift has no backend for this architecture.
    pub fn host() -> Result<&'static Target> {
        static HOST: OnceLock<Result<Target>> = OnceLock::new();
        HOST.get_or_init(|| Target::host_without(&[])).as_ref().map_err(Error::clone)
    }

    /// This machine with some features left unused, as `["has_fma", "has_avx"]` (Cranelift's names for them).
    ///
    /// # Errors
    /// `unsupported` if there is no backend for this architecture, or it knows no such feature.
    pub fn host_without(features: &[&str]) -> Result<Target> {
        Ok(Target { speed: isa("speed", features)?, none: isa("none", features)? })
    }

    /// The ISA for that level: what a function's types and calling convention are taken from.
    pub fn isa(&self, level: OptLevel) -> &OwnedTargetIsa {
        match level {
            OptLevel::Speed => &self.speed,
            OptLevel::None => &self.none,
        }
    }

    /// The signature of a kernel: `fn(args: *const u64, begin: u64, end: u64)`; see [`KernelPtr`].
    pub fn kernel_signature(&self) -> Signature {
        let mut signature = Signature::new(self.call_conv());
        signature.params = vec![AbiParam::new(types::I64); 3];
        signature
    }

    /// The calling convention of `extern "C"` on this target.
    pub fn call_conv(&self) -> CallConv {
        self.speed.default_call_conv()
    }
}

fn isa(opt_level: &str, without: &[&str]) -> Result<OwnedTargetIsa> {
    let unsupported = |e: &dyn std::fmt::Display| err::unsupported(format!("no machine code for this computer: {e}"));
    let mut flags = settings::builder();
    for (name, value) in [
        ("opt_level", opt_level),
        // The verifier runs several times a function and costs a third of the compile time; see `Options::verify`.
        ("enable_verifier", "false"),
        ("is_pic", "false"),
        ("use_colocated_libcalls", "false"),
        // A frame larger than the guard page must touch each of its pages in order.
        ("enable_probestack", "true"),
        ("probestack_strategy", "inline"),
        // Nothing unwinds through a kernel.
        ("unwind_info", "false"),
    ] {
        flags.set(name, value).map_err(|e| unsupported(&e))?;
    }
    let mut builder = cranelift_native::builder().map_err(|e| unsupported(&e))?;
    for name in without {
        builder.set(name, "false").map_err(|e| err::unsupported(format!("no CPU feature `{name}`: {e}")))?;
    }
    builder.finish(settings::Flags::new(flags)).map_err(|e| unsupported(&e))
}

/// A compiled kernel: `extern "C" fn(args: *const u64, begin: u64, end: u64)`.
///
/// `args` points at the addresses and scalars that the kernel was compiled to expect; it does the items `begin..end` of
/// its outermost loop. The pointer does not keep its [`Code`] alive.
#[derive(Clone, Copy, Debug)]
pub struct KernelPtr(unsafe extern "C" fn(*const u64, u64, u64));

impl KernelPtr {
    /// A kernel that was compiled with the host program.
    pub fn from_fn(f: unsafe extern "C" fn(*const u64, u64, u64)) -> KernelPtr {
        KernelPtr(f)
    }

    /// Runs the items `begin..end`.
    ///
    /// # Safety
    /// The [`Code`] that this came from must be alive. `args` must be what the kernel was compiled to expect: as many
    /// words, with addresses valid for the accesses it makes at those items, none of them written by anyone else nor,
    /// where it writes, read by anyone else during the call.
    #[inline]
    pub unsafe fn call(self, args: *const u64, begin: u64, end: u64) {
        // SAFETY: the caller's promise, above.
        unsafe { (self.0)(args, begin, end) }
    }
}

/// One function to load.
///
/// A Cranelift function names what it calls by `ExternalName::testcase(name)`, printed as `%name`: first an item of the
/// same list, then a [`Helper`]. `u0:i` is the `i`-th item of the list.
pub struct Item {
    /// The name by which other items, and [`Code::kernel`], find it. Unique in its list.
    pub name: String,
    /// What it is.
    pub body: Body,
}

/// What an [`Item`] is made from.
pub enum Body {
    /// A Cranelift function, and how it is to be compiled.
    Function(Box<Function>, OptLevel),
    /// Position-independent machine code of this computer, from its entry on.
    Bytes {
        /// The code, with its constants.
        code: Vec<u8>,
        /// The alignment of the first byte: a power of two, at most 4096.
        align: u64,
        /// Whether it has the signature of a kernel.
        kernel: bool,
    },
}

impl Item {
    /// A Cranelift function.
    pub fn function(name: impl Into<String>, function: Function, level: OptLevel) -> Item {
        Item { name: name.into(), body: Body::Function(Box::new(function), level) }
    }

    /// A loop nest's function with what it calls.
    pub fn emitted(name: impl Into<String>, emitted: Emitted, level: OptLevel) -> Vec<Item> {
        let bytes = emitted.bytes.into_iter().map(|b| Item::bytes(b.name, b.code, false));
        std::iter::once(Item::function(name, emitted.function, level)).chain(bytes).collect()
    }

    /// Machine code that starts on a cache line.
    pub fn bytes(name: impl Into<String>, code: Vec<u8>, kernel: bool) -> Item {
        Item { name: name.into(), body: Body::Bytes { code, align: 64, kernel } }
    }
}

/// A function of the host program that compiled code may call, `extern "C"`.
#[derive(Clone, Copy, Debug)]
pub struct Helper<'a> {
    /// The name that items call it by.
    pub name: &'a str,
    /// Where it is. Code that calls it is only as sound as this address and the signature declared for it.
    pub address: *const u8,
}

/// How to build a [`Code`].
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Whether each function is checked by Cranelift's verifier first. Default: in debug builds.
    pub verify: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options { verify: cfg!(debug_assertions) }
    }
}

/// Machine code, executable as long as this lives.
pub struct Code {
    // Only `drop` takes it out; the mutex makes a type that is Send but not Sync safe to share.
    module: Mutex<Option<JITModule>>,
    symbols: HashMap<String, Symbol>,
}

struct Symbol {
    address: *const u8,
    len: usize,
    kernel: bool,
}

// SAFETY: the address is of memory that nobody writes after `Code::build`; reading and running it is possible from any
// thread while the `Code` lives.
unsafe impl Send for Symbol {}
// SAFETY: as above: shared access only reads.
unsafe impl Sync for Symbol {}

impl Code {
    /// Compiles all of `items` and makes them executable.
    ///
    /// # Errors
    /// `unsupported`, naming the function, if it is not valid, uses an instruction that the target cannot do, calls a
    /// name that is neither an item nor a helper, or if two items have one name. A panic inside the compiler counts as
    /// the second (its message still goes through the panic hook).
    pub fn build(target: &Target, items: Vec<Item>, helpers: &[Helper<'_>], options: Options) -> Result<Code> {
        let (functions, imports) = compile_all(target, items, helpers, options)?;
        let mut builder = JITBuilder::with_isa(target.speed.clone(), default_libcall_names());
        for import in &imports {
            builder.symbol(import.name, import.address);
        }
        // From here on a `Code` owns the module, so that a failure on the way frees the memory.
        let mut code = Code { module: Mutex::new(Some(JITModule::new(builder))), symbols: HashMap::new() };
        if let Ok(Some(module)) = code.module.get_mut() {
            code.symbols = caught("finalize", || load(module, functions, &imports, target))?;
        }
        Ok(code)
    }

    /// The kernel of that name; `None` if there is no such function or it has another signature.
    pub fn kernel(&self, name: &str) -> Option<KernelPtr> {
        let symbol = self.symbols.get(name).filter(|s| s.kernel)?;
        // SAFETY: a finalized function whose signature was checked (or, for bytes, promised) to be a kernel's. A
        // function pointer and `*const u8` have the same size on every target that Cranelift has.
        Some(KernelPtr(unsafe {
            std::mem::transmute::<*const u8, unsafe extern "C" fn(*const u64, u64, u64)>(symbol.address)
        }))
    }

    /// Where the function of that name starts, whatever its signature.
    pub fn address(&self, name: &str) -> Option<*const u8> {
        self.symbols.get(name).map(|s| s.address)
    }

    /// The machine code of the function of that name, relocated, for disassembly.
    pub fn bytes(&self, name: &str) -> Option<&[u8]> {
        // SAFETY: `len` bytes from `address` belong to this module, are readable and are not written while it lives.
        self.symbols.get(name).map(|s| unsafe { std::slice::from_raw_parts(s.address, s.len) })
    }

    /// Writes one line a function in the form of `/tmp/perf-PID.map`, by which `perf` names samples in this code.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_perf_map(&self, out: &mut dyn std::io::Write) -> std::io::Result<()> {
        let mut lines: Vec<_> = self.symbols.iter().map(|(name, s)| (s.address.addr(), s.len, name)).collect();
        lines.sort_unstable();
        lines.into_iter().try_for_each(|(address, len, name)| writeln!(out, "{address:x} {len:x} {name}"))
    }
}

impl Drop for Code {
    fn drop(&mut self) {
        let module = self.module.get_mut().unwrap_or_else(|poisoned| poisoned.into_inner()).take();
        if let Some(module) = module {
            // SAFETY: safe code can only reach this memory through `bytes`, whose borrow has ended; whoever calls a
            // `KernelPtr` has promised that the `Code` outlives the call.
            unsafe { module.free_memory() }
        }
    }
}

/// A function that is compiled and not yet placed.
struct Compiled {
    name: String,
    code: Vec<u8>,
    align: u64,
    relocs: Vec<ModuleReloc>,
    kernel: bool,
}

fn compile_all<'h>(
    target: &Target,
    items: Vec<Item>,
    helpers: &'h [Helper<'_>],
    options: Options,
) -> Result<(Vec<Compiled>, Vec<Import<'h>>)> {
    let mut linker = Linker::new(items.iter().map(|item| item.name.as_str()), helpers)?;
    let mut context = Context::new();
    let mut functions = Vec::with_capacity(items.len());
    for (i, Item { name, body }) in items.into_iter().enumerate() {
        let compiled = match body {
            Body::Bytes { code, align, kernel } => {
                if !align.is_power_of_two() || align > 4096 || code.is_empty() {
                    return Err(failed(&name, &"machine code is empty or has a bad alignment"));
                }
                Compiled { name, code, align, relocs: Vec::new(), kernel }
            }
            Body::Function(mut function, level) => {
                let kernel = function.signature == target.kernel_signature();
                linker.resolve_names(&mut function).map_err(|e| failed(&name, &e))?;
                context.clear();
                context.func = *function;
                let (code, align, relocs) = compile(&mut context, &**target.isa(level), options, &name)?;
                let id = FuncId::from_u32(i as u32);
                let relocs = relocs.iter().map(|r| linker.reloc(r, &context.func, id)).collect::<Result<_, _>>();
                Compiled { code, align, relocs: relocs.map_err(|e: String| failed(&name, &e))?, kernel, name }
            }
        };
        functions.push(compiled);
    }
    Ok((functions, linker.into_imports()))
}

fn compile(
    context: &mut Context,
    isa: &dyn TargetIsa,
    options: Options,
    name: &str,
) -> Result<(Vec<u8>, u64, Vec<FinalizedMachReloc>)> {
    // After a panic the context is dropped unread.
    caught(name, || {
        if options.verify {
            verify_function(&context.func, isa).map_err(|e| failed(name, &e))?;
        }
        let code = context.compile(isa, &mut ControlPlane::default()).map_err(|e| failed(name, &e.inner))?;
        let align = u64::from(isa.function_alignment().preferred)
            .max(u64::from(code.buffer.alignment))
            .max(isa.symbol_alignment());
        Ok((code.code_buffer().to_vec(), align, code.buffer.relocs().to_vec()))
    })
}

/// Places all functions in the module and makes them executable.
fn load(
    module: &mut JITModule,
    functions: Vec<Compiled>,
    imports: &[Import<'_>],
    target: &Target,
) -> Result<HashMap<String, Symbol>> {
    fn fail(name: &str) -> impl FnOnce(ModuleError) -> Error + '_ {
        move |e| failed(name, &e)
    }
    // The linker's numbers are the identifiers that the module hands out if asked in the same order.
    let mut ids = Vec::with_capacity(functions.len());
    for f in &functions {
        ids.push(module.declare_anonymous_function(&target.kernel_signature()).map_err(fail(&f.name))?);
    }
    for import in imports {
        let id = module.declare_function(import.name, Linkage::Import, &target.kernel_signature());
        id.map_err(fail(import.name))?;
    }
    for (f, &id) in functions.iter().zip(&ids) {
        module.define_function_bytes(id, f.align, &f.code, &f.relocs).map_err(fail(&f.name))?;
    }
    module.finalize_definitions().map_err(fail("finalize"))?;
    let symbol = |(f, id): (Compiled, FuncId)| {
        (f.name, Symbol { address: module.get_finalized_function(id), len: f.code.len(), kernel: f.kernel })
    };
    Ok(functions.into_iter().zip(ids).map(symbol).collect())
}

fn failed(name: &str, why: &dyn std::fmt::Display) -> Error {
    err::unsupported(format!("cannot compile function `{name}`: {why}"))
}

/// Runs `f`, taking a panic inside it for an error.
fn caught<T>(name: &str, f: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(f)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().copied();
        let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        Err(failed(name, &text.unwrap_or("the compiler panicked")))
    })
}
