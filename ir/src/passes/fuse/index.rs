//! Index maps through views: at which index of its source a value is read.

use crate::graph::{Graph, NodeId};
use crate::ops::Op;
use crate::types::Shape;
use smallvec::SmallVec;

/// One index of the source, in terms of the reader's indices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dim {
    /// Always 0.
    Zero,
    /// The reader's index of that dimension.
    Same(usize),
    /// Something else.
    Other,
}

/// The source's indices, one for each of its dimensions.
#[derive(Clone, Debug)]
pub struct DimMap {
    dims: SmallVec<[Dim; 4]>,
    shape: Shape,
}

impl DimMap {
    /// Reading at an index of `space` through `views`, outermost first.
    pub fn through(g: &Graph, space: &[usize], views: &[NodeId]) -> DimMap {
        let mut m = DimMap { dims: (0..space.len()).map(Dim::Same).collect(), shape: space.into() };
        for n in views {
            m.step(g, *n);
        }
        m
    }

    fn step(&mut self, g: &Graph, view: NodeId) {
        let inner = g.ty(g.operands(view)[0]).shape.clone();
        let dims: SmallVec<[Dim; 4]> = match g.op(view) {
            Op::Detach => self.dims.clone(),
            Op::Permute(p) => {
                let mut d: SmallVec<[Dim; 4]> = SmallVec::from_elem(Dim::Zero, p.0.len());
                for (i, o) in p.0.iter().enumerate() {
                    d[*o] = self.dims[i];
                }
                d
            }
            Op::Expand(e) => {
                let lead = e.0.len() - inner.len();
                let at = |i: usize| if inner[i] == 1 { Dim::Zero } else { self.dims[lead + i] };
                (0..inner.len()).map(at).collect()
            }
            Op::Slice(s) => {
                let whole = |i: usize| s.0[i].start == 0 && s.0[i].step == 1;
                (0..inner.len()).map(|i| if whole(i) { self.dims[i] } else { Dim::Other }).collect()
            }
            Op::Reshape(r) => {
                // Only extents of 1 come and go: the others keep their order.
                let wide = |s: &[usize]| -> Vec<usize> { (0..s.len()).filter(|i| s[*i] != 1).collect() };
                let (from, to) = (wide(&r.0), wide(&inner));
                let same = from.len() == to.len() && from.iter().zip(&to).all(|(a, b)| r.0[*a] == inner[*b]);
                let mut d: SmallVec<[Dim; 4]> = SmallVec::from_elem(Dim::Zero, inner.len());
                for (k, i) in to.iter().enumerate() {
                    d[*i] = if same { self.dims[from[k]] } else { Dim::Other };
                }
                d
            }
            _ => SmallVec::from_elem(Dim::Other, inner.len()),
        };
        self.dims = dims;
        self.shape = inner;
    }

    /// Whether the source, of the reader's shape, is read at the reader's own index.
    pub fn is_identity(&self, space: &[usize]) -> bool {
        let all: Vec<usize> = (0..space.len()).collect();
        self.is_selection(space, &all)
    }

    /// Whether the source is read at the same index of a common domain: every source dimension of more than one element
    /// follows the reader's dimension of the same axis. `reader` and `source` name the axes of their dimensions; `reduced`
    /// axes have one element in the source.
    pub fn agrees(&self, reader: &[usize], source: &[usize], reduced: &[usize]) -> bool {
        self.shape.len() == source.len()
            && source.iter().zip(&self.dims).zip(&self.shape).all(|((axis, d), extent)| match d {
                Dim::Same(p) => reader.get(*p) == Some(axis) || *extent == 1,
                Dim::Zero => *extent == 1 || reduced.contains(axis),
                Dim::Other => false,
            })
    }

    /// Whether the source's dimensions are the reader's `kept` ones, read at the reader's index.
    pub fn is_selection(&self, space: &[usize], kept: &[usize]) -> bool {
        self.shape.len() == kept.len()
            && kept.iter().zip(&self.dims).zip(&self.shape).all(|((k, d), extent)| {
                *extent == space[*k] && (*d == Dim::Same(*k) || (*extent == 1 && *d != Dim::Other))
            })
    }
}

/// Whether reading a value of shape `to` that is a reshape of one of shape `from` takes only multiplications: every
/// dimension of `from` is made of whole dimensions of `to`.
pub fn is_affine(from: &[usize], to: &[usize]) -> bool {
    if from.contains(&0) || to.contains(&0) {
        return true;
    }
    let to: Vec<usize> = to.iter().copied().filter(|d| *d != 1).collect();
    let mut j = 0;
    for d in from.iter().filter(|d| **d != 1) {
        let mut n = 1;
        while n < *d && j < to.len() {
            n *= to[j];
            j += 1;
        }
        if n != *d {
            return false;
        }
    }
    true
}
