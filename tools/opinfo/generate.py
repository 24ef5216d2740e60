"""Golden cases from PyTorch's OpInfo samples.

PyTorch tests every operator with a data base of sample inputs (`torch.testing._internal.common_methods_invocations`).
This program runs those samples in PyTorch on the CPU and writes what came out as cases of the form that
`tests/golden/README.md` describes, so that the tests of tensorc can run them without PyTorch.

    tensorc ops > names.txt
    python generate.py --names names.txt --out OUT [--cap 8] [--only sum,cat] [--exclude PATTERN]

needs torch 2.15, numpy, scipy, expecttest, hypothesis, safetensors. With PYTHONHASHSEED=0 (samples of `meshgrid` come
from a set of names) equal arguments give equal files: every op and dtype is sampled after seeding with their names.

For every op that is named in `names.txt` and every dtype that it takes: `--cap` samples, picked to differ in the kinds and
ranks of their arguments; `op` is a value, `inplace op` its underscore form on a `mut` parameter, `grad op` the first
derivative with respect to every float argument, `grad2 op` the second (f64 only), `error op` a call that PyTorch refuses.

Tolerances. Integers and bools: 0. Floats: `RTOL` of the result's dtype and `ATOL` of it times the size of the result (the
largest finite element, at least 1; for elementwise functions 1). Where PyTorch's own result in f32, f16 or bf16 is
farther than `RTOL` from what it computes for the same numbers in f64 (and a rounding), `atol` grows by the rest, so that
the tolerance is about the exact result; in f64 it grows by four times the error that PyTorch makes in f32 on the same
numbers, scaled by the ratio of the roundings. Nothing else widens a tolerance.
"""

import argparse
import functools
import json
import random
import re
import warnings
import zlib
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch.testing._internal import common_methods_invocations as cmi
from torch.testing._internal.opinfo.core import BinaryUfuncInfo, ReductionOpInfo, UnaryUfuncInfo

DTYPES = {
    torch.float64: "f64", torch.float32: "f32", torch.float16: "f16", torch.bfloat16: "bf16", torch.int64: "i64",
    torch.int32: "i32", torch.int16: "i16", torch.int8: "i8", torch.uint8: "u8", torch.bool: "bool",
}
RTOL = {torch.float64: 1e-12, torch.float32: 1e-5, torch.float16: 1e-3, torch.bfloat16: 8e-3}
ATOL = {torch.float64: 1e-13, torch.float32: 2e-6, torch.float16: 1e-4, torch.bfloat16: 1e-3}
NARROW = (torch.int32, torch.int16, torch.int8)
LOW = (torch.float32, torch.float16, torch.bfloat16)

# Arguments that say where or how a result is stored, which `.tc` does not have.
DROPPED = {"device", "layout", "requires_grad", "pin_memory", "memory_format", "non_blocking", "copy", "out"}
# Results are random, or the memory is not defined.
RANDOM = {
    "empty", "empty_like", "new_empty", "rand", "randn", "rand_like", "randn_like", "randint", "randint_like", "randperm",
    "bernoulli", "normal", "uniform", "multinomial", "cauchy", "exponential", "geometric", "log_normal", "empty_strided",
    "new_empty_strided", "empty_permuted", "nn.functional.rrelu", "nn.functional.alpha_dropout", "nn.functional.dropout2d",
    "nn.functional.dropout3d", "nn.functional.feature_alpha_dropout", "svd_lowrank", "pca_lowrank", "poisson",
    "nn.functional.fractional_max_pool2d", "nn.functional.fractional_max_pool3d",
}
# PyTorch does not say which of equal elements it picks: where there are some, only the values are compared.
UNSTABLE = {"topk", "kthvalue"}
# The size of the result is in the data: the program names it.
SIZED = {"nonzero", "masked_select", "unique", "unique_consecutive", "argwhere", "bincount"}
# Functions of `.tc` that have these names are others.
OTHERS = {"nn.functional.unfold", "slice", "linalg.vander", "linalg.cond"}
KEYWORDS = {"fn", "let", "mut", "true", "false", "None", "inf", "nan", "size", "mask", *DTYPES.values()}


