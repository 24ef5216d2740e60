//! The indexing expression, and the functions that pick by index.

use super::*;

fn x23() -> (&'static str, Vec<f64>) {
    ("x: i64[2, 3]", counting(6))
}

fn x234() -> (&'static str, Vec<f64>) {
    ("x: i64[2, 3, 4]", counting(24))
}

#[test]
fn neighbouring_index_tensors_keep_their_place_and_others_come_first() {
    let (p, v) = x234();
    let i: (&str, &[f64]) = ("i: i64[2]", &[0.0, -1.0]);
    let shape = |body: &str| type_of(body, &[(p, &v), i]).1;
    assert_eq!(shape("x[:, i]"), [2, 2, 4]);
    assert_eq!(shape("x[:, i, i]"), [2, 2]);
    assert_eq!(shape("x[i, :, i]"), [2, 3]);
    assert_eq!(shape("x[..., i]"), [2, 3, 2]);
    // An integer is a view, so the tensors that are left are neighbours.
    assert_eq!(shape("x[0, :, i]"), [3, 2]);
    assert_eq!(shape("x[:, None, i]"), [2, 1, 2, 4]);
    assert_eq!(shape("x[i[:, None], i]"), [2, 2, 4]);
    assert_eq!(eval("x[i, :, i]", &[(p, &v), i]), [0.0, 4.0, 8.0, 15.0, 19.0, 23.0]);
    assert_eq!(eval("x[:, i, i]", &[(p, &v), i]), [0.0, 11.0, 12.0, 23.0]);
    assert_eq!(eval("x[1, i, 2]", &[(p, &v), i]), [14.0, 22.0]);
}

#[test]
fn an_index_out_of_range_is_an_error_when_it_runs() {
    let (p, v) = x23();
    for body in ["x[i]", "x[0, i]", "x[i, i]", "index_select(x, 0, i)", "x.take(i)"] {
        assert_eq!(refused(body, &[(p, &v), ("i: i64[1]", &[7.0])]), Kind::Data, "{body}");
    }
    assert_eq!(eval("x[i, 0]", &[(p, &v), ("i: i64[2]", &[-1.0, -2.0])]), [3.0, 0.0]);
    assert_eq!(refused("index_select(x, 0, i)", &[(p, &v), ("i: i64[1]", &[-1.0])]), Kind::Data);
    assert_eq!(refused("embedding(i, w)", &[("i: i64[1]", &[2.0]), ("w: f32[2, 1]", &[1.0, 2.0])]), Kind::Data);
}

#[test]
fn bad_index_expressions_say_so() {
    let (p, v) = x23();
    for body in ["x[2]", "x[0, 0, 0]", "x[..., ...]", "x[::0]", "x[0, -4]"] {
        assert_eq!(refused(body, &[(p, &v)]), Kind::Index, "{body}");
    }
    assert_eq!(refused("x[i]", &[(p, &v), ("i: f32[1]", &[0.0])]), Kind::Dtype);
    assert_eq!(refused("x[m]", &[(p, &v), ("m: bool[2]", &[1.0, 0.0])]), Kind::Unsupported);
}

