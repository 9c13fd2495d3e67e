"""derive.py WHAT ... - what up-scaled and merged models must hold, computed
without numpy or torch. Called by derive.sh; exits 1 and says where it differs.

upscale PARENT CHILD 0:2,1:3     bytes of every tensor
linear OUT W A W B ...           to float32 rounding
slerp OUT T A B
"""
import array
import json
import math
import struct
import sys


def load(folder):
    with open(folder + "/model.safetensors", "rb") as f:
        raw = f.read()
    n = struct.unpack("<Q", raw[:8])[0]
    out = {}
    for name, t in json.loads(raw[8:8 + n]).items():
        if name != "__metadata__":
            a, b = t["data_offsets"]
            out[name] = (t["dtype"], t["shape"], raw[8 + n + a:8 + n + b])
    return out


def floats(t):
    assert t[0] == "F32"
    return array.array("f", t[2])


def config(folder):
    return json.load(open(folder + "/config.json"))


def fail(*words):
    print(*words)
    sys.exit(1)


def upscale(parent, child, keep):
    a, b, c = load(parent), load(child), config(child)
    order = []
    for r in keep.split(","):
        order += range(*map(int, r.split(":")))
    want = dict(config(parent), num_hidden_layers=len(order))
    if c != want:
        fail("config", c)
    expect = {k: v for k, v in a.items() if "layers." not in k}
    for new, old in enumerate(order):
        for k, v in a.items():
            if k.startswith("model.layers.%d." % old):
                expect[k.replace("layers.%d." % old, "layers.%d." % new, 1)] = v
    if expect != b:
        fail("tensors differ:", [k for k in expect if expect[k] != b.get(k)],
             set(b) - set(expect))


def compare(out, want):
    got = load(out)
    if set(got) != set(want):
        fail("names differ")
    for name, w in want.items():
        for x, y in zip(floats(got[name]), w):
            if abs(x - y) > 1e-7 * max(1e-3, abs(y)):
                fail(name, x, y)


def linear(out, *rest):
    ws, models = [float(w) for w in rest[::2]], [load(d) for d in rest[1::2]]
    want = {}
    for name in models[0]:
        cols = zip(*(floats(m[name]) for m in models))
        want[name] = [sum(w * x for w, x in zip(ws, c)) / sum(ws) for c in cols]
    compare(out, want)


def slerp(out, t, a, b):
    t, a, b, want = float(t), load(a), load(b), {}
    for name in a:
        x, y = floats(a[name]), floats(b[name])
        length = [math.sqrt(math.fsum(v * v for v in z)) for z in (x, y)]
        c = math.fsum(u * v for u, v in zip(x, y)) / (length[0] * length[1])
        if abs(c) > 0.9995:
            f = 1 - t, t
        else:
            w = math.acos(c)
            f = math.sin((1 - t) * w) / math.sin(w), math.sin(t * w) / math.sin(w)
        want[name] = [f[0] * u + f[1] * v for u, v in zip(x, y)]
    compare(out, want)


{"upscale": upscale, "linear": linear, "slerp": slerp}[sys.argv[1]](*sys.argv[2:])
