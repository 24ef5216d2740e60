//! `Op::Loop`, called `scan` in text: a body that goes along the first axis of its operands and carries values from step
//! to step. Meaning and order of results are those of PyTorch's `scan`.
//!
//! With *n* carries c, *m* sliced operands xs and constants k, step t is (c, y_t) = f(c, xs[t], k).
//!
//! The derivative is a scan in the other direction. With c_t what step t began with, which the forward loop keeps if
//! `save` is set,
//!
//! ```text
//! (dc_t, dxs[t], dk_t) = vjp of f at (c_t, xs[t], k), of (dc_(t+1), dy_t)
//! dinit = dc_0        dk = Σ dk_t, added up from the last step to the first
//! ```
//!
//! so its carries are dc and the sums of dk.

use super::body::Draft;
use super::{Body, batch, forward, or_failed, run, same, takes, types_text};
use crate::builder::Ex;
use crate::dim::Dim;
use crate::error::{Result, err};
use crate::graph::Value;
use crate::interp::Array;
use crate::layout::Layout;
use crate::ops::{Lanes, Op, Structural};
use crate::passes::autodiff::pull;
use crate::types::Type;
use smallvec::SmallVec;

/// Operands: the first carries, the sliced operands, the constants. Results: the last carries, the results of all steps
/// stacked; with `save` also what every step began with, stacked.
#[derive(Clone, Debug, PartialEq)]
pub struct Scan {
    /// Takes carries, slices and constants, and gives the next carries and the results of the step.
    pub body: Body,
    /// The number of carries.
    pub carries: usize,
    /// The number of sliced operands.
    pub xs: usize,
    /// The number of steps.
    pub length: Dim,
    /// Whether it goes from the last slice to the first.
    pub reverse: bool,
    /// Whether it also gives the carries before every step.
    pub save: bool,
}

/// The type of `length` values of a type, one above the other.
fn stacked(ty: &Type, length: Dim) -> Type {
    Type::new(ty.dtype, std::iter::once(length).chain(ty.shape.iter().copied()))
}

impl Scan {
    /// The number of results of one step that are stacked.
    pub fn ys(&self) -> usize {
        self.body.outputs.len().saturating_sub(self.carries)
    }

    /// The slices of so many in the order in which they are taken.
    fn order(&self, n: usize) -> impl Iterator<Item = usize> + use<> {
        let reverse = self.reverse;
        (0..n).map(move |i| if reverse { n - 1 - i } else { i })
    }
}

/// The array at index `t` of the first axis, sharing memory.
fn slice(a: &Array, t: usize) -> Array {
    let l = &a.layout;
    a.view(Layout { shape: l.shape[1..].into(), strides: l.strides[1..].into(), offset: l.at(&[t]) })
}

impl Structural for Scan {
    fn infer(&self, x: &[&Type]) -> Result<SmallVec<[Type; 1]>> {
        let (n, m) = (self.carries, self.xs);
        if x.len() < n + m || self.body.outputs.len() < n {
            return Err(err::internal(format!("`scan`: {} operands for {n} carries and {m} slices", x.len())));
        }
        let mut slices = Vec::new();
        for t in &x[n..n + m] {
            match t.shape.split_first() {
                Some((d, rest)) if *d == self.length => slices.push(Type::new(t.dtype, rest.iter().copied())),
                _ => {
                    let e = format!("`scan`: {t} has no {} slices along its first dimension", self.length);
                    return Err(err::shape(e));
                }
            }
        }
        let operands: Vec<&Type> = x[..n].iter().copied().chain(&slices).chain(x[n + m..].iter().copied()).collect();
        takes("scan", &self.body, &operands)?;
        let (mut out, carries) = (self.body.result_types(), &x[..n]);
        let ys = out.split_off(n);
        if !same(&out, carries.iter().copied()) {
            return Err(err::ty(format!(
                "`scan`: `{}` carries {} on, expected the types that it began with, {}",
                self.body.name,
                types_text(&out),
                types_text(carries.iter().copied())
            )));
        }
        let saved: Vec<Type> = if self.save { out.clone() } else { Vec::new() };
        let all = ys.iter().chain(&saved).map(|t| stacked(t, self.length));
        Ok(out.into_iter().chain(all).collect())
    }

