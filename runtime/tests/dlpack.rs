//! DLPack with producers and consumers made by hand: what is taken, what is refused, how long memory lives, and that each
//! deleter is called once.
#![cfg(feature = "dlpack")]

use std::ffi::c_void;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use dlpark::DlpackFlags;
use dlpark::ffi::{
    DLDataType, DLDataTypeCode, DLDevice, DLDeviceType, DLManagedTensorVersioned, DLPackVersion, DLTensor,
};
use dlpark::versioned::Dlpack;
use tensorc_ir::{DType, Kind, Layout, Loc, Result};
use tensorc_runtime::dlpack::{export, import};
use tensorc_runtime::executable::View;
use tensorc_runtime::lend;
use tensorc_runtime::storage::{Access, Storage};

/// A producer's tensor: memory, what describes it, and how often the deleter was called.
struct Producer {
    memory: Arc<Vec<AtomicU64>>,
    deleted: Arc<AtomicUsize>,
    shape: Vec<i64>,
    strides: Option<Vec<i64>>,
    dtype: DLDataType,
    device: DLDeviceType,
    version: (u32, u32),
    flags: DlpackFlags,
    /// Bytes of the memory before `data`, and after it up to the first element.
    data: usize,
    byte_offset: u64,
}

struct Context {
    _memory: Arc<Vec<AtomicU64>>,
    deleted: Arc<AtomicUsize>,
    shape: Vec<i64>,
    strides: Option<Vec<i64>>,
}

unsafe extern "C" fn delete(tensor: *mut DLManagedTensorVersioned) {
    // SAFETY: made by `Producer::give`, and called once.
    unsafe {
        let context = Box::from_raw((*tensor).manager_ctx.cast::<Context>());
        context.deleted.fetch_add(1, Ordering::Relaxed);
        drop(Box::from_raw(tensor));
    }
}

impl Producer {
    /// Sixteen words of memory, seen as so many `f32`, row-major.
    fn new(shape: &[i64]) -> Producer {
        Producer {
            memory: Arc::new((0..16).map(|_| AtomicU64::new(0)).collect()),
            deleted: Arc::default(),
            shape: shape.to_vec(),
            strides: Some((0..shape.len()).map(|d| shape[d + 1..].iter().product()).collect()),
            dtype: DLDataType::F32,
            device: DLDeviceType::CPU,
            version: (1, 3),
            flags: DlpackFlags::empty(),
            data: 0,
            byte_offset: 0,
        }
    }

    fn give(&self) -> *mut DLManagedTensorVersioned {
        let mut context = Box::new(Context {
            _memory: self.memory.clone(),
            deleted: self.deleted.clone(),
            shape: self.shape.clone(),
            strides: self.strides.clone(),
        });
        let dl_tensor = DLTensor {
            data: self.memory.as_ptr().cast_mut().cast::<u8>().wrapping_add(self.data).cast::<c_void>(),
            device: DLDevice { device_type: self.device, device_id: 0 },
            ndim: self.shape.len() as i32,
            dtype: self.dtype,
            shape: context.shape.as_mut_ptr(),
            strides: context.strides.as_mut().map_or(std::ptr::null_mut(), |s| s.as_mut_ptr()),
            byte_offset: self.byte_offset,
        };
        let version = DLPackVersion { major: self.version.0, minor: self.version.1 };
        let manager_ctx = Box::into_raw(context).cast();
        let deleter: Option<unsafe extern "C" fn(*mut DLManagedTensorVersioned)> = Some(delete);
        Box::into_raw(Box::new(DLManagedTensorVersioned {
            version,
            manager_ctx,
            deleter,
            flags: self.flags,
            dl_tensor,
        }))
    }

    fn import(&self) -> Result<View> {
        // SAFETY: `give` describes its own memory, which the context keeps alive, and gives the pointer away.
        import(unsafe { Dlpack::from_raw(self.give()) }.unwrap(), Loc::text(3..9))
    }

    fn deleted(&self) -> usize {
        self.deleted.load(Ordering::Relaxed)
    }

    /// What an import is refused with, after which the deleter has been called.
    fn refused(&self) -> String {
        let before = self.deleted();
        let e = self.import().map(|_| ()).unwrap_err();
        assert_eq!(self.deleted(), before + 1, "{e}");
        assert_eq!(e.diagnostic().loc, Loc::text(3..9));
        e.to_string()
    }
}

fn floats(view: &View) -> Vec<f32> {
    view.storage.to_vec(&view.layout, Loc::Unknown).unwrap()
}

fn write(view: &View, f: impl FnOnce(&mut [f32])) {
    f(&mut view.storage.values_mut(&view.layout, Loc::Unknown).unwrap());
}

