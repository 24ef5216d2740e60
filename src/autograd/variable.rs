//! What autograd knows of a tensor in memory: whether it requires a gradient, what made it, what was written to it.
//!
//! A tensor with memory of its own is a *root*. A view knows its root and the views that lead to it ([`Origin`]); so a write
//! through any view is a part of the history of the root, and everything that shares the memory has its new history, as
//! PyTorch's `CopySlices`. A tensor on which `requires_grad_` was called is a root too, whatever it is a view of; and so is
//! what `detach` gives, although it shares the memory.
//!
//! What an op has read is held as a [`Link`]: enough to find the value again in a replay of the recorded ops, but not its
//! memory, which is kept only where a derivative reads it.

use super::tape::Node;
use crate::tensor::concrete::Concrete;
use crate::tensor::{Repr, Tensor};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tensorc_ir::{DType, Graph, Layout, Op};
use tensorc_runtime::executable::View;

/// Places of ops and views in the order in which they ran.
pub(super) fn next_place() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// What a tensor is to gradients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// None flows to it.
    Plain,
    /// It accumulates one: `requires_grad_` was called on it.
    Leaf,
    /// It says that it requires one, as in PyTorch, since it is a view of what does; but it was made while nothing was
    /// recorded, and none flows.
    Nominal,
    /// One flows through it to what it was made of.
    Computed,
}

/// What a view is a view of.
pub(crate) struct Origin {
    pub(crate) root: Arc<Concrete>,
    pub(crate) view: Arc<ViewOf>,
    /// The function that made it, and which of its results it is.
    pub(crate) name: Arc<str>,
    pub(crate) result: usize,
    pub(crate) created: Created,
    /// Whether it required a gradient from the first.
    pub(crate) recorded: bool,
}

/// What is special about how a view was made, or else the view that it is a view of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Created {
    Plain,
    /// While nothing was recorded.
    NoGrad,
    /// As one of several results of a function.
    OneOf,
}

/// A view: of a root, or of another view.
pub(crate) struct ViewOf {
    pub(super) place: u64,
    pub(super) parent: Option<Arc<ViewOf>>,
    pub(super) ops: Arc<[Op]>,
    /// Which compiled op it comes from: the same number, the same view.
    pub(super) id: u64,
}

/// A root, as an identity: it holds no memory and no history.
pub(crate) struct Root {
    pub(super) dtype: DType,
    pub(super) layout: Layout,
}

/// What autograd notes of one tensor.
pub(crate) struct Track {
    pub(super) root: Arc<Root>,
    state: Mutex<State>,
    /// Held while a gradient is added to `grad`: that runs an op, which must not find the state locked.
    pub(super) adding: Mutex<()>,
}

#[derive(Default)]
pub(crate) struct State {
    /// `requires_grad_` was called: a leaf.
    pub(super) requires: bool,
    /// `retain_grad` was called.
    pub(super) retains: bool,
    pub(super) grad: Option<Tensor>,
    /// The recorded op whose result it is, and which one.
    pub(super) creator: Option<(Arc<Node>, usize)>,
    /// Of a root: the last recorded write to it or to a view of it, and whether it was to a view.
    pub(super) last_write: Option<(Arc<Node>, bool)>,
}

impl Track {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A tensor as an op has met it.
pub(super) struct Link {
    pub(super) root: Arc<Root>,
    pub(super) view: Option<Arc<ViewOf>>,
    /// What made the root.
    pub(super) creator: Option<Arc<Node>>,
    /// What had last written to the root.
    pub(super) after: Option<Arc<Node>>,
    /// The root itself, if it is a leaf, and the version of its memory.
    pub(super) leaf: Option<(Arc<Concrete>, u64)>,
}

impl Concrete {
    pub(super) fn track(&self) -> &Arc<Track> {
        self.track.get_or_init(|| {
            let layout = Layout { offset: 0, ..self.view.layout.clone() };
            let root = Arc::new(Root { dtype: self.view.dtype, layout });
            Arc::new(Track { root, state: Mutex::default(), adding: Mutex::default() })
        })
    }

    /// Whether it can require a gradient at all; quick, and false for nearly all tensors where no gradients are asked for.
    pub(crate) fn may_require_grad(&self) -> bool {
        self.track.get().is_some() || self.origin.as_ref().is_some_and(|o| o.root.may_require_grad())
    }

