//! DLPack: memory of other libraries as storages, and storages lent to other libraries, in the current version of its C
//! structures (those of the crate `dlpark`).
//!
//! DLPack says how long memory lives (until a deleter is called) and whether it may be written, but nobody in it can be
//! asked to wait. So what is exported is held, to read or to write, until the consumer calls the deleter: no call here
//! can see memory that someone else is changing. What is imported must be left alone by others while a call here uses it.
//! Two imports of one memory would be two storages with two borrow words, of which none knows of the other's writes; so
//! live imports are listed, and memory that is here already is either a part of the same storage or refused.

use std::num::NonZero;
use std::ptr::NonNull;
use std::sync::{Mutex, MutexGuard, PoisonError};

use dlpark::DlpackFlags;
use dlpark::ffi::{DLDataType, DLDataTypeCode, DLDevice, DLDeviceType};
use dlpark::metadata::Dynamic;
use dlpark::tensor::TensorRef;
use dlpark::versioned::Dlpack;
use tensorc_ir::error::err;
use tensorc_ir::types::checked_numel;
use tensorc_ir::{DType, Error, Layout, Loc, Result};

use crate::executable::View;
use crate::lend::{is_dense, is_injective};
use crate::storage::{Access, Storage, WeakStorage};

/// The tensor that a producer gives. The memory is not copied; the producer's deleter is called once, when the last handle
/// on the storage is gone, or now if this is an error. Memory marked as read only, or with elements that several indices
/// share, cannot be written.
///
/// # Errors
/// `unsupported` for another device than the CPU, for a dtype that does not exist here, and for a description that is
/// invalid; `alias` if the memory overlaps imported memory of which it is no part, and one of both may be written.
pub fn import(tensor: Dlpack, loc: Loc) -> Result<View> {
    import_any(tensor, loc).map_err(|e| e.at(loc))
}

fn import_any(tensor: Dlpack, loc: Loc) -> Result<View> {
    let described = tensor.validate().map_err(|e| err::unsupported(format!("invalid DLPack tensor: {e}")))?;
    let dtype = dtype_of(described.dtype())?;
    if described.device().device_type != DLDeviceType::CPU {
        let device = device_name(described.device().device_type);
        return Err(err::unsupported(format!("a DLPack tensor on {device}: memory of the CPU only can be shared"))
            .help("copy it to the CPU first"));
    }
    let layout = layout_of(&described)?;
    let Some((low, high)) = layout.bounds() else {
        // SAFETY: there is no element; the owner is kept so that its deleter is called when the tensor goes.
        let storage = unsafe { Storage::from_owner(NonNull::dangling(), 0, true, true, Box::new(tensor)) };
        return Ok(View { storage, dtype, layout });
    };
    let invalid = || err::unsupported("invalid DLPack tensor: its elements lie outside of the address space");
    let size = dtype.size();
    let first = usize::try_from(described.byte_offset()).ok().and_then(|o| described.data_ptr().addr().checked_add(o));
    let before = low.unsigned_abs().checked_mul(size);
    let (Some(first), Some(before)) = (first, before) else { return Err(invalid()) };
    let len = ((high - low) as usize + 1).checked_mul(size);
    let start = first.checked_sub(before).filter(|at| *at > 0);
    let (Some(at), Some(len)) = (start, len.filter(|n| *n <= isize::MAX as usize)) else { return Err(invalid()) };
    let start = described.data_ptr().cast_mut().cast::<u8>();
    let start = NonNull::new(start).ok_or_else(invalid)?.with_addr(NonZero::new(at).ok_or_else(invalid)?);
    let layout = Layout { offset: low.unsigned_abs(), ..layout };
    let writable = !tensor.flags().contains(DlpackFlags::READ_ONLY) && is_injective(&layout);
    let range = Range { start: at, end: at.checked_add(len).ok_or_else(invalid)?, writable };

    let mut imports = Imports::lock();
    match imports.find(&range) {
        Some((storage, place, loc)) => {
            // The last handle may be this one, and then its producer's deleter is called: not while the list is locked.
            drop(imports);
            let offset = place.filter(|at| at.is_multiple_of(size)).ok_or_else(|| refused(loc))? / size;
            // The producer of the storage that is here keeps the memory alive, so this one's may go.
            Ok(View { storage, dtype, layout: Layout { offset: offset + layout.offset, ..layout } })
        }
        None => {
            // SAFETY: a `Dlpack` describes memory that is valid until its deleter is called, which dropping it does, and
            // its flags say whether it may be written; that others leave it alone while it is held is what DLPack asks
            // of a producer's owner, and this module's description.
            let storage = unsafe { Storage::from_owner(start, len, writable, is_dense(&layout), Box::new(tensor)) };
            imports.add(range, &storage, loc);
            Ok(View { storage, dtype, layout })
        }
    }
}