class Skip(Exception):
    """Why a sample is no case."""


class Program:
    """A call as `.tc`: parameters, and the text of the arguments."""

    def __init__(self):
        self.params = {}
        self.written = set()  # parameters that the call writes to

    def param(self, t, name):
        if t.dtype not in DTYPES or t.is_sparse:
            raise Skip(f"a tensor of {t.dtype}")
        while name in self.params or name in KEYWORDS:
            name += "0"
        self.params[name] = t
        return name

    def arg(self, v, name):
        if isinstance(v, torch.Tensor):
            return self.param(v, name)
        if v is None:
            return "None"
        if isinstance(v, (bool, np.bool_)):
            return "true" if v else "false"
        if isinstance(v, (int, np.integer)):
            return str(int(v))
        if isinstance(v, (float, np.floating)):
            return repr(float(v)).replace("e+", "e")
        if isinstance(v, torch.dtype):
            if v not in DTYPES:
                raise Skip(f"dtype {v}")
            return DTYPES[v]
        if isinstance(v, str):
            return f'"{v}"'
        if isinstance(v, (list, tuple)):
            return "[" + ", ".join(self.arg(a, f"{name}{chr(97 + i)}" if i < 26 else f"{name}{i}") for i, a in enumerate(v)) + "]"
        raise Skip(f"an argument {type(v).__name__}")

    def index(self, v):
        if isinstance(v, slice):
            return ":".join("" if p is None else str(p) for p in ([v.start, v.stop] + ([v.step] if v.step is not None else [])))
        return "..." if v is Ellipsis else self.arg(v, "i")


def plain(v, leaf):
    """The arguments with contiguous tensors of their own; with `leaf` those that require a gradient still do."""
    if isinstance(v, torch.Tensor):
        t = v.detach().resolve_neg().resolve_conj().clone(memory_format=torch.contiguous_format)
        return t.requires_grad_(leaf and v.requires_grad)
    if isinstance(v, dict):
        return {k: plain(a, leaf) for k, a in v.items()}
    if isinstance(v, (list, tuple)) and not isinstance(v, torch.Size):
        return type(v)(plain(a, leaf) for a in v) if not hasattr(v, "_fields") else tuple(plain(a, leaf) for a in v)
    return v


def cast(v, dtypes, dtype):
    """The arguments with tensors of some dtypes in another one."""
    if isinstance(v, torch.Tensor):
        return v.detach().to(dtype).requires_grad_(v.requires_grad) if v.dtype in dtypes else v
    if isinstance(v, dict):
        return {k: cast(a, dtypes, dtype) for k, a in v.items()}
    if isinstance(v, (list, tuple)) and not isinstance(v, torch.Size):
        return type(v)(cast(a, dtypes, dtype) for a in v)
    return v


def function(op):
    """The name in `.tc`."""
    name = op.name
    for prefix in ("nn.functional.", "special.", "linalg."):
        name = name.removeprefix(prefix)
    return {"linalg.norm": "linalg_norm", "special.polygamma": "polygamma"}.get(op.name, name)