    /// Whether a gradient flows to it.
    pub(crate) fn requires_grad(&self) -> bool {
        self.standing() != Standing::Plain
    }

    /// Whether one flows to it or through it.
    pub(super) fn gradient_flows(&self) -> bool {
        matches!(self.standing(), Standing::Leaf | Standing::Computed)
    }

    /// What it is to gradients.
    pub(super) fn standing(&self) -> Standing {
        if !self.view.dtype.is_float() {
            return Standing::Plain;
        }
        // One lock at a time.
        let own = self.track.get().map(|t| {
            let s = t.lock();
            (s.requires, s.creator.is_some() || s.last_write.is_some())
        });
        match own {
            Some((true, _)) => return Standing::Leaf,
            Some((_, true)) => return Standing::Computed,
            _ => {}
        }
        let Some(o) = &self.origin else { return Standing::Plain };
        let written = o.root.track.get().and_then(|t| t.lock().last_write.as_ref().map(|(n, _)| n.place));
        match o.recorded || written.is_some_and(|place| place > o.view.place) {
            true => Standing::Computed,
            false if o.root.requires_grad() => Standing::Nominal,
            false => Standing::Plain,
        }
    }

    /// The tensor whose history it is a part of, and the view of that that it is.
    pub(super) fn root(self: &Arc<Concrete>) -> (&Arc<Concrete>, Option<&Arc<ViewOf>>) {
        match &self.origin {
            Some(o) if !matches!(self.standing(), Standing::Leaf | Standing::Nominal) => (&o.root, Some(&o.view)),
            _ => (self, None),
        }
    }

    pub(super) fn link(self: &Arc<Concrete>) -> Link {
        let (root, view) = self.root();
        let leaf = (root.standing() == Standing::Leaf).then(|| (root.clone(), root.view.storage.version()));
        let track = root.track();
        let state = track.lock();
        Link {
            root: track.root.clone(),
            view: view.cloned(),
            creator: state.creator.as_ref().map(|(n, _)| n.clone()),
            after: state.last_write.as_ref().map(|(n, _)| n.clone()),
            leaf,
        }
    }
}

/// A result that lies in the memory of a parameter: which one, and the views of it.
pub(crate) type ViewOfParam = (usize, Arc<[Op]>);

/// For each result of a pure program, the view of a parameter that it is, if it is one.
pub(crate) fn views_of_params(g: &Graph) -> Vec<Option<ViewOfParam>> {
    g.output_views.iter().map(|v| v.as_ref().map(|v| (v.param, v.views.as_slice().into()))).collect()
}

impl Tensor {
    /// The tensor at `view`, which is what `ops` give of `base`: result number `result` of the function `name`, which was
    /// compiled under the number `id`. `base` itself if there are no ops.
    pub(crate) fn viewing(
        base: &Arc<Concrete>,
        view: View,
        ops: &Arc<[Op]>,
        id: u64,
        (name, result): (&Arc<str>, usize),
    ) -> Tensor {
        if ops.is_empty() {
            return Tensor(Repr::Concrete(base.clone()));
        }
        // What is detached has a history of its own.
        if ops.iter().any(|op| matches!(op, Op::Detach)) {
            return Tensor::concrete(view);
        }
        let (root, parent) = base.root();
        let id = id + ((result as u64) << 40);
        let of = ViewOf { place: next_place(), parent: parent.cloned(), ops: ops.clone(), id };
        let enabled = super::is_grad_enabled();
        let created = match (&base.origin, SEVERAL.contains(&&**name)) {
            _ if !enabled => Created::NoGrad,
            (_, true) => Created::OneOf,
            (Some(before), _) => before.created,
            (None, _) => Created::Plain,
        };
        // What gives bits as numbers of another kind has no derivative.
        let recorded = enabled && base.requires_grad() && view.dtype == base.view.dtype;
        let (root, view_of, name) = (root.clone(), Arc::new(of), name.clone());
        let origin = Origin { root, view: view_of, name, result, created, recorded };
        Tensor(Repr::Concrete(Arc::new(Concrete { origin: Some(origin), ..Concrete::new(view) })))
    }
}

/// Functions of which each result is one of several views.
const SEVERAL: &[&str] = &["split", "chunk", "unbind"];
