//! Creation, views, joins and parts.

use super::*;

const SIX: (&str, &[f64]) = ("x: f32[2, 3]", &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);

#[test]
fn views_share_memory_with_what_they_show() {
    // A write through the view of a view of a copy.
    assert_eq!(eval("let y = x.clone(); y.T[1].mul_(10); y", &[SIX]), [1.0, 20.0, 3.0, 4.0, 50.0, 6.0]);
    assert_eq!(
        eval("let y = x.clone(); y.unflatten(1, [3, 1]).select(1, 2).zero_(); y", &[SIX]),
        [1.0, 2.0, 0.0, 4.0, 5.0, 0.0]
    );
    assert_eq!(eval("let y = x.clone(); y.diagonal(1).fill_(9); y", &[SIX]), [1.0, 9.0, 3.0, 4.0, 5.0, 9.0]);
    assert_eq!(eval("let (a, b) = split(x.clone(), [1, 2], dim=1); b", &[SIX]), [2.0, 3.0, 5.0, 6.0]);
    // What copies does not share.
    assert_eq!(eval("let y = x.clone(); y.flip(0).zero_(); y.repeat(1, 1).zero_(); y", &[SIX]), SIX.1);
}

#[test]
fn parts_come_in_the_sizes_asked_for() {
    let shapes = |body: &str| -> Vec<Vec<usize>> {
        run_body(body, &[("x: f32[5]", &[0.0; 5])]).expect("runs").iter().map(|a| a.shape().to_vec()).collect()
    };
    assert_eq!(shapes("split(x, 2)"), [vec![2], vec![2], vec![1]]);
    assert_eq!(shapes("chunk(x, 3)"), [vec![2], vec![2], vec![1]]);
    assert_eq!(shapes("chunk(x, 4)"), [vec![2], vec![2], vec![1]]);
    assert_eq!(shapes("tensor_split(x, 3)"), [vec![2], vec![2], vec![1]]);
    assert_eq!(shapes("tensor_split(x, [1, 4])"), [vec![1], vec![3], vec![1]]);
    assert_eq!(shapes("unbind(x)"), [vec![], vec![], vec![], vec![], vec![]]);
    assert_eq!(refused("split(x, [2, 2])", &[("x: f32[5]", &[0.0; 5])]), Kind::Shape);
}

#[test]
fn joins_promote_and_check_extents() {
    assert_eq!(type_of("cat([x, i])", &[("x: f16[2]", &[1.0, 2.0]), ("i: i64[1]", &[3.0])]), (DType::F16, vec![3]));
    assert_eq!(eval("cat([zeros([0]), x], dim=1)", &[SIX]), SIX.1);
    assert_eq!(eval("hstack([x, x])", &[("x: f32[2]", &[1.0, 2.0])]), [1.0, 2.0, 1.0, 2.0]);
    assert_eq!(type_of("vstack([x, x])", &[("x: f32[2]", &[1.0, 2.0])]).1, [2, 2]);
    assert_eq!(refused("cat([x, x.T])", &[SIX]), Kind::Shape);
    assert_eq!(refused("stack([x, x.T])", &[SIX]), Kind::Shape);
    assert_eq!(refused("cat([x[0, 0], x[0, 0]])", &[SIX]), Kind::Shape);
}

#[test]
fn repeats_rolls_and_flips_move_elements() {
    let x: (&str, &[f64]) = ("x: i64[3]", &[1.0, 2.0, 3.0]);
    assert_eq!(eval("roll(x, 1)", &[x]), [3.0, 1.0, 2.0]);
    assert_eq!(eval("roll(x, -4)", &[x]), [2.0, 3.0, 1.0]);
    assert_eq!(eval("repeat_interleave(x, 2)", &[x]), [1.0, 1.0, 2.0, 2.0, 3.0, 3.0]);
    assert_eq!(eval("tile(x, 2)", &[x]), [1.0, 2.0, 3.0, 1.0, 2.0, 3.0]);
    assert_eq!(eval("roll(x, [1, 1], [0, 1])", &[SIX]), [6.0, 4.0, 5.0, 3.0, 1.0, 2.0]);
    assert_eq!(eval("flip(x, 1)", &[SIX]), [3.0, 2.0, 1.0, 6.0, 5.0, 4.0]);
}

#[test]
fn padding_modes_differ_in_what_is_outside() {
    let x: (&str, &[f64]) = ("x: f32[1, 4]", &[1.0, 2.0, 3.0, 4.0]);
    assert_eq!(eval("pad(x, [2, 1])", &[x]), [0.0, 0.0, 1.0, 2.0, 3.0, 4.0, 0.0]);
    assert_eq!(eval("pad(x, [-1, -1], value=7)", &[x]), [2.0, 3.0]);
    assert_eq!(eval("pad(x, [2, 1], mode=\"reflect\")", &[x]), [3.0, 2.0, 1.0, 2.0, 3.0, 4.0, 3.0]);
    assert_eq!(eval("pad(x, [2, 1], mode=\"replicate\")", &[x]), [1.0, 1.0, 1.0, 2.0, 3.0, 4.0, 4.0]);
    assert_eq!(eval("pad(x, [2, 1], mode=\"circular\")", &[x]), [3.0, 4.0, 1.0, 2.0, 3.0, 4.0, 1.0]);
    assert_eq!(refused("pad(x, [4, 0], mode=\"reflect\")", &[x]), Kind::Shape);
}