#[test]
fn the_producer_lives_as_long_as_the_last_handle() {
    let p = Producer::new(&[2, 3]);
    let view = p.import().unwrap();
    assert_eq!((view.dtype, &view.layout), (DType::F32, &Layout::contiguous(&[2, 3])));
    write(&view, |v| v[5] = 2.5);
    let other = view.clone();
    drop(view);
    assert_eq!((p.deleted(), Arc::strong_count(&p.memory)), (0, 2));
    assert_eq!(floats(&other), [0.0, 0.0, 0.0, 0.0, 0.0, 2.5]);
    let held = other.storage.hold(Access::Read, Loc::Unknown).unwrap();
    drop(other);
    assert_eq!(p.deleted(), 0);
    std::thread::spawn(move || drop(held)).join().unwrap();
    assert_eq!((p.deleted(), Arc::strong_count(&p.memory)), (1, 1));
}

#[test]
fn read_only_is_kept() {
    let p = Producer { flags: DlpackFlags::READ_ONLY, ..Producer::new(&[4]) };
    let view = p.import().unwrap();
    assert_eq!(view.storage.write(Loc::Unknown).map(|_| ()).unwrap_err().kind(), Kind::Alias);
    assert_eq!(export(&view, Access::Write, Loc::Unknown).map(|_| ()).unwrap_err().kind(), Kind::Alias);
    // Exported again it is read-only still.
    let again = export(&view, Access::Read, Loc::Unknown).unwrap();
    assert_eq!(again.flags(), DlpackFlags::READ_ONLY);
    drop(view);
    assert_eq!(p.deleted(), 0);
    drop(again);
    assert_eq!(p.deleted(), 1);
    // A copy that is the consumer's is not read-only.
    let p = Producer { flags: DlpackFlags::IS_COPIED, ..Producer::new(&[4]) };
    assert!(p.import().unwrap().storage.is_writable());
}

#[test]
fn any_strides() {
    let strided = |shape: &[i64], strides: &[i64], data, byte_offset| Producer {
        strides: Some(strides.to_vec()),
        data,
        byte_offset,
        ..Producer::new(shape)
    };
    let whole = Producer::new(&[24]);
    let memory = whole.memory.clone();
    write(&whole.import().unwrap(), |v| v.iter_mut().enumerate().for_each(|(i, v)| *v = i as f32));
    for (shape, strides, data, offset, expected, writable) in [
        (&[2, 3][..], &[1, 2][..], 0, 0, &[0.0, 2.0, 4.0, 1.0, 3.0, 5.0][..], true),
        (&[3], &[-2], 0, 20, &[5.0, 3.0, 1.0], true),
        (&[2, 2], &[-3, 1], 8, 16, &[6.0, 7.0, 3.0, 4.0], true),
        (&[2, 2], &[0, 1], 4, 0, &[1.0, 2.0, 1.0, 2.0], false),
        (&[3, 2], &[1, 1], 0, 8, &[2.0, 3.0, 3.0, 4.0, 4.0, 5.0], false),
        (&[], &[], 0, 12, &[3.0], true),
        (&[1, 2], &[i64::MAX, 1], 0, 0, &[0.0, 1.0], true),
    ] {
        let p = Producer { memory: memory.clone(), ..strided(shape, strides, data, offset) };
        let view = p.import().unwrap();
        assert_eq!((floats(&view), view.storage.is_writable()), (expected.to_vec(), writable), "{shape:?} {strides:?}");
        assert_eq!(view.layout.shape.iter().map(|n| *n as i64).collect::<Vec<_>>(), shape);
        drop(view);
        assert_eq!(p.deleted(), 1);
    }
    // Before version 1.2 no strides meant row-major; since then they must be there.
    let p = Producer { memory: memory.clone(), strides: None, version: (1, 1), ..Producer::new(&[2, 2]) };
    assert_eq!(floats(&p.import().unwrap()), [0.0, 1.0, 2.0, 3.0]);
    assert!(Producer { version: (1, 3), ..p }.refused().contains("strides"));
    // Nothing has no memory.
    let p = Producer { shape: vec![0, 3], ..Producer::new(&[0, 3]) };
    assert_eq!(p.import().unwrap().layout.shape.as_slice(), [0, 3]);
    assert_eq!(p.deleted(), 1);
}

const OUTSIDE: &str = "invalid DLPack tensor: its elements lie outside of the address space";

