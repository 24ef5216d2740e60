"""The fits behind the coefficient tables of `ir/src/scalar/math`.

Run `python3 tools/fit/fits.py [name ...]`: prints each table in the form in which it stands in the source, with log2 of
the error it leaves. Without names it makes all of them (a few minutes).
"""
import sys
from mpmath import mp, mpf, exp, log, sqrt, expm1
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


FITS = {
    "atan": lambda: (atan_tail(32, 4), atan_tail(32, 5), atan_tail(64, 10), atan_tail(64, 11), atan_tail(64, 12)),
    "asin": lambda: (asin_tail(32, 4), asin_tail(32, 5), asin_tail(64, 11), asin_tail(64, 12), asin_tail(64, 13)),
    "reduction": reduction,
    "sin": lambda: (sin_cos(32, 2, 2), sin_cos(32, 3, 2), sin_cos(64, 5, 5), sin_cos(64, 6, 6)),
    "pow": lambda: (pow_tail(32, 2), pow_tail(32, 3), pow_tail(64, 5), pow_tail(64, 6), pow_tail(64, 7)),
    "exp": lambda: (exp_tail(32, 4), exp_tail(32, 5), exp_tail(64, 9), exp_tail(64, 10)),
    "log": lambda: (log_tail(32, 2), log_tail(32, 3), log_tail(64, 6), log_tail(64, 7)),
}

if __name__ == "__main__":
    for name in sys.argv[1:] or FITS:
        FITS[name]()
