//! Elementwise functions: a table of rows, each the one place where its function is defined.
//!
//! A [`RowDef`] holds the name, the doc, the dtype rule, the lowering to the scalar IR (which is also what the
//! interpreter runs), the derivative as an expression, and what tests need. Adding a function is adding a row to one of
//! the families below.

pub mod activation;
pub mod arith;
pub mod bits;
pub mod compare;
pub mod divide;
pub mod float;
pub mod index;
pub mod power;
pub mod range;
pub mod round;
pub mod special;

use super::{Lanes, Structural};
use crate::builder::Ex;
use crate::dtype::{Category, DType};
use crate::error::{Result, err};
use crate::interp::Array;
use crate::scalar::{Block, V};
use crate::types::Type;
use smallvec::{SmallVec, smallvec};

/// The derivative of a row: cotangents of the operands from operands, result and its cotangent.
pub type Vjp = for<'b> fn(&[Ex<'b>], Ex<'b>, Ex<'b>) -> Vec<Option<Ex<'b>>>;

/// Which dtypes a function takes and gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Operands promote to one dtype, which the result has. Bool is allowed.
    Any,
    /// As `Any`, but a bool result is refused, in these words if there are any.
    NoBool(&'static str),
    /// As `Any`, but every bool operand is refused, in these words.
    NeverBool(&'static str),
    /// Operands promote, integers and bool become `f32`; the result has that dtype.
    Float,
    /// Operands promote to a float dtype, which the result has; integers and bool are refused.
    FloatOnly,
    /// Operands promote; the result is bool.
    Compare,
    /// Every operand becomes bool; the result is bool.
    Logical,
    /// Operands promote to an integer dtype or bool, floats are refused; the result has that dtype.
    Bits,
    /// As `Bits`, but bool is refused too.
    Integer,
    /// The first operand is bool, the others promote; the result has their dtype.
    Select,
}

/// One elementwise function.
pub struct RowDef {
    /// PyTorch's name.
    pub name: &'static str,
    /// One line for people.
    pub doc: &'static str,
    /// Names of the operands.
    pub args: &'static [&'static str],
    /// Which dtypes.
    pub rule: Rule,
    /// The definition, on registers of the compute dtype.
    pub lower: fn(&mut Block, &[V]) -> V,
    /// The derivative, if the function has one.
    pub vjp: Option<Vjp>,
    /// The interval tests draw operands from.
    pub domain: (f64, f64),
    /// The largest error in `f32`, in units of the last place; in `f64` it is at most twice that. 0: correctly rounded
    /// or exact. `tests/accuracy` holds rows to it, `docs/accuracy.md` has what was measured.
    pub ulp: f32,
}

impl RowDef {
    /// The row with that accuracy.
    const fn within(self, ulp: f32) -> RowDef {
        RowDef { ulp, ..self }
    }
}

/// A row of the table; equal if the names are.
#[derive(Clone, Copy)]
pub struct Row(pub &'static RowDef);

impl PartialEq for Row {
    fn eq(&self, other: &Row) -> bool {
        self.0.name == other.0.name
    }
}

impl Eq for Row {}

impl std::hash::Hash for Row {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.name.hash(state);
    }
}

impl std::fmt::Debug for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.name)
    }
}

/// All rows.
pub fn rows() -> impl Iterator<Item = Row> {
    families().into_iter().flat_map(|(_, rows)| rows).map(Row)
}

/// All rows by subject, in the order of the documentation.
pub fn families() -> [(&'static str, &'static [RowDef]); 11] {
    [
        ("Arithmetic", arith::ROWS),
        ("Division", divide::ROWS),
        ("Rounding", round::ROWS),
        ("Comparison and logic", compare::ROWS),
        ("Bits", bits::ROWS),
        ("Powers", power::ROWS),
        ("Functions of one float", float::ROWS),
        ("Special functions", special::ROWS),
        ("Activations", activation::ROWS),
        ("Indexing", index::ROWS),
        ("Conditions on data", range::ROWS),
    ]
}

