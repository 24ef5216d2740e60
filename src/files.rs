//! Tensors in files of the form `.safetensors`, and files that are written whole or not at all.
//!
//! Files are written to a temporary name beside the target and renamed, so a reader sees the old file or the new one.
//! Rows are contiguous; dtypes are kept exactly.

use indexmap::IndexMap;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use tensorc_ir::error::err;
use tensorc_ir::{DType, Error, Result};

/// A tensor in host memory: little-endian elements, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct HostTensor {
    /// Element type.
    pub dtype: DType,
    /// Extents.
    pub shape: Vec<usize>,
    /// The elements' bytes.
    pub bytes: Vec<u8>,
}

/// Named tensors, in the order of the file.
pub type Tensors = IndexMap<String, HostTensor>;

/// An error of that file.
pub(crate) fn io(path: &str, e: impl std::fmt::Display) -> Error {
    err::io(format!("{path}: {e}"))
}

/// The tensors of a `.safetensors` file, by name.
pub(crate) fn read_safetensors(path: &str, bytes: &[u8]) -> Result<Tensors> {
    let file = SafeTensors::deserialize(bytes).map_err(|e| io(path, e))?;
    let mut out: Vec<(String, HostTensor)> = Vec::new();
    for (name, view) in file.tensors() {
        let dtype = match view.dtype() {
            Dtype::F64 => DType::F64,
            Dtype::F32 => DType::F32,
            Dtype::F16 => DType::F16,
            Dtype::BF16 => DType::BF16,
            Dtype::I64 => DType::I64,
            Dtype::I32 => DType::I32,
            Dtype::I16 => DType::I16,
            Dtype::I8 => DType::I8,
            Dtype::U8 => DType::U8,
            Dtype::BOOL => DType::Bool,
            d => return Err(err::dtype(format!("{path}: tensor `{name}` is {d:?}, which is not supported"))),
        };
        out.push((name, HostTensor { dtype, shape: view.shape().to_vec(), bytes: view.data().to_vec() }));
    }
    out.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(out.into_iter().collect())
}

/// A `.safetensors` file of these tensors.
pub(crate) fn safetensors_bytes(path: &str, tensors: &Tensors) -> Result<Vec<u8>> {
    let view = |t: &HostTensor| {
        let dtype = match t.dtype {
            DType::F64 => Dtype::F64,
            DType::F32 => Dtype::F32,
            DType::F16 => Dtype::F16,
            DType::BF16 => Dtype::BF16,
            DType::I64 => Dtype::I64,
            DType::I32 => Dtype::I32,
            DType::I16 => Dtype::I16,
            DType::I8 => Dtype::I8,
            DType::U8 => Dtype::U8,
            DType::Bool => Dtype::BOOL,
        };
        (dtype, t.shape.clone())
    };
    let views = tensors
        .iter()
        .map(|(name, t)| {
            let (dtype, shape) = view(t);
            TensorView::new(dtype, shape, &t.bytes).map(|v| (name.clone(), v)).map_err(|e| io(path, e))
        })
        .collect::<Result<Vec<_>>>()?;
    safetensors::serialize(views, None).map_err(|e| io(path, e))
}

/// Writes a file whole: to a temporary name beside it, then renamed. When this returns it is on the disk.
///
/// # Errors
/// `io`.
pub fn write_atomically(path: &str, bytes: &[u8]) -> Result<()> {
    static WRITES: AtomicU64 = AtomicU64::new(0);
    let temporary = format!("{path}.{}.{}.tmp", std::process::id(), WRITES.fetch_add(1, Ordering::Relaxed));
    let result = File::create(&temporary)
        .and_then(|mut f| f.write_all(bytes).and_then(|()| f.sync_all()))
        .and_then(|()| std::fs::rename(&temporary, path));
    if result.is_err() {
        // The temporary file is ours; if it cannot be removed either, the first error is the one to tell.
        let _ = std::fs::remove_file(&temporary);
    }
    result.map_err(|e| io(path, e))?;
    let folder = Path::new(path).parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // So that the new name is on the disk too. A file system that cannot do this for a folder has no say.
    let _ = File::open(folder).and_then(|f| f.sync_all());
    Ok(())
}
