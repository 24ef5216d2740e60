//! The command, as a build engineer meets it: files in and out, modes that agree, errors with their line, exit statuses.

use safetensors::tensor::{Dtype, TensorView};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn tensorc(dir: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tensorc")).args(args).current_dir(dir).output().unwrap()
}

fn stdout(o: &Output) -> String {
    assert!(o.status.success(), "{}", String::from_utf8_lossy(&o.stderr));
    String::from_utf8(o.stdout.clone()).unwrap()
}

fn stderr(o: &Output) -> String {
    String::from_utf8(o.stderr.clone()).unwrap()
}

/// A fresh folder for one test.
fn folder(name: &str) -> PathBuf {
    let dir = std::env::temp_dir().join(format!("tensorc-cli-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    dir
}

fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

fn read(path: &Path) -> HashMap<String, Vec<u8>> {
    let file = std::fs::read(path).unwrap();
    let st = safetensors::SafeTensors::deserialize(&file).unwrap();
    st.tensors().into_iter().map(|(n, t)| (n, t.data().to_vec())).collect()
}

const DOUBLE: &str = "fn double(x: mut f32[N]) -> f32 {\n    x.mul_(2);\n    sum(x)\n}\n";

#[test]
fn results_and_written_parameters_are_printed() {
    let dir = folder("print");
    std::fs::write(dir.join("double.tc"), DOUBLE).unwrap();
    for mode in ["fused", "eager", "interpret"] {
        let out = tensorc(&dir, &["run", "double.tc", "x=[1, 2, -3.5]", "--mode", mode]);
        assert_eq!(stdout(&out), "tensor(-1.)\nx = tensor([ 2.,  4., -7.])\n");
    }
}

/// Each pass by its name, and what comes after the passes.
#[test]
fn what_each_part_took_is_told() {
    let dir = folder("time");
    std::fs::write(dir.join("double.tc"), DOUBLE).unwrap();
    let out = tensorc(&dir, &["run", "double.tc", "x=[1, 2, -3.5]", "--time"]);
    assert_eq!(stdout(&out), "tensor(-1.)\nx = tensor([ 2.,  4., -7.])\n");
    let told = stderr(&out);
    let names: Vec<&str> = told.lines().filter_map(|l| l.split_whitespace().next()).collect();
    let want =
        ["functionalize", "autodiff", "simplify", "cleanup", "partition", "fuse", "plan", "emit", "machine", "the"];
    assert_eq!(names, [&want[..], &["compiled"]].concat(), "{told}");
}

#[test]
fn an_argument_may_be_a_view_of_another() {
    let dir = folder("view");
    let text = "fn f(x: mut f32[4], y: mut f32[3]) -> f32[3] {\n    x += 1;\n    y *= 10;\n    y + 0\n}\n";
    std::fs::write(dir.join("f.tc"), text).unwrap();
    for mode in ["fused", "eager", "interpret"] {
        let out = tensorc(&dir, &["run", "f.tc", "x=[0, 1, 2, 3]", "y=x[1:]", "--mode", mode]);
        let want = "tensor([20., 30., 40.])\nx = tensor([ 1., 20., 30., 40.])\ny = tensor([20., 30., 40.])\n";
        assert_eq!(stdout(&out), want);
    }
}

/// The example program, fed by its own outputs: the loss falls, and all modes give the same bytes.
#[test]
fn the_digits_step_feeds_itself() {
    let dir = folder("digits");
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/digits.tc");
    let ramp =
        |n: usize, scale: f32| -> Vec<f32> { (0..n).map(|i| ((i * 37 % 101) as f32 / 50.0 - 1.0) * scale).collect() };
    let (batch, hidden) = (6, 16);
    let tensors: Vec<(&str, Dtype, Vec<usize>, Vec<u8>)> = vec![
        ("x", Dtype::F32, vec![batch, 64], bytes(&ramp(batch * 64, 1.0))),
        ("target", Dtype::I64, vec![batch], (0..batch as i64).flat_map(|i| (i % 10).to_le_bytes()).collect()),
        ("w1", Dtype::F32, vec![64, hidden], bytes(&ramp(64 * hidden, 0.2))),
        ("b1", Dtype::F32, vec![hidden], bytes(&vec![0.0; hidden])),
        ("w2", Dtype::F32, vec![hidden, 10], bytes(&ramp(hidden * 10, 0.2))),
        ("b2", Dtype::F32, vec![10], bytes(&[0.0; 10])),
    ];
    let views = tensors.iter().map(|(n, d, s, b)| (*n, TensorView::new(*d, s.clone(), b).unwrap()));
    safetensors::serialize_to_file(views, None, &dir.join("in.safetensors")).unwrap();
    let mut files: Vec<Vec<(String, Vec<u8>)>> = Vec::new();
    for mode in ["fused", "eager", "interpret"] {
        let mut losses = Vec::new();
        let mut last = String::from("in.safetensors");
        for step in 0..4 {
            let out = format!("{mode}{step}.safetensors");
            let args = [
                "run",
                program,
                "--fn",
                "main",
                "--inputs",
                "in.safetensors",
                "--inputs",
                &last,
                "lr=0.5",
                "--outputs",
                &out,
                "--mode",
                mode,
            ];
            stdout(&tensorc(&dir, &args));
            let loss = read(&dir.join(&out))["0"].clone();
            losses.push(f32::from_le_bytes(loss.try_into().unwrap()));
            last = out;
        }
        assert!(losses.windows(2).all(|l| l[1] < l[0]), "{mode}: {losses:?}");
        let mut all: Vec<(String, Vec<u8>)> = read(&dir.join(&last)).into_iter().collect();
        all.sort();
        assert_eq!(all.len(), 5);
        files.push(all);
    }
    assert!(files[0] == files[1] && files[1] == files[2], "the modes differ");
}

#[test]
fn npz_files_come_and_go() {
    let dir = folder("npz");
    std::fs::write(dir.join("double.tc"), DOUBLE).unwrap();
    stdout(&tensorc(&dir, &["run", "double.tc", "x=[1, 2]", "--outputs", "a.npz"]));
    std::fs::write(dir.join("sum.tc"), "fn f(x: f32[N]) { sum(x) }").unwrap();
    assert_eq!(stdout(&tensorc(&dir, &["run", "sum.tc", "--inputs", "a.npz"])), "tensor(6.)\n");
}

#[test]
fn errors_show_the_line_and_give_status_1() {
    let dir = folder("errors");
    let text = "fn f(x: f32[3], y: f32[4]) {\n    let a = x + y;\n    let b = nosuch(x);\n    x[7]\n}\n";
    std::fs::write(dir.join("bad.tc"), text).unwrap();
    let out = tensorc(&dir, &["check", "bad.tc"]);
    assert_eq!(out.status.code(), Some(1));
    let text = stderr(&out);
    for part in
        ["error[shape]", "bad.tc:2:13", "let a = x + y;", "error[name]", "bad.tc:3:13", "error[index]", "bad.tc:4"]
    {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    std::fs::write(dir.join("div.tc"), "fn f(x: i64[2], y: i64[2]) {\n    floor_divide(x, y)\n}\n").unwrap();
    for mode in ["fused", "eager", "interpret"] {
        let out = tensorc(&dir, &["run", "div.tc", "x=[1, 2]", "y=[1, 0]", "--mode", mode]);
        assert_eq!(out.status.code(), Some(1));
        assert!(stderr(&out).contains("error[data]") && stderr(&out).contains("div.tc:2:5"), "{}", stderr(&out));
    }
    let out = tensorc(&dir, &["run", "div.tc", "x=[1, 2]"]);
    assert!(out.status.code() == Some(1) && stderr(&out).contains("no input for parameter `y`"));
    let out = tensorc(&dir, &["run", "missing.tc"]);
    assert!(out.status.code() == Some(1) && stderr(&out).contains("error[io]"));
}

#[test]
fn a_reader_who_stops_reading_is_no_failure() {
    let dir = folder("pipe");
    std::fs::write(dir.join("big.tc"), "fn f() {\n    arange(900)\n}\n").unwrap();
    for args in [&["ops"][..], &["run", "big.tc"], &["opt", "big.tc", "-p", "all", "--loops"]] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_tensorc"))
            .args(args)
            .current_dir(&dir)
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let out = child.wait_with_output().unwrap();
        assert!(out.status.success() && out.stderr.is_empty(), "{args:?}: {}", stderr(&out));
    }
}

#[test]
fn a_wrong_command_line_gives_status_2() {
    let dir = folder("usage");
    std::fs::write(dir.join("two.tc"), "fn a() { 1.0 }\nfn b() { 2.0 }\n").unwrap();
    for args in [&["run", "two.tc"][..], &["frobnicate"], &["run"], &["opt", "two.tc", "-p", "nosuch"]] {
        assert_eq!(tensorc(&dir, args).status.code(), Some(2), "{args:?}");
    }
}

#[test]
fn programs_print_after_every_pass_and_the_print_is_a_program() {
    let dir = folder("opt");
    std::fs::write(dir.join("double.tc"), DOUBLE).unwrap();
    for passes in ["functionalize", "functionalize,autodiff", "all"] {
        let text = stdout(&tensorc(&dir, &["opt", "double.tc", "--size", "N=3", "-p", passes]));
        std::fs::write(dir.join("after.tc"), &text).unwrap();
        let out = tensorc(&dir, &["run", "after.tc", "x=[1, 2, 3]"]);
        assert_eq!(stdout(&out), "tensor(12.)\nx = tensor([2., 4., 6.])\n", "{text}");
    }
    assert!(stdout(&tensorc(&dir, &["ops", "tanh"])).contains("derivative: of any order"));
    assert!(stdout(&tensorc(&dir, &["ops"])).contains("softmax(x, dim: int"));
}

#[test]
fn explain_tells_assumptions_kernels_and_memory() {
    let dir = folder("explain");
    std::fs::write(dir.join("head.tc"), "fn head(x: f32[N]) -> f32 {\n    mean(x[:10] ** 2)\n}\n").unwrap();
    let text = stdout(&tensorc(&dir, &["explain", "head.tc"]));
    assert!(
        text.starts_with("fn head\n  one program for all sizes\n  assumes 10 <= N\n  kernel 0: rows [10]"),
        "{text}"
    );
    assert!(text.contains("(from line 2), stored\n  memory: 1 results"), "{text}");

    // Writes, and the copies that they need.
    let text = "fn f(x: mut f32[8, 4], n: mut i64[2], d: i64[2]) -> f32[4] {\n    x[1] += 1.0;\n    let y = x[2:, ::2] * 2.0;\n    \
                n.floor_divide_(d);\n    x[:, 0] = sum(y) + sum(n);\n    n += argmax(x[0]);\n    x[0] / n[0]\n}\n";
    std::fs::write(dir.join("writes.tc"), text).unwrap();
    let text = stdout(&tensorc(&dir, &["explain", "writes.tc"]));
    for line in ["  writes x[1, :], 16 of 128 bytes (line 2)", "  writes x[:, 0], 32 of 128 bytes (line 5)"] {
        assert!(text.contains(line), "{text}");
    }

    // Updates of several tensors run side by side; what one of them reads keeps the next apart.
    let text = "fn f(a: mut f32[5], b: mut f32[3, 2], da: f32[5], db: f32[3, 2]) {\n    a -= 0.1 * da;\n    b -= 0.1 * db;\n}\n\
                fn g(a: mut f32[5], b: mut f32[2]) {\n    a += 1.0;\n    b += sum(a);\n}\n";
    std::fs::write(dir.join("updates.tc"), text).unwrap();
    let text = stdout(&tensorc(&dir, &["explain", "updates.tc", "--fn", "f"]));
    assert!(text.contains("  one launch: kernels 0, 1\n"), "{text}");
    let text = stdout(&tensorc(&dir, &["explain", "updates.tc", "--fn", "g"]));
    assert!(!text.contains("one launch"), "{text}");

    // What a gradient keeps, and what it computes again: here all but the row sums.
    let text = "fn f(x: f32[64, 1], y: f32[1, 64]) {\n    let d = x - y;\n    grad(sum(log(sum(1.0 / (1.0 + d * d), 1))), (x, y))\n}\n";
    std::fs::write(dir.join("table.tc"), text).unwrap();
    let text = stdout(&tensorc(&dir, &["explain", "table.tc"]));
    for line in [
        "  memory: 2 results, 1 temporary values in 256 bytes\n",
        "  kept for the backward computation: div, f32[64], 256 bytes (line 3)\n",
        "  computed again in it: sub, f32[64, 64], 16384 bytes (line 2)\n",
        "  memory if all that were kept: temporary values in 16384 bytes\n",
    ] {
        assert!(text.contains(line), "{text}");
    }

    // Sorting takes sizes that are known.
    std::fs::write(dir.join("sorted.tc"), "fn f(x: f32[N]) { let (v, i) = sort(x); v }\n").unwrap();
    let text = stdout(&tensorc(&dir, &["explain", "sorted.tc", "--size", "N=5"]));
    let why = "a program for each choice of sizes: this takes sizes that are known, and `N` is symbolic (line 1)";
    assert!(text.contains(why) && text.contains("this one is for N = 5"), "{text}");
}

#[test]
fn what_a_command_line_and_files_may_not_say() {
    let dir = folder("refuse");
    std::fs::write(dir.join("f.tc"), "fn f(x: f32[N]) -> bf16[N] { x.bfloat16() }").unwrap();
    std::fs::write(dir.join("two.tc"), "fn f(x: mut f32[2], y: f32[2]) { x.add_(y); }").unwrap();
    // A .npy of complex numbers, and a .safetensors of a dtype that is none here.
    let header = format!("{:<117}\n", "{'descr': '<c8', 'fortran_order': False, 'shape': (1,), }");
    let npy = [&b"\x93NUMPY\x01\x00"[..], &118u16.to_le_bytes(), header.as_bytes(), &[0; 8]].concat();
    std::fs::write(dir.join("c.npy"), npy).unwrap();
    let wide = TensorView::new(Dtype::U32, vec![1], &[0; 4]).unwrap();
    safetensors::serialize_to_file([("x", wide)], None, &dir.join("u.safetensors")).unwrap();
    for (args, status, text) in [
        (&["run", "f.tc", "x"][..], 2, "error[name]: `x` is not of the form NAME=VALUE"),
        (&["run", "f.tc", "z=[1]"], 1, "error[name]: the function has no parameter `z`"),
        (&["run", "f.tc", "x=[1]", "--device", "cuda"], 1, "error[device]: this version has no CUDA backend yet"),
        (&["run", "f.tc", "x=c.npy"], 1, "error[dtype]: c.npy: NumPy type `c8` is not supported"),
        (
            &["run", "f.tc", "--inputs", "u.safetensors"],
            1,
            "error[dtype]: u.safetensors: tensor `x` is U32, which is not supported",
        ),
        (&["run", "f.tc", "x=[1]", "--outputs", "o.npz"], 1, "error[dtype]: o.npz: NumPy has no bf16, which `0` is"),
        (&["run", "two.tc", "x=[1, 2]", "y=x.exp()"], 1, "error[alias]: `x.exp()` is no view of an argument"),
        (&["opt", "f.tc", "-p", "nosuch"], 2, "error[name]: there is no pass `nosuch`"),
        (&["opt", "f.tc", "--size", "N"], 2, "error[name]: `N` is not of the form NAME=N"),
        (&["opt", "f.tc", "--size", "N=x"], 2, "error[name]: `x` is no size"),
    ] {
        let out = tensorc(&dir, args);
        assert!(stderr(&out).contains(text), "{args:?}: {}", stderr(&out));
        assert_eq!(out.status.code(), Some(status), "{args:?}: {}", stderr(&out));
    }
}
