//! The graph: nodes are ops, edges carry values from results to operands. The only file that knows petgraph, but for minimum
//! cuts.
//!
//! Nodes are only ever appended, and a pass that removes something builds a new graph. So a node's number is stable, and
//! ascending numbers are an order in which everything can be computed; before functionalize they are also the order of
//! the program's effects. petgraph gives neighbours newest first and merges nothing: [`Graph::operands`] is the one place
//! that puts edges back in operand order.

use crate::error::Loc;
use crate::ops::Op;
use crate::types::Type;
use petgraph::Direction::{Incoming, Outgoing};
use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::EdgeRef;
use smallvec::SmallVec;

/// A node of one graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub u32);

/// One result of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Value {
    /// The node.
    pub node: NodeId,
    /// Which of its results.
    pub result: u16,
}

/// A few values.
pub type Values = SmallVec<[Value; 3]>;

/// One op with its results.
#[derive(Clone, Debug)]
pub struct Node {
    /// What it does.
    pub op: Op,
    /// The types of its results.
    pub types: SmallVec<[Type; 1]>,
    /// The user's line it comes from.
    pub loc: Loc,
}

#[derive(Clone, Copy, Debug)]
struct Edge {
    operand: u16,
    result: u16,
}

/// A parameter of the graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Param {
    /// Its name, as the user wrote it.
    pub name: String,
    /// Whether the program may write to its memory.
    pub mutable: bool,
}

/// A result that shares memory with a parameter: apply the view ops in turn to the parameter.
#[derive(Clone, Debug, PartialEq)]
pub struct OutputView {
    /// Which parameter.
    pub param: usize,
    /// The views, first applied first.
    pub views: Vec<Op>,
}

/// How far a graph has come; the verifier knows what each phase allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// As recorded: views and writes in program order, `grad` as an op.
    Traced,
    /// No writes; the final values of written parameters are results.
    Pure,
    /// No `grad`.
    Differentiated,
}

impl Phase {
    /// All phases, in order.
    pub const ALL: [Phase; 3] = [Phase::Traced, Phase::Pure, Phase::Differentiated];

    /// The word in the header of a printed graph.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Traced => "traced",
            Phase::Pure => "pure",
            Phase::Differentiated => "differentiated",
        }
    }
}

/// A program as a graph.
#[derive(Clone, Debug)]
pub struct Graph {
    g: DiGraph<Node, Edge>,
    /// Name of the function.
    pub name: String,
    /// Parameters; `Op::Input(i)` reads number `i`.
    pub params: Vec<Param>,
    /// Results, in order.
    pub outputs: Vec<Value>,
    /// For each result, the parameter it is a view of, if any (from [`Phase::Pure`] on).
    pub output_views: Vec<Option<OutputView>>,
    /// Parameters with the values their memory holds at the end (from [`Phase::Pure`] on).
    pub mutated: Vec<(usize, Value)>,
    /// Whether the user's function gives a tuple (also of one) rather than a single value.
    pub tuple: bool,
    /// How far it has come.
    pub phase: Phase,
    /// The first node of the last derivative (from [`Phase::Differentiated`] on): the ones before are computed forward, and
    /// what they leave behind is kept for those from here on.
    pub backward: Option<NodeId>,
}

impl Graph {
    /// An empty graph with that name.
    pub fn new(name: impl Into<String>) -> Graph {
        Graph {
            g: DiGraph::new(),
            name: name.into(),
            params: Vec::new(),
            outputs: Vec::new(),
            output_views: Vec::new(),
            mutated: Vec::new(),
            tuple: false,
            phase: Phase::Traced,
            backward: None,
        }
    }

    /// A graph with this one's name, parameters and form of result, and no nodes.
    pub fn like(&self, phase: Phase) -> Graph {
        let mut g = Graph::new(self.name.clone());
        g.params = self.params.clone();
        g.output_views = self.output_views.clone();
        g.tuple = self.tuple;
        g.phase = phase;
        g
    }

    /// Appends a node. The operands exist already, the types are what the op infers.
    pub fn push(&mut self, op: Op, operands: &[Value], types: impl IntoIterator<Item = Type>, loc: Loc) -> NodeId {
        let n = self.g.add_node(Node { op, types: types.into_iter().collect(), loc });
        for (i, v) in operands.iter().enumerate() {
            self.g.add_edge(NodeIndex::new(v.node.0 as usize), n, Edge { operand: i as u16, result: v.result });
        }
        NodeId(n.index() as u32)
    }

