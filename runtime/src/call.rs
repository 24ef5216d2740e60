//! A call of an [`Executable`].
//!
//! It takes the borrow words of all arguments, gives every buffer its memory (the arguments', recycled memory for results,
//! one block for temporaries), runs the steps, and looks at the error word after each: a failed check ends the call before
//! anything is written back. Small programs are called so often that what is done here is what they cost: it takes no lock,
//! and allocates the results and nothing else. Arguments are references throughout.

use crate::buffer::{Allocator, Buffer};
use crate::executable::{Executable, Found, Overlap, Place, View};
use crate::storage::{Access, Borrows, Storage};
use smallvec::SmallVec;
use std::sync::atomic::AtomicU64;
use tensorc_ir::dim::Scope;
use tensorc_ir::error::err;
use tensorc_ir::interp::{self, Array};
use tensorc_ir::ops::strided::ViewDtype;
use tensorc_ir::types::{Shape, Strides};
use tensorc_ir::{Error, Kind, Layout, Loc, Result, Scalar, Strided};

/// Arguments of a call.
pub type Args<'a> = SmallVec<[&'a View; 8]>;

/// Results of a call.
pub type Results<T> = SmallVec<[T; 2]>;

/// So few are compared each with each.
const FEW: usize = 8;

/// Whether both are the same numbers. They are few: a loop is quicker than a call that compares memory.
#[inline]
pub fn same<T: PartialEq>(a: &[T], b: &[T]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a == b)
}

/// Whether some of the views are in the same storage.
pub fn share_storage<'a>(views: impl ExactSizeIterator<Item = &'a View> + Clone) -> bool {
    if views.len() <= 1 {
        return false;
    }
    if views.len() <= FEW {
        let mut rest = views;
        while let Some(v) = rest.next() {
            if rest.clone().any(|w| w.storage.same(&v.storage)) {
                return true;
            }
        }
        return false;
    }
    let mut all: SmallVec<[usize; 64]> = views.map(|v| v.storage.id()).collect();
    all.sort_unstable();
    all.windows(2).any(|w| w[0] == w[1])
}

/// The error of a donated argument whose memory another tensor of the call shares.
pub fn shares_donated() -> Error {
    err::alias("a donated argument shares its memory with another argument or a captured tensor").help("donate a copy")
}

/// Whether an argument can be donated.
fn donatable(args: &[&View], i: usize, loc: Loc) -> Result<()> {
    let a = args.get(i).ok_or_else(|| err::index(format!("there is no argument {i} to donate")).at(loc))?;
    let shares = |(j, b): (usize, &&View)| j != i && b.storage.same(&a.storage);
    if args.iter().enumerate().any(shares) {
        return Err(shares_donated().at(loc));
    }
    if a.storage.is_lent() || a.storage.is_listed() {
        let e = err::alias("memory that is lent for a scope, or comes from another library, cannot be donated");
        return Err(e.at(loc).help("donate a copy"));
    }
    Ok(())
}

/// A copy of a layout from that element on.
fn from_offset(l: &Layout, offset: usize) -> Layout {
    Layout { shape: Shape::from_slice(&l.shape), strides: Strides::from_slice(&l.strides), offset }
}

impl Executable {
    /// Runs the program. Written parameters change; results that are views of a parameter share its storage.
    ///
    /// # Errors
    /// `type` if the arguments are not what it was compiled for; `alias` if one is in use elsewhere, or overlaps a
    /// written one; `data` if a check fails, and then no argument has changed.
    pub fn call(&self, args: &[View], loc: Loc) -> Result<Vec<View>> {
        let args: Args<'_> = args.iter().collect();
        Ok(self.call_donating(&args, &[], loc, |v| v)?.into_vec())
    }

