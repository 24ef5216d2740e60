//! Trees of tensors: what traced functions take and give.
//!
//! A [`Tree`] can be taken apart into its tensors in a fixed order, and put together again from as many. Tuples, arrays,
//! vectors, maps, options and structs declared with [`tree!`](crate::tree) are trees. Plain numbers in a tree are part of
//! its structure, not tensors: a function is compiled anew for another number. Pass what changes as
//! [`Tensor::scalar`](crate::Tensor::scalar).

use crate::tensor::Tensor;
use indexmap::IndexMap;
use std::any::Any;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Display;
use std::hash::Hash;
use tensorc_ir::Result;
use tensorc_ir::error::err;

/// A part of a tree, as [`Tree::walk`] shows it.
pub enum Part<'t> {
    /// A tensor.
    Tensor(&'t Tensor),
    /// A number by which structures may differ: equal structures show equal ones.
    Number(u64),
}

/// Something made of tensors.
pub trait Tree: Sized {
    /// What is left when the tensors are taken out.
    type Structure: Clone + PartialEq + Hash + Eq + Send + Sync + 'static;

    /// Appends the tensors, in order, and gives the structure.
    fn take_apart(&self, leaves: &mut Vec<Tensor>) -> Self::Structure;

    /// Shows the tensors, in that order, and between them numbers by which structures can be told apart quickly: as many
    /// lengths and plain numbers as it likes.
    fn walk<'t>(&'t self, see: &mut impl FnMut(Part<'t>));

    /// Whether [`Tree::take_apart`] gives that structure; without making it, since each call of a jitted function asks.
    fn has_structure(&self, structure: &Self::Structure) -> bool;

    /// Puts a tree together from its structure and the next tensors.
    ///
    /// # Errors
    /// `type` if there are too few.
    fn put_together(structure: &Self::Structure, leaves: &mut dyn Iterator<Item = Tensor>) -> Result<Self>;

    /// Appends the names of the tensors, in order: the way to each of them, by fields, keys and positions joined by points,
    /// after `prefix`. By default they are numbered.
    fn name_leaves(&self, prefix: &str, names: &mut Vec<String>) {
        let mut leaves = Vec::new();
        self.take_apart(&mut leaves);
        match leaves.len() {
            1 => names.push(prefix.to_string()),
            n => names.extend((0..n).map(|i| joined(prefix, i))),
        }
    }
}

/// The name of a part of what has that name.
pub(crate) fn joined(prefix: &str, name: impl Display) -> String {
    if prefix.is_empty() { name.to_string() } else { format!("{prefix}.{name}") }
}

impl Tree for Tensor {
    type Structure = ();

    fn take_apart(&self, leaves: &mut Vec<Tensor>) {
        leaves.push(self.clone());
    }

    fn walk<'t>(&'t self, see: &mut impl FnMut(Part<'t>)) {
        see(Part::Tensor(self));
    }

    fn has_structure(&self, (): &()) -> bool {
        true
    }