/// Lends a tensor to a consumer, which calls the deleter when it is done (as dropping the result does). The memory is not
/// copied. Until then the storage is held: to read with the flag that says so, or to write.
///
/// # Errors
/// `alias` if the storage is in use the other way, or to write if it must not be written or two indices are the same
/// element; also if it is lent for a scope, which could end before the consumer is done.
pub fn export(view: &View, access: Access, loc: Loc) -> Result<Dlpack> {
    if view.storage.is_lent() {
        return Err(err::alias(
            "memory that is lent for a scope cannot be exported: the consumer may outlive the scope",
        )
        .at(loc)
        .help("export a copy: `x.copy()?`"));
    }
    let layout = &view.layout;
    view.storage.covers(layout, view.dtype.size(), loc)?;
    if access == Access::Write && !is_injective(layout) {
        return Err(err::alias("more than one index of this tensor refers to a single memory location")
            .at(loc)
            .help("export it to read only, or a copy: `x.copy()?`"));
    }
    let hold = view.storage.hold(access, loc)?;
    let data = match layout.numel() {
        0 => std::ptr::null_mut(),
        _ => view.storage.as_ptr().wrapping_add(layout.offset * view.dtype.size()),
    };
    let refused = |e: String| err::unsupported(format!("a tensor that DLPack cannot describe: {e}")).at(loc);
    let described = Dynamic::new(layout.shape.as_slice(), layout.strides.as_slice());
    let described = described.prepare().map_err(|e| refused(e.to_string()))?;
    let mut tensor = described.initialize(Box::new(hold));
    tensor.set_data(data.cast()).set_device(DLDevice::CPU).set_dtype(described_as(view.dtype));
    if access == Access::Read {
        tensor.set_flags(DlpackFlags::READ_ONLY).map_err(|e| refused(e.to_string()))?;
    }
    // SAFETY: the context holds the storage, so that the memory lives and nobody here uses it otherwise until the deleter
    // drops it; extents and strides are in the allocation itself; the flag says what the hold allows.
    Ok(unsafe { tensor.finish() })
}

fn described_as(dtype: DType) -> DLDataType {
    match dtype {
        DType::F64 => DLDataType::F64,
        DType::F32 => DLDataType::F32,
        DType::F16 => DLDataType::F16,
        DType::BF16 => DLDataType::BF16,
        DType::I64 => DLDataType::I64,
        DType::I32 => DLDataType::I32,
        DType::I16 => DLDataType::I16,
        DType::I8 => DLDataType::I8,
        DType::U8 => DLDataType::U8,
        DType::Bool => DLDataType::BOOL,
    }
}

fn dtype_of(described: DLDataType) -> Result<DType> {
    let known = DType::ALL.into_iter().find(|d| described_as(*d).matches(described));
    known.ok_or_else(|| {
        let DLDataType { code, bits, lanes } = described;
        let name = match code {
            DLDataTypeCode::INT => "int",
            DLDataTypeCode::UINT => "uint",
            DLDataTypeCode::FLOAT => "float",
            DLDataTypeCode::BFLOAT => "bfloat",
            DLDataTypeCode::COMPLEX => "complex",
            DLDataTypeCode::BOOL => "bool",
            DLDataTypeCode::OPAQUEHANDLE => "handle",
            DLDataTypeCode(7..=14) => "an eight-bit float, float",
            DLDataTypeCode(15..=17) => "a packed float, float",
            DLDataTypeCode(n) => return err::unsupported(format!("a DLPack tensor of the unknown dtype code {n}")),
        };
        let lanes = if lanes == 1 { String::new() } else { format!("x{lanes}") };
        err::unsupported(format!("a DLPack tensor of {name}{bits}{lanes}, a dtype that does not exist here"))
            .help("convert it first")
    })
}

