//! What the derivative of an op reads: found out by making it.
//!
//! The op is put into a program of its own with one parameter for the value of each operand, and one for what may be kept
//! of it; likewise for results. The program is differentiated like any other, and what is left of it when everything dead
//! has gone away reads exactly what must be kept. So `mul` keeps its operands, and only those whose partner has a gradient;
//! `exp` keeps its result; `add` keeps nothing. It is done once for each signature of an op.

use super::tape::{Form, Operand};
use crate::grad::gradients;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tensorc_ir::error::err;
use tensorc_ir::ops::effect::Grad;
use tensorc_ir::ops::registry::{self, Arg, Out};
use tensorc_ir::passes::{run_all, without_unused_params};
use tensorc_ir::{Builder, Error, Graph, Op, Result, Type, Value};

/// How a recorded op is put into a program.
pub(crate) enum Formula {
    /// A function of the table.
    Call { name: Arc<str>, args: Vec<(Option<String>, Form)> },
    /// A traced function that writes to none of its parameters, which are the operands.
    Program(Arc<Graph>),
    /// The gradients of so many tensors, by a backward pass that is to be differentiated in its turn. Operands are the
    /// tensors, their cotangents, and the tensors to differentiate by.
    Grad { outputs: usize, strong_zero: bool },
}

/// The rules of one signature, by which of the tensors require a gradient.
#[derive(Default)]
pub(crate) struct Rules(Mutex<HashMap<Vec<bool>, Arc<Rule>>>);

/// What the derivative of an op reads.
pub(crate) struct Rule {
    /// The same number, the same op on the same types.
    pub(super) id: u64,
    operands: Vec<bool>,
    results: Vec<bool>,
    /// Why there is none.
    pub(super) refused: Option<Error>,
}

impl Rule {
    pub(super) fn reads_operand(&self, i: usize) -> bool {
        self.operands.get(i).copied().unwrap_or(false)
    }

    pub(super) fn reads_result(&self, k: usize) -> bool {
        self.results.get(k).copied().unwrap_or(false)
    }

    /// Whether it reads anything.
    pub(super) fn reads(&self) -> bool {
        self.operands.iter().chain(&self.results).any(|r| *r)
    }

    /// The rule of [`Formula::Grad`], of so many operands: the cotangents are kept.
    pub(super) fn grad(outputs: usize, operands: usize, strong_zero: bool) -> Rule {
        let reads = (0..operands).map(|i| (outputs..2 * outputs).contains(&i)).collect();
        let id = u64::MAX - ((strong_zero as u64) << 60) - ((outputs as u64) << 32) - operands as u64;
        Rule { id, operands: reads, results: Vec::new(), refused: None }
    }
}

/// A number that nothing else has.
pub(crate) fn next_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl Formula {
    /// A function of the table, with its arguments.
    pub(crate) fn call(name: &Arc<str>, args: Vec<(Option<String>, Form)>) -> Formula {
        Formula::Call { name: name.clone(), args }
    }

    /// Whether it may write to operands that are no tensor of the tape's.
    pub(super) fn may_write(&self) -> bool {
        matches!(self, Formula::Call { .. })
    }

    /// Whether it replaces all of its first operand by what does not depend on it.
    pub(super) fn overwrites(&self) -> bool {
        matches!(self, Formula::Call { name, .. } if matches!(&**name, "copy_" | "fill_" | "zero_"))
    }

    /// Appends the op. The operands are those of the tape, numbers last. Each result comes with the value that is kept of
    /// it: of an in-place op, what it writes, since that is what its derivative reads.
    pub(super) fn emit(&self, b: &Builder, operands: &[Value]) -> Result<Vec<(Value, Value)>> {
        match self {
            Formula::Call { name, args, .. } => {
                let tensors = args.iter().map(|(_, f)| f.operands()).sum();
                let (tensors, numbers) = operands.split_at_checked(tensors).ok_or_else(lost)?;
                let (mut tensors, mut numbers) = (tensors.iter(), numbers.iter());
                let mut given = Vec::new();
                for (keyword, form) in args {
                    given.push((keyword.as_deref(), form.arg(b, &mut tensors, &mut numbers)?));
                }
                let results = match registry::call(b, name, given)? {
                    Out::One(e) => vec![e.value()?],
                    Out::Many(l) => l.into_iter().map(|e| e.value()).collect::<Result<_>>()?,
                };
                if !registry::is_in_place(name) {
                    return Ok(results.into_iter().map(|v| (v, v)).collect());
                }
                let written = b.with_graph(|g| {
                    let write = g.nodes().rev().find(|n| g.op(*n).writes())?;
                    g.operands(write).get(1).copied()
                });
                Ok(results.into_iter().map(|v| (v, written.unwrap_or(v))).collect())
            }
            Formula::Program(g) => Ok(b.inline(g, operands, |op| op)?.into_iter().map(|v| (v, v)).collect()),
            Formula::Grad { outputs, strong_zero } => {
                let (ys, rest) = operands.split_at_checked(*outputs).ok_or_else(lost)?;
                let (seeds, wrt) = rest.split_at_checked(*outputs).ok_or_else(lost)?;
                let ys = ys.iter().copied().zip(seeds.iter().copied());
                Ok(gradients(b, ys, wrt, *strong_zero)?.into_iter().map(|v| (v, v)).collect())
            }
        }
    }
}

