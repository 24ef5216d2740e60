//! Tensors in files: `.safetensors`, `.npz` and `.npy`, read and written whole.
//!
//! Rows are contiguous; dtypes are kept exactly. NumPy has no bf16: writing one to `.npz` is an error. How files are
//! written is the same for all (`files`).

pub use crate::files::{HostTensor, Tensors, write_atomically};
use crate::files::{io, read_safetensors, safetensors_bytes};
use npyz::WriterBuilder;
use std::io::{Read, Write};
use std::path::Path;
use tensorc_ir::error::err;
use tensorc_ir::{DType, Result, Scalar};

impl HostTensor {
    /// A tensor from scalars of that dtype.
    pub fn from_scalars(dtype: DType, shape: Vec<usize>, values: &[Scalar]) -> HostTensor {
        let mut bytes = vec![0; values.len() * dtype.size()];
        values.iter().zip(bytes.chunks_mut(dtype.size())).for_each(|(v, b)| v.write(b));
        HostTensor { dtype, shape, bytes }
    }

    /// The elements.
    pub fn scalars(&self) -> Vec<Scalar> {
        self.bytes.chunks(self.dtype.size()).map(|b| Scalar::read(self.dtype, b)).collect()
    }
}

/// Which format a name means.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    Safetensors,
    Npz,
    Npy,
}

fn format_of(path: &str) -> Result<Format> {
    match Path::new(path).extension().and_then(|e| e.to_str()) {
        Some("safetensors") => Ok(Format::Safetensors),
        Some("npz") => Ok(Format::Npz),
        Some("npy") => Ok(Format::Npy),
        _ if path == "-" => Ok(Format::Safetensors),
        _ => Err(io(path, "expected a name that ends in .safetensors, .npz or .npy")),
    }
}

/// Reads all tensors of a `.safetensors` or `.npz` file; `-` is safetensors from standard input. A `.npy` file has one
/// tensor, of the empty name.
///
/// # Errors
/// `io` if the file cannot be read or is damaged, `dtype` if it holds a type that is no dtype here.
pub fn read(path: &str) -> Result<Tensors> {
    let format = format_of(path)?;
    let mut bytes = Vec::new();
    if path == "-" {
        std::io::stdin().read_to_end(&mut bytes).map_err(|e| io(path, e))?;
    } else {
        bytes = std::fs::read(path).map_err(|e| io(path, e))?;
    }
    match format {
        Format::Safetensors => read_safetensors(path, &bytes),
        Format::Npz => read_npz(path, bytes),
        Format::Npy => Ok([(String::new(), read_npy(path, &bytes[..])?)].into_iter().collect()),
    }
}

fn read_npz(path: &str, bytes: Vec<u8>) -> Result<Tensors> {
    let mut archive = zip::ZipArchive::new(std::io::Cursor::new(bytes)).map_err(|e| io(path, e))?;
    let mut out = Tensors::new();
    for i in 0..archive.len() {
        let entry = archive.by_index(i).map_err(|e| io(path, e))?;
        let Some(name) = entry.name().strip_suffix(".npy").map(str::to_string) else { continue };
        let tensor = read_npy(&format!("{path}: {name}"), entry)?;
        out.insert(name, tensor);
    }
    Ok(out)
}

fn read_npy(path: &str, bytes: impl Read) -> Result<HostTensor> {
    from_npy(path, npyz::NpyFile::new(bytes).map_err(|e| io(path, e))?)
}

fn from_npy<R: Read>(path: &str, file: npyz::NpyFile<R>) -> Result<HostTensor> {
    let shape: Vec<usize> = file.shape().iter().map(|d| *d as usize).collect();
    let column_major = file.order() == npyz::Order::Fortran && shape.len() > 1;
    let descr = file.dtype().descr();
    let kind = descr.trim_matches(['\'', '"']).trim_start_matches(['<', '|', '=', '>']).to_string();
    macro_rules! elements {
        ($dtype:expr, $ty:ty, $to:expr) => {{
            let data: Vec<$ty> = file.into_vec().map_err(|e| io(path, e))?;
            let to: fn($ty) -> Scalar = $to;
            ($dtype, data.into_iter().map(to).collect::<Vec<Scalar>>())
        }};
    }
    let (dtype, values) = match kind.as_str() {
        "f8" => elements!(DType::F64, f64, |v| Scalar::from_f64(DType::F64, v)),
        "f4" => elements!(DType::F32, f32, |v| Scalar::from_f64(DType::F32, v as f64)),
        "f2" => elements!(DType::F16, half::f16, |v| Scalar::from_f64(DType::F16, v.to_f64())),
        "i8" => elements!(DType::I64, i64, |v| Scalar::from_i64(DType::I64, v)),
        "i4" => elements!(DType::I32, i32, |v| Scalar::from_i64(DType::I32, v as i64)),
        "i2" => elements!(DType::I16, i16, |v| Scalar::from_i64(DType::I16, v as i64)),
        "i1" => elements!(DType::I8, i8, |v| Scalar::from_i64(DType::I8, v as i64)),
        "u1" => elements!(DType::U8, u8, |v| Scalar::from_i64(DType::U8, v as i64)),
        "b1" => elements!(DType::Bool, bool, Scalar::from_bool),
        k => return Err(err::dtype(format!("{path}: NumPy type `{k}` is not supported"))),
    };
    let values = if column_major { row_major(&shape, values) } else { values };
    Ok(HostTensor::from_scalars(dtype, shape, &values))
}

