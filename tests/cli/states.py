"""states.py BEFORE RUN SEED LR DECAY - the first step of AdamW on bfloat16 states, once
more: from the weights before it (a folder) and the moments behind it (RUN's only
checkpoint). The first step moves a weight by the learning rate against the gradient's
sign, whatever the gradient's size, so each weight's exact value is known, and with
the random bits of docs/formats/checkpoint.md also which neighbour was kept. Called by
states.sh; prints how many weights were compared, how many differ, how many went up."""
import json
import math
import struct
import sys

MASK = (1 << 64) - 1
LAYER = ["input_layernorm", "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
         "post_attention_layernorm", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"]


def splitmix(key, i):
    z = (key + (i + 1) * 0x9E3779B97F4A7C15) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def tensors(path):
    raw = open(path, "rb").read()
    n = struct.unpack_from("<Q", raw)[0]
    head = json.loads(raw[8:8 + n])
    out = {}
    for name, t in head.items():
        if name != "__metadata__":
            assert t["dtype"] == "BF16", (path, name, t["dtype"])
            from_, to = (8 + n + x for x in t["data_offsets"])
            out[name] = struct.unpack("<%dH" % ((to - from_) // 2), raw[from_:to])
    return out


def number(bits):
    return struct.unpack("<f", struct.pack("<I", bits << 16))[0]


def main():
    before, run = sys.argv[1:3]
    seed, lr, decay = int(sys.argv[3]), float(sys.argv[4]), float(sys.argv[5])
    folder = run + "/checkpoints/step-00000001/"
    old, new = tensors(before + "/model.safetensors"), tensors(folder + "model.safetensors")
    opt = tensors(folder + "optimizer.safetensors")
    layers = 1 + max(int(k.split(".")[2]) for k in old if k.startswith("model.layers."))
    names = ["model.embed_tokens"]
    for i in range(layers):
        names += ["model.layers.%d.%s" % (i, x) for x in LAYER]
    names.append("model.norm")
    key = splitmix(seed ^ 0x73746174, 0)
    at = compared = differ = up = odd = 0
    for name in (n + ".weight" for n in names):
        m, v = opt["m." + name], opt["v." + name]
        rate = 0.0 if "norm" in name else lr * decay
        for i, w in enumerate(old[name]):
            r = splitmix(key, at + i)
            grad = number(m[i]) / 0.1
            square = number(v[i]) / 0.05
            odd += abs(grad * grad - square) > 0.03 * square + 1e-30
            x = number(w) * (1 - rate) - math.copysign(lr, grad) * (grad != 0)
            if x == 0:
                continue
            step = math.ldexp(1, math.frexp(abs(x))[1] - 8)
            low = math.floor(abs(x) / step)
            part = abs(x) / step - low
            if abs(part + (r & 65535) / 65536 - 1) < 2e-3: # float32's own rounding
                continue
            more = part + (r & 65535) / 65536 >= 1
            want = math.copysign((low + more) * step, x)
            compared += 1
            up += more
            differ += number(new[name][i]) != want
        at += len(old[name])
    print(compared > 0.99 * at, differ, 0.3 < up / compared < 0.7, odd)


main()
