//! Steps that are one kernel, or a product of matrices: argument words that are ready but for the addresses.

use crate::buffer::Allocator;
use crate::kernels::{Kernel, gemm};
use crate::launch::{Job, Work};
use crate::pool::Pool;
use crate::system::last_level_cache;
use smallvec::SmallVec;
use std::sync::atomic::{AtomicU64, Ordering};
use tensorc_codegen::cpu::gemm::{GemmPlan, GemmShape};
use tensorc_codegen::program::{BufferArg, BufferDecl, BufferKind, DotStep, LoopStep, Offsets, Place, Program, Word};
use tensorc_ir::scalar::Fault;
use tensorc_ir::{Error, Layout, Loc, Result};

/// A kernel with its machine code and argument words; addresses are filled in at the call.
pub(crate) struct Ready {
    stages: SmallVec<[(Kernel, Work); 1]>,
    words: Vec<u64>,
    /// Where in `words` the address of a buffer goes: word, buffer, byte offset.
    addresses: SmallVec<[(usize, usize, usize); 4]>,
    error_word: Option<usize>,
    scratch: Option<(usize, usize)>,
    /// What words point to besides buffers.
    _tables: [Box<[i64]>; 2],
    loc: Loc,
}

/// What one element costs, in nanoseconds, for the decision whether to split; a rough figure is enough.
const ELEMENT_NS: f64 = 0.12;

/// Where an argument begins in its buffer, in bytes. Negative where indices start above 0, as behind the first part of a
/// `cat`; added to the address it wraps.
pub(crate) fn byte_offset(a: &BufferArg, buffers: &[BufferDecl]) -> Result<usize> {
    Ok((a.offset.value()? * buffers[a.buffer.0 as usize].dtype.size() as i64) as usize)
}

/// A loop nest.
pub(crate) fn loops(program: &Program, l: &LoopStep, kernel: Kernel) -> Result<Ready> {
    let mut words: Vec<u64> = vec![0; l.args.len()];
    for w in &l.params {
        words.push(match w {
            Word::Dim(d) => d.value()? as u64,
            Word::Bits(b) => *b as u64,
        });
    }
    let error_word = words.len();
    let (mut touched, mut passed_on) = (0, 0);
    for (a, decl) in l.args.iter().zip(&l.nest.bufs) {
        let buffer = &program.buffers[a.buffer.0 as usize];
        let bytes = (buffer.numel * buffer.dtype.size()).value()?.max(0) as usize;
        touched += bytes;
        if decl.written && matches!(buffer.kind, BufferKind::Temp(_)) {
            passed_on += bytes;
        }
    }
    // What does not fit the cache is not there either when it is wanted next; what another kernel reads soon may fit.
    let cache = last_level_cache();
    words.extend([0, u64::from(touched > cache && (passed_on == 0 || passed_on > cache))]);
    let address = |(word, a): (usize, &BufferArg)| Ok((word, a.buffer.0 as usize, byte_offset(a, &program.buffers)?));
    let (range, work) = (l.range.value()?.max(0) as u64, l.work.value()?.max(0) as u64);
    let grain = if work <= 64 { 1024 } else { 1 };
    let work = Work { total: range, grain, item_ns: work as f64 * ELEMENT_NS };
    Ok(Ready {
        stages: SmallVec::from_elem((kernel, work), 1),
        error_word: Some(error_word),
        addresses: l.args.iter().enumerate().map(address).collect::<Result<_>>()?,
        words,
        scratch: None,
        _tables: Default::default(),
        loc: l.loc,
    })
}