/// Column-major elements in row-major order.
fn row_major(shape: &[usize], values: Vec<Scalar>) -> Vec<Scalar> {
    let mut out = Vec::with_capacity(values.len());
    tensorc_ir::types::for_each_index(shape, |index| {
        let at = index.iter().zip(shape).rev().fold(0, |at, (i, d)| at * d + i);
        out.push(values[at]);
    });
    out
}

/// Writes tensors to a `.safetensors` or `.npz` file, whole or not at all; `-` is safetensors to standard output.
///
/// # Errors
/// `io` if it cannot be written, `dtype` for bf16 in `.npz`.
pub fn write(path: &str, tensors: &Tensors) -> Result<()> {
    let bytes = match format_of(path)? {
        Format::Safetensors => safetensors_bytes(path, tensors)?,
        Format::Npz => npz_bytes(path, tensors)?,
        Format::Npy => return Err(io(path, "results go to .safetensors or .npz, which can hold several tensors")),
    };
    if path == "-" {
        let mut out = std::io::stdout().lock();
        return match out.write_all(&bytes).and_then(|()| out.flush()) {
            // Whoever reads has had enough.
            Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
            r => r.map_err(|e| io(path, e)),
        };
    }
    write_atomically(path, &bytes)
}

fn npz_bytes(path: &str, tensors: &Tensors) -> Result<Vec<u8>> {
    let mut npz = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    // Stored, as `numpy.savez` does; the time is a constant, so that equal tensors give equal files.
    let options = zip::write::SimpleFileOptions::default()
        .compression_method(zip::CompressionMethod::Stored)
        .last_modified_time(zip::DateTime::default());
    for (name, t) in tensors {
        npz.start_file(format!("{name}.npy"), options).map_err(|e| io(path, e))?;
        npz.write_all(&npy_bytes(path, name, t)?).map_err(|e| io(path, e))?;
    }
    Ok(npz.finish().map_err(|e| io(path, e))?.into_inner())
}

/// One tensor in NumPy's format.
fn npy_bytes(path: &str, name: &str, t: &HostTensor) -> Result<Vec<u8>> {
    let shape: Vec<u64> = t.shape.iter().map(|d| *d as u64).collect();
    let mut bytes = Vec::new();
    macro_rules! elements {
        ($ty:ty, $from:expr) => {{
            let from: fn(Scalar) -> $ty = $from;
            let mut w = npyz::WriteOptions::new()
                .default_dtype()
                .shape(&shape)
                .writer(&mut bytes)
                .begin_nd()
                .map_err(|e| io(path, e))?;
            w.extend(t.scalars().into_iter().map(from)).map_err(|e| io(path, e))?;
            w.finish().map_err(|e| io(path, e))?;
        }};
    }
    match t.dtype {
        DType::F64 => elements!(f64, |s| s.to_f64()),
        DType::F32 => elements!(f32, |s| s.to_f64() as f32),
        DType::F16 => elements!(half::f16, |s| half::f16::from_f64(s.to_f64())),
        DType::BF16 => {
            return Err(
                err::dtype(format!("{path}: NumPy has no bf16, which `{name}` is")).help("write a .safetensors file")
            );
        }
        DType::I64 => elements!(i64, |s| s.to_i64()),
        DType::I32 => elements!(i32, |s| s.to_i64() as i32),
        DType::I16 => elements!(i16, |s| s.to_i64() as i16),
        DType::I8 => elements!(i8, |s| s.to_i64() as i8),
        DType::U8 => elements!(u8, |s| s.to_i64() as u8),
        DType::Bool => elements!(bool, |s| s.to_bool()),
    }
    Ok(bytes)
}
