"""Random programs of views, writes and functions on tensors that require a gradient, as PyTorch 2.15 runs them.

Writes tests/autograd/programs.json: for each program its steps, those that PyTorch refuses with the first words of why, and
what backward gives: gradients of the leaves, or the first words of the error.
"""
import json, random, sys, torch
torch.set_default_dtype(torch.float64)
UNARY = ["exp", "tanh", "sigmoid", "sin", "relu", "neg", "sqrt", "square", "abs"]
BINARY = ["add", "sub", "mul", "div"]
VIEWS = ["row", "rows", "cols", "t", "unsqueeze", "flat", "detach", "diagonal", "expand"]
GUARDS = ["a leaf Variable", "a view of a leaf", "Output ", "A view was created in no_grad"]

def apply(pool, s):
    op, x = s["op"], pool[s["x"]]
    y = pool[s["y"]] if "y" in s else s.get("c")
    a = s.get("args", [])
    if op == "row": return x.select(0, a[0])
    if op == "rows": return x.narrow(0, a[0], a[1])
    if op == "cols": return x.narrow(1, a[0], a[1])
    if op == "t": return x.t()
    if op == "unsqueeze": return x.unsqueeze(a[0])
    if op == "flat": return x.view([-1])
    if op == "detach": return x.detach()
    if op == "diagonal": return x.diagonal(0, 0, 1)
    if op == "expand": return x.expand([2] + list(x.shape))
    if op == "unbind": return x.unbind(0)[a[0]]
    if op == "clone": return x.clone()
    if op == "sum": return x.sum(a[0])
    if op == "matmul": return x.matmul(y)
    if op in ("zero_",): return x.zero_()
    if op == "fill_": return x.fill_(y)
    if op == "copy_": return x.copy_(y)
    if y is not None: return getattr(x, op)(y)
    return getattr(x, op)()

def draw(r, pool, grad_mode):
    k = r.random()
    x = r.randrange(len(pool)) if r.random() < 0.5 else len(pool) - 1 - min(r.randrange(4), len(pool) - 1)
    t = pool[x]
    if k < 0.25:
        return {"op": r.choice(UNARY), "x": x}
    if k < 0.45:
        s = {"op": r.choice(BINARY), "x": x}
        if r.random() < 0.2: s["c"] = round(r.uniform(0.5, 2), 2)
        else: s["y"] = r.randrange(len(pool))
        return s
    if k < 0.68:
        op = r.choice(VIEWS + ["unbind"])
        n = t.dim()
        if op in ("row", "unbind"):
            if n < 1: return None
            return {"op": op, "x": x, "args": [r.randrange(t.shape[0])]}
        if op in ("rows", "cols"):
            d = 0 if op == "rows" else 1
            if n <= d: return None
            l = r.randrange(1, t.shape[d] + 1)
            return {"op": op, "x": x, "args": [r.randrange(t.shape[d] - l + 1), l]}
        if op == "unsqueeze": return {"op": op, "x": x, "args": [r.randrange(n + 1)]} if n < 3 else None
        if op in ("t", "diagonal") and n != 2: return None
        if op == "expand" and n > 2: return None
        return {"op": op, "x": x}
    if k < 0.9:
        op = r.choice(["add_", "mul_", "sub_", "copy_", "zero_", "fill_", "exp_", "tanh_", "neg_", "sigmoid_", "div_", "mul_"])
        s = {"op": op, "x": x}
        if op in ("add_", "mul_", "sub_", "copy_", "div_"):
            if r.random() < 0.3 and op != "copy_": s["c"] = round(r.uniform(0.5, 2), 2)
            else: s["y"] = r.randrange(len(pool))
        if op == "fill_": s["c"] = round(r.uniform(0.5, 2), 2)
        return s
    if k < 0.95: return {"op": "sum", "x": x, "args": [r.randrange(t.dim())]} if t.dim() else None
    return {"op": "clone", "x": x}

def program(seed):
    r = random.Random(seed)
    g = torch.Generator().manual_seed(seed)
    leaves = [(torch.rand([3, 4], generator=g) * 0.8 + 0.1).mul(1000).round().div(1000) for _ in range(2)]
    plain = (torch.rand([3, 4], generator=g) * 0.8 + 0.1).mul(1000).round().div(1000)
    values = [t.flatten().tolist() for t in leaves + [plain]]
    for t in leaves: t.requires_grad_()
    pool = [leaves[0], leaves[1], plain.clone(), leaves[0] * 1.0]
    steps = []
    for _ in range(r.randrange(4, 22)):
        s = draw(r, pool, True)
        if s is None: continue
        off = r.random() < 0.06
        if off: s["no_grad"] = True
        # A view whose base was written has its new history when it is asked for it, not before.
        try: [t.grad_fn for t in pool]
        except RuntimeError: return None
        try:
            with torch.set_grad_enabled(not off):
                out = apply(pool, s)
        except (RuntimeError, IndexError) as e:
            text = str(e).splitlines()[0]
            if "or another view of its base" in text: return None
            if any(text.startswith(w) for w in GUARDS):
                s["refused"] = text.split(".")[0] if not text.startswith("Output") else "is a view and is being modified inplace"
                steps.append(s)
            continue
        steps.append(s)
        if out.numel() > 200: return None
        # Here these are refused on tensors whose elements stand more than once.
        if s["op"] in ("zero_", "fill_", "copy_") and 0 in pool[s["x"]].stride(): return None
        try: out.grad_fn
        except RuntimeError: return None
        s["requires_grad"] = out.requires_grad
        if s["op"].endswith("_"): pass
        else: pool.append(out)
    try: [t.requires_grad and t.is_leaf for t in pool]
    except RuntimeError: return None
    used = [i for i in range(3, len(pool)) if r.random() < 0.5] or [3]
    total = sum((pool[i] * (1.0 + 0.25 * k)).sum() for k, i in enumerate(used))
    want = {"sum": used, "value": float(total.detach())}
    if not total.requires_grad or not torch.isfinite(total): return None
    try:
        total.backward()
        if any(t.grad is not None and not torch.isfinite(t.grad).all() for t in leaves): return None
        want["grads"] = [t.grad.flatten().tolist() if t.grad is not None else None for t in leaves]
    except RuntimeError as e:
        text = str(e)
        if "modified by an inplace operation" not in text: return None
        want["error"] = text.split(": [")[0]
    want["requires_grad"] = [t.requires_grad for t in pool]
    want["is_leaf"] = [t.is_leaf for t in pool]
    return {"values": values, "steps": steps, **want}

out, seed = [], 0
while len(out) < int(sys.argv[1]):
    p = program(seed); seed += 1
    if p is not None: out.append(p)
print(len(out), sum("error" in p for p in out), sum(any("refused" in s for s in p["steps"]) for p in out), seed)
json.dump(out, open(sys.argv[2], "w"), separators=(",", ":"))