    /// As [`Executable::call`], where `make` makes of each result what the caller wants. When the call has succeeded, the
    /// storages of the arguments `donated` are of no more use, and results in their memory have storages of their own.
    ///
    /// # Errors
    /// As [`Executable::call`], and `alias` if a donated argument is in use elsewhere, is lent, or shares its storage with
    /// another one.
    pub fn call_donating<T>(
        &self,
        args: &[&View],
        donated: &[usize],
        loc: Loc,
        make: impl FnMut(View) -> T,
    ) -> Result<Results<T>> {
        self.check(args)?;
        donated.iter().try_for_each(|i| donatable(args, *i, loc))?;
        if !self.program.mutated.is_empty() && share_storage(args.iter().copied()) {
            let copies = self.separate(args, loc)?;
            if !copies.is_empty() {
                let mut apart: Args<'_> = args.iter().copied().collect();
                copies.iter().for_each(|(i, copy)| apart[*i] = copy);
                return self.run(&apart, donated, loc, make);
            }
        }
        self.run(args, donated, loc, make)
    }

    fn run<T>(
        &self,
        args: &[&View],
        donated: &[usize],
        loc: Loc,
        mut make: impl FnMut(View) -> T,
    ) -> Result<Results<T>> {
        let access = |i: usize| if donated.contains(&i) { Access::Write } else { self.params[i].access };
        let mut borrows = Borrows::take(args.iter().enumerate().map(|(i, a)| (&a.storage, access(i))), loc)?;
        let mut new = match self.steps(args) {
            Ok(new) => new,
            Err(e) => {
                drop(borrows);
                return Err(self.explained(args, e));
            }
        };
        borrows.wrote(loc);

        let mut results = Results::with_capacity(self.outputs.len());
        if donated.is_empty() {
            for o in &self.outputs {
                results.push(make(self.output(o, args, &mut new)?));
            }
            return Ok(results);
        }
        let views = self.outputs.iter().map(|o| self.output(o, args, &mut new)).collect::<Result<Vec<_>>>()?;
        let moved = |i: &usize| Some((&args[*i].storage, borrows.donate(&args[*i].storage, loc)?));
        let moved: SmallVec<[(&Storage, Storage); 4]> = donated.iter().filter_map(moved).collect();
        for mut v in views {
            if let Some((_, to)) = moved.iter().find(|(from, _)| from.same(&v.storage)) {
                v.storage = to.clone();
            }
            results.push(make(v));
        }
        Ok(results)
    }

    /// Runs the steps on arguments that are held: the new memory, in the order of its buffers.
    fn steps(&self, args: &[&View]) -> Result<SmallVec<[Option<Storage>; 4]>> {
        let arena = if self.arena > 0 { Some(Allocator::global().alloc(self.arena)?) } else { None };
        let temps = arena.as_ref().map_or(std::ptr::null_mut(), Buffer::as_ptr);
        let mut new = SmallVec::new();
        let mut bases: SmallVec<[*mut u8; 16]> = SmallVec::with_capacity(self.buffers.len());
        for b in &self.buffers {
            bases.push(match b {
                Place::Param(p) => {
                    let a = args[*p];
                    a.storage.as_ptr().wrapping_add(a.layout.offset * a.dtype.size())
                }
                Place::New(bytes) => {
                    let s = Storage::alloc(*bytes)?;
                    let at = s.as_ptr();
                    new.push(Some(s));
                    at
                }
                Place::Temp(at) => temps.wrapping_add(*at),
                Place::Constant(s) => s.as_ptr(),
            });
        }
        let error = AtomicU64::new(0);
        let mut steps = self.steps.iter().chain(&self.write_back);
        steps.try_for_each(|step| step.run(&bases, &error)).map(|()| new)
    }

    /// The error of a failed check, with the numbers that were wrong. The arguments are still as they were.
    fn explained(&self, args: &[&View], e: Error) -> Error {
        let Some((graph, sizes)) = self.checked.as_ref().filter(|_| e.kind() == Kind::Data) else { return e };
        let input = |i: usize| {
            let a = args.get(i).ok_or_else(|| err::internal("a program without its argument"))?;
            let size = a.dtype.size();
            let bytes = a.storage.elements(&a.layout, size, Loc::Unknown)?;
            let scalars = bytes.chunks_exact(size).map(|b| Scalar::read(a.dtype, b));
            Ok(Array::from_scalars(a.dtype, &a.layout.shape, scalars))
        };
        match Scope::bound(sizes, || interp::checks(graph, input)) {
            Err(said) if said.kind() == Kind::Data => said,
            // Someone has changed an argument in between.
            _ => e,
        }
    }