    fn put_together((): &(), leaves: &mut dyn Iterator<Item = Tensor>) -> Result<Tensor> {
        leaves.next().ok_or_else(|| err::ty("a tree of tensors has too few of them"))
    }
}

macro_rules! plain {
    ($($ty:ty => $key:ty: |$v:ident| $to:expr, |$k:ident| $from:expr, $number:expr;)*) => {$(
        impl Tree for $ty {
            type Structure = $key;
            fn take_apart(&self, _: &mut Vec<Tensor>) -> $key { let $v = self; $to }
            fn walk<'t>(&'t self, see: &mut impl FnMut(Part<'t>)) { let $v = self; see(Part::Number($number)) }
            fn has_structure(&self, structure: &$key) -> bool { let $v = self; *structure == $to }
            fn put_together($k: &$key, _: &mut dyn Iterator<Item = Tensor>) -> Result<$ty> { Ok($from) }
        }
    )*};
}

plain! {
    f64 => u64: |v| v.to_bits(), |k| f64::from_bits(*k), v.to_bits();
    f32 => u32: |v| v.to_bits(), |k| f32::from_bits(*k), v.to_bits().into();
    i64 => i64: |v| *v, |k| *k, *v as u64;
    i32 => i32: |v| *v, |k| *k, *v as u64;
    usize => usize: |v| *v, |k| *k, *v as u64;
    bool => bool: |v| *v, |k| *k, u64::from(*v);
}

impl Tree for String {
    type Structure = String;

    fn take_apart(&self, _: &mut Vec<Tensor>) -> String {
        self.clone()
    }

    fn walk<'t>(&'t self, see: &mut impl FnMut(Part<'t>)) {
        see(Part::Number(self.len() as u64));
    }

    fn has_structure(&self, structure: &String) -> bool {
        self == structure
    }

    fn put_together(structure: &String, _: &mut dyn Iterator<Item = Tensor>) -> Result<String> {
        Ok(structure.clone())
    }
}

impl Tree for () {
    type Structure = ();

    fn take_apart(&self, _: &mut Vec<Tensor>) {}

    fn walk<'t>(&'t self, _: &mut impl FnMut(Part<'t>)) {}

    fn has_structure(&self, (): &()) -> bool {
        true
    }

    fn put_together((): &(), _: &mut dyn Iterator<Item = Tensor>) -> Result<()> {
        Ok(())
    }
}

macro_rules! tuples {
    ($(($($t:ident $i:tt),+);)*) => {$(
        impl<$($t: Tree),+> Tree for ($($t,)+) {
            type Structure = ($($t::Structure,)+);
            fn take_apart(&self, leaves: &mut Vec<Tensor>) -> Self::Structure {
                ($(self.$i.take_apart(leaves),)+)
            }
            fn walk<'t>(&'t self, see: &mut impl FnMut(Part<'t>)) {
                $(self.$i.walk(see);)+
            }
            fn has_structure(&self, s: &Self::Structure) -> bool {
                true $(&& self.$i.has_structure(&s.$i))+
            }
            fn put_together(s: &Self::Structure, leaves: &mut dyn Iterator<Item = Tensor>) -> Result<Self> {
                Ok(($($t::put_together(&s.$i, leaves)?,)+))
            }
            fn name_leaves(&self, prefix: &str, names: &mut Vec<String>) {
                $(self.$i.name_leaves(&joined(prefix, $i), names);)+
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

    fn walk<'t>(&'t self, see: &mut impl FnMut(Part<'t>)) {
        see(Part::Number(self.len() as u64));
        self.iter().for_each(|t| t.walk(see));
    }

    fn has_structure(&self, s: &Self::Structure) -> bool {
        self.len() == s.len() && self.iter().zip(s).all(|(t, s)| t.has_structure(s))
    }

    fn put_together(s: &Self::Structure, leaves: &mut dyn Iterator<Item = Tensor>) -> Result<Self> {
        s.iter().map(|s| T::put_together(s, leaves)).collect()
    }

    fn name_leaves(&self, prefix: &str, names: &mut Vec<String>) {
        self.iter().enumerate().for_each(|(i, t)| t.name_leaves(&joined(prefix, i), names));
    }
}

impl<T: Tree, const N: usize> Tree for [T; N] {
    type Structure = Vec<T::Structure>;

    fn take_apart(&self, leaves: &mut Vec<Tensor>) -> Self::Structure {
        self.iter().map(|t| t.take_apart(leaves)).collect()
    }

    fn walk<'t>(&'t self, see: &mut impl FnMut(Part<'t>)) {
        see(Part::Number(self.len() as u64));
        self.iter().for_each(|t| t.walk(see));
    }

    fn has_structure(&self, s: &Self::Structure) -> bool {
        self.len() == s.len() && self.iter().zip(s).all(|(t, s)| t.has_structure(s))
    }

    fn put_together(s: &Self::Structure, leaves: &mut dyn Iterator<Item = Tensor>) -> Result<Self> {
        let all: Vec<T> = s.iter().map(|s| T::put_together(s, leaves)).collect::<Result<_>>()?;
        all.try_into().map_err(|_| err::ty(format!("an array of {N} trees has another number of them")))
    }

    fn name_leaves(&self, prefix: &str, names: &mut Vec<String>) {
        self.iter().enumerate().for_each(|(i, t)| t.name_leaves(&joined(prefix, i), names));
    }
}

impl<T: Tree> Tree for Option<T> {
    type Structure = Option<T::Structure>;

    fn take_apart(&self, leaves: &mut Vec<Tensor>) -> Self::Structure {
        self.as_ref().map(|t| t.take_apart(leaves))
    }

    fn walk<'t>(&'t self, see: &mut impl FnMut(Part<'t>)) {
        see(Part::Number(u64::from(self.is_some())));
        self.iter().for_each(|t| t.walk(see));
    }

    fn has_structure(&self, s: &Self::Structure) -> bool {
        match (self, s) {
            (Some(t), Some(s)) => t.has_structure(s),
            (t, s) => t.is_none() && s.is_none(),
        }
    }

    fn put_together(s: &Self::Structure, leaves: &mut dyn Iterator<Item = Tensor>) -> Result<Self> {
        s.as_ref().map(|s| T::put_together(s, leaves)).transpose()
    }

    fn name_leaves(&self, prefix: &str, names: &mut Vec<String>) {
        self.iter().for_each(|t| t.name_leaves(prefix, names));
    }
}

/// The entries of a map; one without an order of its own is walked in the order of its keys.
fn in_order<'m, K: Ord + 'm, T: 'm>(
    entries: impl Iterator<Item = (&'m K, &'m T)>,
    sorted: bool,
) -> impl Iterator<Item = (&'m K, &'m T)> {
    let mut all: Vec<(&K, &T)> = Vec::new();
    let mut as_they_are = Some(entries);
    if sorted {
        all.extend(as_they_are.take().into_iter().flatten());
        all.sort_by(|a, b| a.0.cmp(b.0));
    }
    all.into_iter().chain(as_they_are.into_iter().flatten())
}

/// The name that a key gives to what it leads to: strings and integers are names, other keys have none.
fn key_name<K: 'static>(key: &K) -> Option<String> {
    let key = key as &dyn Any;
    macro_rules! any_of {
        ($($ty:ty)*) => { None$(.or_else(|| key.downcast_ref::<$ty>().map(ToString::to_string)))* };
    }
    any_of!(String &'static str usize i64 i32 u64 u32)
}

macro_rules! maps {
    ($($map:ident $sorted:expr;)*) => {$(
        impl<K: Clone + Eq + Hash + Ord + Send + Sync + 'static, T: Tree> Tree for $map<K, T> {
            type Structure = Vec<(K, T::Structure)>;
            fn take_apart(&self, leaves: &mut Vec<Tensor>) -> Self::Structure {
                in_order(self.iter(), $sorted).map(|(k, t)| (k.clone(), t.take_apart(leaves))).collect()
            }
            fn walk<'t>(&'t self, see: &mut impl FnMut(Part<'t>)) {
                see(Part::Number(self.len() as u64));
                in_order(self.iter(), $sorted).for_each(|(_, t)| t.walk(see));
            }
            fn has_structure(&self, s: &Self::Structure) -> bool {
                let same = |((k, t), (key, s)): ((&K, &T), &(K, T::Structure))| k == key && t.has_structure(s);
                self.len() == s.len() && in_order(self.iter(), $sorted).zip(s).all(same)
            }
            fn name_leaves(&self, prefix: &str, names: &mut Vec<String>) {
                for (i, (k, t)) in in_order(self.iter(), $sorted).enumerate() {
                    t.name_leaves(&joined(prefix, key_name(k).unwrap_or(i.to_string())), names);
                }
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
            fn walk<'t>(&'t self, see: &mut impl ::std::ops::FnMut($crate::Part<'t>)) {
                $($crate::Tree::walk(&self.$field, see);)+
            }
            fn has_structure(&self, structure: &Self::Structure) -> bool {
                let ($($field,)+) = structure;
                true $(&& $crate::Tree::has_structure(&self.$field, $field))+
            }
            fn put_together(
                structure: &Self::Structure,
                leaves: &mut dyn ::std::iter::Iterator<Item = $crate::Tensor>,
            ) -> $crate::Result<Self> {
                let ($($field,)+) = structure;
                ::std::result::Result::Ok($name { $($field: $crate::Tree::put_together($field, leaves)?),+ })
            }
            fn name_leaves(&self, prefix: &str, names: &mut ::std::vec::Vec<::std::string::String>) {
                let point = if prefix.is_empty() { "" } else { "." };
                $($crate::Tree::name_leaves(
                    &self.$field,
                    &::std::format!("{prefix}{point}{}", ::std::stringify!($field).trim_start_matches("r#")),
                    names,
                );)+
            }
        }
    )+};
}
