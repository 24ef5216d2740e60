"""The fits behind the coefficient tables of `ir/src/scalar/math`.

Run `python3 tools/fit/fits.py [name ...]`: prints each table in the form in which it stands in the source, with log2 of
the error it leaves. Without names it makes all of them (a few minutes).
"""
import sys
from mpmath import mp, mpf, exp, log, sqrt, expm1, erf, erfc, erfinv
from lsq import fit, f32, f64, text

L2 = log(2)


def exp_tail(bits, degree):
    """e^r = 1 + r + r^2 q(r), |r| <= ln2 / 2 and a little; the error is relative to e^r."""
    h = L2 / 2 * mpf("1.0005")
    fit(f"exp q f{bits}", lambda r: (expm1(r) - r) / r**2, -h, h, degree, bits, weight=lambda r: r**2 / exp(r))


def log_tail(bits, degree):
    """With s = f/(2+f) and z = s^2: log(1+f) = f - s (f - R), R = f^2/2 / ... ; 2 atanh(s) = 2s + s z L(z)."""
    top = ((sqrt(2) - 1) / (sqrt(2) + 1)) ** 2
    at = lambda z: 2 * mp.atanh(sqrt(z)) / sqrt(z)
    fit(f"log L f{bits}", lambda z: (at(z) - 2) / z, mpf(10) ** -12, top, degree, bits, weight=lambda z: z / 2)


def pow_tail(bits, degree):
    """log2(m) = s (c0 + z (c1 + z Q(z))) with c0 = 2/ln2, c1 = c0/3 exact; the error is relative to log2(m)."""
    top = ((sqrt(2) - 1) / (sqrt(2) + 1)) ** 2
    c0, c1 = 2 / L2, 2 / L2 / 3
    g = lambda z: (2 * mp.atanh(sqrt(z)) / sqrt(z) / L2 - c0 - c1 * z) / z**2
    fit(f"pow Q f{bits}", g, mpf(10) ** -8, top, degree, bits, weight=lambda z: z**2 / c0)
    rnd = f32 if bits == 32 else f64
    for name, v in (("c0", c0), ("c1", c1)):
        print(f"  {name}: {float(rnd(v))!r} + {float(rnd(v - rnd(v)))!r}")


def sin_cos(bits, sin_degree, cos_degree):
    """sin r = r + r z S(z), cos r = 1 - z/2 + z^2 C(z), z = r^2, |r| <= pi/4; errors relative to sin r, cos r."""
    top = (mp.pi / 4) ** 2 * mpf("1.001")
    low = mpf(10) ** -8
    r = sqrt
    fit(f"sin S f{bits}", lambda z: (mp.sin(r(z)) / r(z) - 1) / z, low, top, sin_degree, bits, weight=lambda z: z)
    fit(f"cos C f{bits}", lambda z: (mp.cos(r(z)) - 1 + z / 2) / z**2, low, top, cos_degree, bits,
        weight=lambda z: z**2)


def two_over_pi(bits):
    """2/pi cut into pieces of `bits` bits, each scaled to [0, 1)."""
    v, out = 2 / mp.pi, []
    p, top = (24, 9) if bits == 32 else (53, 23)
    for _ in range(top):
        v *= mpf(2) ** p
        m = mp.floor(v)
        v -= m
        out.append(repr(float(m / mpf(2) ** p)))
    print(f"2/pi f{bits}: [{', '.join(out)}]")


def reduction():
    mp.dps = 400
    two_over_pi(32)
    two_over_pi(64)
    mp.dps = 60
    for bits, rnd in ((32, f32), (64, f64)):
        v = 2 * mp.pi
        print(f"2 pi f{bits}: {float(rnd(v))!r} + {float(rnd(v - rnd(v)))!r}")


def atan_tail(bits, degree):
    """atan q = q + q z P(z), z = q^2, |q| <= tan(pi/8); relative to atan q."""
    top = mp.tan(mp.pi / 8) ** 2 * mpf("1.001")
    at = lambda z: mp.atan(sqrt(z)) / sqrt(z)
    fit(f"atan P f{bits}", lambda z: (at(z) - 1) / z, mpf(10) ** -8, top, degree, bits, weight=lambda z: z / at(z))