    fn output(&self, o: &Found, args: &[&View], new: &mut [Option<Storage>]) -> Result<View> {
        let missing = || err::internal("a result without memory");
        match o {
            Found::New(slot, last, dtype, layout) => {
                let slot = new.get_mut(*slot);
                let storage = slot.and_then(|s| if *last { s.take() } else { s.clone() }).ok_or_else(missing)?;
                Ok(View { storage, dtype: *dtype, layout: from_offset(layout, layout.offset) })
            }
            Found::View(p, dtype, layout) => {
                let a = args[*p];
                let before = a.layout.offset * a.dtype.size();
                if !before.is_multiple_of(dtype.size()) {
                    return Err(ViewDtype { from: a.dtype, to: *dtype }.refused(&Strided::from(&a.layout)));
                }
                let layout = from_offset(layout, layout.offset + before / dtype.size());
                Ok(View { storage: a.storage.clone(), dtype: *dtype, layout })
            }
            // A constant, as it is: the caller may write to what it gets.
            Found::Constant(buffer, dtype, layout) => {
                let Some(Place::Constant(s)) = self.buffers.get(*buffer) else { return Err(missing()) };
                let storage = Storage::from_bytes(&s.read(Loc::Unknown)?)?;
                Ok(View { storage, dtype: *dtype, layout: layout.clone() })
            }
        }
    }

    fn check(&self, args: &[&View]) -> Result<()> {
        if args.len() != self.params.len() {
            return Err(err::ty(format!("{} arguments, expected {}", args.len(), self.params.len())));
        }
        for (i, (a, p)) in args.iter().zip(&self.params).enumerate() {
            let (lies, wanted) = (&a.layout, &p.layout);
            if a.dtype != p.dtype || !same(&lies.shape, &wanted.shape) || !same(&lies.strides, &wanted.strides) {
                let (dtype, layout) = (p.dtype, &p.layout);
                return Err(err::ty(format!(
                    "argument {i} is {}{:?} with strides {:?}, compiled for {dtype}{:?} with strides {:?}",
                    a.dtype,
                    a.layout.shape.as_slice(),
                    a.layout.strides.as_slice(),
                    layout.shape.as_slice(),
                    layout.strides.as_slice()
                )));
            }
            let outside = |(low, high): (isize, isize)| {
                let first = lies.offset as isize;
                let end =
                    first.checked_add(high).and_then(|h| (h as usize).checked_add(1)?.checked_mul(p.dtype.size()));
                first < 0 || first.saturating_add(low) < 0 || end.is_none_or(|end| end > a.storage.len())
            };
            if p.bounds.is_some_and(outside) {
                return Err(err::index(format!("argument {i} reaches outside its storage")));
            }
        }
        Ok(())
    }

    /// Sees to arguments that share memory with a written one: what to take in their place.
    fn separate(&self, args: &[&View], loc: Loc) -> Result<SmallVec<[(usize, View); 2]>> {
        let mut copies: SmallVec<[(usize, View); 2]> = SmallVec::new();
        for m in &self.program.mutated {
            for (i, a) in args.iter().enumerate() {
                if i == *m || copies.iter().any(|(k, _)| *k == i) || !args[*m].overlaps(a) {
                    continue;
                }
                if self.overlap == Overlap::Refuse || self.program.mutated.contains(&i) {
                    return Err(err::alias(format!("arguments {m} and {i} share memory, and argument {m} is written"))
                        .at(loc)
                        .help("pass a copy of one of them"));
                }
                let storage = a.storage.snapshot(&a.layout, a.dtype.size(), loc)?;
                copies.push((i, View { storage, dtype: a.dtype, layout: a.layout.clone() }));
            }
        }
        Ok(copies)
    }
}