    /// The number of nodes.
    pub fn len(&self) -> usize {
        self.g.node_count()
    }

    /// Whether there is no node.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of nodes, those of the bodies of control ops included.
    pub fn size(&self) -> usize {
        let inside = |n| self.op(n).bodies().into_iter().map(|b| b.size()).sum::<usize>();
        self.len() + self.nodes().map(inside).sum::<usize>()
    }

    /// Whether some op asks for a derivative, also in the bodies of control ops.
    pub fn has_grad(&self) -> bool {
        let asks = |op: &Op| matches!(op, Op::Grad(_) | Op::Jvp(_));
        self.nodes().any(|n| asks(self.op(n)) || self.op(n).bodies().iter().any(|b| b.has_grad()))
    }

    /// All nodes, each after its operands.
    pub fn nodes(&self) -> impl DoubleEndedIterator<Item = NodeId> + use<> {
        (0..self.g.node_count() as u32).map(NodeId)
    }

    /// A node.
    pub fn node(&self, n: NodeId) -> &Node {
        &self.g[NodeIndex::new(n.0 as usize)]
    }

    /// The op of a node.
    pub fn op(&self, n: NodeId) -> &Op {
        &self.node(n).op
    }

    /// The operands of a node, in order.
    pub fn operands(&self, n: NodeId) -> Values {
        let mut edges: SmallVec<[(u16, Value); 4]> = self
            .g
            .edges_directed(NodeIndex::new(n.0 as usize), Incoming)
            .map(|e| {
                let node = NodeId(e.source().index() as u32);
                (e.weight().operand, Value { node, result: e.weight().result })
            })
            .collect();
        edges.sort_unstable_by_key(|(i, _)| *i);
        edges.into_iter().map(|(_, v)| v).collect()
    }

    /// The nodes that read any result of `n`, ascending, each once.
    pub fn users(&self, n: NodeId) -> SmallVec<[NodeId; 4]> {
        let mut users: SmallVec<[NodeId; 4]> = self
            .g
            .neighbors_directed(NodeIndex::new(n.0 as usize), Outgoing)
            .map(|m| NodeId(m.index() as u32))
            .collect();
        users.sort_unstable();
        users.dedup();
        users
    }

    /// The results of a node.
    pub fn results(&self, n: NodeId) -> impl Iterator<Item = Value> + use<> {
        (0..self.node(n).types.len() as u16).map(move |result| Value { node: n, result })
    }

    /// The parameter that a value is, or is a view of.
    pub fn parameter_of(&self, mut v: Value) -> Option<usize> {
        while self.op(v.node).is_view() {
            v = self.operands(v.node)[0];
        }
        match self.op(v.node) {
            Op::Input(i) => Some(*i as usize),
            _ => None,
        }
    }

    /// The parameters that a traced program writes to, in order.
    pub fn written(&self) -> Vec<usize> {
        let writes = self.nodes().filter(|n| matches!(self.op(*n), Op::Write));
        let mut all: Vec<usize> = writes.filter_map(|n| self.parameter_of(self.operands(n)[0])).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// The type of a value.
    pub fn ty(&self, v: Value) -> &Type {
        &self.node(v.node).types[v.result as usize]
    }

    /// The user's line that made a value.
    pub fn loc(&self, v: Value) -> Loc {
        self.node(v.node).loc
    }

    /// The values that must be computed: results that are no views of a parameter, and final values of written
    /// parameters.
    pub fn computed_roots(&self) -> impl Iterator<Item = Value> + '_ {
        let is_view = |k: usize| matches!(self.output_views.get(k), Some(Some(_)));
        let results = self.outputs.iter().enumerate().filter(move |(k, _)| !is_view(*k)).map(|(_, v)| *v);
        results.chain(self.mutated.iter().map(|(_, v)| *v))
    }

    /// For each node, whether a value that must be computed depends on it.
    pub fn computed(&self) -> Vec<bool> {
        let mut live = vec![false; self.len()];
        for v in self.computed_roots() {
            live[v.node.0 as usize] = true;
        }
        for n in self.nodes().rev() {
            if live[n.0 as usize] {
                self.operands(n).into_iter().for_each(|v| live[v.node.0 as usize] = true);
            }
        }
        live
    }
}

impl From<NodeId> for Value {
    /// The first result.
    fn from(node: NodeId) -> Value {
        Value { node, result: 0 }
    }
}
