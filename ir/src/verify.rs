//! The verifier: whether a graph is one that later steps may trust.
//!
//! Traced graphs come from the builder, which checks as it appends; this finds passes that went wrong. After it nothing
//! that takes the graph may panic. Messages show the printed line of the node.

use crate::error::{Error, Result, err};
use crate::graph::{Graph, NodeId, Phase, Value};
use crate::ops::{Op, strided};
use crate::text::print::line;
use crate::types::Type;
use smallvec::SmallVec;

/// Checks operands, types, the rules of the phase, results and final values.
///
/// # Errors
/// `type`, with the printed line of the node that is wrong.
pub fn verify(g: &Graph) -> Result<()> {
    let mut seen = vec![false; g.params.len()];
    for n in g.nodes() {
        node(g, n).map_err(|e| shown(g, n, e))?;
        if let Op::Input(i) = g.op(n) {
            match seen.get_mut(*i as usize) {
                Some(seen) if !*seen => *seen = true,
                _ => return Err(shown(g, n, err::ty(format!("parameter {i} is not declared, or stands twice")))),
            }
        }
    }
    if let Some(i) = seen.iter().position(|s| !s) {
        return Err(err::ty(format!("parameter `{}` has no node", g.params[i].name)));
    }
    for v in &g.outputs {
        exists(g, *v)?;
    }
    if g.phase == Phase::Traced {
        if !g.mutated.is_empty() || g.output_views.iter().any(Option::is_some) {
            return Err(err::ty("a traced graph has no final values of parameters and no recorded views"));
        }
        return Ok(());
    }
    finals(g)?;
    no_strides(g)?;
    views(g)
}

fn shown(g: &Graph, n: NodeId, e: Error) -> Error {
    let line = if operands_exist(g, n) { line(g, n) } else { format!("node {}", n.0) };
    err::ty(format!("{}\n  in: {line}", e.diagnostic().message)).at(g.node(n).loc)
}

fn operands_exist(g: &Graph, n: NodeId) -> bool {
    g.operands(n).iter().all(|v| exists(g, *v).is_ok())
}

fn exists(g: &Graph, v: Value) -> Result<()> {
    if (v.node.0 as usize) < g.len() && (v.result as usize) < g.node(v.node).types.len() {
        return Ok(());
    }
    Err(err::ty(format!("there is no value {}.{}", v.node.0, v.result)))
}

fn node(g: &Graph, n: NodeId) -> Result<()> {
    let (node, operands) = (g.node(n), g.operands(n));
    for v in &operands {
        exists(g, *v)?;
        if v.node >= n {
            return Err(err::ty("an operand comes after its use"));
        }
    }
    let (least, most) = arity(&node.op);
    if operands.len() < least || operands.len() > most {
        return Err(err::ty(format!("{} operands, expected {least}", operands.len())));
    }
    for body in node.op.bodies() {
        let inside = |e: Error| err::ty(format!("in `{}`: {}", body.name, e.diagnostic().message));
        verify(body).map_err(inside)?;
        if body.phase != g.phase {
            let (name, is, want) = (&body.name, body.phase.name(), g.phase.name());
            return Err(err::ty(format!("`{name}` is {is} in a graph that is {want}")));
        }
        if body.params.iter().any(|p| p.mutable) || body.shares() {
            return Err(err::ty(format!("`{}` writes to a parameter or gives its memory", body.name)));
        }
    }
    match node.op {
        Op::Write if g.phase > Phase::Traced => return Err(err::ty("a write in a pure graph")),
        Op::Grad(_) | Op::Jvp(_) | Op::Vmap(_) if g.phase > Phase::Pure => {
            return Err(err::ty(format!("a `{}` in a differentiated graph", node.op.name())));
        }
        Op::Input(_) => return Ok(()),
        _ => {}
    }
    let types: SmallVec<[&Type; 3]> = operands.iter().map(|v| g.ty(*v)).collect();
    let want = node.op.structural().infer(&types)?;
    if !crate::ops::control::same(&want, &node.types) {
        return Err(err::ty(format!("the types are {:?}, the op gives {want:?}", node.types)));
    }
    Ok(())
}

