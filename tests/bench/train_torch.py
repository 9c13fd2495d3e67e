"""train_torch.py V LAYERS HEADS HIDDEN FFN B T STEPS THREADS f32|bf16 - training
steps of the same Llama with PyTorch; CPU and wall seconds a step (medians).
bf16: autocast, the way PyTorch mixes precisions. Called by train.sh."""
import math
import statistics
import sys
import time

import torch
import torch.nn.functional as F

V, LAYERS, HEADS, H, FFN, B, T, STEPS, THREADS = map(int, sys.argv[1:10])
torch.set_num_threads(THREADS)
torch.manual_seed(1)
D = H // HEADS


class Norm(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.w = torch.nn.Parameter(torch.ones(H))

    def forward(self, x):
        x = x.float()
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5) * self.w


def linear(a, b):
    m = torch.nn.Linear(a, b, bias=False)
    torch.nn.init.normal_(m.weight, std=0.02)
    return m


def turn(x, cos, sin):
    a, b = x[..., :D // 2], x[..., D // 2:]
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


class Block(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.norm1, self.norm2 = Norm(), Norm()
        self.qkv, self.o = linear(H, 3 * H), linear(H, H)
        self.gate_up, self.down = linear(H, 2 * FFN), linear(FFN, H)

    def forward(self, x, cos, sin, mask):
        q, k, v = self.qkv(self.norm1(x)).view(B, T, 3, HEADS, D).permute(2, 0, 3, 1, 4)
        q, k = turn(q, cos, sin), turn(k, cos, sin)
        if hasattr(F, "scaled_dot_product_attention"):
            o = F.scaled_dot_product_attention(q, k.to(q.dtype), v.to(q.dtype), is_causal=True)
        else:
            s = q @ k.transpose(-1, -2) / math.sqrt(D) + mask
            o = torch.softmax(s, -1).to(v.dtype) @ v
        x = x + self.o(o.transpose(1, 2).reshape(B, T, H))
        g, u = self.gate_up(self.norm2(x)).split(FFN, -1)
        return x + self.down(F.silu(g) * u)


class Llama(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = torch.nn.Embedding(V, H)
        torch.nn.init.normal_(self.embed.weight, std=0.02)
        self.blocks = torch.nn.ModuleList(Block() for _ in range(LAYERS))
        self.norm = Norm()
        a = torch.arange(T)[:, None] * 10000.0 ** (-torch.arange(0, D, 2) / D)
        self.cos, self.sin = torch.cos(a), torch.sin(a)
        self.mask = torch.full((T, T), -math.inf).triu(1)

    def forward(self, ids, targets):
        x = self.embed(ids)
        for b in self.blocks:
            x = b(x, self.cos, self.sin, self.mask)
        z = F.linear(self.norm(x), self.embed.weight)
        return F.cross_entropy(z.float().view(-1, V), targets.view(-1))


m = Llama()
opt = torch.optim.AdamW(m.parameters(), lr=1e-3, betas=(0.9, 0.95), weight_decay=0.1)
if "foreach" in opt.defaults:
    opt.defaults["foreach"] = True
    for g in opt.param_groups:
        g["foreach"] = True
cpu, wall = [], []
for step in range(-1, STEPS):
    ids = torch.randint(V, (B, T))
    c0, w0 = time.process_time(), time.monotonic()
    opt.zero_grad(set_to_none=True)
    with torch.autocast("cpu", torch.bfloat16, enabled=sys.argv[10] == "bf16"):
        loss = m(ids, (ids + 1) % V)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(m.parameters(), 1.0)
    opt.step()
    float(loss.detach())
    if step >= 0:
        cpu.append(time.process_time() - c0)
        wall.append(time.monotonic() - w0)
print("result %.5f %.5f" % (statistics.median(cpu), statistics.median(wall)))
