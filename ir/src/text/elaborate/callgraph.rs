//! Which functions of a file call which, or name them as bodies of control flow. None may come back to itself.

use super::{control, walk};
use crate::error::{Error, Loc, err};
use crate::text::ast::{ExprKind, Fn, Program};
use std::collections::HashMap;

/// The calls of a program among its own functions, by number.
#[derive(Debug, Default)]
pub(super) struct CallGraph {
    /// For each function the functions that it calls, with the place of one call.
    calls: Vec<Vec<(usize, Loc)>>,
    /// All functions, each behind those that it calls.
    order: Vec<usize>,
    /// For each function, whether it is named as a body of control flow.
    bodies: Vec<bool>,
}

impl CallGraph {
    /// The graph, and an error for each way in which a function calls itself.
    pub(super) fn new(program: &Program, by_name: &HashMap<String, usize>) -> (CallGraph, Vec<Error>) {
        let mut bodies = vec![false; program.fns.len()];
        for f in &program.fns {
            walk::expressions(f, &mut |e| {
                let named = control::bodies(e).into_iter().filter_map(|(name, _)| by_name.get(name));
                named.for_each(|g| bodies[*g] = true);
            });
        }
        let calls: Vec<Vec<(usize, Loc)>> = program.fns.iter().map(|f| calls_of(f, by_name)).collect();
        let mut errors = Vec::new();
        let mut order = Vec::new();
        // Depth first without recursion: a file may hold a long chain of calls.
        let mut state = vec![State::New; calls.len()];
        for start in 0..calls.len() {
            let mut stack = vec![(start, 0)];
            if state[start] != State::New {
                continue;
            }
            state[start] = State::Open;
            while let Some((f, next)) = stack.last_mut() {
                let f = *f;
                let Some((callee, loc)) = calls[f].get(*next).copied() else {
                    state[f] = State::Done;
                    order.push(f);
                    stack.pop();
                    continue;
                };
                *next += 1;
                match state[callee] {
                    State::New => {
                        state[callee] = State::Open;
                        stack.push((callee, 0));
                    }
                    State::Open => {
                        let name = &program.fns[callee].name;
                        let way: Vec<&str> = stack
                            .iter()
                            .skip_while(|(g, _)| *g != callee)
                            .map(|(g, _)| program.fns[*g].name.text.as_str())
                            .collect();
                        let e = err::unsupported(format!("recursion: `{}` calls itself", name.text)).at(loc);
                        let e = if way.len() > 1 {
                            e.note(name.loc, format!("by way of {} and back", way.join(", ")))
                        } else {
                            e.note(name.loc, "the function")
                        };
                        errors.push(e.help("calls are inlined; a loop is `while_loop` or `scan`"));
                    }
                    State::Done => {}
                }
            }
        }
        (CallGraph { calls, order, bodies }, errors)
    }

    /// Whether a function is named as a body of control flow.
    pub(super) fn is_body(&self, f: usize) -> bool {
        self.bodies[f]
    }

    /// All functions, each behind those that it calls.
    pub(super) fn order(&self) -> &[usize] {
        &self.order
    }

    /// The functions that a function calls.
    pub(super) fn callees(&self, f: usize) -> impl Iterator<Item = usize> {
        self.calls[f].iter().map(|(g, _)| *g)
    }

    /// The function and all that it calls, directly or not, each behind those that it calls.
    pub(super) fn reachable(&self, f: usize) -> Vec<usize> {
        let mut seen = vec![false; self.calls.len()];
        let mut open = vec![f];
        seen[f] = true;
        while let Some(f) = open.pop() {
            for (callee, _) in &self.calls[f] {
                if !std::mem::replace(&mut seen[*callee], true) {
                    open.push(*callee);
                }
            }
        }
        self.order.iter().copied().filter(|f| seen[*f]).collect()
    }
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    New,
    Open,
    Done,
}

fn calls_of(f: &Fn, by_name: &HashMap<String, usize>) -> Vec<(usize, Loc)> {
    let mut out: Vec<(usize, Loc)> = Vec::new();
    walk::expressions(f, &mut |e| {
        let (ExprKind::Call { callee: name, .. } | ExprKind::Method { name, .. }) = &e.kind else { return };
        let bodies = match by_name.contains_key(&name.text) {
            true => vec![(name.text.as_str(), name.loc)],
            false => control::bodies(e),
        };
        for (name, loc) in bodies {
            if let Some(&g) = by_name.get(name)
                && !out.iter().any(|(h, _)| *h == g)
            {
                out.push((g, loc));
            }
        }
    });
    out
}
