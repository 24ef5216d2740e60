//! Trees of tensors: what traced functions take and give.
//!
//! A [`Tree`] can be taken apart into its tensors in a fixed order, and put together again from as many. Tuples, arrays,
//! vectors, maps, options and structs declared with [`tree!`](crate::tree) are trees. Plain numbers in a tree are part of
//! its structure, not tensors: a function is compiled anew for another number. Pass what changes as
//! [`Tensor::scalar`](crate::Tensor::scalar).

use crate::tensor::Tensor;
use indexmap::IndexMap;
use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use tensorc_ir::Result;
use tensorc_ir::error::err;

/// Something made of tensors.
pub trait Tree: Sized {
    /// What is left when the tensors are taken out.
    type Structure: Clone + PartialEq + Hash + Eq + Send + Sync + 'static;

    /// Appends the tensors, in order, and gives the structure.
    fn take_apart(&self, leaves: &mut Vec<Tensor>) -> Self::Structure;

    /// Puts a tree together from its structure and the next tensors.
    ///
    /// # Errors
    /// `type` if there are too few.
    fn put_together(structure: &Self::Structure, leaves: &mut dyn Iterator<Item = Tensor>) -> Result<Self>;
}

impl Tree for Tensor {
    type Structure = ();

    fn take_apart(&self, leaves: &mut Vec<Tensor>) {
        leaves.push(self.clone());
    }

    fn put_together((): &(), leaves: &mut dyn Iterator<Item = Tensor>) -> Result<Tensor> {
        leaves.next().ok_or_else(|| err::ty("a tree of tensors has too few of them"))
    }
}

macro_rules! plain {
    ($($ty:ty => $key:ty: |$v:ident| $to:expr, |$k:ident| $from:expr;)*) => {$(
        impl Tree for $ty {
            type Structure = $key;
            fn take_apart(&self, _: &mut Vec<Tensor>) -> $key { let $v = self; $to }
            fn put_together($k: &$key, _: &mut dyn Iterator<Item = Tensor>) -> Result<$ty> { Ok($from) }
        }
    )*};
}

plain! {
    f64 => u64: |v| v.to_bits(), |k| f64::from_bits(*k);
    f32 => u32: |v| v.to_bits(), |k| f32::from_bits(*k);
    i64 => i64: |v| *v, |k| *k;
    i32 => i32: |v| *v, |k| *k;
    usize => usize: |v| *v, |k| *k;
    bool => bool: |v| *v, |k| *k;
    String => String: |v| v.clone(), |k| k.clone();
    () => (): |v| *v, |k| *k;
}

macro_rules! tuples {
    ($(($($t:ident $i:tt),+);)*) => {$(
        impl<$($t: Tree),+> Tree for ($($t,)+) {
            type Structure = ($($t::Structure,)+);
            fn take_apart(&self, leaves: &mut Vec<Tensor>) -> Self::Structure {
                ($(self.$i.take_apart(leaves),)+)
            }
            fn put_together(s: &Self::Structure, leaves: &mut dyn Iterator<Item = Tensor>) -> Result<Self> {
                Ok(($($t::put_together(&s.$i, leaves)?,)+))
            }
        }
    )*};
}

tuples! {
    (A 0);
    (A 0, B 1);
    (A 0, B 1, C 2);
    (A 0, B 1, C 2, D 3);
    (A 0, B 1, C 2, D 3, E 4);
    (A 0, B 1, C 2, D 3, E 4, F 5);
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6);
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7);
}

impl<T: Tree> Tree for Vec<T> {
    type Structure = Vec<T::Structure>;

    fn take_apart(&self, leaves: &mut Vec<Tensor>) -> Self::Structure {
        self.iter().map(|t| t.take_apart(leaves)).collect()
    }

    fn put_together(s: &Self::Structure, leaves: &mut dyn Iterator<Item = Tensor>) -> Result<Self> {
        s.iter().map(|s| T::put_together(s, leaves)).collect()
    }
}

impl<T: Tree, const N: usize> Tree for [T; N] {
    type Structure = Vec<T::Structure>;

    fn take_apart(&self, leaves: &mut Vec<Tensor>) -> Self::Structure {
        self.iter().map(|t| t.take_apart(leaves)).collect()
    }

    fn put_together(s: &Self::Structure, leaves: &mut dyn Iterator<Item = Tensor>) -> Result<Self> {
        let all: Vec<T> = s.iter().map(|s| T::put_together(s, leaves)).collect::<Result<_>>()?;
        all.try_into().map_err(|_| err::ty(format!("an array of {N} trees has another number of them")))
    }
}

impl<T: Tree> Tree for Option<T> {
    type Structure = Option<T::Structure>;

    fn take_apart(&self, leaves: &mut Vec<Tensor>) -> Self::Structure {
        self.as_ref().map(|t| t.take_apart(leaves))
    }

    fn put_together(s: &Self::Structure, leaves: &mut dyn Iterator<Item = Tensor>) -> Result<Self> {
        s.as_ref().map(|s| T::put_together(s, leaves)).transpose()
    }
}

macro_rules! maps {
    ($($map:ident $sorted:expr;)*) => {$(
        impl<K: Clone + Eq + Hash + Ord + Send + Sync + 'static, T: Tree> Tree for $map<K, T> {
            type Structure = Vec<(K, T::Structure)>;
            fn take_apart(&self, leaves: &mut Vec<Tensor>) -> Self::Structure {
                let mut entries: Vec<(&K, &T)> = self.iter().collect();
                // A map without an order of its own is walked in the order of its keys.
                if $sorted {
                    entries.sort_by(|a, b| a.0.cmp(b.0));
                }
                entries.into_iter().map(|(k, t)| (k.clone(), t.take_apart(leaves))).collect()
            }
            fn put_together(s: &Self::Structure, leaves: &mut dyn Iterator<Item = Tensor>) -> Result<Self> {
                s.iter().map(|(k, s)| Ok((k.clone(), T::put_together(s, leaves)?))).collect()
            }
        }
    )*};
}

maps! {
    HashMap true;
    BTreeMap false;
    IndexMap false;
}

/// Declares structs that are trees, field by field.
///
/// ```
/// tensorc::tree! {
///     /// A linear layer.
///     #[derive(Clone)]
///     pub struct Linear {
///         /// `[in, out]`
///         pub weight: tensorc::Tensor,
///         /// `[out]`
///         pub bias: tensorc::Tensor,
///     }
/// }
/// ```
#[macro_export]
macro_rules! tree {
    ($($(#[$meta:meta])* $vis:vis struct $name:ident { $($(#[$field_meta:meta])* $field_vis:vis $field:ident: $ty:ty),+ $(,)? })+) => {$(
        $(#[$meta])* $vis struct $name { $($(#[$field_meta])* $field_vis $field: $ty),+ }

        impl $crate::Tree for $name {
            type Structure = ($(<$ty as $crate::Tree>::Structure,)+);
            fn take_apart(&self, leaves: &mut ::std::vec::Vec<$crate::Tensor>) -> Self::Structure {
                ($($crate::Tree::take_apart(&self.$field, leaves),)+)
            }
            fn put_together(
                structure: &Self::Structure,
                leaves: &mut dyn ::std::iter::Iterator<Item = $crate::Tensor>,
            ) -> $crate::Result<Self> {
                let ($($field,)+) = structure;
                ::std::result::Result::Ok($name { $($field: $crate::Tree::put_together($field, leaves)?),+ })
            }
        }
    )+};
}
