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


FITS = {
    "exp": lambda: (exp_tail(32, 4), exp_tail(32, 5), exp_tail(64, 9), exp_tail(64, 10)),
    "log": lambda: (log_tail(32, 2), log_tail(32, 3), log_tail(64, 6), log_tail(64, 7)),
}

if __name__ == "__main__":
    for name in sys.argv[1:] or FITS:
        FITS[name]()