impl Row {
    /// The row of that name.
    pub fn find(name: &str) -> Option<Row> {
        use std::collections::HashMap;
        use std::sync::OnceLock;
        static BY_NAME: OnceLock<HashMap<&'static str, Row>> = OnceLock::new();
        BY_NAME.get_or_init(|| rows().map(|r| (r.name(), r)).collect()).get(name).copied()
    }

    /// PyTorch's name of the function.
    pub fn name(self) -> &'static str {
        self.0.name
    }

    /// The largest error in `f64`, in units of the last place.
    pub fn ulp64(self) -> f64 {
        2.0 * self.0.ulp as f64
    }

    /// The dtypes the operands are cast to and the dtype of the result, for operands of these types.
    pub fn dtypes(self, x: &[&Type]) -> Result<(SmallVec<[DType; 3]>, DType)> {
        let all = |d: DType| SmallVec::from_elem(d, x.len());
        let refuse = |d: DType, why: &str| {
            let e = match why {
                "" => format!("`{}` is not implemented for {d}", self.name()),
                _ => format!("`{}`: {why}", self.name()),
            };
            Err(err::dtype(e))
        };
        let d = match self.0.rule {
            Rule::Select => promote(&x[1..]),
            _ => promote(x),
        };
        match self.0.rule {
            Rule::Any => Ok((all(d), d)),
            Rule::NoBool(why) if d == DType::Bool => refuse(d, why),
            Rule::NoBool(_) => Ok((all(d), d)),
            Rule::NeverBool(why) if x.iter().any(|t| t.dtype == DType::Bool) => refuse(DType::Bool, why),
            Rule::NeverBool(_) => Ok((all(d), d)),
            Rule::FloatOnly if !d.is_float() => Err(not_float(self.name(), d)),
            Rule::FloatOnly => Ok((all(d), d)),
            Rule::Float => Ok((all(d.to_float()), d.to_float())),
            Rule::Compare => Ok((all(d), DType::Bool)),
            Rule::Logical => Ok((all(DType::Bool), DType::Bool)),
            Rule::Bits if d.is_float() => refuse(d, ""),
            Rule::Bits => Ok((all(d), d)),
            Rule::Integer if !d.is_int() => refuse(d, ""),
            Rule::Integer => Ok((all(d), d)),
            Rule::Select => {
                if x[0].dtype != DType::Bool {
                    return Err(err::dtype(format!(
                        "`where` expected condition to be a boolean tensor, but got a tensor with dtype {}",
                        x[0].dtype
                    )));
                }
                Ok((smallvec![DType::Bool, d, d], d))
            }
        }
    }

    /// Appends the function to a block: operands in registers of their dtypes, result rounded to `out`.
    pub fn lower(self, b: &mut Block, x: &[V], out: DType) -> V {
        let v = (self.0.lower)(b, x);
        b.round_to(out, v)
    }
}

/// The error of a function of floats for another dtype.
pub fn not_float(name: &str, d: DType) -> crate::Error {
    err::dtype(format!(
        "`{name}` is not implemented for {d}: it only supports floating point dtypes, expected a floating point tensor as \
         input"
    ))
}

/// PyTorch's promotion over priority classes: tensors with dimensions, then 0-d tensors, then plain numbers. A lower
/// class counts only if its category is higher.
pub fn promote(x: &[&Type]) -> DType {
    let class = |t: &Type| if t.weak { 0 } else { 1 + (t.rank() > 0) as u8 };
    let mut best: Option<DType> = None;
    for c in [2, 1, 0] {
        let of_class = x
            .iter()
            .filter(|t| class(t) == c)
            .map(|t| if t.weak { DType::default_of(t.dtype.category()) } else { t.dtype })
            .reduce(DType::promote);
        best = match (best, of_class) {
            (Some(b), Some(d)) if d.category() > b.category() => {
                // A plain float beside half floats cannot get here: the categories are equal.
                Some(if c == 0 { DType::default_of(d.category()) } else { d })
            }
            (None, d) => d,
            (b, _) => b,
        };
    }
    best.unwrap_or(DType::F32)
}

