//! Runs a graph node by node. A traced graph runs with real memory: views share it and writes change it.

use super::Array;
use crate::error::{Result, err};
use crate::graph::{Graph, NodeId, Value};
use crate::ops::{Effect, Op};
use std::collections::HashMap;

/// What has been computed.
pub(super) type Values = HashMap<Value, Array>;

/// A value that has been computed.
pub(super) fn get(values: &Values, v: Value) -> Result<Array> {
    values.get(&v).cloned().ok_or_else(|| err::internal("the interpreter ran into a value with no definition"))
}

/// Runs one node, whose operands are in `values`.
pub(super) fn step(g: &Graph, n: NodeId, values: &mut Values, input: &impl Fn(usize) -> Result<Array>) -> Result<()> {
    let node = g.node(n);
    let x: Vec<Array> = g.operands(n).into_iter().map(|v| get(values, v)).collect::<Result<_>>()?;
    let placed = |e: crate::Error| e.at(node.loc);
    match (&node.op, node.op.effect()) {
        (Op::Input(i), _) => {
            values.insert(n.into(), input(*i as usize)?);
        }
        (_, Effect::Write) => x[0].write(&x[1].bits()),
        (op, Effect::View) => {
            // A functionalized graph may hold views that strides cannot say (their base was re-derived): copy.
            let a = match op.layout(&x[0].layout) {
                Some(l) => x[0].view(l).retyped(node.types[0].dtype),
                None => op.structural().eval(&x).map_err(placed)?,
            };
            values.insert(n.into(), a);
        }
        (Op::Grad(_) | Op::Jvp(_), _) => {
            let name = node.op.name();
            return Err(err::internal(format!("`{name}` must be removed by autodiff first")).at(node.loc));
        }
        (op, Effect::Fresh) => {
            let all = op.structural().eval_all(&x).map_err(placed)?;
            values.extend(g.results(n).zip(all));
        }
    }
    Ok(())
}

/// Runs `g` on `inputs` and gives its results (views share the inputs' memory). Writes change `inputs`; a pure graph's
/// final values of written parameters are written at the end.
///
/// # Errors
/// `data` if a check fails; `unsupported` if the graph still holds `grad`.
pub fn run(g: &Graph, inputs: &[Array]) -> Result<Vec<Array>> {
    let mut values = Values::new();
    let input = |i: usize| inputs.get(i).cloned().ok_or_else(|| err::internal("too few inputs"));
    for n in g.nodes() {
        step(g, n, &mut values, &input)?;
    }
    let outputs = g.outputs.iter().map(|v| get(&values, *v)).collect::<Result<Vec<_>>>()?;
    let finals = g.mutated.iter().map(|(i, v)| Ok((*i, get(&values, *v)?.bits()))).collect::<Result<Vec<_>>>()?;
    // Results that are new keep their values; results that are views of a parameter see the final writes.
    let outputs = outputs
        .into_iter()
        .enumerate()
        .map(|(k, a)| match g.output_views.get(k) {
            Some(Some(v)) => v.views.iter().try_fold(inputs[v.param].clone(), |base, op| {
                let l = op.layout(&base.layout).ok_or_else(|| err::internal("a returned view is impossible"))?;
                let dtype = if let Op::ViewDtype(d) = op { d.to } else { base.dtype };
                Ok(base.view(l).retyped(dtype))
            }),
            _ if !g.mutated.is_empty() && inputs.iter().any(|i| i.shares(&a)) => Ok(a.copied()),
            _ => Ok(a),
        })
        .collect::<Result<Vec<_>>>()?;
    for (i, bits) in finals {
        inputs[i].write(&bits);
    }
    Ok(outputs)
}
