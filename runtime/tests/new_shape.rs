//! A new shape finds its kernels compiled.

mod support;

use support::{f32s, graph};
use tensorc_ir::Layout;
use tensorc_runtime::executable::{Executable, Options};

// The counter is the process's: a second test here would disturb it.
#[test]
fn a_new_shape_compiles_nothing() {
    let compile = |n: usize, m: usize| {
        let g = graph(&[f32s(&[n, m])], |_, x| vec![(x[0] * 3.0).sum(&[1], false) + 1.0]);
        Executable::compile(&g, &[Layout::contiguous(&[n, m])], Options::default()).unwrap()
    };
    let first = compile(11, 23);
    let before = tensorc_runtime::kernels::compiled();
    let second = compile(37, 41);
    assert_eq!(tensorc_runtime::kernels::compiled(), before);
    drop((first, second));
}
