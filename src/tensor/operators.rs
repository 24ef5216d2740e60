//! Operators and arithmetic methods. Both take tensors, references, numbers and `Result<Tensor>` on their right, and give
//! a `Result<Tensor>`, so one `?` ends an expression: `(&x * (&w + 1.0))?`.
//!
//! A `Result` on the left of an operator is not possible in Rust (neither the trait nor the type is ours): write
//! `(&a * &b)?.add(&c)`, or put it on the right.

use super::{Argument, Tensor, call, one};
use tensorc_ir::Result;

/// What can stand on the right of an operator.
pub trait Operand {
    /// The argument, or the error that it carries.
    ///
    /// # Errors
    /// That error.
    fn into_argument(self) -> Result<Argument>;
}

impl<T: Into<Argument>> Operand for T {
    fn into_argument(self) -> Result<Argument> {
        Ok(self.into())
    }
}

impl Operand for Result<Tensor> {
    fn into_argument(self) -> Result<Argument> {
        self.map(Argument::Tensor)
    }
}

impl Operand for &Result<Tensor> {
    fn into_argument(self) -> Result<Argument> {
        self.clone().map(Argument::Tensor)
    }
}

#[track_caller]
pub(super) fn binary(name: &str, x: &Tensor, other: impl Operand) -> Result<Tensor> {
    let args = [(None, x.into()), (None, other.into_argument()?)];
    one(call(name, &args)?)
}

macro_rules! operators {
    ($($trait:ident $method:ident $op:literal $in_place:ident $op_in_place:literal $doc:literal;)*) => {$(
        impl<R: Operand> std::ops::$trait<R> for &Tensor {
            type Output = Result<Tensor>;
            #[track_caller]
            fn $method(self, other: R) -> Result<Tensor> {
                binary($op, self, other)
            }
        }

        impl<R: Operand> std::ops::$trait<R> for Tensor {
            type Output = Result<Tensor>;
            #[track_caller]
            fn $method(self, other: R) -> Result<Tensor> {
                binary($op, &self, other)
            }
        }

        operators!(@left $trait $method $op: f64 i64);

        impl Tensor {
            #[doc = concat!("`x ", $doc, " other`, broadcasting, with PyTorch's promotion.")]
            ///
            /// # Errors
            /// `shape` if the shapes do not broadcast, `dtype` if it is not defined for the dtypes.
            #[track_caller]
            pub fn $method(&self, other: impl Operand) -> Result<Tensor> {
                binary($op, self, other)
            }

            #[doc = concat!("`x ", $doc, "= other` in this tensor's memory.")]
            ///
            /// # Errors
            /// As the function; `dtype` if the result's category is higher than this tensor's, `alias` if the memory may
            /// not be written.
            #[track_caller]
            pub fn $in_place(&self, other: impl Operand) -> Result<Tensor> {
                binary($op_in_place, self, other)
            }
        }

        #[doc = concat!("`x ", $doc, " other`; see [`Tensor::", stringify!($method), "`].")]
        ///
        /// # Errors
        /// As the method.
        #[track_caller]
        pub fn $method(x: &Tensor, other: impl Operand) -> Result<Tensor> {
            binary($op, x, other)
        }
    )*};
    (@left $trait:ident $method:ident $op:literal: $($ty:ty)*) => {$(
        impl std::ops::$trait<&Tensor> for $ty {
            type Output = Result<Tensor>;
            #[track_caller]
            fn $method(self, other: &Tensor) -> Result<Tensor> {
                one(call($op, &[(None, self.into()), (None, other.into())])?)
            }
        }
        impl std::ops::$trait<Tensor> for $ty {
            type Output = Result<Tensor>;
            #[track_caller]
            fn $method(self, other: Tensor) -> Result<Tensor> {
                one(call($op, &[(None, self.into()), (None, other.into())])?)
            }
        }
    )*};
}

operators! {
    Add add "add" add_ "add_" "+";
    Sub sub "sub" sub_ "sub_" "-";
    Mul mul "mul" mul_ "mul_" "*";
    Div div "div" div_ "div_" "/";
    Rem rem "remainder" rem_ "remainder_" "%";
}

impl std::ops::Neg for &Tensor {
    type Output = Result<Tensor>;
    #[track_caller]
    fn neg(self) -> Result<Tensor> {
        super::op("neg", [self.into()])
    }
}

impl std::ops::Neg for Tensor {
    type Output = Result<Tensor>;
    #[track_caller]
    fn neg(self) -> Result<Tensor> {
        super::op("neg", [self.into()])
    }
}