fn device_name(device: DLDeviceType) -> String {
    let names = [
        (DLDeviceType::CUDA, "a CUDA device"),
        (DLDeviceType::CUDAHOST, "pinned CUDA memory"),
        (DLDeviceType::OPENCL, "an OpenCL device"),
        (DLDeviceType::VULKAN, "a Vulkan device"),
        (DLDeviceType::METAL, "a Metal device"),
        (DLDeviceType::ROCM, "a ROCm device"),
        (DLDeviceType::ROCMHOST, "pinned ROCm memory"),
        (DLDeviceType::CUDAMANAGED, "managed CUDA memory"),
        (DLDeviceType::ONEAPI, "a oneAPI device"),
        (DLDeviceType::WEBGPU, "a WebGPU device"),
    ];
    let known = names.into_iter().find(|(d, _)| *d == device);
    known.map_or_else(|| format!("a device of type {}", device.0), |(_, name)| name.to_string())
}

/// How a described tensor lies, from its first element.
fn layout_of(described: &TensorRef<'_>) -> Result<Layout> {
    let invalid = |e: String| err::unsupported(format!("invalid DLPack tensor: {e}"));
    let strides = described.strides_or_compact().map_err(|e| invalid(e.to_string()))?;
    let extents = described.shape().iter().map(|n| usize::try_from(*n));
    let shape = extents.collect::<Result<Vec<usize>, _>>().map_err(|e| invalid(e.to_string()))?;
    if checked_numel(&shape)? == 0 {
        return Ok(Layout::contiguous(&shape));
    }
    // Where an extent is 1 the stride may be any number; elsewhere no sum of them may overflow.
    let meant = shape.iter().zip(strides.iter()).map(|(n, s)| if *n == 1 { 0 } else { *s as isize });
    let strides: Vec<isize> = meant.collect();
    let reach = shape
        .iter()
        .zip(&strides)
        .try_fold(0isize, |sum, (n, s)| isize::try_from(*n - 1).ok()?.checked_mul(s.checked_abs()?)?.checked_add(sum));
    match reach {
        Some(r) if r < 1 << 47 => {}
        _ => return Err(invalid("its strides are too large".into())),
    }
    Ok(Layout { shape: shape.as_slice().into(), strides: strides.as_slice().into(), offset: 0 })
}

/// Addresses of imported memory.
struct Range {
    start: usize,
    end: usize,
    writable: bool,
}

struct Import {
    range: Range,
    storage: WeakStorage,
    loc: Loc,
}

/// What is imported and alive.
struct Imports(MutexGuard<'static, Vec<Import>>);

static IMPORTS: Mutex<Vec<Import>> = Mutex::new(Vec::new());

impl Imports {
    fn lock() -> Imports {
        let mut all = IMPORTS.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|i| i.storage.is_alive());
        Imports(all)
    }

    /// The storage that this memory overlaps, if one of both may be written; and the byte at which it begins in it, if it
    /// is a part of it, with the same access.
    fn find(&self, range: &Range) -> Option<(Storage, Option<usize>, Loc)> {
        let meets = |i: &&Import| i.range.start < range.end && range.start < i.range.end;
        let together = |i: &&Import| i.range.writable || range.writable;
        self.0.iter().filter(meets).filter(together).find_map(|i| {
            // One that goes at this moment is in nobody's way: its handles are gone.
            let storage = i.storage.upgrade()?;
            let inside = i.range.start <= range.start && range.end <= i.range.end;
            let part = inside && storage.is_whole() && i.range.writable == range.writable;
            Some((storage, part.then(|| range.start - i.range.start), i.loc))
        })
    }

    fn add(&mut self, range: Range, storage: &Storage, loc: Loc) {
        self.0.push(Import { range, storage: storage.downgrade(), loc });
    }
}

fn refused(first: Loc) -> Error {
    err::alias("this memory overlaps memory that has been imported, of which it is no part with the same access")
        .note(first, "that was imported here, and is in use")
        .help("import the whole array once and take views of it, or import a copy")
}