#[test]
fn what_does_not_exist_here_is_refused_by_name() {
    let with = |code, bits, lanes| Producer { dtype: DLDataType::new(code, bits, lanes), ..Producer::new(&[2]) };
    for (p, name) in [
        (with(DLDataTypeCode::COMPLEX, 64, 1), "complex64, a dtype that does not exist here"),
        (with(DLDataTypeCode::UINT, 16, 1), "uint16"),
        (with(DLDataTypeCode::UINT, 32, 1), "uint32"),
        (with(DLDataTypeCode::UINT, 64, 1), "uint64"),
        (with(DLDataTypeCode::FLOAT, 32, 4), "float32x4"),
        (with(DLDataTypeCode::FLOAT, 128, 1), "float128"),
        (with(DLDataTypeCode::BOOL, 1, 1), "bool1"),
        (with(DLDataTypeCode::FLOAT8_E4M3FN, 8, 1), "float8"),
        (with(DLDataTypeCode(99), 8, 1), "a DLPack tensor of the unknown dtype code 99"),
        (
            Producer { device: DLDeviceType::CUDA, ..Producer::new(&[2]) },
            "a CUDA device: memory of the CPU only can be shared",
        ),
        (Producer { device: DLDeviceType(77), ..Producer::new(&[2]) }, "type 77"),
        (with(DLDataTypeCode::FLOAT, 32, 0), "invalid DLPack tensor:"),
        (Producer::new(&[-1]), "invalid"),
        (Producer { strides: Some(vec![i64::MAX]), ..Producer::new(&[3]) }, "strides are too large"),
        (Producer { strides: Some(vec![i64::MIN]), ..Producer::new(&[3]) }, "strides are too large"),
        (Producer { shape: vec![1 << 40, 1 << 40], strides: Some(vec![0, 0]), ..Producer::new(&[1]) }, ""),
        (Producer { byte_offset: u64::MAX, ..Producer::new(&[3]) }, OUTSIDE),
    ] {
        let text = p.refused();
        assert!(text.contains(name), "{name}: {text}");
    }
    // Of another major version nothing but the deleter is known, which is called.
    let p = Producer { version: (2, 0), ..Producer::new(&[2]) };
    // SAFETY: as in `import`.
    assert!(unsafe { Dlpack::from_raw(p.give()) }.is_err());
    assert_eq!(p.deleted(), 1);
}

#[test]
fn memory_need_not_be_aligned() {
    let p = Producer { data: 1, ..Producer::new(&[3]) };
    let view = p.import().unwrap();
    assert_eq!(floats(&view), [0.0; 3]);
    let e = view.storage.values::<f32>(&view.layout, Loc::Unknown).map(|_| ()).unwrap_err();
    assert!(e.to_string().contains("this tensor's memory is not aligned to the 4 bytes of its elements"), "{e}");
}

/// Two storages over one memory would not know of each other's writes.
#[test]
fn memory_that_is_imported_twice_is_one_storage_or_refused() {
    let p = Producer::new(&[8]);
    let part = Producer { memory: p.memory.clone(), data: 8, ..Producer::new(&[2, 2]) };
    let (a, b) = (p.import().unwrap(), part.import().unwrap());
    assert!(a.storage.same(&b.storage) && a.overlaps(&b));
    assert_eq!((b.layout.offset, part.deleted()), (2, 1), "the first producer keeps the memory");
    write(&a, |v| v[3] = 7.0);
    assert_eq!(floats(&b), [0.0, 7.0, 0.0, 0.0]);
    let more = Producer { memory: p.memory.clone(), data: 16, ..Producer::new(&[8]) };
    let shifted = Producer { memory: p.memory.clone(), data: 2, ..Producer::new(&[4]) };
    let readable = Producer { memory: p.memory.clone(), flags: DlpackFlags::READ_ONLY, ..Producer::new(&[4]) };
    for other in [&more, &shifted, &readable] {
        let e = other.refused();
        let text = "this memory overlaps memory that has been imported, of which it is no part with the same access";
        assert!(e.contains(text) && e.contains("that was imported here"), "{e}");
    }
    drop((a, b));
    assert_eq!(p.deleted(), 1);
    // What is gone is in nobody's way, and readers are in nobody's.
    let (c, d) = (readable.import().unwrap(), readable.import().unwrap());
    assert!(!c.storage.same(&d.storage));
    assert!(p.refused().contains("has been imported"));
    drop((c, d));
    more.import().unwrap();
    // Every second element: what lies between is the producer's.
    let even = Producer { strides: Some(vec![2]), ..Producer::new(&[4]) };
    let view = even.import().unwrap();
    assert!(!view.storage.is_whole() && view.storage.read(Loc::Unknown).is_err());
    assert_eq!(floats(&view), [0.0; 4]);
    let e = view.storage.values::<f32>(&view.layout, Loc::Unknown).map(|_| ()).unwrap_err().to_string();
    assert!(e.contains("between the elements of this tensor lies memory that belongs to others"), "{e}");
}

