"""A Llama in plain PyTorch: the oracle and the peer of scripts/gpu-check.

torch_llama.py check FILE      gradients and losses of tests/cuda/gradients.c, again in
                               float64: a line "row NAME RESULT TEXT KEY=VALUE" for each
                               precision in FILE; exit status 1 when one is off
torch_llama.py speed H FFN LAYERS HEADS KV DIM VOCAB TIED T BATCH MICRO STEPS
                               tokens/s of training, as one JSON line: bfloat16 weights,
                               SDPA, compiled blocks, fused AdamW
torch_llama.py peaks N         TFLOP/s of a product N^3 of bfloat16, GB/s of a copy
"""
import json
import math
import sys
import time

import torch
import torch.nn.functional as F

GPU = torch.cuda.is_available()
DEVICE = "cuda" if GPU else "cpu"
# Attention of few key heads without copies of them, where this version has it.
GQA = "enable_gqa" in (getattr(F, "scaled_dot_product_attention", None).__doc__ or "")


def norm(x, w):
    y = x.float() if x.dtype == torch.bfloat16 else x
    return (y * torch.rsqrt(y.pow(2).mean(-1, keepdim=True) + 1e-5)).to(x.dtype) * w


def turn(x, cos, sin):
    half = x.shape[-1] // 2
    a, b = x[..., :half], x[..., half:]
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