def expression(op, p, args, kwargs):
    """The call as an expression of `.tc`, its tensors as parameters of `p`."""
    kwargs = {k: v for k, v in kwargs.items() if k not in DROPPED}
    if isinstance(op.op, functools.partial):
        kwargs = {**op.op.keywords, **kwargs}
    name = function(op)
    if name == "T" or name == "mT":
        return f"{p.arg(args[0], 'x')}.{name}"
    if name == "__getitem__":
        x = p.arg(args[0], "x")
        i = args[1] if isinstance(args[1], tuple) else (args[1],)
        if not i:
            raise Skip("an empty index")
        return f"{x}[{', '.join(p.index(v) for v in i)}]"
    if re.fullmatch("__r.*__", name):
        sign = {"add": "+", "div": "/", "mul": "*", "and": "&", "or": "|", "xor": "^", "matmul": "@", "mod": "%", "pow": "**", "sub": "-"}
        x, y = p.arg(args[0], "x"), p.arg(args[1], "y")
        return f"({y}) {sign[name[3:-2]]} {x}"
    if name == "where":
        args = (args[1], args[0], *args[2:])
    if name in ("einsum", "polygamma"):
        args = (args[1], args[0])
    if name == "embedding":
        args = (args[1], args[0], *args[2:])
    if name == "to":
        args = tuple(a for a in args if isinstance(a, (torch.Tensor, torch.dtype)) and (a is args[0] or isinstance(a, torch.dtype)))
        if len(args) + ("dtype" in kwargs) != 2:
            raise Skip("`to` without a dtype")
    texts = [p.arg(a, "x" if i == 0 else f"a{i}") for i, a in enumerate(args)]
    keywords = {k: p.arg(v, k) for k, v in kwargs.items()}
    texts += [f"{k}={v}" for k, v in keywords.items()]
    if name == "batch_norm" and kwargs.get("training") or name == "instance_norm" and kwargs.get("use_input_stats", True):
        # The running statistics, also where the momentum is 0.
        p.written |= {t for t in (texts[1:3] if name == "batch_norm" else [keywords.get("running_mean"), keywords.get("running_var")]) if t in p.params}
    if op.name in SIZED:
        texts.append("size=SIZE")
    repeats = [*args[1:2], kwargs.get("repeats")]
    if name == "repeat_interleave" and any(isinstance(r, torch.Tensor) for r in repeats) and "output_size" not in kwargs:
        texts.append("output_size=SIZE")
    return f"{name}({', '.join(texts)})"


def outputs(r):
    """The results as tensors."""
    if isinstance(r, torch.Tensor):
        return [r]
    if isinstance(r, bool):
        return [torch.tensor(r)]
    if isinstance(r, (tuple, list)):
        return [t for one in r for t in outputs(one)]
    raise Skip(f"a result {type(r).__name__}")


def finite_max(t):
    t = t.detach().to(torch.float64)
    t = t[torch.isfinite(t)].abs()
    return float(t.max()) if t.numel() else 0.0


def tolerance(op, want, exact=None, noise=None):
    """`rtol` and `atol` of a case with these results; see the head of the file. `exact` are the results in f64, `noise` is
    a pair of results in f32 and in f64 of one set of f32 numbers."""
    rtol = atol = 0.0
    elementwise = isinstance(op, (UnaryUfuncInfo, BinaryUfuncInfo))
    wide = lambda t: t.detach().to(torch.float64)
    for i, w in enumerate(want):
        if not w.dtype.is_floating_point:
            continue
        scale = 1.0 if elementwise else max(1.0, finite_max(w))
        r, a = RTOL[w.dtype], ATOL[w.dtype] * scale
        missing = None
        if exact is not None and w.dtype in LOW and exact[i].shape == w.shape:
            e, g = wide(exact[i]), wide(w)
            missing = ((e - g).abs() + torch.finfo(w.dtype).eps / 2 * e.abs() - r * g.abs())[torch.isfinite(e) & torch.isfinite(g)]
        elif noise is not None and w.dtype == torch.float64 and noise[0][i].shape == noise[1][i].shape:
            low, high = map(wide, (noise[0][i], noise[1][i]))
            missing = ((low - high).abs() * 4 * 2.0**-29)[torch.isfinite(low) & torch.isfinite(high)]
        if missing is not None and missing.numel():
            a += max(0.0, float(missing.max()))
        rtol, atol = max(rtol, r), max(atol, a)
    return rtol, atol


def reference(dtype, want, run):
    """What `tolerance` compares `want` with: `run(cast)` computes the results for converted arguments."""
    try:
        if dtype in LOW:
            exact = run(lambda v: cast(v, LOW, torch.float64))
            return {"exact": exact} if len(exact) == len(want) else {}
        if dtype == torch.float64:
            low = run(lambda v: cast(v, (torch.float64,), torch.float32))
            high = run(lambda v: cast(cast(v, (torch.float64,), torch.float32), (torch.float32,), torch.float64))
            return {"noise": (low, high)} if len(low) == len(high) == len(want) else {}
    except Exception:
        pass
    return {}