impl Structural for Row {
    fn infer(&self, x: &[&Type]) -> Result<SmallVec<[Type; 1]>> {
        if x.len() != self.0.args.len() {
            return Err(err::internal(format!(
                "`{}` takes {} operands, got {}",
                self.name(),
                self.0.args.len(),
                x.len()
            )));
        }
        let (want, out) = self.dtypes(x)?;
        for (t, d) in x.iter().zip(&want) {
            if t.dtype != *d || t.shape != x[0].shape {
                return Err(err::internal(format!(
                    "`{}` in the graph takes equal shapes and dtypes, got {x:?}",
                    self.name()
                )));
            }
        }
        Ok(smallvec![Type::new(out, x[0].shape.iter().copied())])
    }

    fn eval(&self, x: &[Array]) -> Result<Array> {
        let types: SmallVec<[Type; 3]> = x.iter().map(|a| Type::new(a.dtype, a.layout.shape.iter().copied())).collect();
        let out = self.infer(&types.iter().collect::<SmallVec<[&Type; 3]>>())?.remove(0);
        let y = crate::interp::map(x, &out, |b, regs| self.lower(b, regs, out.dtype));
        y.map_err(|e| index::wrong(self.name(), x).map_or(e, err::data))
    }

    fn vjp<'b>(&self, x: &[Ex<'b>], y: Ex<'b>, dy: Ex<'b>) -> Vec<Option<Ex<'b>>> {
        let Some(rule) = self.0.vjp else { return vec![None; x.len()] };
        // The unit of rounding is the op: a half float's gradient is computed in f32 and rounded once.
        let dtype = dy.dtype();
        let wide = |e: Ex<'b>| if e.dtype().category() == Category::Float { e.cast(dtype.compute()) } else { e };
        let x32: Vec<Ex<'b>> = x.iter().map(|e| wide(*e)).collect();
        let d = rule(&x32, wide(y), wide(dy));
        d.into_iter().zip(x).map(|(d, x)| d.map(|d| d.cast(x.dtype()))).collect()
    }
    fn batch<'b>(&self, x: &[Ex<'b>], lanes: &Lanes<'_, 'b>) -> Vec<Ex<'b>> {
        let mut x = lanes.all(x);
        // Where nothing is asked of an element, its checks hold.
        let is_of = |rows: &[RowDef]| rows.iter().any(|r| r.name == self.name());
        if is_of(index::ROWS) {
            (x[0], x[1]) = (lanes.harmless(x[0], 0.0), lanes.harmless(x[1], 1.0));
        } else if is_of(range::ROWS) {
            x[0] = lanes.harmless(x[0], 1.0);
        } else if is_of(divide::ROWS) && x.len() == 2 && !x[1].dtype().is_float() {
            x[1] = lanes.harmless(x[1], 1.0);
        }
        vec![x[0].apply(super::Op::Map(*self), &x[1..])]
    }

    /// The rule of the derivative read the other way: it is elementwise and linear in `dy`, so with the tangent of operand
    /// `i` in place of `dy` it gives, for operand `i`, what that tangent adds to the result's.
    fn jvp_all<'b>(&self, x: &[Ex<'b>], y: &[Ex<'b>], t: &[Option<Ex<'b>>]) -> Option<Vec<Option<Ex<'b>>>> {
        let (Some(rule), true) = (self.0.vjp, y[0].dtype().is_float()) else { return Some(vec![None]) };
        let dtype = y[0].dtype();
        let wide = |e: Ex<'b>| if e.dtype().category() == Category::Float { e.cast(dtype.compute()) } else { e };
        let wide_x: Vec<Ex<'b>> = x.iter().map(|e| wide(*e)).collect();
        let parts = t.iter().enumerate().filter_map(|(i, t)| rule(&wide_x, wide(y[0]), wide((*t)?))[i]);
        Some(vec![parts.reduce(|a, b| a + b).map(|d| d.cast(dtype))])
    }
}
