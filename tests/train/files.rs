//! Trees in files: what is written is read, what does not fit is refused by name, and a file is whole or not there.

use super::{Two, params};
use safetensors::SafeTensors;
use std::collections::BTreeMap;
use std::path::PathBuf;
use tensorc::dtype::{BF16, F32, I64};
use tensorc::train::{AdamW, load, save};
use tensorc::{Kind, Result, Tensor, arange, tensor, zeros};

/// A file in the folder of this build, of its own for each test.
fn file(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("train");
    std::fs::create_dir_all(&folder).unwrap();
    folder.join(name)
}

#[test]
fn what_is_written_is_read() -> Result<()> {
    let path = file("state.safetensors");
    let p = params()?;
    let state = AdamW { amsgrad: true, ..AdamW::default() }.init(&p)?;
    let maps: BTreeMap<String, Tensor> = [("x".to_string(), arange(3)?.to(BF16)?)].into();
    // Views are written as what they show.
    let more = vec![(p.b.t()?, maps), (tensor(true)?, BTreeMap::new())];
    let tree = (p, state, more);
    save(&path, &tree)?;
    let bytes = std::fs::read(&path).unwrap();
    let mut names: Vec<String> =
        SafeTensors::deserialize(&bytes).unwrap().names().iter().map(ToString::to_string).collect();
    names.sort();
    let want = [
        "0.a",
        "0.b",
        "1.exp_avg.a",
        "1.exp_avg.b",
        "1.exp_avg_sq.a",
        "1.exp_avg_sq.b",
        "1.max_exp_avg_sq.a",
        "1.max_exp_avg_sq.b",
        "1.step",
        "2.0.0",
        "2.0.1.x",
        "2.1.0",
    ];
    assert_eq!(names, want);
    let (p, state, more) = load(&path, &tree)?;
    assert_eq!(super::numbers(&p), super::numbers(&tree.0));
    assert_eq!((state.step.dtype(), state.step.item::<i64>()?), (I64, 0));
    assert_eq!(more[0].0.to_vec::<f64>()?, [1.0, 0.25, -0.5, 3.0]);
    assert_eq!(more[0].1["x"].to_vec::<half::bf16>()?, arange(3)?.to(BF16)?.to_vec::<half::bf16>()?);
    assert!(more[1].0.item::<bool>()?);
    // A lone tensor, and nothing of temporary files.
    let lone = file("lone.safetensors");
    save(&lone, &zeros(&[2], F32)?)?;
    assert_eq!(load(&lone, &zeros(&[2], F32)?)?.shape(), [2]);
    let left = std::fs::read_dir(lone.parent().unwrap()).unwrap().flatten().map(|e| e.file_name());
    assert_eq!(left.filter(|n| n.to_string_lossy().starts_with("lone")).count(), 1);
    Ok(())
}

#[test]
fn all_that_does_not_fit_is_named() -> Result<()> {
    let path = file("other.safetensors");
    let says = |r: Result<()>, kind: Kind, texts: &[&str]| {
        let e = r.unwrap_err();
        assert!(e.kind() == kind && texts.iter().all(|t| e.to_string().contains(t)), "{e}");
        assert!(e.to_string().contains("tests/train/files.rs"), "{e}");
    };
    save(&path, &(zeros(&[2], F32)?, zeros(&[3], F32)?))?;
    says(
        load(&path, &params()?).map(drop),
        Kind::Name,
        &["other.safetensors does not hold this tree", "missing: `a`, `b`", "not expected: `0`, `1`"],
    );
    let other = (zeros(&[2, 1], F32)?, zeros(&[3], I64)?);
    says(
        load(&path, &other).map(drop),
        Kind::Shape,
        &["`0` is [2] in the file, [2, 1] is expected", "`1` is f32 in the file, i64 is expected"],
    );
    let other = (zeros(&[2], F32)?, zeros(&[3], I64)?);
    says(load(&path, &other).map(drop), Kind::Dtype, &["`1` is f32 in the file, i64 is expected"]);
    says(load(file("none.safetensors"), &other).map(drop), Kind::Io, &["none.safetensors"]);
    says(save(file("no/folder/x.safetensors"), &other), Kind::Io, &["x.safetensors"]);
    let twice = BTreeMap::from([
        ("x".to_string(), BTreeMap::from([("y.z".to_string(), zeros(&[1], F32)?)])),
        ("x.y".to_string(), BTreeMap::from([("z".to_string(), zeros(&[1], F32)?)])),
    ]);
    says(save(&path, &twice), Kind::Name, &["two tensors of the tree have the name `x.y.z`"]);
    // A file that was cut off is not read as a shorter one.
    std::fs::write(file("cut.safetensors"), &std::fs::read(&path).unwrap()[..20]).unwrap();
    says(load(file("cut.safetensors"), &params()?).map(drop), Kind::Io, &["cut.safetensors"]);
    Ok(())
}

#[test]
fn a_failed_write_leaves_the_old_file() -> Result<()> {
    // The target is a folder, onto which no file can be renamed.
    let path = file("folder.safetensors");
    std::fs::create_dir_all(&path).unwrap();
    let e = save(&path, &Two { a: zeros(&[1], F32)?, b: zeros(&[1], F32)? }).unwrap_err();
    assert_eq!(e.kind(), Kind::Io);
    assert!(path.is_dir());
    Ok(())
}
