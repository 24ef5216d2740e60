"""Near-minimax polynomial fits with rounded coefficients.

`fit` makes a weighted least-squares fit on Chebyshev nodes (for smooth functions within a factor of about 1.5 of the
minimax error), then rounds the coefficients one by one, lowest power first, to binary32 or binary64 and refits the rest
each time, so that a later coefficient absorbs the rounding of an earlier one. Needs only mpmath.
"""
from mpmath import mp, mpf, cos, pi, matrix, lu_solve
import struct

mp.dps = 60


def f64(x):
    """x rounded to binary64."""
    return mpf(float(mp.nstr(x, 40))) if not isinstance(x, float) else mpf(x)


def f32(x):
    """x rounded to binary32 (through binary64; the rare double rounding does no harm to a fit)."""
    return mpf(struct.unpack("f", struct.pack("f", float(mp.nstr(x, 40))))[0])


def text(x, bits):
    """The shortest decimal that reads back as the same number."""
    v = float(x)
    if bits == 64:
        return repr(v)
    for digits in range(1, 10):
        s = f"{v:.{digits}g}"
        if struct.pack("f", float(s)) == struct.pack("f", v):
            return s
    return repr(v)


def solve(basis, rhs, weight):
    """The weighted least-squares coefficients, by the normal equations in 60 digits."""
    n = len(basis)
    a, r = matrix(n, n), matrix(n, 1)
    w2 = [w * w for w in weight]
    for i in range(n):
        wi = [b * w for b, w in zip(basis[i], w2)]
        for j in range(i, n):
            a[i, j] = a[j, i] = mp.fdot(wi, basis[j])
        r[i] = mp.fdot(wi, rhs)
    return lu_solve(a, r)


def fit(name, g, a, b, degree, bits, weight=None, nodes=None, fixed=(), pair=False, lawson=0):
    """p(t) = sum c_i t^i near g(t) on [a, b], minimising |weight * (p - g)|; weight is 1/|g| if not given.

    `fixed` gives the first coefficients; with `pair` the first one is kept as a sum of two. Prints the coefficients
    (lowest power first) and log2 of the largest weighted error after rounding; returns the coefficients. `lawson`
    reweighting steps bring the error closer to the minimax one.
    """
    a, b = mpf(a), mpf(b)
    n = nodes or 6 * (degree + 1) + 20
    t = [(a + b) / 2 + (b - a) / 2 * cos(pi * (2 * i + 1) / (2 * n)) for i in range(n)]
    gv = [g(x) for x in t]
    w = [1 / abs(v) for v in gv] if weight is None else [weight(x) for x in t]
    rnd = f32 if bits == 32 else f64
    powers = [[x**i for x in t] for i in range(degree + 1)]
    coef = [mpf(c) for c in fixed]
    lw = [mpf(1)] * n
    for _ in range(lawson):
        m = len(coef)
        rest = [v - mp.fdot(coef, [powers[i][j] for i in range(m)]) for j, v in enumerate(gv)]
        c = solve(powers[m:], rest, [v * mp.sqrt(q) for v, q in zip(w, lw)])
        err = [abs(wj * (mp.fdot(c, [powers[i][j] for i in range(m, degree + 1)]) - rest[j])) for j, wj in enumerate(w)]
        lw = [q * e for q, e in zip(lw, err)]
        s = sum(lw) / n
        lw = [q / s for q in lw]
    ww = [v * mp.sqrt(q) for v, q in zip(w, lw)]
    while len(coef) <= degree:
        m = len(coef)
        rest = [v - mp.fdot(coef, [powers[i][j] for i in range(m)]) for j, v in enumerate(gv)]
        c = solve(powers[m:], rest, ww)
        coef.append(rnd(c[0]))
        if pair and m == 0:
            low = rnd(c[0] - coef[0])
            print(f"  c0 = {text(coef[0], bits)} + {text(low, bits)}")
            coef[0] += low
    worst = max(abs(wj * (mp.fdot(coef, [powers[i][j] for i in range(degree + 1)]) - gv[j])) for j, wj in enumerate(w))
    print(f"{name}: [{', '.join(text(c, bits) for c in coef)}]  error 2^{mp.nstr(mp.log(worst, 2), 4)}")
    return coef
