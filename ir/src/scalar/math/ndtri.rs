//! `ndtri`, the inverse of the normal distribution function.
//!
//! With the rational approximations of Cephes' `ndtri` (S. L. Moshier, Methods and Programs for Mathematical Functions,
//! 1989), which PyTorch and SciPy use too: of `p - 1/2` between `e^-2` and `1 - e^-2`, else of `1 / sqrt(-2 log p)`.

use super::expr::Expr;
use super::log;

/// `e^-2`, where the middle ends.
const END: f64 = 0.135_335_283_236_612_7;
/// `sqrt(2 pi)`.
const ROOT: f64 = 2.506_628_274_631_000_5;

/// Lowest power first, numerator and denominator.
type Ratio = (&'static [f64], &'static [f64]);

const MIDDLE: Ratio = (
    &[-1.2391658386738125, 13.931260938727968, -56.67628574690703, 98.00107541859997, -59.96335010141079],
    &[
        -1.1833162112133,
        15.90562251262117,
        -82.03722561683334,
        200.26021238006066,
        -225.46268785411937,
        86.36024213908905,
        4.676279128988815,
        1.9544885833814176,
        1.0,
    ],
);

/// For `sqrt(-2 log p)` below 8.
const NEAR: Ratio = (
    &[
        -0.0008574567851546854,
        -0.03504246268278482,
        -0.1402560791713545,
        2.1866330685079025,
        14.684956192885803,
        44.08050738932008,
        57.16281922464213,
        31.525109459989388,
        4.0554489230596245,
    ],
    &[
        -0.0009332594808954574,
        -0.03808064076915783,
        -0.14218292285478779,
        2.504649462083094,
        15.04253856929075,
        41.3172038254672,
        45.39076351288792,
        15.779988325646675,
        1.0,
    ],
);

/// From 8 on.
const FAR: Ratio = (
    &[
        6.239745391849833e-9,
        2.6580697468673755e-6,
        0.00030158155350823543,
        0.012371663481782003,
        0.20148538954917908,
        1.3330346081580755,
        3.9388102529247444,
        6.915228890689842,
        3.2377489177694603,
    ],
    &[
        6.790194080099813e-9,
        2.8924786474538068e-6,
        0.00032801446468212774,
        0.013420400608854318,
        0.21623699359449663,
        1.3770209948908132,
        3.6798356385616087,
        6.02427039364742,
        1.0,
    ],
);

fn ratio<'a>(x: Expr<'a>, (p, q): Ratio) -> Expr<'a> {
    x.poly(p, p) / x.poly(q, q)
}

/// Minus infinity at 0, infinity at 1, NaN outside.
pub(super) fn ndtri<'a>([p]: [Expr<'a>; 1]) -> Expr<'a> {
    let c = p.ctx;
    let upper = c.f(1.0 - END).lt(p);
    // The subtraction is exact.
    let tail = upper.select(c.f(1.0) - p, p);
    let d = p - 0.5;
    let square = d * d;
    let middle = d.fma(square * ratio(square, MIDDLE), d) * ROOT;

    // Where the middle is taken, any operand does.
    let is_tail = tail.le(END);
    let safe = is_tail.select(tail, END);
    let x = (log::log([safe]) * -2.0).sqrt();
    let z = c.f(1.0) / x;
    let rest = z * x.lt(8.0).select(ratio(z, NEAR), ratio(z, FAR));
    let far = x - log::log([x]) / x - rest;
    let far = upper.select(far, -far);

    let y = is_tail.select(far, middle);
    let edge = p.eq(0.0).select(f64::NEG_INFINITY, p.eq(1.0).select(f64::INFINITY, f64::NAN));
    (c.f(0.0).lt(p) & p.lt(1.0)).select(y, edge)
}
