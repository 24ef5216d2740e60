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
use crate::tensor::Tensor;
use crate::tensor::concrete::Concrete;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tensorc_ir::{DType, Layout, Op};

/// Places of ops and views in the order in which they ran.
pub(super) fn next_place() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// What a view is a view of.
pub(crate) struct Origin {
    pub(crate) root: Arc<Concrete>,
    pub(crate) view: Arc<ViewOf>,
    /// The function that made it, and which of its results it is.
    pub(crate) name: Arc<str>,
    pub(crate) result: usize,
    /// Whether gradients were being recorded then.
    pub(crate) in_grad_mode: bool,
    /// Whether it required a gradient from the first.
    pub(crate) recorded: bool,
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
    /// The root itself, if it is a leaf.
    pub(super) leaf: Option<Arc<Concrete>>,
}

impl Concrete {
    pub(super) fn track(&self) -> &Arc<Track> {
        self.track.get_or_init(|| {
            let layout = Layout { offset: 0, ..self.view.layout.clone() };
            Arc::new(Track { root: Arc::new(Root { dtype: self.view.dtype, layout }), state: Mutex::default() })
        })
    }

    /// Whether it can require a gradient at all; quick, and false for nearly all tensors where no gradients are asked for.
    pub(crate) fn may_require_grad(&self) -> bool {
        self.track.get().is_some() || self.origin.as_ref().is_some_and(|o| o.root.track.get().is_some())
    }

    /// Whether a gradient flows to it.
    pub(crate) fn requires_grad(&self) -> bool {
        if !self.view.dtype.is_float() {
            return false;
        }
        let own = |c: &Concrete| {
            c.track.get().is_some_and(|t| {
                let s = t.lock();
                s.requires || s.creator.is_some() || s.last_write.is_some()
            })
        };
        let written = |c: &Concrete| c.track.get().is_some_and(|t| t.lock().last_write.is_some());
        own(self) || self.origin.as_ref().is_some_and(|o| o.recorded || written(&o.root))
    }

    /// Whether `requires_grad_` was called on it.
    pub(super) fn is_required(&self) -> bool {
        self.track.get().is_some_and(|t| t.lock().requires)
    }

    /// The tensor whose history it is a part of, and the view of that that it is.
    pub(super) fn root(self: &Arc<Concrete>) -> (&Arc<Concrete>, Option<&Arc<ViewOf>>) {
        match &self.origin {
            Some(o) if !self.is_required() => (&o.root, Some(&o.view)),
            _ => (self, None),
        }
    }

    pub(super) fn link(self: &Arc<Concrete>) -> Link {
        let (root, view) = self.root();
        let track = root.track();
        let state = track.lock();
        Link {
            root: track.root.clone(),
            view: view.cloned(),
            creator: state.creator.as_ref().map(|(n, _)| n.clone()),
            after: state.last_write.as_ref().map(|(n, _)| n.clone()),
            leaf: state.requires.then(|| root.clone()),
        }
    }

    /// Notes that it is a view of another tensor by those ops, the result number `result` of the function `name`.
    pub(crate) fn as_view_of(
        mut self,
        base: &Arc<Concrete>,
        ops: &Arc<[Op]>,
        id: u64,
        (name, result): (&Arc<str>, usize),
    ) -> Concrete {
        let in_grad_mode = super::is_grad_enabled();
        // What gives bits as numbers of another kind has no derivative.
        let recorded = in_grad_mode && base.requires_grad() && self.view.dtype == base.view.dtype;
        let (root, parent) = base.root();
        let view = ViewOf { place: next_place(), parent: parent.cloned(), ops: ops.clone(), id };
        let (root, view, name) = (root.clone(), Arc::new(view), name.clone());
        self.origin = Some(Origin { root, view, name, result, in_grad_mode, recorded });
        self
    }
}
