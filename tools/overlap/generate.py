"""Pairs of strided views of one memory, and whether they share an element by NumPy's exact `shares_memory`.

    python tools/overlap/generate.py > ir/tests/overlap/pairs.txt
"""
import numpy as np
from numpy.lib.stride_tricks import as_strided

rng = np.random.default_rng(7)
memory = np.zeros(1 << 16, dtype=np.int8)


def view():
    while True:
        rank = rng.integers(0, 5)
        wide = rng.random() < 0.3
        shape = [int(n) for n in rng.integers(0 if rng.random() < 0.05 else 1, 40 if wide else 6, rank)]
        strides = [int(s) for s in rng.integers(-60 if wide else -12, 200 if wide else 40, rank)]
        offset = int(rng.integers(0, 4000 if wide else 150))
        ends = [(n - 1) * s for n, s in zip(shape, strides) if n > 0]
        low = offset + sum(min(e, 0) for e in ends)
        high = offset + sum(max(e, 0) for e in ends)
        if low >= 0 and high < memory.size:
            return shape, strides, offset


def text(v):
    shape, strides, offset = v
    return f"{offset}" + "".join(f" {n}:{s}" for n, s in zip(shape, strides))


def array(v):
    shape, strides, offset = v
    return as_strided(memory[offset:], shape, strides)


print(f"# NumPy {np.__version__}: offset extent:stride .. | offset extent:stride .. | 1 if they share an element")
count = {0: 0, 1: 0}
while sum(count.values()) < 2000:
    a, b = view(), view()
    share = int(np.shares_memory(array(a), array(b)))
    # As many of either kind, and none that the bounds alone decide.
    if count[share] < 1000 and np.may_share_memory(array(a), array(b)):
        count[share] += 1
        print(f"{text(a)} | {text(b)} | {share}")