def asin_tail(bits, degree):
    """asin x = x + x z P(z), z = x^2, |x| <= 1/2; relative to asin x."""
    at = lambda z: mp.asin(sqrt(z)) / sqrt(z)
    fit(f"asin P f{bits}", lambda z: (at(z) - 1) / z, mpf(10) ** -8, mpf("0.2501"), degree, bits,
        weight=lambda z: z / at(z))


def erf_small(bits, degree):
    """erf x = x + x P(z), z = x^2, |x| <= 1; relative to x."""
    g = lambda z: erf(sqrt(z)) / sqrt(z) - 1
    fit(f"erf small f{bits}", g, mpf(10) ** -10, 1, degree, bits, weight=lambda z: mpf(1))


def erf_tails():
    """erf x = 1 - P(x - 2.25) on [1, 3.93] for f32; 1 - e^-L(x) on [1, 5.93] for f64; absolute errors."""
    fit("erf tail f32", lambda t: erfc(t + mpf("2.25")), -mpf("1.25"), mpf("1.68"), 15, 32,
        weight=lambda t: mpf(1))
    fit("erf tail f64", lambda t: -log(erfc(t)), 1, mpf("5.93"), 18, 64, weight=erfc)


def erfc_tail(bits, degree, top, centre):
    """(1 + 2t) e^(t^2) erfc t = P(u), u = (t - centre) / (t + centre), t in [1/2, top]; relative."""
    c = mpf(centre)
    t = lambda u: c * (1 + u) / (1 - u)
    g = lambda u: (1 + 2 * t(u)) * exp(t(u) ** 2) * erfc(t(u))
    at = lambda v: (mpf(v) - c) / (mpf(v) + c)
    fit(f"erfc f{bits}", g, at(0.5), at(top), degree, bits, pair=True)


def erfinv_ratio(w):
    """erfinv(x) / x at w = -log(1 - x^2)."""
    x = sqrt(-expm1(-w))
    y, q = erfinv(x), exp(-w) / (1 + x)
    for _ in range(3):
        y -= (q - erfc(y)) / (exp(-y * y) * 2 / sqrt(mp.pi))
    return y / x


def erfinv_fits():
    """erfinv(x) / x = P(w - centre), w in [0, end], and P(sqrt(w) - centre) on the rest; relative."""
    for bits, end, degree in ((32, 5, 9), (64, mpf("6.25"), 25)):
        m = mpf(end) / 2
        fit(f"erfinv centre f{bits}", lambda t: erfinv_ratio(t + m), mpf(10) ** -6 - m, m, degree, bits, pair=True)
    tails = ((32, sqrt(mpf(5)), "3.995", "3", 9), (64, "2.5", "4", "3.25", 20), (64, "4", "6.005", "5", 18))
    for bits, a, b, m, degree in tails:
        m = mpf(m)
        g = lambda t: erfinv_ratio((t + m) ** 2)
        fit(f"erfinv tail f{bits}", g, mpf(a) - m, mpf(b) - m, degree, bits, pair=True)


def lgamma_fits():
    """lgamma(1 + y) / y and lgamma(2 + y) / y; Stirling's remainder times x as a polynomial in 1/x^2, x >= 3."""
    lg = mp.loggamma
    half_log_two_pi = log(2 * mp.pi) / 2

    def remainder(v):
        x = 1 / sqrt(v)
        return (lg(x) - ((x - mpf(1) / 2) * log(x) - x + half_log_two_pi)) * x

    for bits, d1, d2, d3 in ((32, 10, 10, 3), (64, 21, 22, 10)):
        fit(f"lgamma 1 f{bits}", lambda y: lg(1 + y) / y, "-0.2", "0.5", d1, bits, pair=True)
        fit(f"lgamma 2 f{bits}", lambda y: lg(2 + y) / y, "-0.5", "1.001", d2, bits, pair=True)
        fit(f"lgamma Stirling f{bits}", remainder, mpf(10) ** -8, mpf(1) / 9, d3, bits,
            weight=lambda v: sqrt(v) / lg(1 / sqrt(v)))
    v = half_log_two_pi - mpf(1) / 2
    for bits, rnd in ((32, f32), (64, f64)):
        print(f"(log(2 pi) - 1) / 2 f{bits}: {float(rnd(v))!r} + {float(rnd(v - rnd(v)))!r}")


def sinc_fit(bits, degree):
    """sin(pi r) / (pi r) in z = r^2, |r| <= 1/2."""
    g = lambda z: mp.sin(mp.pi * sqrt(z)) / (mp.pi * sqrt(z))
    fit(f"sinc f{bits}", g, mpf(10) ** -8, 0.25, degree, bits, weight=lambda z: mpf(1))