/// A product of matrices.
pub(crate) fn dot(d: &DotStep) -> Result<Ready> {
    let known = |p: &Place| p.layout.known().map(|layout| (p.buffer.0 as usize, layout));
    let (a, b, c) = (known(&d.a)?, known(&d.b)?, known(&d.c)?);
    if c.1.numel() == 0 {
        let nothing = Ready {
            stages: SmallVec::new(),
            words: Vec::new(),
            addresses: SmallVec::new(),
            error_word: None,
            scratch: None,
            _tables: Default::default(),
            loc: d.loc,
        };
        return Ok(nothing);
    }
    let shape = |p: &(usize, Layout)| -> [u64; 3] { [0, 1, 2].map(|i| p.1.shape[i] as u64) };
    let strides = |p: &(usize, Layout)| -> [i64; 3] { [0, 1, 2].map(|i| p.1.strides[i] as i64) };
    let ([batch, m, k], [_, _, n]) = (shape(&a), shape(&b));
    let shape = GemmShape { batch, m, n, k, a: strides(&a), b: strides(&b), c: strides(&c) };
    let threads = Pool::global().threads() as u64;
    let plan = match &d.windows {
        None => GemmPlan::new(d.dtype, &shape, threads)?,
        Some(w) => {
            let ascend = [&w.rows, &w.columns].map(|of| of.windows(2).all(|two| two[0] < two[1]));
            GemmPlan::with_offsets(d.dtype, &shape, threads, w.second, ascend)?
        }
    };
    let size = d.dtype.size() as i64;
    let table = |of: fn(&Offsets) -> &[i64]| -> Box<[i64]> {
        d.windows.iter().flat_map(|w| of(w).iter().map(|n| n * size)).collect()
    };
    let tables = [table(|w| &w.rows), table(|w| &w.columns)];
    let (pack, compute) = gemm(d.dtype)?;
    let mut stages = SmallVec::new();
    if plan.pack_units > 0 {
        stages.push((pack, Work { total: plan.pack_units, grain: 1, item_ns: 2000.0 }));
    }
    let unit_ns = plan.unit_work as f64 * 0.025;
    stages.push((compute, Work { total: plan.units, grain: 1, item_ns: unit_ns }));
    // Addresses are recognised by standing for themselves: no other word of the plan is an address.
    use tensorc_codegen::cpu::gemm::GemmArg;
    let mut addresses = SmallVec::new();
    let mut scratch = None;
    let mut words = Vec::new();
    for (i, w) in plan.words().iter().enumerate() {
        let mut address = |p: &(usize, Layout)| addresses.push((i, p.0, p.1.offset * d.dtype.size()));
        words.push(match w {
            GemmArg::Value(v) => *v as u64,
            GemmArg::A => {
                address(&a);
                0
            }
            GemmArg::B => {
                address(&b);
                0
            }
            GemmArg::C => {
                address(&c);
                0
            }
            GemmArg::Rows => tables[0].as_ptr().expose_provenance() as u64,
            GemmArg::Columns => tables[1].as_ptr().expose_provenance() as u64,
            GemmArg::Scratch => {
                scratch = Some((i, plan.scratch_bytes as usize));
                0
            }
        });
    }
    Ok(Ready { stages, words, addresses, error_word: None, scratch, _tables: tables, loc: d.loc })
}

impl Ready {
    /// Puts the addresses into a copy of its words.
    fn fill(&self, words: &mut [u64], bases: &[*mut u8], error: &AtomicU64) {
        for (word, buffer, offset) in &self.addresses {
            words[*word] = bases[*buffer].wrapping_add(*offset) as u64;
        }
        if let Some(w) = self.error_word {
            words[w] = error.as_ptr() as u64;
        }
    }

    /// Runs the kernel; `bases` are the addresses of the program's buffers.
    pub(crate) fn run(&self, bases: &[*mut u8], error: &AtomicU64) -> Result<()> {
        let mut words: SmallVec<[u64; 64]> = SmallVec::from_slice(&self.words);
        self.fill(&mut words, bases, error);
        let scratch = self.scratch.map(|(w, bytes)| Allocator::global().alloc(bytes).map(|s| (w, s))).transpose()?;
        if let Some((w, s)) = &scratch {
            words[*w] = s.as_ptr() as u64;
        }
        for (kernel, work) in &self.stages {
            // SAFETY: the words are those that the kernel was compiled for. Addresses are of parameters that were
            // checked against the layouts it was compiled for and are borrowed for this call, of results and
            // temporaries of the sizes that the plan gave, or of the error word; all live until the call returns. In a
            // body they are of buffers of the program around it, or of slices of them at an index within their extent. The
            // plan never lets two buffers of one step share memory where one is written, and iterations of a parallel
            // loop store to different elements.
            unsafe { Pool::global().launch(kernel.entry, words.as_ptr(), *work) };
        }
        match Fault::from_code(error.load(Ordering::Relaxed) as u32) {
            Some(f) => Err(fault(f, self.loc)),
            None => Ok(()),
        }
    }
}

/// Kernels that are one launch: none has a check, and none touches what another writes.
pub(crate) struct Together(pub(crate) Vec<Ready>);

impl Together {
    /// Runs all of them; `bases` are the addresses of the program's buffers.
    pub(crate) fn run(&self, bases: &[*mut u8], error: &AtomicU64) {
        let mut words: SmallVec<[u64; 256]> = SmallVec::new();
        for ready in &self.0 {
            let at = words.len();
            words.extend_from_slice(&ready.words);
            ready.fill(&mut words[at..], bases, error);
        }
        let mut jobs: SmallVec<[Job; 64]> = SmallVec::new();
        let mut at = 0;
        for ready in &self.0 {
            let args = words[at..].as_ptr();
            jobs.extend(ready.stages.iter().map(|(k, work)| Job { kernel: k.entry, args, work: *work }));
            at += ready.words.len();
        }
        // SAFETY: as in `Ready::run` for each of them. `launches` puts kernels together only if what one writes is in no
        // buffer of another, and buffers share memory as they do there.
        unsafe { Pool::global().launch_all(&jobs) };
    }
}

fn fault(f: Fault, loc: Loc) -> Error {
    tensorc_ir::interp::fault(f).at(loc)
}
