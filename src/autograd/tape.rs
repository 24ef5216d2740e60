//! The tape: what ran, while gradients were being recorded, on tensors that require one.
//!
//! A [`Node`] is one op with links to what it read, in PyTorch's words a `grad_fn`. It keeps the values that its derivative
//! will read, each with the version of its memory, and no others ([`Rule`]). In-place ops are nodes too; the old value of
//! what they write is copied first if the derivative reads it.

use super::rule::{Formula, Rule, Rules};
use super::variable::{Link, Root, next_place};
use crate::tensor::concrete::Concrete;
use crate::tensor::{Argument, Repr, Tensor};
use smallvec::SmallVec;
use std::sync::{Arc, Mutex, PoisonError};
use tensorc_ir::error::err;
use tensorc_ir::{DType, Layout, Loc, Result, Scalar};
use tensorc_runtime::executable::View;

/// A recorded op.
pub(crate) struct Node {
    pub(super) place: u64,
    /// The name of the function, as it was called.
    pub(super) name: Arc<str>,
    pub(super) formula: Formula,
    pub(super) rule: Arc<Rule>,
    pub(super) operands: Vec<Operand>,
    /// The results with floating point elements, by their roots. An in-place op has none: its result is operand 0.
    pub(super) results: Vec<Option<Arc<Root>>>,
    pub(super) loc: Loc,
    /// What was kept; `None` when it was given back after a backward pass.
    pub(super) kept: Mutex<Option<Kept>>,
}

/// What an op has read.
pub(super) struct Operand {
    pub(super) dtype: DType,
    pub(super) layout: Layout,
    /// If a gradient flows to it.
    pub(super) link: Option<Link>,
    /// The value of a plain number.
    pub(super) number: Option<Scalar>,
}

/// The values that a derivative reads, of operands and results.
#[derive(Default)]
pub(super) struct Kept {
    pub(super) operands: Vec<Option<Value>>,
    pub(super) results: Vec<Option<Value>>,
}

/// A value as it was.
#[derive(Clone)]
pub(super) struct Value {
    pub(super) view: View,
    /// The version of its memory when it was kept.
    pub(super) version: u64,
}

impl Value {
    pub(super) fn of(view: &View) -> Value {
        Value { version: view.storage.version(), view: view.clone() }
    }
}

impl Node {
    pub(super) fn kept(&self) -> std::sync::MutexGuard<'_, Option<Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The nodes that must come before it.
    pub(super) fn before(&self) -> impl Iterator<Item = &Arc<Node>> {
        let links = self.operands.iter().filter_map(|o| o.link.as_ref());
        links.flat_map(|l| l.creator.iter().chain(&l.after))
    }
}

impl Drop for Node {
    /// A tape is as long as the program that made it: its end must not go down one stack frame for each op.
    fn drop(&mut self) {
        let mut left: Vec<Arc<Node>> = Vec::new();
        let take = |n: &mut Node, left: &mut Vec<Arc<Node>>| {
            let links = n.operands.iter_mut().filter_map(|o| o.link.take());
            links.for_each(|l| left.extend(l.creator.into_iter().chain(l.after)));
        };
        take(self, &mut left);
        while let Some(n) = left.pop() {
            if let Some(mut n) = Arc::into_inner(n) {
                take(&mut n, &mut left);
            }
        }
    }
}

/// An op about to run that will be recorded.
pub(crate) struct Recording<'a> {
    name: Arc<str>,
    formula: Formula,
    rule: Arc<Rule>,
    operands: Vec<Operand>,
    kept: Vec<Option<Value>>,
    /// The first tensor, if the op writes to it.
    target: Option<&'a Arc<Concrete>>,
    loc: Loc,
}