/// The least and greatest number of operands.
fn arity(op: &Op) -> (usize, usize) {
    let exactly = |n| (n, n);
    match op {
        Op::Input(_) | Op::Const(_) | Op::Literal(_) | Op::Iota(_) | Op::Size(_) => exactly(0),
        Op::Map(row) => exactly(row.0.args.len()),
        Op::Cast(_)
        | Op::Copy
        | Op::Reshape(_)
        | Op::Permute(_)
        | Op::Expand(_)
        | Op::Slice(_)
        | Op::Diagonal(_)
        | Op::Strided(_)
        | Op::Unfold(_)
        | Op::ViewDtype(_)
        | Op::Bitcast(_)
        | Op::Detach
        | Op::Reduce(_)
        | Op::Scan(_) => exactly(1),
        Op::SliceUpdate(_) | Op::Kept | Op::Dot | Op::Gather(_) | Op::Merge(_) | Op::Barrier | Op::Write => exactly(2),
        Op::Scatter(_) => exactly(3),
        Op::Cond(_) => (1, usize::MAX),
        Op::While(_) | Op::Loop(_) => (0, usize::MAX),
        Op::Grad(grad) => (grad.lead(), usize::MAX),
        Op::Jvp(jvp) => (jvp.results, usize::MAX),
        Op::Vmap(v) => (v.xs, usize::MAX),
        Op::Custom(c) => (c.args.max(1), usize::MAX),
    }
}

/// Final values: of `mut` parameters, each once, of its type.
fn finals(g: &Graph) -> Result<()> {
    let mut before = None;
    for (i, v) in &g.mutated {
        exists(g, *v)?;
        let Some(p) = g.params.get(*i) else { return Err(err::ty(format!("a final value of parameter {i}"))) };
        let ty = parameter_type(g, *i);
        if !p.mutable || before >= Some(*i) || ty.is_none_or(|t| t.dtype != g.ty(*v).dtype || t.shape != g.ty(*v).shape)
        {
            return Err(err::ty(format!("parameter `{}` ends as a value {}", p.name, g.ty(*v))));
        }
        if g.parameter_of(*v).is_some_and(|j| g.mutated.iter().any(|(k, _)| *k == j)) {
            return Err(err::ty(format!("parameter `{}` ends as one that is written too", p.name)));
        }
        before = Some(*i);
    }
    Ok(())
}

/// What must be computed of a pure graph has no views that only memory can say.
fn no_strides(g: &Graph) -> Result<()> {
    let live = g.computed();
    match g.nodes().find(|n| live[n.0 as usize] && strided::needs_memory(g.op(*n))) {
        Some(n) => Err(shown(g, n, err::ty(format!("`{}` in a pure graph", g.op(n).name())))),
        None => Ok(()),
    }
}

/// Results: recorded as views exactly if they share a parameter's memory.
fn views(g: &Graph) -> Result<()> {
    for (k, v) in g.outputs.iter().enumerate() {
        match g.output_views.get(k) {
            Some(Some(view)) => {
                let ty = parameter_type(g, view.param).ok_or_else(|| err::ty("a result is a view of no parameter"))?;
                let step = |t: Type, op: &Op| match op.is_view() {
                    true => Ok(op.structural().infer(&[&t])?.remove(0)),
                    false => Err(err::ty(format!("result {k} is a view by `{}`", op.name()))),
                };
                let ty = view.views.iter().try_fold(ty.clone(), step)?;
                if ty.dtype != g.ty(*v).dtype || ty.shape != g.ty(*v).shape {
                    return Err(err::ty(format!("result {k} is {}, the view gives {ty}", g.ty(*v))));
                }
            }
            _ if g.parameter_of(*v).is_some() => {
                return Err(shown(g, v.node, err::ty(format!("result {k} is new memory, but shares a parameter's"))));
            }
            _ => {}
        }
    }
    Ok(())
}