class Group:
    """The cases of one file."""

    largest = 1 << 24

    def __init__(self):
        self.cases, self.tensors, self.names, self.keys = [], {}, Counter(), {}

    def store(self, t):
        """The key of a tensor; equal ones have one."""
        t = t.detach().clone().contiguous()
        what = (t.dtype, tuple(t.shape), bytes(t.reshape(-1).view(torch.uint8).numpy()) if t.numel() else b"")
        if what not in self.keys:
            self.keys[what] = str(len(self.keys))
            self.tensors[self.keys[what]] = t
        return self.keys[what]

    def add(self, name, program, body, want, mutated, tol, why=None):
        if any(t.nbytes > self.largest for t in (*program.params.values(), *want)):
            raise Skip("a large tensor")
        self.names[name] += 1
        name = f"{name} #{self.names[name]}"
        mut = {**(mutated or {}), **{p: None for p in program.written}}
        params = ", ".join(
            f"{p}: {'mut ' if p in mut else ''}{DTYPES[t.dtype]}" + (str(list(t.shape)) if t.dim() else "") for p, t in program.params.items()
        )
        case = {
            "name": name, "source": f"fn f({params}) {{ {body} }}",
            "inputs": {p: self.store(t) for p, t in program.params.items()},
            "outputs": [self.store(t) for t in want],
            "mutated": {p: self.store(t) for p, t in (mutated or {}).items()},
            "error": why is not None,
        }
        if why is not None:
            case["why"] = why[:300]
        else:
            case["rtol"], case["atol"] = tol
        self.cases.append(case)


def signature(v):
    """What makes one sample unlike another: kinds, ranks, dtypes, which keywords."""
    if isinstance(v, torch.Tensor):
        return ("t", v.dim(), v.dtype, v.numel() == 0)
    if isinstance(v, dict):
        return tuple((k, signature(a)) for k, a in sorted(v.items()))
    if isinstance(v, (list, tuple)):
        return tuple(signature(a) for a in v)
    return (type(v).__name__, v if isinstance(v, (bool, str, type(None))) else None)


def numel(v):
    if isinstance(v, torch.Tensor):
        return v.numel()
    if isinstance(v, dict):
        v = list(v.values())
    return max(map(numel, v), default=0) if isinstance(v, (list, tuple)) else 0


def determined(name, s):
    """Whether the result of a sample is not random, and its shape not in the data."""
    if name == "dropout":
        return s.kwargs.get("training") is False or s.kwargs.get("p") == 0.0
    if name == "multi_head_attention_forward":
        return s.kwargs.get("training") is False or s.args[9] == 0.0
    if name == "one_hot":
        return s.kwargs.get("num_classes", -1) != -1 or (s.args and s.args[0] != -1)
    return name != "scaled_dot_product_attention" or not s.kwargs.get("dropout_p")