    fn eval(&self, x: &[Array]) -> Result<Array> {
        self.eval_all(x)?.into_iter().next().ok_or_else(|| err::internal("a `scan` without a result"))
    }

    fn eval_all(&self, x: &[Array]) -> Result<Vec<Array>> {
        let (n, m) = (self.carries, self.xs);
        let mut carries: Vec<Array> = x[..n].iter().map(Array::copied).collect();
        let types = self.body.result_types();
        let kept: Vec<&Type> = types[n..].iter().chain(if self.save { &types[..n] } else { &[] }).collect();
        let length = self.length.value()? as usize;
        let count = |t: &Type| t.extents().map(|s| s.iter().product::<usize>());
        let mut stacks = kept.iter().map(|t| Ok(vec![0; length * count(t)?])).collect::<Result<Vec<Vec<u64>>>>()?;
        for t in self.order(length) {
            let slices = x[n..n + m].iter().map(|a| slice(a, t));
            let args: Vec<Array> = carries.iter().cloned().chain(slices).chain(x[n + m..].iter().cloned()).collect();
            let mut out = run(&self.body, &args)?;
            let ys = out.split_off(n);
            let saved: &[Array] = if self.save { &carries } else { &[] };
            for (stack, a) in stacks.iter_mut().zip(ys.iter().chain(saved)) {
                let bits = a.bits();
                stack[t * bits.len()..(t + 1) * bits.len()].copy_from_slice(&bits);
            }
            carries = out;
        }
        let stacks = kept.iter().zip(stacks).map(|(t, bits)| {
            let ty = stacked(t, self.length);
            Ok(Array::new(ty.dtype, &ty.extents()?, bits))
        });
        carries.into_iter().map(Ok).chain(stacks).collect()
    }

    fn jvp_all<'b>(&self, x: &[Ex<'b>], y: &[Ex<'b>], t: &[Option<Ex<'b>>]) -> Option<Vec<Option<Ex<'b>>>> {
        Some(forward::scan(self, x, y, t))
    }

    fn vjp<'b>(&self, x: &[Ex<'b>], y: Ex<'b>, dy: Ex<'b>) -> Vec<Option<Ex<'b>>> {
        self.vjp_all(x, &[y], &[Some(dy)], &vec![true; x.len()])
    }
    fn batch<'b>(&self, x: &[Ex<'b>], lanes: &Lanes<'_, 'b>) -> Vec<Ex<'b>> {
        batch::made(x, batch::scan(self, x, lanes))
    }

    fn vjp_all<'b>(&self, x: &[Ex<'b>], y: &[Ex<'b>], dy: &[Option<Ex<'b>>], needs: &[bool]) -> Vec<Option<Ex<'b>>> {
        or_failed(x, x.len(), || self.backward(x, y, dy, needs))
    }

    fn attrs(&self) -> String {
        let mut attrs = Vec::new();
        if self.xs == 0 {
            attrs.push(format!("length={}", self.length));
        }
        if self.reverse {
            attrs.push("reverse=true".into());
        }
        if self.save {
            attrs.push("save=true".into());
        }
        attrs.join(", ")
    }
}

