//! The kernels of this process: each loop nest is compiled once and shared by every program that has it.
//!
//! A nest's strides and extents are run-time parameters, so a new shape of a known layout class finds its kernel here.
//! The cache holds no code alive: machine code is freed when the last program that uses it goes.

use crate::jit::{Code, Helper, Item, KernelPtr, OptLevel, Options, Target};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use tensorc_codegen::cpu::gemm::{GemmCode, GemmFn, build_gemm, gemm_name, gemm_pack_name};
use tensorc_codegen::cpu::{FMOD, FMODF, emit};
use tensorc_codegen::loopnest::LoopNest;
use tensorc_ir::error::err;
use tensorc_ir::{DType, Result, timing};

/// A kernel with the code it is part of.
#[derive(Clone)]
pub struct Kernel {
    /// Its entry.
    pub entry: KernelPtr,
    /// Keeps it executable.
    pub code: Arc<Code>,
}

type Cache = HashMap<Arc<LoopNest>, (Weak<Code>, KernelPtr)>;

static COMPILED: AtomicU64 = AtomicU64::new(0);

/// How many loop nests this process has compiled so far; a call that compiles nothing leaves it as it is.
pub fn compiled() -> u64 {
    COMPILED.load(Ordering::Relaxed)
}

fn cache() -> &'static Mutex<Cache> {
    static CACHE: OnceLock<Mutex<Cache>> = OnceLock::new();
    CACHE.get_or_init(Mutex::default)
}

/// The kernels of these nests, in order; those that are not there yet are compiled together.
///
/// # Errors
/// `unsupported` if this machine or the code generator cannot do one of them.
pub fn kernels(nests: &[Arc<LoopNest>]) -> Result<Vec<Kernel>> {
    let mut found: Vec<Option<Kernel>> = Vec::with_capacity(nests.len());
    {
        let cache = cache().lock().unwrap_or_else(PoisonError::into_inner);
        for nest in nests {
            let hit = cache.get(nest).and_then(|(code, entry)| Some(Kernel { entry: *entry, code: code.upgrade()? }));
            found.push(hit);
        }
    }
    let mut missing: Vec<&Arc<LoopNest>> = Vec::new();
    for (nest, hit) in nests.iter().zip(&found) {
        if hit.is_none() && !missing.contains(&nest) {
            missing.push(nest);
        }
    }
    if !missing.is_empty() {
        let new = compile(&missing)?;
        let mut cache = cache().lock().unwrap_or_else(PoisonError::into_inner);
        cache.retain(|_, (code, _)| code.strong_count() > 0);
        for (nest, kernel) in missing.iter().zip(&new) {
            cache.insert((*nest).clone(), (Arc::downgrade(&kernel.code), kernel.entry));
        }
        for (nest, hit) in nests.iter().zip(&mut found) {
            if hit.is_none() {
                *hit = missing.iter().position(|m| *m == nest).map(|i| new[i].clone());
            }
        }
    }
    found.into_iter().map(|k| k.ok_or_else(|| err::internal("a kernel was not compiled"))).collect()
}

fn compile(nests: &[&Arc<LoopNest>]) -> Result<Vec<Kernel>> {
    let target = Target::host()?;
    let name = |i: usize| format!("kernel{i}");
    let mut items = Vec::with_capacity(nests.len());
    for (i, nest) in nests.iter().enumerate() {
        let emitted = timing::part("emit", || emit(nest, &**target.isa(OptLevel::None), &name(i)))?;
        // The emitter places invariant code and orders what it writes; the optimiser finds nothing more, and takes a third
        // of the compile time.
        items.extend(Item::emitted(name(i), emitted, OptLevel::None));
    }
    let code = timing::part("machine code", || Code::build(target, items, &helpers(), Options::default()))?;
    let code = Arc::new(code);
    COMPILED.fetch_add(nests.len() as u64, Ordering::Relaxed);
    (0..nests.len())
        .map(|i| {
            let entry = code.kernel(&name(i)).ok_or_else(|| err::internal("a kernel has no entry"))?;
            Ok(Kernel { entry, code: code.clone() })
        })
        .collect()
}

extern "C" fn fmodf(x: f32, y: f32) -> f32 {
    x % y
}

extern "C" fn fmod(x: f64, y: f64) -> f64 {
    x % y
}

fn helpers() -> [Helper<'static>; 2] {
    [Helper { name: FMODF, address: fmodf as *const u8 }, Helper { name: FMOD, address: fmod as *const u8 }]
}

impl From<GemmFn> for Item {
    fn from(f: GemmFn) -> Item {
        match f.code {
            GemmCode::Function(function) => Item::function(f.name, *function, OptLevel::None),
            GemmCode::Bytes(code) => Item::bytes(f.name, code, false),
        }
    }
}

/// The matrix product's two stages for one dtype: packing, then computing. Compiled at first use and kept.
///
/// # Errors
/// `dtype` if there is none, `unsupported` if this machine cannot do it.
pub fn gemm(dtype: DType) -> Result<(Kernel, Kernel)> {
    static GEMMS: OnceLock<Mutex<HashMap<DType, (Kernel, Kernel)>>> = OnceLock::new();
    let gemms = GEMMS.get_or_init(Mutex::default);
    if let Some(k) = gemms.lock().unwrap_or_else(PoisonError::into_inner).get(&dtype) {
        return Ok(k.clone());
    }
    let target = Target::host()?;
    let items = build_gemm(&**target.isa(OptLevel::None), dtype)?.into_iter().map(Item::from).collect();
    let code = Arc::new(Code::build(target, items, &helpers(), Options::default())?);
    let kernel = |name: String| -> Result<Kernel> {
        let entry = code.kernel(&name).ok_or_else(|| err::internal(format!("`{name}` was not compiled")))?;
        Ok(Kernel { entry, code: code.clone() })
    };
    let both = (kernel(gemm_pack_name(dtype))?, kernel(gemm_name(dtype))?);
    gemms.lock().unwrap_or_else(PoisonError::into_inner).insert(dtype, both.clone());
    Ok(both)
}