fn parameter_type(g: &Graph, i: usize) -> Option<&Type> {
    g.nodes().find(|n| matches!(g.op(*n), Op::Input(k) if *k as usize == i)).map(|n| g.ty(n.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Loc;
    use crate::graph::OutputView;
    use crate::ops::effect::Grad;
    use crate::ops::elementwise::Row;
    use crate::{Builder, DType};

    /// `neg(x)` of a written parameter `x`, in that phase.
    fn graph(phase: Phase) -> Graph {
        let mut g = Graph::new("f");
        g.phase = phase;
        let b = Builder::over(g);
        let x = b.input("x", Type::new(DType::F32, [2, 3]), true, None);
        let y = b.ex(x).map("neg", &[]).value().unwrap();
        b.with_graph(|g| {
            g.outputs = vec![y];
            g.output_views = vec![None];
            g.mutated = if phase == Phase::Traced { vec![] } else { vec![(0, y)] };
        });
        b.finish().unwrap()
    }

    #[test]
    fn bodies_are_in_the_phase_of_the_graph_and_write_to_no_parameter() {
        use crate::ops::control::{Body, Cond};
        let with = |body: Graph| {
            let body = Body::new(body);
            let mut g = graph(Phase::Traced);
            let types = [Type::new(DType::Bool, [0usize; 0]), Type::new(DType::F32, [2, 3])];
            let p: Value =
                g.push(Op::Const(crate::Scalar::from_bool(true)), &[], [types[0].clone()], Loc::Unknown).into();
            g.push(Op::Cond(Cond { branches: [body.clone(), body] }), &[p, x()], [types[1].clone()], Loc::Unknown);
            verify(&g).map_err(|e| e.diagnostic().message.clone())
        };
        let fixed = |phase| {
            let mut g = graph(phase);
            g.mutated.clear();
            g.params[0].mutable = false;
            g
        };
        assert_eq!(with(fixed(Phase::Traced)), Ok(()));
        assert!(with(fixed(Phase::Pure)).unwrap_err().starts_with("`f` is pure in a graph that is traced"));
        assert!(with(graph(Phase::Traced)).unwrap_err().contains("writes to a parameter"));
        let mut same = fixed(Phase::Traced);
        same.outputs = vec![x()];
        assert!(with(same).unwrap_err().contains("gives its memory"));
        let mut broken = fixed(Phase::Traced);
        broken.push(Op::Copy, &[x()], [Type::new(DType::F32, [6])], Loc::Unknown);
        assert!(with(broken).unwrap_err().starts_with("in `f`: the types are"));
    }

    fn x() -> Value {
        Value { node: NodeId(0), result: 0 }
    }

    fn y() -> Value {
        Value { node: NodeId(1), result: 0 }
    }

    #[track_caller]
    fn refused(g: &Graph, why: &str) {
        let e = verify(g).unwrap_err().to_string();
        assert!(e.contains(why), "{e}");
    }

    #[test]
    fn a_sound_graph_passes() {
        for phase in Phase::ALL {
            verify(&graph(phase)).unwrap();
        }
    }

    #[test]
    fn types_are_what_the_op_gives() {
        let mut g = graph(Phase::Pure);
        let exp = Op::Map(Row::find("exp").unwrap());
        g.push(exp.clone(), &[y()], [Type::new(DType::F64, [2, 3])], Loc::Unknown);
        refused(&g, "in: let v2: f64[2, 3] = exp(v1);");
        let mut g = graph(Phase::Pure);
        g.push(exp, &[], [Type::new(DType::F32, [2, 3])], Loc::Unknown);
        refused(&g, "0 operands, expected 1");
    }

    #[test]
    fn what_a_pass_removed_stays_away() {
        let write = |phase| {
            let mut g = graph(phase);
            g.push(Op::Write, &[x(), y()], [], Loc::Unknown);
            g
        };
        verify(&write(Phase::Traced)).unwrap();
        refused(&write(Phase::Pure), "a write in a pure graph\n  in: write_(x, v1);");
        let grad = |phase| {
            let mut g = graph(phase);
            let op = Op::Grad(Grad { seeded: true, allow_unused: false, ..Grad::default() });
            g.push(op, &[y(), y(), x()], [Type::new(DType::F32, [2, 3])], Loc::Unknown);
            g
        };
        verify(&grad(Phase::Pure)).unwrap();
        refused(&grad(Phase::Differentiated), "in: let v2: f32[2, 3] = grad(v1, x, seed=v1);");
    }

    #[test]
    fn results_and_final_values_exist_and_fit() {
        let mut g = graph(Phase::Pure);
        g.outputs = vec![Value { node: NodeId(7), result: 0 }];
        refused(&g, "there is no value 7.0");
        let mut g = graph(Phase::Pure);
        g.params[0].mutable = false;
        refused(&g, "parameter `x` ends as");
        let mut g = graph(Phase::Pure);
        g.mutated.push((0, y()));
        refused(&g, "parameter `x` ends as");
        let mut g = graph(Phase::Pure);
        g.mutated = vec![(0, x())];
        refused(&g, "ends as one that is written too");
        let mut g = graph(Phase::Traced);
        g.mutated.push((0, y()));
        refused(&g, "a traced graph has no final values");
    }

    #[test]
    fn results_that_share_a_parameters_memory_are_recorded() {
        let mut g = graph(Phase::Pure);
        g.outputs = vec![x()];
        refused(&g, "result 0 is new memory, but shares a parameter's");
        g.output_views = vec![Some(OutputView { param: 0, views: vec![] })];
        verify(&g).unwrap();
        g.output_views = vec![Some(OutputView { param: 0, views: vec![Op::Permute(permuted())] })];
        refused(&g, "result 0 is f32[2, 3], the view gives f32[3, 2]");
    }

    fn permuted() -> crate::ops::view::Permute {
        crate::ops::view::Permute([1, 0].into_iter().collect())
    }

    #[test]
    fn every_parameter_has_one_node() {
        let mut g = graph(Phase::Pure);
        g.params.push(crate::graph::Param { name: "lost".into(), mutable: false });
        refused(&g, "parameter `lost` has no node");
        g.push(Op::Input(0), &[], [Type::new(DType::F32, [0usize; 0])], Loc::Unknown);
        refused(&g, "parameter 0 is not declared, or stands twice");
    }
}
