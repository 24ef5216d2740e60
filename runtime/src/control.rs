//! Control steps: programs inside of a program, run by what the data say.
//!
//! A [`Section`] is such a program with its machine code. It owns no memory: each time it runs, its parameters and results
//! are bound to addresses in the buffers of the program around it, its temporary buffers to a piece of that program's
//! arena. Carries change between two buffers from step to step, so no step reads what it writes.

use crate::executable::{Stage, constants, stages};
use crate::kernels::Kernel;
use crate::step::byte_offset;
use crate::storage::Storage;
use smallvec::SmallVec;
use std::sync::atomic::AtomicU64;
use tensorc_codegen::program::{self, BufferArg, BufferDecl, BufferKind, ControlStep, Output, Program};
use tensorc_ir::Result;
use tensorc_ir::error::err;

type Addresses = SmallVec<[*mut u8; 8]>;

/// A program inside of another one.
struct Section {
    buffers: Vec<BufferDecl>,
    /// For each result, the buffer that it is.
    results: Vec<usize>,
    stages: Vec<Stage>,
    constants: Vec<(usize, Storage)>,
}

/// A place in a buffer of the program around, in bytes.
#[derive(Clone, Copy)]
struct At {
    buffer: usize,
    offset: usize,
}

/// A place for each index of a first axis, so many bytes apart.
#[derive(Clone, Copy)]
struct Slices {
    first: At,
    stride: isize,
    bytes: usize,
}

/// The first and last value of a carry, the second buffer, and their size.
#[derive(Clone, Copy)]
struct Carry {
    at: At,
    other: At,
    bytes: usize,
}

enum Kind {
    Cond { pred: At, operands: Vec<At>, results: Vec<At> },
    While { carries: Vec<Carry>, consts: Vec<At>, verdict: At },
    Scan { carries: Vec<Carry>, xs: Vec<Slices>, consts: Vec<At>, ys: Vec<Slices>, saved: Vec<Slices>, order: Order },
}

/// In which order the slices are taken.
#[derive(Clone, Copy)]
struct Order {
    length: usize,
    reverse: bool,
}

/// A control step with its machine code.
pub(crate) struct Flow {
    kind: Kind,
    scratch: At,
    sections: Vec<Section>,
}

impl Flow {
    /// The step of a program with these buffers; `kernels` gives the kernels of all loops in order.
    pub(crate) fn new(
        step: &ControlStep,
        buffers: &[BufferDecl],
        kernels: &mut dyn Iterator<Item = Kernel>,
    ) -> Result<Flow> {
        let size = |b: program::BufferId| buffers[b.0 as usize].dtype.size();
        let at =
            |a: &BufferArg| -> Result<At> { Ok(At { buffer: a.buffer.0 as usize, offset: byte_offset(a, buffers)? }) };
        let whole = |b: program::BufferId| At { buffer: b.0 as usize, offset: 0 };
        let all = |list: &[BufferArg]| list.iter().map(at).collect::<Result<Vec<At>>>();
        let carries = |list: &[program::Carry]| {
            let one = |c: &program::Carry| {
                Ok(Carry { at: whole(c.at), other: whole(c.other), bytes: c.bytes.value()? as usize })
            };
            list.iter().map(one).collect::<Result<Vec<Carry>>>()
        };
        let slices = |list: &[program::Slices]| {
            let one = |s: &program::Slices| {
                let stride = s.stride.value()? as isize * size(s.first.buffer) as isize;
                Ok(Slices { first: at(&s.first)?, stride, bytes: s.bytes.value()? as usize })
            };
            list.iter().map(one).collect::<Result<Vec<Slices>>>()
        };
        let kind = match &step.control {
            program::Control::Cond { pred, operands, results, .. } => {
                Kind::Cond { pred: at(pred)?, operands: all(operands)?, results: all(results)? }
            }
            program::Control::While { carries: c, consts, verdict, .. } => {
                Kind::While { carries: carries(c)?, consts: all(consts)?, verdict: at(verdict)? }
            }
            program::Control::Scan { carries: c, xs, consts, ys, saved, length, reverse, .. } => Kind::Scan {
                carries: carries(c)?,
                xs: slices(xs)?,
                consts: all(consts)?,
                ys: slices(ys)?,
                saved: slices(saved)?,
                order: Order { length: length.value()?.max(0) as usize, reverse: *reverse },
            },
        };
        let sections = step.programs().into_iter().map(|p| Section::new(p, kernels)).collect::<Result<_>>()?;
        Ok(Flow { kind, scratch: whole(step.scratch), sections })
    }

