//! What a thread has called lately: the compiled op for a call, found by looking at its arguments.
//!
//! The cache of all ops is behind a lock and is asked by a key that has to be made, for which the table of functions must
//! say which numbers are inputs. A few calls that a thread makes again and again are found here first, without any of that. A call is
//! noted when it is made for the second time, so that calls which never come again push nothing out.

use super::eager::Compiled;
use super::{Argument, Repr, Tensor};
use crate::table::Mixed;
use crate::tensor::concrete::Concrete;
use crate::trace::number;
use smallvec::SmallVec;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use tensorc_ir::types::{Shape, Strides};
use tensorc_ir::{DType, Scalar};
use tensorc_runtime::executable::same;

/// The arguments of a call of which a compiled op does not know all: its tensors and numbers.
#[derive(Default)]
pub(super) struct Inputs<'a> {
    pub(super) tensors: SmallVec<[&'a Arc<Concrete>; 4]>,
    pub(super) numbers: SmallVec<[Scalar; 2]>,
}

/// An argument with its keyword.
type Given<'a> = (Option<&'a str>, Argument);

/// What an argument must be, with its keyword.
type Wanted = (Option<String>, Form);

/// A call that has been made, and what was compiled for it.
pub(super) struct Known {
    name: String,
    args: Vec<Wanted>,
    pub(super) compiled: Arc<Compiled>,
}

/// What an argument must be.
enum Form {
    Nothing,
    Tensor(DType, Shape, Strides),
    /// A number that is an input, of that dtype.
    Number(DType),
    /// This number, dtype or text.
    Exactly(Argument),
    List(Vec<Form>),
}

const SLOTS: usize = 64;

/// The last call that led here, and one that has done so more than once.
struct Slot {
    last: u64,
    known: Option<Rc<Known>>,
}

thread_local! {
    static SLOTS_OF_THREAD: RefCell<[Slot; SLOTS]> =
        const { RefCell::new([const { Slot { last: 0, known: None } }; SLOTS]) };
}

/// Does something with the slot of a call. `None` when the thread is ending.
fn with_slot<T>(hash: u64, f: impl FnOnce(&mut Slot) -> Option<T>) -> Option<T> {
    let found = SLOTS_OF_THREAD.try_with(|all| {
        let mut all = all.try_borrow_mut().ok()?;
        f(all.get_mut(hash as usize % SLOTS)?)
    });
    found.ok().flatten()
}

/// A call that is known, and its inputs.
pub(super) fn find<'a>(name: &str, args: &'a [Given<'_>]) -> Option<(Rc<Known>, Inputs<'a>)> {
    let hash = hash(name, args);
    let known = with_slot(hash, |slot| slot.known.clone().filter(|_| slot.last == hash))?;
    let mut inputs = Inputs::default();
    let is_it =
        |((k, form), (keyword, a)): (&Wanted, &'a Given<'_>)| k.as_deref() == *keyword && form.is_of(a, &mut inputs);
    let same = known.name == name && known.args.len() == args.len() && known.args.iter().zip(args).all(is_it);
    same.then_some((known, inputs))
}