impl<'a> Recording<'a> {
    /// Looks at an op before it runs; `None` if no gradient flows through it. `tensors` and `numbers` are the operands of
    /// the formula.
    ///
    /// # Errors
    /// `grad` if the op may not write to its first operand.
    pub(crate) fn begin(
        name: &Arc<str>,
        formula: impl FnOnce() -> Formula,
        writes: bool,
        tensors: &[&'a Arc<Concrete>],
        numbers: &[Scalar],
        rules: &Rules,
        loc: Loc,
    ) -> Result<Option<Recording<'a>>> {
        if !super::records(tensors.iter().copied()) {
            return Ok(None);
        }
        let requires: SmallVec<[bool; 8]> = tensors.iter().map(|t| t.gradient_flows()).collect();
        let target = if writes { tensors.first().copied() } else { None };
        let formula = formula();
        let mut operands = Vec::with_capacity(tensors.len());
        for (t, requires) in tensors.iter().zip(&requires) {
            // What an in-place op writes to gets a history, if it has none.
            let linked = *requires || target.is_some_and(|to| Arc::ptr_eq(to, t));
            let layout = Layout { offset: 0, ..t.view.layout.clone() };
            operands.push(Operand { dtype: t.view.dtype, layout, link: linked.then(|| t.link()), number: None });
        }
        operands.extend(numbers.iter().map(|n| {
            let layout = Layout::contiguous(&[]);
            Operand { dtype: n.dtype, layout, link: None, number: Some(*n) }
        }));
        let rule = rules.find(&formula, &operands, &requires);
        let mut kept = Vec::with_capacity(tensors.len());
        for (i, t) in tensors.iter().enumerate() {
            kept.push(match rule.reads_operand(i) {
                true if i == 0 && writes => {
                    let copy = super::no_grad(|| Tensor(Repr::Concrete((*t).clone())).copy())?;
                    Some(Value::of(copy.view_of("clone")?))
                }
                true => Some(Value::of(&t.view)),
                false => None,
            });
        }
        Ok(Some(Recording { name: name.clone(), formula, rule, operands, kept, target, loc }))
    }

    /// Records the op, which has run, and gives its results their history.
    /// `fresh` says which of them are new memory.
    pub(crate) fn finish(mut self, results: &[Tensor], fresh: impl Fn(usize) -> bool) -> Result<()> {
        let mut made = Vec::new();
        for t in results {
            let Repr::Concrete(c) = &t.0 else { return Err(err::internal("a traced tensor on the tape")) };
            made.push(c);
        }
        let value = |(k, c): (usize, &&Arc<Concrete>)| self.rule.reads_result(k).then(|| Value::of(&c.view));
        let kept = Kept { operands: self.kept, results: made.iter().enumerate().map(value).collect() };
        if self.formula.overwrites()
            && let (Some(to), Some(first)) = (self.target, self.operands.first_mut())
            && to.origin.is_none()
            && let Some(link) = &mut first.link
        {
            // Nothing of what was there is left, nor of how it came about.
            (link.creator, link.after) = (None, None);
        }
        let new = |(k, c): &(usize, &Arc<Concrete>)| self.target.is_none() && fresh(*k) && c.view.dtype.is_float();
        let own = |(k, c): (usize, &Arc<Concrete>)| new(&(k, c)).then(|| c.track().root.clone());
        let roots = made.iter().copied().enumerate().map(own).collect();
        let node = Arc::new(Node {
            place: next_place(),
            name: self.name,
            formula: self.formula,
            rule: self.rule,
            operands: self.operands,
            results: roots,
            loc: self.loc,
            kept: Mutex::new(Some(kept)),
        });
        match self.target {
            Some(to) => {
                let (root, view) = to.root();
                let mut state = root.track().lock();
                if node.formula.overwrites() && view.is_none() {
                    state.creator = None;
                }
                state.last_write = Some((node, view.is_some()));
            }
            None => {
                for (k, c) in made.into_iter().enumerate().filter(|(k, _)| node.results[*k].is_some()) {
                    c.track().lock().creator = Some((node.clone(), k));
                }
            }
        }
        Ok(())
    }
}

/// An argument as the tape holds it: with the operands' places in the place of the operands.
#[derive(Clone)]
pub(crate) enum Form {
    /// The next operand.
    Operand,
    /// The next plain number that is given at run time.
    Number,
    Other(Argument),
    List(Vec<Form>),
}

impl Form {
    pub(crate) fn of(a: &Argument, number: bool) -> Form {
        match a {
            Argument::Tensor(_) => Form::Operand,
            Argument::Int(_) | Argument::Float(_) | Argument::Bool(_) if number => Form::Number,
            Argument::List(l) => Form::List(l.iter().map(|a| Form::of(a, false)).collect()),
            a => Form::Other(a.clone()),
        }
    }
}