#[test]
fn writes_by_index_tensors_keep_the_last_of_duplicates() {
    let i: (&str, &[f64]) = ("i: i64[3]", &[1.0, 0.0, 1.0]);
    let x: (&str, &[f64]) = ("x: f32[2, 2]", &[0.0; 4]);
    let v: (&str, &[f64]) = ("v: f32[3, 2]", &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    assert_eq!(eval("let y = x.clone(); y[i] = v; y", &[x, i, v]), [3.0, 4.0, 5.0, 6.0]);
    assert_eq!(eval("let y = x.clone(); y[:, i] = 7; y", &[x, i]), [7.0; 4]);
    // Through a view, and the index's dimension first: y.T[i, 0] are elements of row 0.
    assert_eq!(eval("let y = x.clone(); y.T[i, 0] = v[:, 0]; y", &[x, i, v]), [3.0, 5.0, 0.0, 0.0]);
    assert_eq!(eval("let y = x.clone(); y[i, i] = v[:, 1]; y", &[x, i, v]), [4.0, 0.0, 0.0, 6.0]);
    assert_eq!(refused("let y = x.clone(); y[i] = v.T; y", &[x, i, v]), Kind::Shape);
}

#[test]
fn masks_take_one_value() {
    let x: (&str, &[f64]) = ("x: f32[2, 2]", &[1.0, 2.0, 3.0, 4.0]);
    let m: (&str, &[f64]) = ("m: bool[2]", &[0.0, 1.0]);
    assert_eq!(eval("let y = x.clone(); y[m] = 0; y", &[x, m]), [1.0, 2.0, 0.0, 0.0]);
    assert_eq!(eval("let y = x.clone(); y[x > 2] = -1; y", &[x]), [1.0, 2.0, -1.0, -1.0]);
    assert_eq!(eval("let y = x.clone(); y[:, m] = 9; y", &[x, m]), [1.0, 9.0, 3.0, 9.0]);
    assert_eq!(refused("let y = x.clone(); y[x] = 0; y", &[x]), Kind::Dtype);
    assert_eq!(refused("let y = x.clone(); y[m3] = 0; y", &[x, ("m3: bool[3]", &[0.0; 3])]), Kind::Index);
}

#[test]
fn values_broadcast_into_slices_and_cast() {
    let x: (&str, &[f64]) = ("x: i64[2, 3]", &[0.0; 6]);
    assert_eq!(eval("let y = x.clone(); y[:, 1] = 1.7; y", &[x]), [0.0, 1.0, 0.0, 0.0, 1.0, 0.0]);
    assert_eq!(
        eval("let y = x.clone(); y[0] = v; y", &[x, ("v: i64[1, 3]", &[1.0, 2.0, 3.0])]),
        [1.0, 2.0, 3.0, 0.0, 0.0, 0.0]
    );
    assert_eq!(refused("let y = x.clone(); y[0] = v; y", &[x, ("v: i64[2]", &[1.0, 2.0])]), Kind::Shape);
}

#[test]
fn scatters_meet_what_is_there() {
    let x: (&str, &[f64]) = ("x: f32[3]", &[1.0, 1.0, 1.0]);
    let i: (&str, &[f64]) = ("i: i64[3]", &[2.0, 0.0, 2.0]);
    let s: (&str, &[f64]) = ("s: f32[3]", &[10.0, 20.0, 30.0]);
    assert_eq!(eval("scatter(x, 0, i, s)", &[x, i, s]), [20.0, 1.0, 30.0]);
    assert_eq!(eval("scatter(x, 0, i, 5)", &[x, i]), [5.0, 1.0, 5.0]);
    assert_eq!(eval("scatter_add(x, 0, i, s)", &[x, i, s]), [21.0, 1.0, 41.0]);
    assert_eq!(eval("index_add(x, 0, i, s)", &[x, i, s]), [21.0, 1.0, 41.0]);
    assert_eq!(eval("index_copy(x, 0, i, s)", &[x, i, s]), [20.0, 1.0, 30.0]);
    assert_eq!(refused("scatter(x, 0, i, s.to(f64))", &[x, i, s]), Kind::Dtype);
    assert_eq!(refused("gather(x, 0, s)", &[x, s]), Kind::Dtype);
    assert_eq!(refused("one_hot(i, 2)", &[i]), Kind::Data);
    assert_eq!(refused("one_hot(i)", &[i]), Kind::Unsupported);
}

#[test]
fn where_takes_its_condition_in_either_place() {
    let c: (&str, &[f64]) = ("c: bool[2]", &[1.0, 0.0]);
    let x: (&str, &[f64]) = ("x: f32[2]", &[1.0, 2.0]);
    assert_eq!(eval("where(c, x, 0)", &[c, x]), [1.0, 0.0]);
    assert_eq!(eval("x.where(c, 0)", &[c, x]), [1.0, 0.0]);
    assert_eq!(refused("where(x, x, x)", &[x]), Kind::Dtype);
    assert_eq!(type_of("where(c, 1, 0.5)", &[c]).0, DType::F32);
}
