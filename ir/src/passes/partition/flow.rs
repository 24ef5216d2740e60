//! A minimum cut of a network, by petgraph's maximum flow. Besides the graph the only file that knows petgraph.

use petgraph::algo::dinics;
use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::EdgeRef;
use petgraph::{Incoming, Outgoing};
use std::collections::HashSet;

/// More than any cut costs.
pub const NEVER: u64 = 1 << 60;

/// A node of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Point(NodeIndex);

/// A directed graph whose edges have capacities, with a source and a sink.
pub struct Network {
    net: DiGraph<(), u64>,
    /// Where what is cut comes from.
    pub source: Point,
    /// Where it is to be kept from.
    pub sink: Point,
}

impl Network {
    /// One of a source and a sink.
    pub fn new() -> Network {
        let mut net = DiGraph::new();
        let [source, sink] = [(); 2].map(|()| Point(net.add_node(())));
        Network { net, source, sink }
    }

    /// Another node.
    pub fn point(&mut self) -> Point {
        Point(self.net.add_node(()))
    }

    /// An edge; of several between two nodes the capacities add up.
    pub fn edge(&mut self, from: Point, to: Point, capacity: u64) {
        self.net.add_edge(from.0, to.0, capacity);
    }

    /// The nodes on the side of the sink of a minimum cut; of several cuts the one that leaves the fewest there.
    pub fn sink_side(&self) -> HashSet<Point> {
        let (_, flow) = dinics(&self.net, self.source.0, self.sink.0);
        // What can still reach the sink.
        let (mut reach, mut open) = (HashSet::from([self.sink]), vec![self.sink]);
        while let Some(Point(at)) = open.pop() {
            let into = self.net.edges_directed(at, Incoming).filter(|e| flow[e.id().index()] < *e.weight());
            let back = self.net.edges_directed(at, Outgoing).filter(|e| flow[e.id().index()] > 0);
            let next: Vec<NodeIndex> = into.map(|e| e.source()).chain(back.map(|e| e.target())).collect();
            open.extend(next.into_iter().map(Point).filter(|p| reach.insert(*p)));
        }
        reach
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cut_goes_through_the_cheapest_edges() {
        // source -3-> a -1-> b -3-> sink, and source -2-> b.
        let mut net = Network::new();
        let (a, b) = (net.point(), net.point());
        net.edge(net.source, a, 3);
        net.edge(a, b, 1);
        net.edge(b, net.sink, 4);
        net.edge(net.source, b, 2);
        let side = net.sink_side();
        assert!(side.contains(&b) && !side.contains(&a) && !side.contains(&net.source));
    }

    #[test]
    fn of_two_minimum_cuts_it_is_the_one_at_the_sink() {
        let mut net = Network::new();
        let a = net.point();
        net.edge(net.source, a, 2);
        net.edge(a, net.sink, 2);
        assert!(!net.sink_side().contains(&a));
    }
}