fn lost() -> Error {
    err::internal("a recorded op has lost an operand")
}

impl Form {
    /// How many tensors it takes.
    fn operands(&self) -> usize {
        match self {
            Form::Operand => 1,
            Form::List(l) => l.iter().map(Form::operands).sum(),
            Form::Number | Form::Other(_) => 0,
        }
    }

    fn arg<'b>(
        &self,
        b: &'b Builder,
        tensors: &mut std::slice::Iter<'_, Value>,
        numbers: &mut std::slice::Iter<'_, Value>,
    ) -> Result<Arg<'b>> {
        Ok(match self {
            Form::Operand => Arg::Tensor(b.ex(*tensors.next().ok_or_else(lost)?)),
            Form::Number => Arg::Tensor(b.ex(*numbers.next().ok_or_else(lost)?)),
            Form::Other(a) => crate::trace::to_arg(b, a, &mut std::iter::empty()),
            Form::List(l) => Arg::List(l.iter().map(|f| f.arg(b, tensors, numbers)).collect::<Result<_>>()?),
        })
    }
}

impl Rules {
    /// The rule of an op on such operands, of which `requires` says to which tensors a gradient flows.
    pub(super) fn find(&self, formula: &Formula, operands: &[Operand], requires: &[bool]) -> Arc<Rule> {
        let mut rules = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = rules.entry(requires.to_vec());
        found.or_insert_with(|| Arc::new(make(formula, operands, requires))).clone()
    }
}

fn make(formula: &Formula, operands: &[Operand], requires: &[bool]) -> Rule {
    let id = next_id();
    match read(formula, operands, requires) {
        Ok((operands, results)) => Rule { id, operands, results, refused: None },
        Err(e) => Rule { id, operands: Vec::new(), results: Vec::new(), refused: Some(e) },
    }
}

/// Which operands and results the derivative reads.
fn read(formula: &Formula, operands: &[Operand], requires: &[bool]) -> Result<(Vec<bool>, Vec<bool>)> {
    let b = Builder::new("derivative");
    let input = |ty: &Type| {
        let number = b.with_graph(|g| g.params.len());
        (b.input("x", ty.clone(), false, None), number)
    };
    let (mut values, mut wrt) = (Vec::new(), Vec::new());
    // The parameter for what is kept of each operand and result.
    let (mut of_operands, mut of_results) = (Vec::new(), Vec::new());
    for (i, o) in operands.iter().enumerate() {
        if o.number.is_some() {
            values.push(input(&Type::number(o.dtype)).0);
            continue;
        }
        let ty = Type::new(o.dtype, o.layout.shape.iter().copied());
        let (kept, number) = input(&ty);
        of_operands.push(number);
        if !requires.get(i).copied().unwrap_or(false) {
            values.push(b.emit(Op::Copy, &[kept])?);
            continue;
        }
        let x = input(&ty).0;
        wrt.push(x);
        let own = b.emit(Op::Copy, &[x])?;
        b.emit(Op::Kept, &[own, kept])?;
        values.push(own);
    }
    let mut outputs = Vec::new();
    for (y, value) in formula.emit(&b, &values)? {
        let ty = b.ty(y);
        let ty = Type::new(ty.dtype, ty.shape.iter().copied());
        let (kept, number) = input(&ty);
        of_results.push(number);
        if !ty.dtype.is_float() {
            continue;
        }
        b.emit(Op::Kept, &[value, kept])?;
        let given: Vec<Value> = [y, input(&ty).0].into_iter().chain(wrt.iter().copied()).collect();
        let n = b.emit_all(Op::Grad(Grad { seeded: true, allow_unused: true, ..Grad::default() }), &given)?;
        outputs.extend(b.results(n));
    }
    b.with_graph(|g| g.outputs = outputs);
    let (_, live) = without_unused_params(&run_all(&b.finish()?)?)?;
    let reads = |list: &[usize]| list.iter().map(|i| live.contains(i)).collect();
    Ok((reads(&of_operands), reads(&of_results)))
}