def digamma_fits():
    """digamma(x0 + y) / y on [1, 2], x0 the zero; (log x - 1/2x - digamma x) x^2 in 1/x^2, x >= 2; the cotangent."""
    x0 = mp.findroot(mp.digamma, mpf("1.46"))

    def remainder(v):
        x = 1 / sqrt(v)
        return (log(x) - 1 / (2 * x) - mp.digamma(x)) / v

    cot = lambda z: mp.pi * sqrt(z) * mp.cot(mp.pi * sqrt(z))
    for bits, rnd, d1, d2, d3 in ((32, f32, 11, 4, 8), (64, f64, 22, 16, 15)):
        print(f"x0 f{bits}: {float(rnd(x0))!r} + {float(rnd(x0 - rnd(x0)))!r}")
        g = lambda y: mp.digamma(x0 + y) / y
        fit(f"digamma zero f{bits}", g, 1 - x0, 2 - x0, d1, bits, pair=True)
        fit(f"digamma tail f{bits}", remainder, mpf(10) ** -8, mpf(1) / 4, d2, bits,
            weight=lambda v: v / mp.digamma(1 / sqrt(v)))
        fit(f"cot f{bits}", cot, mpf(10) ** -8, 0.25, d3, bits, weight=lambda z: mpf(1), fixed=[1])


def tanhshrink_fit(bits, degree):
    """(r - tanh r) / r^3 in z = r^2, |r| <= 0.6; relative."""
    g = lambda z: (sqrt(z) - mp.tanh(sqrt(z))) / sqrt(z) ** 3
    fit(f"tanhshrink f{bits}", g, mpf(10) ** -8, mpf("0.3601"), degree, bits, pair=True)


def bessel_fits():
    """I0(x) and I1(x) / (x/2) in (x/2)^2, |x| <= 8; sqrt(x) e^-x times them in 16/x - 1 above; relative."""
    ratio = lambda n, t: mp.besseli(n, 2 * sqrt(t)) / sqrt(t) ** n
    scaled = lambda n, x: mp.besseli(n, x) * sqrt(x) * exp(-x)
    for bits, near, far in ((32, 10, 5), (64, 19, 22)):
        for n in (0, 1):
            fit(f"i{n} near f{bits}", lambda t: ratio(n, t), mpf(10) ** -8, 16, near, bits, fixed=[1])
            g = lambda u: scaled(n, 16 / (u + 1))
            mp.dps = 120
            fit(f"i{n} far f{bits}", g, mpf(10) ** -5 - 1, 1, far, bits, pair=True)
            mp.dps = 60


FITS = {
    "lgamma": lambda: (lgamma_fits(), sinc_fit(32, 5), sinc_fit(64, 8)),
    "digamma": digamma_fits,
    "erf": lambda: (erf_small(32, 6), erf_small(64, 12), erf_tails()),
    "erfc": lambda: (erfc_tail(32, 9, "10.1", 4), erfc_tail(32, 10, "10.1", 3), erfc_tail(64, 22, "27.3", 4)),
    "erfinv": erfinv_fits,
    "atan": lambda: (atan_tail(32, 4), atan_tail(32, 5), atan_tail(64, 10), atan_tail(64, 11), atan_tail(64, 12)),
    "asin": lambda: (asin_tail(32, 4), asin_tail(32, 5), asin_tail(64, 11), asin_tail(64, 12), asin_tail(64, 13)),
    "reduction": reduction,
    "sin": lambda: (sin_cos(32, 2, 2), sin_cos(32, 3, 2), sin_cos(64, 5, 5), sin_cos(64, 6, 6)),
    "pow": lambda: (pow_tail(32, 2), pow_tail(32, 3), pow_tail(64, 5), pow_tail(64, 6), pow_tail(64, 7)),
    "exp": lambda: (exp_tail(32, 4), exp_tail(32, 5), exp_tail(64, 9), exp_tail(64, 10)),
    "tanhshrink": lambda: (tanhshrink_fit(32, 5), tanhshrink_fit(64, 11)),
    "bessel": bessel_fits,
    "log": lambda: (log_tail(32, 2), log_tail(32, 3), log_tail(64, 6), log_tail(64, 7)),
}

if __name__ == "__main__":
    for name in sys.argv[1:] or FITS:
        FITS[name]()