def rotation(pos, dim, theta, dtype):
    i = torch.arange(dim // 2, dtype=torch.float64, device=pos.device)
    angle = pos.double()[:, None] * theta ** (-2 * i / dim)
    return torch.cos(angle).to(dtype), torch.sin(angle).to(dtype)


def block(x, n1, qkv, o, n2, gu, down, cos, sin, mask, heads, kv, dim):
    b, t, _ = x.shape
    q, k, v = (norm(x, n1) @ qkv.T).split([heads * dim, kv * dim, kv * dim], -1)
    q = turn(q.view(b, t, heads, dim).transpose(1, 2), cos, sin)
    k = turn(k.view(b, t, kv, dim).transpose(1, 2), cos, sin)
    v = v.view(b, t, kv, dim).transpose(1, 2)
    if mask is None:
        if not GQA:
            k, v = k.repeat_interleave(heads // kv, 1), v.repeat_interleave(heads // kv, 1)
        a = F.scaled_dot_product_attention(q, k, v, is_causal=True,
                                           **({"enable_gqa": heads != kv} if GQA else {}))
    else:
        k, v = k.repeat_interleave(heads // kv, 1), v.repeat_interleave(heads // kv, 1)
        s = (q @ k.transpose(-1, -2)) / math.sqrt(dim)
        a = torch.softmax(s.masked_fill(~mask, -math.inf), -1) @ v
    x = x + a.transpose(1, 2).reshape(b, t, heads * dim) @ o.T
    g, u = (norm(x, n2) @ gu.T).chunk(2, -1)
    return x + (F.silu(g) * u) @ down.T


def head_loss(x, n, w, targets):
    z = norm(x, n) @ w.T
    z = z.float() if z.dtype == torch.bfloat16 else z
    return F.cross_entropy(z.flatten(0, 1), targets.flatten(), ignore_index=-1,
                           reduction="sum")


# ---- the oracle ----

LIMITS = {"cpu": (1e-4, 1e-3), "f32": (2e-4, 1e-3), "bf16": (4e-2, 1e-2),
          "states": (5e-2, 2e-2), "fp8": (0.35, 2e-2)}


def load(path):
    out = {}
    with open(path, "rb") as f:
        head = json.loads(f.read(int.from_bytes(f.read(8), "little")))
        data = bytearray(f.read())
    for name, v in head.items():
        if name != "__metadata__":
            a, b = v["data_offsets"]
            out[name] = torch.frombuffer(data, dtype=torch.float32, offset=a,
                                         count=(b - a) // 4).view(v["shape"])
    return out


class Model:
    def __init__(self, t):
        s = t["shape"].flatten().tolist()
        (self.vocab, _, _, self.layers, self.heads, self.kv, self.dim, self.tied) = map(int, s[:8])
        self.theta, self.steps = s[9], int(s[10])
        self.p = {k: v.double().to(DEVICE).requires_grad_(True) for k, v in t.items()
                  if k.endswith(".weight") and "/" not in k}
        for k, v in self.p.items():
            if k.endswith("norm.weight"):
                self.p[k] = v.detach().flatten().requires_grad_(True)
        cu = t["cu"].flatten().long()
        n = int(cu[-1])
        seg = torch.bucketize(torch.arange(n), cu[1:], right=True)
        self.pos = (torch.arange(n) - cu[seg]).to(DEVICE)
        self.mask = ((seg[:, None] == seg[None, :]) &
                     (torch.arange(n)[:, None] >= torch.arange(n)[None, :])).to(DEVICE)
        self.last = torch.zeros(n, dtype=torch.bool)
        self.last[(cu[1:] - 1).clamp(min=0)] = True
        self.tokens = t["tokens"].long()

    def loss(self, step):
        ids = self.tokens[step]
        targets = torch.roll(ids, -1)
        targets[self.last] = -1
        x = self.p["model.embed_tokens.weight"][ids.to(DEVICE)][None]
        cos, sin = rotation(self.pos, self.dim, self.theta, torch.float64)
        for i in range(self.layers):
            w = {k: self.p[f"model.layers.{i}.{k}.weight"] for k in (
                "input_layernorm", "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj",
                "self_attn.o_proj", "post_attention_layernorm", "mlp.gate_proj", "mlp.up_proj",
                "mlp.down_proj")}
            x = block(x, w["input_layernorm"],
                      torch.cat([w[f"self_attn.{k}_proj"] for k in "qkv"]), w["self_attn.o_proj"],
                      w["post_attention_layernorm"],
                      torch.cat([w["mlp.gate_proj"], w["mlp.up_proj"]]), w["mlp.down_proj"],
                      cos, sin, self.mask, self.heads, self.kv, self.dim)
        head = self.p["model.embed_tokens.weight" if self.tied else "lm_head.weight"]
        return (head_loss(x, self.p["model.norm.weight"], head, targets[None].to(DEVICE)) /
                int((targets >= 0).sum()))


def told(name, good, text, worst):
    print(f"row\t{name}\t{'good' if good else 'FAILED'}\t{text}\tworst={worst:.4g}")
    return good


def check(path):
    t = load(path)
    m = Model(t)
    shape = path.split("/")[-1].split(".")[0]
    ways = sorted({k.split("/")[1] for k in t if k.startswith("gradient/")})
    m.loss(0).backward()
    good = True
    for way in ways:
        worst, where = 0.0, ""
        for k, p in m.p.items():
            want = p.grad.cpu()
            got = t[f"gradient/{way}/{k}"].double().view(want.shape)
            e = float((got - want).norm() / want.norm())
            if not e <= worst:
                worst, where = e, k
        limit = LIMITS[way][0]
        good &= told(f"torch.gradients.{shape}.{way}", worst <= limit,
                     f"each parameter's gradient beside PyTorch's in float64: at worst {worst:.2g} "
                     f"of {limit:.2g} ({where})", worst)
    if not m.steps:
        return good
    opt = torch.optim.AdamW(m.p.values(), lr=1e-3, betas=(0.9, 0.95), eps=1e-8, weight_decay=0)
    losses = []
    for step in range(m.steps):
        opt.zero_grad()
        loss = m.loss(step)
        loss.backward()
        opt.step()
        losses.append(float(loss))
    want = torch.tensor(losses, dtype=torch.float64)
    for way in ways:
        off = ((t[f"losses/{way}"].double().flatten() - want) / want).abs()
        worst, limit = float(off.max()), LIMITS[way][1]
        good &= told(f"torch.losses.{shape}.{way}", worst <= limit,
                     f"losses of {m.steps} steps beside PyTorch's in float64, {losses[0]:.3f} to "
                     f"{losses[-1]:.3f}: at worst {worst:.2g} of {limit:.2g}", worst)
    return good


# ---- the peer ----

def wait():
    if GPU:
        torch.cuda.synchronize()


def speed(h, f, layers, heads, kv, dim, vocab, tied, t, batch, micro, steps):
    torch.manual_seed(1)

    def fresh(*shape):
        return torch.nn.Parameter(torch.randn(*shape, device=DEVICE, dtype=torch.bfloat16) * 0.02)

    def one():
        return torch.nn.Parameter(torch.ones(h, device=DEVICE, dtype=torch.bfloat16))

    embed = fresh(vocab, h)
    blocks = [[one(), fresh((heads + 2 * kv) * dim, h), fresh(h, heads * dim), one(),
               fresh(2 * f, h), fresh(h, f)] for _ in range(layers)]
    last, head = one(), embed if tied else fresh(vocab, h)
    params = [embed, last] + [p for b in blocks for p in b] + ([] if tied else [head])
    opt = torch.optim.AdamW(params, lr=1e-4, betas=(0.9, 0.95), **({"fused": True} if GPU else {}))
    cos, sin = rotation(torch.arange(t, device=DEVICE), dim, 500000.0, torch.bfloat16)
    mask = None
    if not hasattr(F, "scaled_dot_product_attention"):
        mask = torch.ones(t, t, dtype=torch.bool, device=DEVICE).tril()
    # One compilation serves all blocks: only their operands differ.
    fast = GPU and hasattr(torch, "compile")
    body, tail = (torch.compile(f, dynamic=False) for f in (block, head_loss)) if fast else (block, head_loss)

    def step(rows):
        ids = torch.randint(0, vocab, (batch, t + 1), device=DEVICE)
        total = 0.0
        for i in range(0, batch, rows):
            part = ids[i:i + rows]
            x = F.embedding(part[:, :-1], embed)
            for w in blocks:
                x = body(x, *w, cos, sin, mask, heads, kv, dim)
            loss = tail(x, last, head, part[:, 1:]) / (batch * t)
            loss.backward()
            total += loss.detach()
        torch.nn.utils.clip_grad_norm_(params, 1.0)
        opt.step()
        opt.zero_grad(set_to_none=True)
        return total

    while True:
        try:
            took = []
            for _ in range(steps):
                wait()
                t0 = time.perf_counter()
                loss = step(micro)
                wait()
                took.append(time.perf_counter() - t0)
            break
        except Exception as e:  # what does not fit is done in two passes
            if "out of memory" in str(e) and micro > 1:
                micro //= 2
            elif fast:  # no compiler, for example: then it runs as it is
                print(e, file=sys.stderr)
                fast, body, tail = False, block, head_loss
            else:
                raise
        opt.zero_grad(set_to_none=True)
        torch.cuda.empty_cache()
    late = sorted(took[min(3, steps // 2):])
    print(json.dumps({"tokens_per_s": round(batch * t / late[len(late) // 2], 1), "micro": micro,
                      "torch": torch.__version__, "compiled": fast, "loss": round(float(loss), 4),
                      "peak_gb": round(torch.cuda.max_memory_allocated() / 1e9, 2) if GPU else 0}))


def clocked(f, n=30):
    for _ in range(3):
        f()
    took = []
    for _ in range(n):
        wait()
        t0 = time.perf_counter()
        f()
        wait()
        took.append(time.perf_counter() - t0)
    return min(took)


def peaks(n):
    a, b = (torch.randn(n, n, device=DEVICE, dtype=torch.bfloat16) for _ in range(2))
    x = torch.randn(n, n, device=DEVICE)
    y = torch.empty_like(x)
    print(json.dumps({"tflops": round(2e-12 * n ** 3 / clocked(lambda: torch.matmul(a, b)), 3),
                      "gbytes": round(8e-9 * n * n / clocked(lambda: y.copy_(x)), 3),
                      "torch": torch.__version__}))


def main():
    if len(sys.argv) == 3 and sys.argv[1] == "check":
        return 0 if check(sys.argv[2]) else 1
    if len(sys.argv) == 14 and sys.argv[1] == "speed":
        speed(*map(int, sys.argv[2:]))
    elif len(sys.argv) == 3 and sys.argv[1] == "peaks":
        peaks(int(sys.argv[2]))
    else:
        print(__doc__, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
