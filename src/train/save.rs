//! Trees of tensors in files of the form `.safetensors`, by the names of their tensors.
//!
//! A tensor's name is the way to it: fields of structs, keys of maps, and positions in tuples, arrays and vectors, joined by
//! points, as `layers.0.weight`; a lone tensor is `tensor`. Files are the same as those of the command, of PyTorch and of
//! others. They are written whole or not at all: to a temporary file beside the target, which then takes its name.

use super::leaves::{leaves, like};
use crate::files::{HostTensor, Tensors, read_safetensors, safetensors_bytes, write_atomically};
use crate::tensor::Tensor;
use crate::tree::Tree;
use std::collections::HashSet;
use std::fmt::Write as _;
use std::path::Path;
use tensorc_ir::error::err;
use tensorc_ir::{Error, Loc, Result};

/// The names of the tensors of a tree, in its order.
fn names<T: Tree>(tree: &T) -> Result<Vec<String>> {
    let mut names = Vec::new();
    tree.name_leaves("", &mut names);
    names.iter_mut().filter(|n| n.is_empty()).for_each(|n| *n = "tensor".to_string());
    let mut seen = HashSet::new();
    match names.iter().find(|n| !seen.insert(n.as_str())) {
        Some(n) => Err(err::name(format!("two tensors of the tree have the name `{n}`"))),
        None => Ok(names),
    }
}

/// Writes the tensors of a tree to a file.
///
/// # Errors
/// `io` if it cannot be written; `type` while a function is traced, where tensors have no elements; `name` if two of them
/// have one name, as with maps whose keys contain points.
#[track_caller]
pub fn save<T: Tree>(path: impl AsRef<Path>, tree: &T) -> Result<()> {
    let (loc, path) = (Loc::caller(), path.as_ref().to_string_lossy());
    let save = || {
        let mut all = Tensors::new();
        for (name, t) in names(tree)?.into_iter().zip(leaves(tree)) {
            all.insert(name, HostTensor { dtype: t.dtype(), shape: t.shape().to_vec(), bytes: t.to_bytes()? });
        }
        write_atomically(&path, &safetensors_bytes(&path, &all)?)
    };
    save().map_err(|e: Error| e.at(loc))
}

/// Reads the tensors of a tree from a file: a tree with the structure of `tree`, whose tensors say which names, shapes and
/// dtypes are expected. Nothing is converted.
///
/// # Errors
/// `io` if the file cannot be read or is damaged; `name`, `shape` or `dtype` if it does not hold what is expected, with all
/// that is wrong: names that are missing and names that are too many, tensors of other shapes and dtypes.
#[track_caller]
pub fn load<T: Tree>(path: impl AsRef<Path>, tree: &T) -> Result<T> {
    let (loc, path) = (Loc::caller(), path.as_ref().to_string_lossy());
    let load = || {
        let bytes = std::fs::read(&*path).map_err(|e| err::io(format!("{path}: {e}")))?;
        let mut file = read_safetensors(&path, &bytes)?;
        let (names, expected) = (names(tree)?, leaves(tree));
        compare(&path, &names, &expected, &file)?;
        let mut read = Vec::with_capacity(names.len());
        for name in &names {
            let t = file.swap_remove(name).ok_or_else(|| err::internal("a tensor that was there"))?;
            read.push(Tensor::from_bytes(t.dtype, &t.shape, &t.bytes)?);
        }
        like(tree, &mut read.into_iter())
    };
    load().map_err(|e: Error| e.at(loc))
}

/// Whether a file holds exactly what is expected.
fn compare(path: &str, names: &[String], expected: &[Tensor], file: &Tensors) -> Result<()> {
    let missing: Vec<&str> = names.iter().map(String::as_str).filter(|n| !file.contains_key(*n)).collect();
    let known: HashSet<&str> = names.iter().map(String::as_str).collect();
    let unexpected: Vec<&str> = file.keys().map(String::as_str).filter(|n| !known.contains(n)).collect();
    let (mut shapes, mut dtypes) = (String::new(), String::new());
    for (name, t) in names.iter().zip(expected) {
        let Some(f) = file.get(name) else { continue };
        if f.shape != t.shape() {
            let _ = write!(shapes, "; `{name}` is {:?} in the file, {:?} is expected", f.shape, t.shape());
        }
        if f.dtype != t.dtype() {
            let _ = write!(dtypes, "; `{name}` is {} in the file, {} is expected", f.dtype, t.dtype());
        }
    }
    let list = |names: &[&str]| names.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ");
    let mut text = String::new();
    if !missing.is_empty() {
        let _ = write!(text, "; missing: {}", list(&missing));
    }
    if !unexpected.is_empty() {
        let _ = write!(text, "; not expected: {}", list(&unexpected));
    }
    let make = match () {
        () if !text.is_empty() => err::name,
        () if !shapes.is_empty() => err::shape,
        () if !dtypes.is_empty() => err::dtype,
        () => return Ok(()),
    };
    let text = text + &shapes + &dtypes;
    Err(make(format!("{path} does not hold this tree: {}", text.trim_start_matches("; "))))
}