#[test]
fn creation_takes_the_dtype_of_its_numbers() {
    assert_eq!(type_of("full([2], 7)", &[]), (DType::I64, vec![2]));
    assert_eq!(type_of("full([2], 7.0)", &[]), (DType::F32, vec![2]));
    assert_eq!(type_of("full([2], true)", &[]), (DType::Bool, vec![2]));
    assert_eq!(type_of("arange(3)", &[]), (DType::I64, vec![3]));
    assert_eq!(type_of("arange(3.0)", &[]), (DType::F32, vec![3]));
    assert_close(&eval("arange(1, 2, 0.3)", &[]), &[1.0, 1.3, 1.6, 1.9]);
    assert_eq!(eval("arange(5, 0, -2)", &[]), [5.0, 3.0, 1.0]);
    assert_eq!(refused("arange(0, 5, -1)", &[]), Kind::Shape);
    assert_eq!(eval("linspace(0, 1, 3)", &[]), [0.0, 0.5, 1.0]);
    assert_eq!(eval("eye(2, 3)", &[]), [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]);
    assert_eq!(refused("zeros(-1)", &[]), Kind::Shape);
}

#[test]
fn casts_truncate_and_wrap() {
    let x: (&str, &[f64]) = ("x: f32[4]", &[-1.9, 256.0, f64::NAN, 0.5]);
    assert_eq!(eval("x.to(u8)", &[x]), [255.0, 0.0, 0.0, 0.0]);
    assert_eq!(eval("x.to(bool)", &[x]), [1.0, 1.0, 1.0, 1.0]);
    assert_eq!(eval("let y = x.clone(); y.to(f32).zero_(); y", &[x]), [0.0; 4], "the same dtype is the same tensor");
}

#[test]
fn triangles_keep_one_side() {
    assert_eq!(eval("tril(x, -1)", &[SIX]), [0.0, 0.0, 0.0, 4.0, 0.0, 0.0]);
    assert_eq!(eval("triu(x)", &[SIX]), [1.0, 2.0, 3.0, 0.0, 5.0, 6.0]);
    assert_eq!(refused("tril(x)", &[("x: f32[2]", &[1.0, 2.0])]), Kind::Shape);
}

#[test]
fn grids_diagonals_and_rotations() {
    let v: (&str, &[f64]) = ("v: i64[2]", &[1.0, 2.0]);
    assert_eq!(eval("diag(v)", &[v]), [1.0, 0.0, 0.0, 2.0]);
    assert_eq!(eval("diag(v, -1)", &[v]), [0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 2.0, 0.0]);
    assert_eq!(eval("diag(x, 1)", &[SIX]), [2.0, 6.0]);
    assert_eq!(all("meshgrid(v, arange(3))", &[v])[0], [1.0, 1.0, 1.0, 2.0, 2.0, 2.0]);
    assert_eq!(eval("rot90(x)", &[SIX]), [3.0, 6.0, 2.0, 5.0, 1.0, 4.0]);
    assert_eq!(eval("rot90(x, -1)", &[SIX]), [4.0, 1.0, 5.0, 2.0, 6.0, 3.0]);
    assert_eq!(eval("select_scatter(x, zeros([3]), 0, 1)", &[SIX]), [1.0, 2.0, 3.0, 0.0, 0.0, 0.0]);
    assert_eq!(eval("slice_scatter(x, zeros([2, 1]), 1, 2)", &[SIX]), [1.0, 2.0, 0.0, 4.0, 5.0, 0.0]);
    assert_eq!(eval("diagonal_scatter(x, zeros([2]))", &[SIX]), [0.0, 2.0, 3.0, 4.0, 0.0, 6.0]);
    assert_eq!(eval("index_fill(x, 1, arange(2), 0)", &[SIX]), [0.0, 0.0, 3.0, 0.0, 0.0, 6.0]);
    assert_eq!(eval("interpolate(x.view(1, 2, 3), scale_factor=2)[0, 0]", &[SIX]), [1.0, 1.0, 2.0, 2.0, 3.0, 3.0]);
    assert_close(&eval("cdist(x, x[:1])", &[SIX]), &[0.0, 27f64.sqrt()]);
    assert_eq!(eval("pixel_shuffle(arange(4).view(4, 1, 1), 2)", &[]), [0.0, 1.0, 2.0, 3.0]);
}