impl Scan {
    fn backward<'b>(
        &self,
        x: &[Ex<'b>],
        y: &[Ex<'b>],
        dy: &[Option<Ex<'b>>],
        needs: &[bool],
    ) -> Result<Vec<Option<Ex<'b>>>> {
        let b = x[0].builder();
        let (n, m, q) = (self.carries, self.xs, self.ys());
        let float = |i: usize| x[i].dtype().is_float();
        // What has a cotangent: all float carries, since one step's is made of the next one's.
        let flows: Vec<usize> = (0..n).filter(|i| float(*i)).collect();
        let sliced: Vec<usize> = (n..n + m).filter(|i| needs[*i] && float(*i)).collect();
        let consts: Vec<usize> = (n + m..x.len()).filter(|i| needs[*i] && float(*i)).collect();
        let cotangent = |i: usize| dy.get(i).copied().flatten();
        let dys: Vec<usize> = (n..n + q).filter(|i| cotangent(*i).is_some()).collect();
        let dsaved: Vec<usize> = flows.iter().copied().filter(|i| cotangent(n + q + i).is_some()).collect();

        let values = |all: &[Ex<'b>]| all.iter().map(|e| e.value()).collect::<Result<Vec<Value>>>();
        let saved = if self.save { values(&y[n + q..])? } else { self.saved(x)? };

        let types = self.body.param_types();
        let draft = Draft::of(&self.body, "vjp");
        draft.b.set_strong_zero(b.strong_zero());
        let ty = |i: &usize| &types[*i];
        let dc = draft.params("dc", flows.iter().map(ty));
        let dk = draft.params("dk", consts.iter().map(ty));
        let mut args = draft.params("c", &types[..n]);
        args.extend(draft.params("x", &types[n..n + m]));
        let results = self.body.result_types();
        let dy_t = draft.params("dy", dys.iter().map(|i| &results[*i]));
        let ds_t = draft.params("ds", dsaved.iter().map(ty));
        args.extend(draft.params("k", &types[n + m..]));
        let out = draft.b.inline(&self.body, &args, Op::saving)?;
        let ex = |v: &Value| draft.b.ex(*v);
        let seeds: Vec<(Value, Ex<'_>)> =
            flows.iter().zip(&dc).chain(dys.iter().zip(&dy_t)).map(|(i, d)| (out[*i], ex(d))).collect();
        let wrt: Vec<Value> = flows.iter().chain(&sliced).chain(&consts).map(|i| args[*i]).collect();
        let mut gradients = pull(&draft.b, &seeds, &wrt)?.into_iter();
        let mut outputs = Vec::new();
        let mut slices = Vec::new();
        for i in &flows {
            let d = gradients.next().flatten();
            let kept = dsaved.iter().position(|j| j == i).map(|j| ex(&ds_t[j]));
            let d = match (d, kept) {
                (Some(d), Some(kept)) => Some(d + kept),
                (d, kept) => d.or(kept),
            };
            outputs.push(draft.or_zeros(d, ty(i)).value()?);
        }
        for i in &sliced {
            slices.push(draft.or_zeros(gradients.next().flatten(), ty(i)).value()?);
        }
        for sum in &dk {
            let sum = ex(sum);
            outputs.push(gradients.next().flatten().map_or(sum, |d| sum + d).value()?);
        }
        outputs.extend(slices);
        let body = draft.finish(outputs)?;

        let mut operands: Vec<Ex<'b>> = Vec::new();
        operands.extend(flows.iter().map(|i| cotangent(*i).unwrap_or_else(|| b.zeros(ty(i)))));
        operands.extend(consts.iter().map(|i| b.zeros(ty(i))));
        let carries = operands.len();
        operands.extend(saved.iter().map(|v| b.ex(*v)));
        operands.extend(&x[n..n + m]);
        operands.extend(dys.iter().filter_map(|i| cotangent(*i)));
        operands.extend(dsaved.iter().filter_map(|i| cotangent(n + q + i)));
        let xs = operands.len() - carries;
        operands.extend(&x[n + m..]);
        let op = Scan { body, carries, xs, length: self.length, reverse: !self.reverse, save: true };
        let node = b.emit_all(Op::Loop(op), &values(&operands)?)?;
        let mut out = vec![None; x.len()];
        // In the order of the results: carries of both kinds, then the slices.
        for (result, i) in flows.iter().chain(&consts).chain(&sliced).enumerate() {
            out[*i] = Some(b.ex(Value { node, result: result as u16 }));
        }
        Ok(out)
    }

    /// What every step began with, by running the loop once more.
    fn saved(&self, x: &[Ex<'_>]) -> Result<Vec<Value>> {
        let b = x[0].builder();
        let operands = x.iter().map(|e| e.value()).collect::<Result<Vec<_>>>()?;
        let node = b.emit_all(Op::Loop(Scan { save: true, ..self.clone() }), &operands)?;
        let first = self.body.outputs.len() as u16;
        Ok((first..first + self.carries as u16).map(|result| Value { node, result }).collect())
    }
}