    /// Runs the step. `bases` are the addresses of the buffers of the program around it.
    ///
    /// # Errors
    /// `data` at the first check that fails; nothing runs after it.
    pub(crate) fn run(&self, bases: &[*mut u8], error: &AtomicU64) -> Result<()> {
        let at = |a: &At| bases[a.buffer].wrapping_add(a.offset);
        let slice = |s: &Slices, t: usize| at(&s.first).wrapping_offset(s.stride * t as isize);
        let run = |i: usize, args: &[*mut u8], results: &[*mut u8]| {
            self.sections[i].run(args, results, at(&self.scratch), error)
        };
        match &self.kind {
            Kind::Cond { pred, operands, results } => {
                let (operands, results): (Addresses, Addresses) =
                    (operands.iter().map(at).collect(), results.iter().map(at).collect());
                run(!is_true(at(pred)) as usize, &operands, &results)
            }
            Kind::While { carries, consts, verdict } => {
                let mut now = Carried::new(carries, &at);
                loop {
                    let args: Addresses = now.from.iter().copied().chain(consts.iter().map(at)).collect();
                    run(0, &args, &[at(verdict)])?;
                    if !is_true(at(verdict)) {
                        break;
                    }
                    run(1, &args, &now.to)?;
                    now.swap();
                }
                now.settle(carries, &at);
                Ok(())
            }
            Kind::Scan { carries, xs, consts, ys, saved, order } => {
                let mut now = Carried::new(carries, &at);
                for i in 0..order.length {
                    let t = if order.reverse { order.length - 1 - i } else { i };
                    for ((from, to), c) in now.from.iter().zip(saved).zip(carries) {
                        copy(*from, slice(to, t), c.bytes.min(to.bytes));
                    }
                    let xs = xs.iter().map(|s| slice(s, t));
                    let args: Addresses = now.from.iter().copied().chain(xs).chain(consts.iter().map(at)).collect();
                    let results: Addresses = now.to.iter().copied().chain(ys.iter().map(|s| slice(s, t))).collect();
                    run(0, &args, &results)?;
                    now.swap();
                }
                now.settle(carries, &at);
                Ok(())
            }
        }
    }
}

/// Where the carries are and where the next ones go.
struct Carried {
    from: Addresses,
    to: Addresses,
}

impl Carried {
    fn new(carries: &[Carry], at: &impl Fn(&At) -> *mut u8) -> Carried {
        Carried {
            from: carries.iter().map(|c| at(&c.at)).collect(),
            to: carries.iter().map(|c| at(&c.other)).collect(),
        }
    }

    fn swap(&mut self) {
        std::mem::swap(&mut self.from, &mut self.to);
    }

    /// Brings the last carries to where they are results.
    fn settle(&self, carries: &[Carry], at: &impl Fn(&At) -> *mut u8) {
        for (from, c) in self.from.iter().zip(carries) {
            if *from != at(&c.at) {
                copy(*from, at(&c.at), c.bytes);
            }
        }
    }
}

/// The bool at an address.
fn is_true(at: *mut u8) -> bool {
    // SAFETY: the plan gives a buffer of one bool at least (the predicate has one element, the verdict is made for one);
    // it is memory of the call, written by the steps before or an argument that is borrowed for the call, and no kernel
    // is running.
    unsafe { at.read() != 0 }
}

/// Copies between two buffers of the program.
fn copy(from: *mut u8, to: *mut u8, bytes: usize) {
    if bytes > 0 {
        // SAFETY: both are buffers, or slices of buffers, of that many bytes by the plan, and different ones: a carry's
        // two buffers and the stack of kept carries are three. All are memory of the call, and no kernel is running.
        unsafe { std::ptr::copy_nonoverlapping(from, to, bytes) };
    }
}

impl Section {
    fn new(program: &Program, kernels: &mut dyn Iterator<Item = Kernel>) -> Result<Section> {
        let result = |o: &Output| match o {
            Output::Place(p) if matches!(program.buffers[p.buffer.0 as usize].kind, BufferKind::Output) => {
                Ok(p.buffer.0 as usize)
            }
            _ => Err(err::internal("a body gives memory that is not its own")),
        };
        Ok(Section {
            results: program.outputs.iter().map(result).collect::<Result<_>>()?,
            stages: stages(program, &program.steps, kernels)?,
            constants: constants(program)?,
            buffers: program.buffers.clone(),
        })
    }

    fn run(&self, args: &[*mut u8], results: &[*mut u8], scratch: *mut u8, error: &AtomicU64) -> Result<()> {
        let missing = || err::internal("a body with a buffer that has no memory");
        let mut bases: SmallVec<[*mut u8; 16]> = SmallVec::new();
        for (i, b) in self.buffers.iter().enumerate() {
            bases.push(match b.kind {
                BufferKind::Param(p) => *args.get(p).ok_or_else(missing)?,
                BufferKind::Output => {
                    let k = self.results.iter().position(|r| *r == i).ok_or_else(missing)?;
                    *results.get(k).ok_or_else(missing)?
                }
                // Bound before: the sections of a program have numbers only.
                BufferKind::Temp(at) => scratch.wrapping_add(at.value()? as usize),
                BufferKind::Literal(_) => {
                    self.constants.iter().find(|(k, _)| *k == i).map(|(_, s)| s.as_ptr()).ok_or_else(missing)?
                }
            });
        }
        self.stages.iter().try_for_each(|s| s.run(&bases, error))
    }
}
