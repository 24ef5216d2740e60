//! Memory shared with other libraries by DLPack, as `dlpark::versioned::Dlpack`: a tensor's description with the function
//! that gives it back. `Dlpack::from_raw` and `into_raw` lead from and to the pointer that other languages hand over.
//!
//! While a tensor is exported its memory is held, as by a guard: to read if it is exported to be read, else to write. A use
//! that conflicts is an error that names the export, until the consumer calls the deleter.

use crate::tensor::Tensor;
use dlpark::versioned::Dlpack;
use tensorc_ir::{Loc, Result};
use tensorc_runtime::dlpack::{export, import};
use tensorc_runtime::storage::Access;

impl Tensor {
    /// The tensor that another library exports, with its strides: nothing is copied. What the producer writes is seen here
    /// and the other way round, unless the export is read-only: then every write here is an error. The producer's deleter
    /// is called once, when the last handle on the memory is gone. Nobody else may use the memory while a call here
    /// does; DLPack has no means to ask.
    ///
    /// Memory that is imported already and may be written becomes a part of the same storage if it is one, so that writes
    /// and overlaps are seen as those of views; memory that only overlaps it is refused.
    ///
    /// # Errors
    /// `unsupported` for memory of another device than the CPU, for dtypes that do not exist here (complex numbers,
    /// several lanes, `u16` and wider), and for invalid descriptions; `alias` as said above.
    #[track_caller]
    pub fn from_dlpack(tensor: Dlpack) -> Result<Tensor> {
        import(tensor, Loc::caller()).map(Tensor::concrete)
    }

    /// Exports the tensor to be read and written, without a copy. Until the consumer calls the deleter (or the result is
    /// dropped) every use of the memory here is an error, since the consumer may write at any time.
    ///
    /// ```
    /// # use tensorc::Tensor;
    /// let t = tensorc::tensor([1.0f32, 2.0])?;
    /// let exported = t.to_dlpack()?;
    /// assert!(t.sum().is_err(), "it is being written");
    /// Tensor::from_dlpack(exported)?.add_(1.0)?;
    /// assert_eq!(t.to_vec::<f32>()?, [2.0, 3.0]);
    /// # Ok::<(), tensorc::Error>(())
    /// ```
    ///
    /// # Errors
    /// `alias` if the memory is in use, must not be written or is lent for a scope, or if two indices are the same
    /// element; `grad` if a gradient flows to it, unless under [`no_grad`](crate::no_grad); `type` while tracing.
    #[track_caller]
    pub fn to_dlpack(&self) -> Result<Dlpack> {
        let loc = Loc::caller();
        self.no_gradient_for("to_dlpack").map_err(|e| e.at(loc))?;
        export(self.view_of("to_dlpack").map_err(|e| e.at(loc))?, Access::Write, loc)
    }

    /// Exports the tensor to be read only, without a copy. Until the consumer calls the deleter the memory can be read here
    /// too; writes are errors. Consumers that know no read-only flag must not be given this.
    ///
    /// # Errors
    /// `alias` if the memory is being written or is lent for a scope; `type` while tracing.
    #[track_caller]
    pub fn to_dlpack_read_only(&self) -> Result<Dlpack> {
        let loc = Loc::caller();
        export(self.view_of("to_dlpack_read_only").map_err(|e| e.at(loc))?, Access::Read, loc)
    }
}