#[test]
fn what_is_exported_is_held_until_the_deleter_is_called() {
    let storage = Storage::from_slice(&[1.0f32, 2.0, 3.0, 4.0]).unwrap();
    let layout = Layout { shape: [2, 2].as_slice().into(), strides: [-2, 1].as_slice().into(), offset: 2 };
    let view = View { storage, dtype: DType::F32, layout };
    let here = Loc::text(70..77);
    let tensor = export(&view, Access::Write, here).unwrap().into_raw();
    // SAFETY: the pointer is owned here until the deleter is called below.
    unsafe {
        let t = &(*tensor).dl_tensor;
        assert_eq!(((*tensor).version.major, (*tensor).version.minor, (*tensor).flags), (1, 3, DlpackFlags::empty()));
        assert_eq!((t.ndim, t.dtype, t.device), (2, DLDataType::F32, DLDevice::CPU));
        assert_eq!(std::slice::from_raw_parts(t.shape, 2), [2, 2]);
        assert_eq!(std::slice::from_raw_parts(t.strides, 2), [-2, 1]);
        let first = t.data.cast::<u8>().add(t.byte_offset as usize).cast::<f32>();
        assert_eq!((first.read(), first.offset(-2).read()), (3.0, 1.0));
        first.write(30.0);
    }
    for r in [view.storage.hold(Access::Read, Loc::Unknown), view.storage.hold(Access::Write, Loc::Unknown)] {
        let e = r.map(|_| ()).unwrap_err();
        assert_eq!((e.kind(), e.diagnostic().notes[0].0), (Kind::Alias, here), "the error names the export");
    }
    let kept = view.storage.clone();
    let layout = view.layout.clone();
    drop(view);
    // SAFETY: the consumer is done; this is the one call.
    std::thread::scope(|s| {
        let tensor = tensor.expose_provenance();
        s.spawn(move || unsafe {
            // SAFETY: as above; deleters may be called on any thread.
            let tensor = std::ptr::with_exposed_provenance_mut::<DLManagedTensorVersioned>(tensor);
            ((*tensor).deleter.unwrap())(tensor);
        });
    });
    assert!(kept.is_unique());
    assert_eq!(kept.to_vec::<f32>(&layout, Loc::Unknown).unwrap(), [30.0, 4.0, 1.0, 2.0]);
}

#[test]
fn exports_are_readers_or_one_writer() {
    let storage = Storage::from_slice(&[1i64, 2]).unwrap();
    let view = View { storage, dtype: DType::I64, layout: Layout::contiguous(&[2]) };
    let readers = [0; 3].map(|_| export(&view, Access::Read, Loc::Unknown).unwrap());
    assert!(export(&view, Access::Write, Loc::Unknown).is_err() && view.storage.write(Loc::Unknown).is_err());
    assert_eq!(view.storage.to_vec::<i64>(&view.layout, Loc::Unknown).unwrap(), [1, 2]);
    drop(readers);
    let writer = export(&view, Access::Write, Loc::Unknown).unwrap();
    assert!(export(&view, Access::Read, Loc::Unknown).is_err());
    // It comes home as another storage, of which this one waits for the end.
    let home = import(writer, Loc::Unknown).unwrap();
    assert!(!home.storage.same(&view.storage));
    home.storage.values_mut::<i64>(&home.layout, Loc::Unknown).unwrap()[0] = 5;
    assert!(view.storage.read(Loc::Unknown).is_err());
    drop(home);
    assert_eq!(view.storage.to_vec::<i64>(&view.layout, Loc::Unknown).unwrap(), [5, 2]);
    // What is shown twice, or lent for a scope.
    let wide =
        View { layout: Layout { shape: [3].as_slice().into(), strides: [0].as_slice().into(), offset: 1 }, ..view };
    let e = export(&wide, Access::Write, Loc::Unknown).map(|_| ()).unwrap_err().to_string();
    assert!(e.contains("more than one index of this tensor refers to a single memory location"), "{e}");
    assert_eq!(export(&wide, Access::Read, Loc::Unknown).unwrap().validate().unwrap().strides(), Some(&[0][..]));
    let lent = lend::with_borrowed(&mut [1i64, 2], Loc::Unknown, |s| {
        let view = View { storage: s.clone(), dtype: DType::I64, layout: Layout::contiguous(&[2]) };
        export(&view, Access::Read, Loc::Unknown).map(|_| ())
    });
    let e = lent.unwrap_err().to_string();
    assert!(
        e.contains("memory that is lent for a scope cannot be exported: the consumer may outlive the scope"),
        "{e}"
    );
    let none = View { storage: Storage::alloc(0).unwrap(), dtype: DType::Bool, layout: Layout::contiguous(&[0]) };
    assert!(import(export(&none, Access::Write, Loc::Unknown).unwrap(), Loc::Unknown).unwrap().layout.numel() == 0);
}
