//! Sorting and what is picked by order.

use super::*;

const NAN: f64 = f64::NAN;

#[test]
fn sorting_is_stable_and_nan_is_the_largest() {
    let x: (&str, &[f64]) = ("x: f32[5]", &[2.0, NAN, 1.0, 2.0, -1.0]);
    let up = all("sort(x)", &[x]);
    assert_close(&up[0], &[-1.0, 1.0, 2.0, 2.0, NAN]);
    assert_eq!(up[1], [4.0, 2.0, 0.0, 3.0, 1.0]);
    let down = all("sort(x, descending=true)", &[x]);
    assert_close(&down[0], &[NAN, 2.0, 2.0, 1.0, -1.0]);
    assert_eq!(down[1], [1.0, 0.0, 3.0, 2.0, 4.0]);
    assert_eq!(eval("sort(b)[0]", &[("b: bool[3]", &[1.0, 0.0, 1.0])]).len(), 3);
}

#[test]
fn sorting_along_any_axis() {
    let x: (&str, &[f64]) = ("x: i64[2, 3]", &[3.0, 1.0, 2.0, 0.0, 9.0, 1.0]);
    assert_eq!(all("sort(x, 0)", &[x])[0], [0.0, 1.0, 1.0, 3.0, 9.0, 2.0]);
    assert_eq!(eval("argsort(x)", &[x]), [1.0, 2.0, 0.0, 0.0, 2.0, 1.0]);
    assert_eq!(all("topk(x, 2)", &[x])[0], [3.0, 2.0, 9.0, 1.0]);
    assert_eq!(all("topk(x, 1, largest=false)", &[x])[0], [1.0, 0.0]);
    assert_eq!(all("kthvalue(x, 2)", &[x]), [[2.0, 1.0], [2.0, 2.0]]);
    assert_eq!(refused("topk(x, 4)", &[x]), Kind::Index);
}

#[test]
fn the_median_is_the_lower_middle() {
    let x: (&str, &[f64]) = ("x: f32[4]", &[4.0, 1.0, 3.0, 2.0]);
    assert_eq!(eval("median(x)", &[x]), [2.0]);
    assert_eq!(all("median(x, 0)", &[x]), [[2.0], [3.0]]);
    assert_eq!(eval("quantile(x, 0.5)", &[x]), [2.5]);
    let n: (&str, &[f64]) = ("x: f32[3]", &[1.0, NAN, 0.0]);
    assert!(eval("median(x)", &[n])[0].is_nan());
    assert_eq!(all("median(x, 0)", &[n])[1], [1.0]);
    // Equal elements share the gradient.
    assert_eq!(eval("grad(median(x), x)", &[("x: f32[3]", &[5.0, 5.0, 5.0])]), [(1.0f32 / 3.0) as f64; 3]);
}

#[test]
fn buckets_are_found_from_either_side() {
    let s: (&str, &[f64]) = ("s: f32[3]", &[1.0, 3.0, 5.0]);
    let v: (&str, &[f64]) = ("v: f32[4]", &[0.0, 3.0, 4.0, 9.0]);
    assert_eq!(eval("searchsorted(s, v)", &[s, v]), [0.0, 1.0, 2.0, 3.0]);
    assert_eq!(eval("bucketize(v, s, right=true)", &[s, v]), [0.0, 2.0, 2.0, 3.0]);
}

#[test]
fn running_extremes_remember_the_last_place() {
    let x: (&str, &[f64]) = ("x: f32[6]", &[1.0, 3.0, 2.0, 3.0, NAN, 9.0]);
    let r = all("cummax(x, 0)", &[x]);
    assert_close(&r[0], &[1.0, 3.0, 3.0, 3.0, NAN, NAN]);
    assert_eq!(r[1], [0.0, 1.0, 1.0, 3.0, 4.0, 4.0]);
    assert_eq!(all("cummin(x[:4], 0)", &[x])[1], [0.0, 0.0, 0.0, 0.0]);
    assert_close(&eval("logcumsumexp(x[:4], 0)", &[x]), &eval("log(cumsum(exp(x[:4]), 0))", &[x]));
}

#[test]
fn results_of_unknown_size_need_a_bound() {
    let x: (&str, &[f64]) = ("x: i64[2, 3]", &[0.0, 5.0, 5.0, 2.0, 0.0, 5.0]);
    assert_eq!(eval("nonzero(x, size=5)", &[x]), [0.0, 1.0, 0.0, 2.0, 1.0, 0.0, 1.0, 2.0, 0.0, 0.0]);
    assert_eq!(eval("masked_select(x, x > 2, size=3)", &[x]), [5.0, 5.0, 5.0]);
    assert_eq!(eval("unique(x, size=4)", &[x]), [0.0, 2.0, 5.0, 0.0]);
    assert_eq!(eval("bincount(x[0], size=6)", &[x]), [1.0, 0.0, 0.0, 0.0, 0.0, 2.0]);
    for body in ["nonzero(x)", "masked_select(x, x > 2)", "unique(x)", "bincount(x[0])"] {
        assert_eq!(refused(body, &[x]), Kind::Unsupported, "{body}");
    }
    assert_eq!(refused("nonzero(x, size=3)", &[x]), Kind::Data);
}

#[test]
fn random_orders_are_orders() {
    let mut p = eval("randperm(20, 3)", &[]);
    assert_ne!(p, counting(20));
    p.sort_by(f64::total_cmp);
    assert_eq!(p, counting(20));
    let kept = eval("dropout(ones([1000]), 0.25, seed=1)", &[]);
    let n = kept.iter().filter(|v| **v != 0.0).count();
    assert!((700..800).contains(&n) && kept.iter().all(|v| *v == 0.0 || *v == (1.0f32 / 0.75) as f64));
    assert_eq!(refused("dropout(ones([3]))", &[]), Kind::Type);
}
