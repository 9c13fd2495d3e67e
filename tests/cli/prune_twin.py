"""prune_twin.py PARENT CHILD SHARDS SAMPLES - scores by PyTorch, and the child
sliced from the parent by the scores in its file. Called by prune-torch.sh."""
import json
import sys
from itertools import islice

import torch

from parity import documents, forward, load, rows


def scores(parent, shards, samples):
    p, c = load(parent + "/model.safetensors"), json.load(open(parent + "/config.json"))
    layers, heads, sums, cosines = c["num_hidden_layers"], c["num_attention_heads"], {}, {}
    stream = {}

    def seen(what, layer, x):
        if what in ("before", "after"):
            stream[what] = x.double()
            if what == "after":
                cos = torch.nn.functional.cosine_similarity(*stream.values(), dim=-1)
                cosines.setdefault(layer, []).append(cos)
                stream.clear()
            return
        n[what, layer] = n.get((what, layer), 0) + 1
        key = what, layer, n[what, layer]
        sums[key] = sums.get(key, 0) + x.double().abs().mean(0) ** 2

    with torch.no_grad():
        for row, bounds in islice(rows(list(documents(shards)), c["eos_token_id"]), samples):
            n = {}
            forward(p, c, [a for a, _ in row], bounds, seen)
    channels = sum(v.sqrt() for k, v in sums.items() if k[0] == "norm")
    out = {"channels": channels.tolist(), "layers": []}
    for i in range(layers):
        head = sums["heads", i, 1].view(heads, -1).sum(1).sqrt()
        out["layers"].append({"block": 1 - torch.cat(cosines[i]).mean().item(),
                              "heads": head.tolist(),
                              "neurons": sums["neurons", i, 1].sqrt().tolist()})
    return out


def best(v, n):
    return sorted(sorted(range(len(v)), key=lambda i: (-v[i], i))[:n])


def sliced(parent, child, s):
    p, a = load(parent + "/model.safetensors"), json.load(open(parent + "/config.json"))
    c = json.load(open(child + "/config.json"))
    ch, d, groups = best(s["channels"], c["hidden_size"]), a["head_dim"], a["num_key_value_heads"]
    per, keep = a["num_attention_heads"] // groups, c["num_attention_heads"] // groups
    want = {"model.norm.weight": p["model.norm.weight"][ch]}
    e, h = p["model.embed_tokens.weight"], p.get("lm_head.weight")
    if c["tie_word_embeddings"] and h is not None:
        e = (e + h) / 2
    want["model.embed_tokens.weight"] = e[:, ch]
    if not c["tie_word_embeddings"]:
        want["lm_head.weight"] = h[:, ch]
    layers = best([x["block"] for x in s["layers"]], c["num_hidden_layers"])
    for new, old in enumerate(layers):
        x, w = s["layers"][old], lambda n: p["model.layers.%d.%s.weight" % (old, n)]
        f = best(x["neurons"], c["intermediate_size"])
        q = [(g * per + i) * d + k for g in range(groups)
             for i in best(x["heads"][g * per:(g + 1) * per], keep) for k in range(d)]
        for name, rows_, cols in (
                ("input_layernorm", ch, None), ("post_attention_layernorm", ch, None),
                ("self_attn.q_proj", q, ch), ("self_attn.k_proj", None, ch),
                ("self_attn.v_proj", None, ch), ("self_attn.o_proj", ch, q),
                ("mlp.gate_proj", f, ch), ("mlp.up_proj", f, ch), ("mlp.down_proj", ch, f)):
            t = w(name)
            t = t if rows_ is None else t[rows_]
            want["model.layers.%d.%s.weight" % (new, name)] = t if cols is None else t[:, cols]
    got = load(child + "/model.safetensors")
    return set(want) == set(got) and all(torch.equal(want[k], got[k]) for k in want)


def far(a, b):
    if isinstance(a, dict):
        return max(far(a[k], b[k]) for k in a)
    if isinstance(a, list):
        return max([1.0 * (len(a) != len(b))] + [far(x, y) for x, y in zip(a, b)])
    return abs(a - b) / (abs(a) + 1e-6)


def main(parent, child, shards, samples):
    torch.set_num_threads(1)
    ours = json.load(open(child + "/importance.json"))
    worst = far(scores(parent, shards, int(samples)), ours)
    good = sliced(parent, child, ours)
    print("scores %.1e, slices %s" % (worst, "equal" if good else "differ"))
    return 0 if worst < 1e-4 and good else 1


sys.exit(main(*sys.argv[1:]))
