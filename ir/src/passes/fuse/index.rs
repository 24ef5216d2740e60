//! Index maps through views: at which index of its source a value is read.

use crate::dim::{Dim, Dims, product};
use crate::graph::{Graph, NodeId};
use crate::ops::Op;
use smallvec::SmallVec;

/// One index of the source, in terms of the reader's indices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Along {
    /// Always 0.
    Zero,
    /// The reader's index of that dimension.
    Same(usize),
    /// Something else.
    Other,
}

/// The source's indices, one for each of its dimensions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DimMap {
    dims: SmallVec<[Along; 4]>,
    shape: Dims,
}

impl DimMap {
    /// Reading at the reader's own index.
    pub fn identity(space: &[Dim]) -> DimMap {
        DimMap { dims: (0..space.len()).map(Along::Same).collect(), shape: space.into() }
    }

    /// Reading at the reader's indices of these dimensions; of those of one element it does not matter which.
    pub fn along(dims: &[usize], shape: &[Dim]) -> DimMap {
        let along = |(d, extent): (&usize, &Dim)| if extent.is(1) { Along::Zero } else { Along::Same(*d) };
        DimMap { dims: dims.iter().zip(shape).map(along).collect(), shape: shape.into() }
    }

    /// Reading at an index of `space` through `views`, outermost first.
    pub fn through(g: &Graph, space: &[Dim], views: &[NodeId]) -> DimMap {
        DimMap::identity(space).then(g, views)
    }

    /// Reading through `views`, outermost first, what was read before itself.
    pub fn then(&self, g: &Graph, views: &[NodeId]) -> DimMap {
        let mut m = self.clone();
        for n in views {
            m.step(g, *n);
        }
        m
    }

    /// The source's indices, one for each of its dimensions.
    pub fn dims(&self) -> &[Along] {
        &self.dims
    }

    fn step(&mut self, g: &Graph, view: NodeId) {
        let inner = g.ty(g.operands(view)[0]).shape.clone();
        let dims: SmallVec<[Along; 4]> = match g.op(view) {
            Op::Detach => self.dims.clone(),
            Op::Permute(p) => {
                let mut d: SmallVec<[Along; 4]> = SmallVec::from_elem(Along::Zero, p.0.len());
                for (i, o) in p.0.iter().enumerate() {
                    d[*o] = self.dims[i];
                }
                d
            }
            Op::Expand(e) => {
                let lead = e.0.len() - inner.len();
                let at = |i: usize| if inner[i].is(1) { Along::Zero } else { self.dims[lead + i] };
                (0..inner.len()).map(at).collect()
            }
            Op::Slice(s) => {
                let whole = |i: usize| s.0[i].start.is(0) && s.0[i].step == 1;
                (0..inner.len()).map(|i| if whole(i) { self.dims[i] } else { Along::Other }).collect()
            }
            Op::Reshape(r) => {
                // Only extents of 1 come and go: the others keep their order.
                let wide = |s: &[Dim]| -> Vec<usize> { (0..s.len()).filter(|i| !s[*i].is(1)).collect() };
                let (from, to) = (wide(&r.0), wide(&inner));
                let same = from.len() == to.len() && from.iter().zip(&to).all(|(a, b)| r.0[*a] == inner[*b]);
                let mut d: SmallVec<[Along; 4]> = SmallVec::from_elem(Along::Zero, inner.len());
                for (k, i) in to.iter().enumerate() {
                    d[*i] = if same { self.dims[from[k]] } else { Along::Other };
                }
                d
            }
            _ => SmallVec::from_elem(Along::Other, inner.len()),
        };
        self.dims = dims;
        self.shape = inner;
    }

    /// Whether the source, of the reader's shape, is read at the reader's own index.
    pub fn is_identity(&self, space: &[Dim]) -> bool {
        let all: Vec<usize> = (0..space.len()).collect();
        self.is_selection(space, &all)
    }

    /// Whether the source is read at the same index of a common domain: every source dimension of more than one element
    /// follows the reader's dimension of the same axis. `reader` and `source` name the axes of their dimensions; `reduced`
    /// axes have one element in the source.
    pub fn agrees(&self, reader: &[usize], source: &[usize], reduced: &[usize]) -> bool {
        self.shape.len() == source.len()
            && source.iter().zip(&self.dims).zip(&self.shape).all(|((axis, d), extent)| match d {
                Along::Same(p) => reader.get(*p) == Some(axis) || extent.is(1),
                Along::Zero => extent.is(1) || reduced.contains(axis),
                Along::Other => false,
            })
    }

    /// Whether the source's dimensions are the reader's `kept` ones, read at the reader's index.
    pub fn is_selection(&self, space: &[Dim], kept: &[usize]) -> bool {
        self.shape.len() == kept.len()
            && kept.iter().zip(&self.dims).zip(&self.shape).all(|((k, d), extent)| {
                *extent == space[*k] && (*d == Along::Same(*k) || (extent.is(1) && *d != Along::Other))
            })
    }
}

/// For each dimension of `from`, the dimensions of `to` that it is made of, whole and in order, when a value of shape
/// `from` is read as one of shape `to`; `None` if one is not, or if that depends on sizes. Extents of 1 are left out.
pub fn blocks(from: &[Dim], to: &[Dim]) -> Option<Vec<Vec<usize>>> {
    if from.contains(&Dim::ZERO) || to.contains(&Dim::ZERO) {
        return Some(vec![Vec::new(); from.len()]);
    }
    let mut wide = (0..to.len()).filter(|j| !to[*j].is(1)).peekable();
    let mut out = Vec::with_capacity(from.len());
    for d in from {
        let mut block = Vec::new();
        let mut n = Dim::ONE;
        while n != *d {
            let j = wide.next_if(|j| d.exact_div(n * to[*j]).is_some())?;
            n = n * to[j];
            block.push(j);
        }
        out.push(block);
    }
    wide.next().is_none().then_some(out)
}

/// Whether reading a value of shape `to` that is a reshape of one of shape `from` takes only multiplications: every
/// dimension of `from` is made of whole dimensions of `to`.
pub fn is_affine(from: &[Dim], to: &[Dim]) -> bool {
    product(from) == product(to) && blocks(from, to).is_some()
}
