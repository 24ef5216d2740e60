//! Reads back what the header of a printed graph says: which phase it is in, and where its backward computation begins.
//!
//! A pure graph prints its final values of parameters as `x.copy_(v12);` and its results that are views of parameters as
//! views. Elaborated as any program, over a builder in the header's phase (in which there is no memory, so every view is
//! possible and no write meets another), that is a graph with writes; [`restore`] turns them back into
//! [`Graph::mutated`] and [`Graph::output_views`]. So printing, reading and restoring give the same graph.

use crate::error::{Result, err};
use crate::graph::{Graph, NodeId, OutputView, Phase, Value};
use crate::ops::Op;
use crate::passes::Rebuild;
use std::collections::HashSet;

/// The phase that the comment line before the function at byte `start` of the text says, if it says one, and the first
/// node of its last derivative.
pub fn header(text: &str, start: usize) -> Option<(Phase, Option<NodeId>)> {
    let before = text.get(..start).unwrap_or("").trim_end();
    let line = before.rsplit('\n').next().unwrap_or("").trim();
    let said = line.strip_prefix("// phase:")?;
    let (word, backward) = match said.split_once(", backward from ") {
        Some((word, v)) => (word, Some(NodeId(v.trim_start_matches('v').parse().ok()?))),
        None => (said, None),
    };
    let phase = Phase::ALL.into_iter().find(|p| p.name() == word.trim())?;
    Some((phase, backward))
}

/// Turns the writes to parameters of an elaborated dump back into final values. A traced graph stays as it is.
///
/// # Errors
/// `type` if something else than a whole parameter is written, or a parameter is used after its write.
pub fn restore(g: &Graph) -> Result<Graph> {
    if g.phase == Phase::Traced {
        return Ok(g.clone());
    }
    let mut r = Rebuild::new(g, g.phase, |body| Ok(body.clone()))?;
    let views: Vec<Option<OutputView>> = g.outputs.iter().map(|v| view(g, *v)).collect();
    let tail = tail(g, &views);
    let mut mutated = Vec::new();
    for n in g.nodes() {
        match (g.op(n), g.operands(n).as_slice()) {
            (Op::Write, [x, value]) => {
                let Op::Input(i) = g.op(x.node) else {
                    let e = err::ty(format!("a {} graph writes to whole parameters only", g.phase.name()));
                    return Err(e.at(g.node(n).loc).help("without the `// phase` line it is a program like any other"));
                };
                mutated.push((*i as usize, r.value(*value)?));
            }
            _ if tail.contains(&n) => {}
            (_, operands) => {
                if let Some((i, _)) = mutated.iter().find(|(i, _)| reads(g, operands, *i)) {
                    let e = err::ty(format!("parameter `{}` is read after its final value", g.params[*i].name));
                    return Err(e.at(g.node(n).loc));
                }
                r.copy(n)?;
            }
        }
    }
    mutated.sort_by_key(|(i, _)| *i);
    if mutated.windows(2).any(|w| w[0].0 == w[1].0) {
        return Err(err::ty("a parameter has two final values"));
    }
    r.finish_with(mutated, views)
}

/// The parameter and views that a result is, if it is one.
fn view(g: &Graph, v: Value) -> Option<OutputView> {
    let mut views = Vec::new();
    let mut at = v;
    while g.op(at.node).is_view() {
        views.push(g.op(at.node).clone());
        at = g.operands(at.node)[0];
    }
    let Op::Input(param) = g.op(at.node) else { return None };
    views.reverse();
    Some(OutputView { param: *param as usize, views })
}

/// The nodes that make the results which are views and nothing else: these are made anew at the end.
fn tail(g: &Graph, views: &[Option<OutputView>]) -> HashSet<crate::NodeId> {
    let mut tail = HashSet::new();
    for (v, _) in g.outputs.iter().zip(views).filter(|(_, view)| view.is_some()) {
        let mut at = *v;
        while g.op(at.node).is_view() && g.users(at.node).iter().all(|u| tail.contains(u)) {
            tail.insert(at.node);
            at = g.operands(at.node)[0];
        }
    }
    tail
}

fn reads(g: &Graph, operands: &[Value], param: usize) -> bool {
    operands.iter().any(|v| matches!(g.op(v.node), Op::Input(i) if *i as usize == param))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_before_a_function_says_its_phase() {
        let text = "// phase: pure\nfn f() {}\n\n// phase: purely\nfn g() {}\nfn h() {}\n\
                    // phase: differentiated, backward from v12\nfn i() {}\n";
        let at = |name: &str| header(text, text.find(name).unwrap());
        assert_eq!([at("fn f"), at("fn g"), at("fn h")], [Some((Phase::Pure, None)), None, None]);
        assert_eq!(at("fn i"), Some((Phase::Differentiated, Some(NodeId(12)))));
    }
}
