//! Symbolic sizes bound from the inputs of a call, and the shapes that types then say.
//!
//! Every size stands alone in some parameter, whose argument gives it its value; all other dims are checked against it.

use crate::dim::{Dim, Dims, at_most, needs_sizes};
use crate::error::{Error, Loc, Result, err};
use crate::text::ast::{self, DimKind, DimOp};
use crate::types::{ShapeText, checked_count};
use std::collections::HashSet;

/// The sizes of one function, in the order in which its parameters name them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    pub(super) entries: Vec<(String, Dim)>,
}

impl Sizes {
    /// The value of a size.
    pub fn get(&self, name: &str) -> Option<Dim> {
        self.entries.iter().find(|(n, _)| n == name).map(|(_, v)| *v)
    }

    /// Sizes given by name.
    ///
    /// # Errors
    /// `name` if one of the function's sizes is missing.
    pub fn named(f: &ast::Fn, given: &[(String, Dim)]) -> Result<Sizes> {
        Sizes::each(f, |name, loc| {
            given.iter().find(|(n, _)| n == name).map(|(_, v)| *v).ok_or_else(|| {
                let f = &f.name.text;
                err::name(format!("`{f}` has the size `{name}`, which has no value")).at(loc)
            })
        })
    }

    /// The sizes of a function as symbols of their own names.
    pub(super) fn symbols(f: &ast::Fn) -> Sizes {
        Sizes::each(f, |name, _| Ok(Dim::size(name))).unwrap_or_default()
    }

    /// What `value` gives for each size that the parameters name, and the place of its first one.
    fn each(f: &ast::Fn, mut value: impl FnMut(&str, Loc) -> Result<Dim>) -> Result<Sizes> {
        let mut sizes = Sizes::default();
        for d in f.params.iter().flat_map(|p| &p.ty.dims) {
            if let DimKind::Size(name) = &d.kind
                && sizes.get(name).is_none()
            {
                sizes.entries.push((name.clone(), value(name, d.loc)?));
            }
        }
        Ok(sizes)
    }

    /// Names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Dim)> {
        self.entries.iter().map(|(n, v)| (n.as_str(), *v))
    }

    /// Whether the function has no sizes.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The value of a dim.
    ///
    /// # Errors
    /// `shape` if it is negative or too large, `name` if a size is not bound.
    pub fn dim(&self, d: &ast::Dim) -> Result<Dim> {
        let bad = || err::shape(format!("the size `{}` is not between 0 and 2^47", dim_text(d))).at(d.loc);
        let v = self.value(d)?;
        if at_most(0i64, v).map_err(|e| e.at(d.loc))? && v.known().is_none_or(|v| v <= 1 << 47) {
            Ok(v)
        } else {
            Err(bad())
        }
    }

    fn value(&self, d: &ast::Dim) -> Result<Dim> {
        Ok(match &d.kind {
            DimKind::Int(v) => Dim::from(*v),
            DimKind::Size(name) => {
                let v = self.get(name);
                v.ok_or_else(|| err::name(format!("nothing gives the size `{name}` a value")).at(d.loc))?
            }
            DimKind::Bin(op, a, b) => {
                let (a, b) = (self.value(a)?, self.value(b)?);
                match op {
                    DimOp::Add => a + b,
                    DimOp::Sub => a - b,
                    DimOp::Mul => a * b,
                }
            }
        })
    }

    /// The shape that a type says.
    ///
    /// # Errors
    /// `shape` if an extent is negative or the tensor too large.
    pub fn shape(&self, ty: &ast::Type) -> Result<Dims> {
        let shape = ty.dims.iter().map(|d| self.dim(d)).collect::<Result<Dims>>()?;
        checked_count(&shape).map_err(|e| e.at(ty.loc))?;
        Ok(shape)
    }

    /// Binds the sizes of `f` from the shapes of its arguments and checks all other dims. `at` names the place of
    /// argument `i` in errors.
    pub(super) fn bind(f: &ast::Fn, shapes: &[&[Dim]]) -> Result<Sizes> {
        let name = &f.name.text;
        if shapes.len() != f.params.len() {
            let (want, got) = (f.params.len(), shapes.len());
            return Err(err::ty(format!("`{name}` takes {want} inputs, got {got}")).at(f.name.loc));
        }
        let mut sizes = Sizes::default();
        let mut first: Vec<&ast::Param> = Vec::new();
        for (p, shape) in f.params.iter().zip(shapes) {
            if p.ty.dims.len() != shape.len() {
                return Err(mismatch(p, shape, None));
            }
            for (d, extent) in p.ty.dims.iter().zip(*shape) {
                let DimKind::Size(size) = &d.kind else { continue };
                match sizes.entries.iter().position(|(n, _)| n == size) {
                    Some(i) if sizes.entries[i].1 != *extent => {
                        decided(sizes.entries[i].1, *extent).map_err(|e| e.at(p.loc))?;
                        let (before, why) = (sizes.entries[i].1, &first[i].name.text);
                        let note = format!("`{why}` makes {size} = {before}");
                        return Err(mismatch(p, shape, Some(&sizes)).note(first[i].loc, note));
                    }
                    Some(_) => {}
                    None => {
                        sizes.entries.push((size.clone(), *extent));
                        first.push(p);
                    }
                }
            }
        }
        for (p, shape) in f.params.iter().zip(shapes) {
            for (d, extent) in p.ty.dims.iter().zip(*shape) {
                let v = sizes.dim(d);
                match v {
                    Ok(v) if v == *extent => {}
                    Ok(v) => {
                        decided(v, *extent).map_err(|e| e.at(p.loc))?;
                        return Err(mismatch(p, shape, Some(&sizes)));
                    }
                    Err(e) if e.is_waiting_for_sizes() => return Err(e),
                    Err(_) => return Err(mismatch(p, shape, Some(&sizes))),
                }
            }
            checked_count(shape).map_err(|e| e.at(p.loc))?;
        }
        Ok(sizes)
    }
}

