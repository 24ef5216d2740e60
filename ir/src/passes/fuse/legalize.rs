//! Makes a pure graph one that kernels can compute: inserts copies where memory is needed and there is none, and widens
//! matrix products of half floats.
//!
//! - A reshape that neither strides nor index arithmetic can say reads a copy of its operand.
//! - A constant that is read from memory (by `bmm`, say) becomes a copy of it.
//! - A result, or the final value of a written parameter, that is a parameter or a constant becomes a copy of it, so that
//!   it has memory of its own. So does a result that is also the final value of a parameter, which may then be computed in
//!   the parameter's memory.
//! - A part of a base that is to be written to another part of it, which it overlaps, is copied first.
//! - A reduction of many elements to one number becomes one of blocks and one of their results (`blocks.rs`).
//! - `bmm` of `f16` or `bf16` is computed in `f32` and rounded once.

use super::blocks::in_blocks;
use super::{Versions, is_affine, needs_memory, source};
use crate::builder::Builder;
use crate::error::Result;
use crate::graph::{Graph, NodeId, Value};
use crate::layout::Strided;
use crate::ops::Op;
use crate::types::Type;
use std::collections::HashMap;

/// The graph with copies and casts inserted. `params` are the layouts of the parameters' memory.
///
/// # Errors
/// None for a verified graph.
pub fn legalize(g: &Graph, params: &[Strided]) -> Result<Graph> {
    let b = Builder::over(g.like(g.phase));
    let mut map: HashMap<Value, Value> = HashMap::new();
    let versions = Versions::new(g);
    for n in g.nodes() {
        let node = g.node(n);
        b.set_loc(node.loc);
        let mut x: Vec<Value> = g.operands(n).iter().map(|v| map[v]).collect();
        for (i, v) in x.iter_mut().enumerate() {
            let constant = b.with_graph(|h| matches!(h.op(source(h, *v).0.node), Op::Const(_)));
            if constant && needs_memory(&node.op, i) {
                *v = b.emit(Op::Copy, &[*v])?;
            }
        }
        if let Op::SliceUpdate(_) = node.op
            && versions.overwritten(n, |_| false).is_some()
        {
            x[1] = b.emit(Op::Copy, &[x[1]])?;
        }
        let new = match &node.op {
            Op::Input(i) => b.input_node(*i, node.types[0].clone()),
            Op::Reshape(r) if !is_affine(&g.ty(g.operands(n)[0]).shape, &r.0) => {
                let layout = b.with_graph(|h| layout_of(h, x[0], params))?;
                let fits = match layout {
                    Some(l) => l.reshape(&r.0)?.is_some(),
                    None => false,
                };
                if !fits {
                    x[0] = b.emit(Op::Copy, &x)?;
                }
                b.emit(node.op.clone(), &x)?
            }
            Op::Dot if node.types[0].dtype.is_half() => {
                let wide: Vec<Value> = x.iter().map(|v| b.cast(*v, crate::DType::F32)).collect::<Result<_>>()?;
                b.cast(b.emit(Op::Dot, &wide)?, node.types[0].dtype)?
            }
            Op::Reduce(r) => {
                let in_memory = b.with_graph(|h| matches!(h.op(source(h, x[0]).0.node), Op::Input(_)));
                match in_blocks(&b, x[0], r, in_memory)? {
                    Some(v) => v,
                    None => b.emit(node.op.clone(), &x)?,
                }
            }
            op => {
                let m = b.emit_all(op.clone(), &x)?;
                for (old, new) in g.results(n).zip(0..) {
                    map.insert(old, Value { node: m, result: new });
                }
                continue;
            }
        };
        map.insert(n.into(), new);
    }
    let own = |v: Value, must: bool| -> Result<Value> {
        let v = map[&v];
        let leaf = b.with_graph(|h| matches!(h.op(source(h, v).0.node), Op::Input(_) | Op::Const(_)));
        if leaf && must { b.emit(Op::Copy, &[v]) } else { Ok(v) }
    };
    let is_view = |k: usize| g.output_views.get(k).is_some_and(Option::is_some);
    let written = |v: Value| g.mutated.iter().any(|(_, w)| source(g, *w).0 == source(g, v).0);
    let output = |(k, v): (usize, &Value)| match (is_view(k), written(*v)) {
        (false, true) => b.emit(Op::Copy, &[map[v]]),
        (view, _) => own(*v, !view),
    };
    let outputs = g.outputs.iter().enumerate().map(output).collect::<Result<_>>()?;
    let mutated = g.mutated.iter().map(|(i, v)| Ok((*i, own(*v, true)?))).collect::<Result<_>>()?;
    b.with_graph(|h| {
        h.outputs = outputs;
        h.mutated = mutated;
    });
    b.finish()
}

/// A body whose results are each computed on their own, so that each can be stored where it is asked for: a view, a
/// constant, or a value that is a result already becomes a copy.
pub fn own_results(g: &Graph) -> Graph {
    let mut g = g.clone();
    for k in 0..g.outputs.len() {
        let v = g.outputs[k];
        let op = g.op(v.node);
        let leaf = op.is_view() || matches!(op, Op::Input(_) | Op::Const(_) | Op::Literal(_));
        if leaf || g.outputs[..k].contains(&v) {
            let (ty, loc) = (g.ty(v), g.loc(v));
            let ty = Type::new(ty.dtype, ty.shape.iter().copied());
            g.outputs[k] = g.push(Op::Copy, &[v], [ty], loc).into();
        }
    }
    g
}

/// Where a value lies if its source is stored row-major (or is a parameter), if strides can say it.
///
/// # Errors
/// One that says that sizes must be known to tell.
pub fn layout_of(g: &Graph, v: Value, params: &[Strided]) -> Result<Option<Strided>> {
    let (s, views) = source(g, v);
    let base = match g.op(s.node) {
        Op::Input(i) => params.get(*i as usize).cloned(),
        _ => Some(Strided::contiguous(&g.ty(s).shape)),
    };
    through(g, base, &views)
}

/// Where a view lies: `views` from the value inwards, as [`source`] gives them.
///
/// # Errors
/// One that says that sizes must be known to tell.
pub fn through(g: &Graph, base: Option<Strided>, views: &[NodeId]) -> Result<Option<Strided>> {
    views.iter().rev().try_fold(base, |l, n| match l {
        Some(l) => g.op(*n).structural().layout(&l),
        None => Ok(None),
    })
}