/// Notes a call that was not known. `is_input` says which numbers, by their position and keyword, are inputs.
pub(super) fn note(
    name: &str,
    args: &[Given<'_>],
    compiled: &Arc<Compiled>,
    is_input: impl Fn(usize, Option<&str>) -> bool,
) {
    let hash = hash(name, args);
    let again = with_slot(hash, |slot| (std::mem::replace(&mut slot.last, hash) == hash).then_some(())).is_some();
    if !again {
        return;
    }
    let form = |(i, (k, a)): (usize, &Given<'_>)| Some((k.map(str::to_string), Form::of(a, is_input(i, *k))?));
    let Some(args) = args.iter().enumerate().map(form).collect() else { return };
    let new = Some(Rc::new(Known { name: name.into(), args, compiled: compiled.clone() }));
    // What was there is dropped when the slot is free again.
    with_slot(hash, |slot| std::mem::replace(&mut slot.known, new));
}

fn hash(name: &str, args: &[Given<'_>]) -> u64 {
    let mut mixed = Mixed::new();
    add_text(&mut mixed, name);
    for (k, a) in args {
        k.iter().for_each(|k| add_text(&mut mixed, k));
        add(&mut mixed, a);
    }
    // Zero is that of a slot that is empty.
    mixed.hash().max(1)
}

fn add_text(mixed: &mut Mixed, text: &str) {
    for chunk in text.as_bytes().chunks(8) {
        mixed.add(chunk.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)));
    }
    mixed.add(text.len() as u64);
}

/// Adds an argument, but for floats and truth values: most of them are inputs.
fn add(mixed: &mut Mixed, a: &Argument) {
    match a {
        Argument::None => mixed.add(1),
        Argument::Tensor(Tensor(Repr::Concrete(v))) => {
            mixed.add(2 << 32 | (v.dtype as u64) << 16 | v.layout.shape.len() as u64);
            v.layout.shape.iter().for_each(|n| mixed.add(*n as u64));
            v.layout.strides.iter().for_each(|s| mixed.add(*s as u64));
        }
        Argument::Tensor(_) => mixed.add(3),
        Argument::Int(v) => mixed.add(4 ^ *v as u64),
        Argument::Float(_) => mixed.add(5),
        Argument::Bool(_) => mixed.add(6),
        Argument::DType(d) => mixed.add(7 << 32 | *d as u64),
        Argument::Str(t) => add_text(mixed, t),
        Argument::List(l) => {
            mixed.add(8 << 32 | l.len() as u64);
            l.iter().for_each(|a| add(mixed, a));
        }
    }
}

impl Form {
    /// That of an argument; `None` if it is traced.
    fn of(a: &Argument, is_input: bool) -> Option<Form> {
        Some(match a {
            Argument::None => Form::Nothing,
            Argument::Tensor(Tensor(Repr::Concrete(v))) => {
                Form::Tensor(v.dtype, v.layout.shape.clone(), v.layout.strides.clone())
            }
            Argument::Tensor(_) => return None,
            Argument::List(l) => Form::List(l.iter().map(|a| Form::of(a, false)).collect::<Option<_>>()?),
            a => match number(a).filter(|_| is_input) {
                Some(n) => Form::Number(n.dtype),
                None => Form::Exactly(a.clone()),
            },
        })
    }

    /// Whether an argument is so; what of it is an input is added to those.
    fn is_of<'a>(&self, a: &'a Argument, inputs: &mut Inputs<'a>) -> bool {
        match (self, a) {
            (Form::Nothing, Argument::None) => true,
            (Form::Tensor(dtype, shape, strides), Argument::Tensor(Tensor(Repr::Concrete(v)))) => {
                inputs.tensors.push(v);
                v.dtype == *dtype && same(shape, &v.layout.shape) && same(strides, &v.layout.strides)
            }
            (Form::Number(dtype), a) => number(a).filter(|n| n.dtype == *dtype).is_some_and(|n| {
                inputs.numbers.push(n);
                true
            }),
            (Form::List(forms), Argument::List(l)) => {
                forms.len() == l.len() && forms.iter().zip(l).all(|(f, a)| f.is_of(a, inputs))
            }
            (Form::Exactly(this), a) => match (this, a) {
                (Argument::Int(x), Argument::Int(y)) => x == y,
                (Argument::Float(x), Argument::Float(y)) => x.to_bits() == y.to_bits(),
                (Argument::Bool(x), Argument::Bool(y)) => x == y,
                (Argument::DType(x), Argument::DType(y)) => x == y,
                (Argument::Str(x), Argument::Str(y)) => x == y,
                _ => false,
            },
            _ => false,
        }
    }
}
