//! [`Concrete`]: what a handle on memory holds, so that all handles on one tensor see the same `.grad`.

use crate::autograd::variable::{Origin, Track};
use std::ops::Deref;
use std::sync::{Arc, OnceLock};
use tensorc_runtime::executable::View;

/// A tensor in memory, with what autograd knows of it. Most tensors have nothing of that.
pub(crate) struct Concrete {
    pub(crate) view: View,
    /// Of a view: what it is a view of.
    pub(crate) origin: Option<Origin>,
    /// There from the first time that autograd has something to note.
    pub(crate) track: OnceLock<Arc<Track>>,
}

impl Concrete {
    pub(crate) fn new(view: View) -> Concrete {
        Concrete { view, origin: None, track: OnceLock::new() }
    }
}

impl Deref for Concrete {
    type Target = View;

    fn deref(&self) -> &View {
        &self.view
    }
}