def samples_of(dtype, cap):
    """The narrower integers go the way of i64."""
    return max(1, cap // 2) if dtype in NARROW else cap


def sample(op, dtype, args, grad):
    """At most `cap` samples: one of each signature first, then more of them, in order; small ones."""
    seeded(op.name, op.variant_test_name, DTYPES[dtype])
    samples = [s for s in op.sample_inputs("cpu", dtype, requires_grad=grad) if determined(function(op), s)]
    cap, most = samples_of(dtype, args.cap), args.most
    small = [s for s in samples if numel([s.input, s.args, s.kwargs]) <= most] or sorted(samples, key=lambda s: numel([s.input, s.args, s.kwargs]))[:2]
    seen, first, rest = set(), [], []
    for i, s in enumerate(small):
        k = signature([s.input, list(s.args), s.kwargs])
        (rest if k in seen else first).append(i)
        seen.add(k)
    if len(first) > cap:
        first = [first[i * len(first) // cap] for i in range(cap)]
    return [small[i] for i in sorted((first + rest)[:cap])]


def leaves(v):
    if isinstance(v, torch.Tensor):
        return [v] if v.requires_grad else []
    if isinstance(v, dict):
        v = list(v.values())
    return [t for a in v for t in leaves(a)] if isinstance(v, (list, tuple)) else []


def seeded(*words):
    n = zlib.crc32(" ".join(words).encode())
    torch.manual_seed(n)
    random.seed(n)
    np.random.seed(n % 2**32)


def all_equal(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and torch.equal(a.nan_to_num() if a.dtype.is_floating_point else a, b.nan_to_num() if b.dtype.is_floating_point else b)


def sized(op, body, args, kwargs, result):
    """The size that the data give, where the program names it."""
    dim = kwargs.get("dim") if op.name in ("unique", "unique_consecutive", "repeat_interleave") else 0
    return body.replace("SIZE", str(result.numel() if dim is None else result.shape[dim] if result.dim() else 1))


def value(op, label, dtype, s, group):
    args, kwargs = plain((s.input, *s.args), False), plain(s.kwargs, False)
    before = plain(args, False), plain(kwargs, False)
    p = Program()
    body = expression(op, p, before[0], before[1])
    after = Program()
    expression(op, after, args, kwargs)  # the same parameters, as the call leaves them
    want = outputs(op.op(*args, **kwargs))
    mutated = {n: after.params[n] for n, t in p.params.items() if not all_equal(t, after.params[n])}
    for t in want:
        if t.dtype not in DTYPES or t.layout != torch.strided:
            raise Skip(f"a result of {t.dtype}")
    ref = reference(dtype, want, lambda to: outputs(op.op(*plain(to(before[0]), False), **plain(to(before[1]), False))))
    body = sized(op, body, args, kwargs, want[0])
    if op.name in UNSTABLE and len(args[0].unique()) < args[0].numel():
        body, want = f"let (res, _) = {body}; res", want[:1]
    group.add(f"{label} {DTYPES[dtype]}", p, body, want, mutated, tolerance(op, want, **ref))


def weights(t, f, step):
    """Fixed numbers of the shape of `t`, which a float of any width that has 7 bits holds."""
    return (f(torch.arange(t.numel(), dtype=torch.float64) * step) * 64).round().add(96).div(128).reshape(t.shape).to(t.dtype)


def differentiated(op, args, kwargs, second):
    """Gradients of a fixed weighting of the results, and of a weighting of those."""
    out = op.op(*args, **kwargs)
    one = isinstance(out, torch.Tensor)
    out = list(enumerate(outputs(out)))
    used = [(i, t) for i, t in out if t.requires_grad]
    x = leaves([list(args), kwargs])
    if not used or not x:
        raise Skip("no gradient")
    if op.name in UNSTABLE and len(args[0].unique()) < args[0].numel():
        raise Skip("equal elements")
    w = [weights(t, torch.sin, 0.37) for _, t in used]
    loss = sum((t.double() * k.double()).sum() for (_, t), k in zip(used, w))
    g = torch.autograd.grad(loss, x, create_graph=second, allow_unused=True)
    if not second:
        return one, len(out), [i for i, _ in used], w, g, None, None
    firsts = [(i, t) for i, t in enumerate(g) if t is not None and t.requires_grad]
    if not firsts:
        raise Skip("no second derivative")
    v = [weights(t, torch.cos, 0.61) for _, t in firsts]
    loss = sum((t * k).sum() for (_, t), k in zip(firsts, v))
    return one, len(out), [i for i, _ in used], w, g, (firsts, v), torch.autograd.grad(loss, x, allow_unused=True)


def gradient(op, label, dtype, s, group, second):
    args, kwargs = plain((s.input, *s.args), True), plain(s.kwargs, True)
    p = Program()
    body = expression(op, p, args, kwargs)
    one, n, used, w, g, mid, g2 = differentiated(op, args, kwargs, second)
    if "SIZE" in body:
        body = sized(op, body, args, kwargs, outputs(op.op(*args, **kwargs))[0])
    names = {id(t): name for name, t in p.params.items()}
    x = leaves([list(args), kwargs])
    if any(id(t) not in names for t in x):
        raise Skip("a leaf that is no parameter")
    def run(to):
        got = differentiated(op, plain(to(args), True), plain(to(kwargs), True), second)
        return [t for t in got[6 if second else 4] if t is not None]

    for i, t in enumerate(w):
        p.params[f"w{i}"] = t
    result = lambda i: "res" if one else f"res{i}"
    let = "res" if one else "(" + ", ".join(f"res{i}" for i in range(n)) + ",)"
    loss = " + ".join(f"sum({result(i)} * w{k})" for k, i in enumerate(used))
    text = f"let {let} = {body}; "
    keep = [i for i, t in enumerate(g) if t is not None]
    wrt = lambda keep: ", ".join(names[id(x[i])] for i in keep)
    # Where a derivative is zero, PyTorch may or may not say that an argument is unused.
    unused = lambda want: ", allow_unused=true" if any(not t.any() for t in want) else ""
    tup = lambda keep: wrt(keep) if len(keep) == 1 else f"({wrt(keep)})"
    first = f"grad({loss}, {tup(keep)}{unused([g[i] for i in keep])})"
    if not second:
        want = [g[i] for i in keep]
        group.add(f"grad {label} {DTYPES[dtype]}", p, text + first, want, None, tolerance(op, want, **reference(dtype, want, run)))
        return
    firsts, v = mid
    text += f"let {'(' + ', '.join(f'g{i}' for i in keep) + ',)' if len(keep) > 1 else f'g{keep[0]}'} = {first}; "
    for (i, _), t in zip(firsts, v):
        p.params[f"v{i}"] = t
    loss2 = " + ".join(f"sum(g{i} * v{i})" for i, _ in firsts)
    keep2 = [i for i, t in enumerate(g2) if t is not None]
    if not keep2:
        raise Skip("no second derivative")
    want = [g2[i] for i in keep2]
    group.add(f"grad2 {label} {DTYPES[dtype]}", p, f"{text}grad({loss2}, {tup(keep2)}{unused(want)})", want, None, tolerance(op, want, **reference(dtype, want, run)))


def inplace(op, label, dtype, s, group):
    method = op.inplace_variant
    name = getattr(method, "__name__", "")
    if not name.endswith("_") or name.endswith("__"):
        raise Skip("no in-place method")
    args, kwargs = plain((s.input, *s.args), False), plain(s.kwargs, False)
    if not isinstance(args[0], torch.Tensor):
        raise Skip("the first argument is no tensor")
    p = Program()
    texts = [p.arg(a, "x" if i == 0 else f"a{i}") for i, a in enumerate(args)]
    texts += [f"{k}={p.arg(v, k)}" for k, v in kwargs.items() if k not in DROPPED]
    before = {n: t.clone() for n, t in p.params.items()}
    body = f"{texts[0]}.{name}({', '.join(texts[1:])})"
    start, rest = args[0].clone(), plain(args[1:], False)
    try:
        want = method(*args, **kwargs)
    except RuntimeError as e:
        why, want = str(e), None
    if want is not None and want.shape != start.shape:
        raise Skip("an in-place function that changes the shape")
    p.params = before
    if want is None:
        if "not implemented for" in why:
            raise Skip("not implemented in PyTorch")
        group.add(f"inplace {label} {DTYPES[dtype]}", p, body, [], {texts[0]: before[texts[0]]}, None, why)
        # The refused program needs its `mut`, but its memory has no later value.
        group.cases[-1]["mutated"] = {}
        return
    ref = reference(dtype, [want], lambda to: [method(*plain(to((start, *rest)), False), **plain(to(kwargs), False))])
    group.add(f"inplace {label} {DTYPES[dtype]}", p, body, [want], {texts[0]: want}, tolerance(op, [want], **ref))


def refused(op, label, group):
    for e in op.error_inputs("cpu"):
        s = e.sample_input
        if "out" in s.kwargs or "device" in s.kwargs:
            continue
        try:
            args, kwargs = plain((s.input, *s.args), False), plain(s.kwargs, False)
            p = Program()
            body = expression(op, p, args, kwargs)
        except Skip as skip:
            yield str(skip)
            continue
        try:
            op.op(*args, **kwargs)
            yield "PyTorch does not refuse it on the CPU"
            continue
        except Exception as e:
            why = str(e).split("\n")[0]
        # Python's binding tells numbers from tensors; `.tc` takes a number wherever a tensor may stand.
        if re.search("not implemented for|sparse|complex|device|out=|memory format|layout|must be Tensor, not|invalid combination|descriptor|no attribute", why, re.I):
            yield "refused for a reason `.tc` does not have"
            continue
        group.add(f"error {label}", p, body.replace("SIZE", "1"), [], None, None, why)


def kind(op):
    if isinstance(op, UnaryUfuncInfo):
        return "unary"
    if isinstance(op, BinaryUfuncInfo):
        return "binary"
    if isinstance(op, ReductionOpInfo):
        return "reduction"
    return "functional" if op.name.startswith("nn.functional.") else "general"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--names", required=True, help="a list of functions, one a line, as `tensorc ops` prints it")
    parser.add_argument("--out", required=True)
    parser.add_argument("--cap", type=int, default=8, help="samples of an op and dtype")
    parser.add_argument("--most", type=int, default=600, help="elements of a tensor")
    parser.add_argument("--largest", type=int, default=1 << 24, help="bytes of a tensor of a case")
    parser.add_argument("--only", default="", help="ops, separated by commas")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    names = {m[0] for line in open(args.names) if (m := re.match(r"\w+", line))}
    Group.largest = args.largest
    few = max(1, args.cap // 2)
    only = set(filter(None, args.only.split(",")))
    groups, skipped = defaultdict(Group), defaultdict(Counter)
    ops = sorted((o for o in cmi.op_db), key=lambda o: (o.name, o.variant_test_name))
    for op in ops:
        name = function(op)
        if op.name in RANDOM or (only and name not in only and op.name not in only):
            continue
        if name not in names and not re.fullmatch("__r.*__|__getitem__", name):
            continue
        if op.name in OTHERS:
            continue
        if op.name.startswith("linalg.") and name in ("norm", "cross", "diagonal"):
            continue
        label = op.name.removeprefix("nn.functional.") + (f".{op.variant_test_name}" if op.variant_test_name else "")
        group = groups[kind(op)]

        def attempt(what, f):
            try:
                f()
            except Skip as e:
                skipped[label][f"{what}: {e}"] += 1
            except Exception as e:
                skipped[label][f"{what}: PyTorch: {str(e).splitlines()[0][:80] if str(e) else type(e).__name__}"] += 1

        for dtype in DTYPES:
            if not op.supports_dtype(dtype, "cpu"):
                continue
            try:
                samples = sample(op, dtype, args, False)
            except Exception as e:
                skipped[label][f"samples of {DTYPES[dtype]}: {str(e)[:80]}"] += 1
                continue
            for s in samples:
                attempt("value", lambda: value(op, label, dtype, s, group))
            if op.inplace_variant is not None:
                for s in samples[: few // 2 if dtype in NARROW else few]:
                    attempt("inplace", lambda: inplace(op, label, dtype, s, group))
            if op.supports_autograd and dtype in op.supported_backward_dtypes("cpu") and dtype.is_floating_point:
                samples = sample(op, dtype, args, True)
                half = samples if dtype in (torch.float64, torch.float32) else samples[:few]
                for s in half:
                    attempt("grad", lambda: gradient(op, label, dtype, s, group, False))
                if dtype == torch.float64 and op.supports_gradgrad:
                    for s in samples[:few]:
                        attempt("grad2", lambda: gradient(op, label, dtype, s, group, True))
        if op.error_inputs_func is not None:
            seeded(label, "error")
            try:
                for why in refused(op, label, group):
                    skipped[label][f"error: {why}"] += 1
            except Exception as e:
                skipped[label][f"errors: {str(e)[:80]}"] += 1
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    for name, group in groups.items():
        if group.cases:
            (out / f"{name}.json").write_text("[\n" + ",\n".join(json.dumps(c) for c in group.cases) + "\n]\n")
            save_file(group.tensors, out / f"{name}.safetensors")
    print({n: len(g.cases) for n, g in groups.items()})
    (out / "skipped.txt").write_text("".join(f"{op}\t{n}\t{why}\n" for op, c in skipped.items() for why, n in c.most_common()))


if __name__ == "__main__":
    main()
