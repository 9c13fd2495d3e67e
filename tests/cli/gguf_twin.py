"""gguf_twin.py MODEL FILE.gguf f16|f32 - a reader of GGUF of its own: keys,
tensors (rotary rows turned back) and tokens against the folder that it was made
from. Called by gguf.sh."""
import array
import json
import math
import struct
import sys

KINDS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
NAMES = {"input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
         "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
         "post_attention_layernorm": "ffn_norm", "mlp.gate_proj": "ffn_gate",
         "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}


class Reader:
    def __init__(self, raw):
        self.raw, self.at = raw, 0

    def one(self, code):
        v = struct.unpack_from("<" + code, self.raw, self.at)[0]
        self.at += struct.calcsize("<" + code)
        return v

    def text(self):
        n = self.one("Q")
        self.at += n
        return self.raw[self.at - n:self.at].decode()

    def value(self, kind):
        if kind == 8:
            return self.text()
        if kind == 9:
            item, n = self.one("I"), self.one("Q")
            return [self.value(item) for _ in range(n)]
        return self.one(KINDS[kind])


def gguf(path):
    r, keys, infos = Reader(open(path, "rb").read()), {}, []
    assert r.raw[:4] == b"GGUF"
    r.at = 4
    assert r.one("I") == 3
    tensors, n = r.one("Q"), r.one("Q")
    for _ in range(n):
        k = r.text()
        assert k not in keys
        keys[k] = r.value(r.one("I"))
    for _ in range(tensors):
        name = r.text()
        infos.append((name, [r.one("Q") for _ in range(r.one("I"))], r.one("I"), r.one("Q")))
    base, out = (r.at + 31) // 32 * 32, {}
    for name, dims, kind, offset in infos:
        assert offset % 32 == 0 and kind in (0, 1)
        size = (4, 2)[kind]
        for d in dims:
            size *= d
        out[name] = dims, kind, r.raw[base + offset:base + offset + size]
    return keys, out


def halves(raw):
    v = array.array("f", raw)
    return struct.pack("<%de" % len(v), *v)


def turned(raw, dim, cols):
    """Rows of pairs (i, i + d/2) to pairs (2i, 2i + 1)."""
    rows, out = len(raw) // (4 * cols), []
    for head in range(0, rows, dim):
        for i in range(dim // 2):
            out += [head + i, head + i + dim // 2]
    return b"".join(raw[4 * cols * r:4 * cols * (r + 1)] for r in out)


def speeds(tensor, c, y):
    """What llama.cpp divides each pair's speed by (its converter's Llama 3.1)."""
    d, old = c["head_dim"], y["original_max_position_embeddings"]
    low, high = old / y["low_freq_factor"], old / y["high_freq_factor"]
    want = []
    for i in range(0, d, 2):
        wave = 2 * math.pi * c["rope_theta"] ** (i / d)
        if wave < high:
            want.append(1)
        elif wave > low:
            want.append(y["factor"])
        else:
            smooth = (old / wave - y["low_freq_factor"]) / (y["high_freq_factor"] - y["low_freq_factor"])
            want.append(1 / ((1 - smooth) / y["factor"] + smooth))
    assert 1 in want and y["factor"] in want and len(set(want)) > 2
    got = struct.unpack("<%df" % (d // 2), tensor[2])
    assert tensor[:2] == ([d // 2], 0) and all(abs(a / b - 1) < 1e-6 for a, b in zip(got, want))


def main(model, path, kind):
    c, t = json.load(open(model + "/config.json")), json.load(open(model + "/tokenizer.json"))
    raw = open(model + "/model.safetensors", "rb").read()
    n, (keys, got) = struct.unpack("<Q", raw[:8])[0], gguf(path)
    head = json.loads(raw[8:8 + n])
    head.pop("__metadata__", None)
    y = c["rope_scaling"] or {"rope_type": "none"}
    if y["rope_type"] == "llama3":
        speeds(got.pop("rope_freqs.weight"), c, y)
    assert len(head) == len(got)
    for name, x in head.items():
        a, b = x["data_offsets"]
        data, vector = raw[8 + n + a:8 + n + b], len(x["shape"]) == 1
        if "q_proj" in name or "k_proj" in name:
            data = turned(data, c["head_dim"], x["shape"][1])
        if kind == "f16" and not vector:
            data = halves(data)
        if ".layers." in name:
            _, _, layer, rest = name.split(".", 3)
            name = "blk.%s.%s.weight" % (layer, NAMES[rest[:-7]])
        else:
            name = {"model.embed_tokens.weight": "token_embd.weight", "lm_head.weight": "output.weight",
                    "model.norm.weight": "output_norm.weight"}[name]
        want = x["shape"][::-1], int(kind == "f16" and not vector), data
        assert got[name] == want, name
    for k, v in (("block_count", "num_hidden_layers"), ("embedding_length", "hidden_size"),
                 ("feed_forward_length", "intermediate_size"), ("attention.head_count", "num_attention_heads"),
                 ("attention.head_count_kv", "num_key_value_heads"), ("attention.key_length", "head_dim"),
                 ("attention.value_length", "head_dim"), ("rope.dimension_count", "head_dim"),
                 ("context_length", "max_position_embeddings"), ("vocab_size", "vocab_size")):
        assert keys["llama." + k] == c[v], k
    assert abs(keys["llama.rope.freq_base"] / c["rope_theta"] - 1) < 1e-6
    assert abs(keys["llama.attention.layer_norm_rms_epsilon"] / c["rms_norm_eps"] - 1) < 1e-6
    if y["rope_type"] in ("yarn", "linear"):
        assert keys["llama.rope.scaling.type"] == y["rope_type"]
        assert abs(keys["llama.rope.scaling.factor"] / y["factor"] - 1) < 1e-6
    else:
        assert not [k for k in keys if "scaling" in k]
    if y["rope_type"] == "yarn":
        assert keys["llama.rope.scaling.original_context_length"] == y["original_max_position_embeddings"]
    want = ["[PAD%d]" % i for i in range(c["vocab_size"])]
    types = [5] * c["vocab_size"]
    for token, i in t["model"]["vocab"].items():
        want[i], types[i] = token, 1
    for a in t["added_tokens"]:
        want[a["id"]], types[a["id"]] = a["content"], 3 if a["special"] else 4
    merges = [m if isinstance(m, str) else " ".join(m) for m in t["model"]["merges"]]
    assert keys["tokenizer.ggml.model"] == "gpt2" and keys["tokenizer.ggml.pre"] == "llama-bpe"
    assert keys["tokenizer.ggml.tokens"] == want and keys["tokenizer.ggml.token_type"] == types
    assert keys["tokenizer.ggml.merges"] == merges
    assert keys["tokenizer.ggml.eos_token_id"] == c["eos_token_id"]


main(*sys.argv[1:])