/// Whether two extents that are other expressions are other numbers.
///
/// # Errors
/// One that says that sizes must be known to tell.
fn decided(a: Dim, b: Dim) -> Result<()> {
    (a - b).known().map(|_| ()).ok_or_else(|| needs_sizes(&(a - b).to_string()))
}

fn mismatch(p: &ast::Param, shape: &[Dim], sizes: Option<&Sizes>) -> Error {
    let (name, want, got) = (&p.name.text, type_text(&p.ty), ShapeText(shape));
    let known = sizes.map_or(String::new(), |s| s.describe_of(&p.ty));
    err::shape(format!("parameter `{name}`: expected {want}{known}, got shape {got}")).at(p.loc)
}

impl Sizes {
    /// ` with B = 3, N = 4` for the sizes that the type names.
    fn describe_of(&self, ty: &ast::Type) -> String {
        let mut named = HashSet::new();
        ty.dims.iter().for_each(|d| names(d, &mut named));
        let text = |(n, v): (&str, Dim)| format!("{n} = {v}");
        let all: Vec<String> = self.iter().filter(|(n, _)| named.contains(n)).map(text).collect();
        if all.is_empty() { String::new() } else { format!(" with {}", all.join(", ")) }
    }

    /// `B = 3, N = 4`
    pub(super) fn describe(&self) -> String {
        self.iter().map(|(n, v)| format!("{n} = {v}")).collect::<Vec<_>>().join(", ")
    }
}

fn names<'a>(d: &'a ast::Dim, out: &mut HashSet<&'a str>) {
    match &d.kind {
        DimKind::Int(_) => {}
        DimKind::Size(n) => {
            out.insert(n);
        }
        DimKind::Bin(_, a, b) => {
            names(a, out);
            names(b, out);
        }
    }
}

/// How a type is written.
pub(super) fn type_text(ty: &ast::Type) -> String {
    if ty.dims.is_empty() {
        return ty.dtype.to_string();
    }
    let dims: Vec<String> = ty.dims.iter().map(dim_text).collect();
    format!("{}[{}]", ty.dtype, dims.join(", "))
}

fn dim_text(d: &ast::Dim) -> String {
    match &d.kind {
        DimKind::Int(v) => v.to_string(),
        DimKind::Size(n) => n.clone(),
        DimKind::Bin(op, a, b) => {
            // Left associative, and `*` binds tighter.
            let side = |d: &ast::Dim, right: bool| match &d.kind {
                DimKind::Bin(inner, ..) if right || (*op == DimOp::Mul && *inner != DimOp::Mul) => {
                    format!("({})", dim_text(d))
                }
                _ => dim_text(d),
            };
            format!("{} {} {}", side(a, false), op.symbol(), side(b, true))
        }
    }
}
