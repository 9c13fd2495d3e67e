#!/usr/bin/env python3
"""Encoders in plain torch: the oracle of tests/cli/encoder-torch.sh, and the peer of
tests/bench/encoder.sh. The modules are those of the published models, written from
their description.

encoder.py make DIR bert|xlmr VOCAB LAYERS HIDDEN FFN HEADS HEAD   random weights
encoder.py score DIR IN.jsonl                                 scores, one a line
encoder.py speed DIR IN.jsonl BATCH THREADS                   documents/s, sorted and not
HEAD: pooler (linear behind the pooler), dense:K (tanh layer, K labels), mean (linear
over the mean vector). Texts are words w0 w1 ..., each one token.
"""
import json
import struct
import sys
import time

import torch


def save(path, tensors):
    at, header = 0, {}
    for name, t in tensors.items():
        n = t.numel() * 4
        header[name] = {"dtype": "F32", "shape": list(t.shape), "data_offsets": [at, at + n]}
        at += n
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(head)) + head)
        for t in tensors.values():
            f.write(t.contiguous().numpy().tobytes())


def load(path):
    out = {}
    with open(path, "rb") as f:
        head = json.loads(f.read(struct.unpack("<Q", f.read(8))[0]))
        data = bytearray(f.read())
    for name, v in head.items():
        a, b = v["data_offsets"]
        out[name] = torch.frombuffer(data, dtype=torch.float32, offset=a,
                                     count=(b - a) // 4).view(v["shape"])
    return out


def make(d, kind, vocab, layers, hidden, ffn, heads, head):
    torch.manual_seed(5)
    roberta = kind == "xlmr"
    positions = 514 if roberta else 512
    prefix = "roberta." if roberta else "bert."
    t = {}

    def linear(name, out, inp, std=0.04):
        t[name + ".weight"] = torch.randn(out, inp) * std
        t[name + ".bias"] = torch.randn(out) * 0.1

    def norm(name):
        t[name + ".weight"] = 1 + torch.randn(hidden) * 0.1
        t[name + ".bias"] = torch.randn(hidden) * 0.1

    e = prefix + "embeddings."
    t[e + "word_embeddings.weight"] = torch.randn(vocab, hidden) * 0.5
    t[e + "position_embeddings.weight"] = torch.randn(positions, hidden) * 0.2
    t[e + "token_type_embeddings.weight"] = torch.randn(1 if roberta else 2, hidden) * 0.2
    norm(e + "LayerNorm")
    for i in range(layers):
        p = f"{prefix}encoder.layer.{i}."
        for part in ("query", "key", "value"):
            linear(p + "attention.self." + part, hidden, hidden)
        linear(p + "attention.output.dense", hidden, hidden)
        norm(p + "attention.output.LayerNorm")
        linear(p + "intermediate.dense", ffn, hidden)
        linear(p + "output.dense", hidden, ffn)
        norm(p + "output.LayerNorm")
    labels = 1
    own = {}
    if head == "pooler":
        linear(prefix + "pooler.dense", hidden, hidden)
        linear("classifier", 1, hidden, 0.2)
    elif head == "mean":
        linear("classifier", 1, hidden, 0.2)
        own = {"pooling": "mean", "prefix": "w3 w4: "}
    else:
        labels = int(head.split(":")[1])
        linear("classifier.dense", hidden, hidden)
        linear("classifier.out_proj", labels, hidden, 0.2)
    save(d + "/model.safetensors", t)
    c = {"model_type": "xlm-roberta" if roberta else "bert", "vocab_size": vocab,
         "hidden_size": hidden, "intermediate_size": ffn, "num_hidden_layers": layers,
         "num_attention_heads": heads, "max_position_embeddings": positions,
         "type_vocab_size": 1 if roberta else 2, "hidden_act": "gelu",
         "layer_norm_eps": 1e-5 if roberta else 1e-12, "pad_token_id": 1 if roberta else 0,
         "id2label": {str(i): "LABEL_%d" % i for i in range(labels)}, "kijil": own}
    with open(d + "/config.json", "w") as f:
        json.dump(c, f)
    names = ["<s>", "<pad>", "</s>", "<unk>"] if roberta else ["[CLS]", "[PAD]", "[SEP]", "[UNK]"]
    words = [("\u2581" if roberta else "") + "w%d" % i for i in range(vocab - 5)] + [":"]
    added = [{"id": i, "content": s, "special": True, "single_word": False, "lstrip": False,
              "rstrip": False, "normalized": False} for i, s in enumerate(names)]
    post = {"type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": names[0], "type_id": 0}},
                       {"Sequence": {"id": "A", "type_id": 0}},
                       {"SpecialToken": {"id": names[2], "type_id": 0}}],
            "pair": [], "special_tokens": {
                n: {"id": n, "ids": [names.index(n)], "tokens": [n]} for n in (names[0], names[2])}}
    if roberta:
        model = {"type": "Unigram", "unk_id": 3, "byte_fallback": False,
                 "vocab": [[w, -float(i > 3)] for i, w in enumerate(names + words)]}
        pre = {"type": "Metaspace", "replacement": "\u2581", "add_prefix_space": True}
        normal = None
    else:
        model = {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                 "max_input_chars_per_word": 100,
                 "vocab": {w: i for i, w in enumerate(names + words)}}
        pre = {"type": "BertPreTokenizer"}
        normal = {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True,
                  "strip_accents": None, "lowercase": True}
    with open(d + "/tokenizer.json", "w") as f:
        json.dump({"version": "1.0", "added_tokens": added, "normalizer": normal,
                   "pre_tokenizer": pre, "post_processor": post, "decoder": None,
                   "model": model}, f)


class Encoder:
    def __init__(self, d):
        self.c = json.load(open(d + "/config.json"))
        self.w = load(d + "/model.safetensors")
        self.roberta = self.c["model_type"] == "xlm-roberta"
        self.p = "roberta." if self.roberta else "bert."

    def ids(self, text):
        words = (self.c["kijil"].get("prefix", "") + text).replace(":", " : ").split()
        known = self.c["vocab_size"] - 1
        return [0] + [known if w == ":" else int(w[1:]) + 4 for w in words][:510] + [2]

    def lin(self, x, name):
        return torch.nn.functional.linear(x, self.w[name + ".weight"], self.w[name + ".bias"])

    def norm(self, x, name):
        return torch.nn.functional.layer_norm(
            x, x.shape[-1:], self.w[name + ".weight"], self.w[name + ".bias"],
            self.c["layer_norm_eps"])

    def forward(self, docs):
        c, p = self.c, self.p
        n, heads = max(map(len, docs)), c["num_attention_heads"]
        ids = torch.tensor([d + [1] * (n - len(d)) for d in docs])
        seen = torch.tensor([[1.0] * len(d) + [0.0] * (n - len(d)) for d in docs])
        at = torch.arange(n) + (c["pad_token_id"] + 1 if self.roberta else 0)
        e = p + "embeddings."
        x = (self.w[e + "word_embeddings.weight"][ids] +
             self.w[e + "token_type_embeddings.weight"][0] +
             self.w[e + "position_embeddings.weight"][at.clamp(max=len(
                 self.w[e + "position_embeddings.weight"]) - 1)])
        x = self.norm(x, e + "LayerNorm")
        mask = (1 - seen)[:, None, None, :] * torch.finfo(torch.float32).min
        dim = c["hidden_size"] // heads
        for i in range(c["num_hidden_layers"]):
            q = f"{p}encoder.layer.{i}."
            split = [self.lin(x, q + "attention.self." + s).view(len(docs), n, heads, dim)
                     .transpose(1, 2) for s in ("query", "key", "value")]
            score = split[0] @ split[1].transpose(-1, -2) / dim**0.5 + mask
            o = (score.softmax(-1) @ split[2]).transpose(1, 2).reshape(len(docs), n, -1)
            x = self.norm(self.lin(o, q + "attention.output.dense") + x,
                          q + "attention.output.LayerNorm")
            f = torch.nn.functional.gelu(self.lin(x, q + "intermediate.dense"))
            x = self.norm(self.lin(f, q + "output.dense") + x, q + "output.LayerNorm")
        v = x[:, 0]
        if c["kijil"].get("pooling") == "mean":
            v = (x * seen[:, :, None]).sum(1) / seen.sum(1)[:, None]
        if "classifier.dense.weight" in self.w:
            return self.lin(torch.tanh(self.lin(v, "classifier.dense")), "classifier.out_proj")
        if p + "pooler.dense.weight" in self.w:
            v = torch.tanh(self.lin(v, p + "pooler.dense"))
        return self.lin(v, "classifier")


def texts(path):
    return [json.loads(line)["text"] for line in open(path)]


def score(d, path):
    e = Encoder(d)
    with torch.no_grad():
        for text in texts(path):
            y = e.forward([e.ids(text)])[0]
            print("%.9g" % (y[0] if len(y) == 1 else y.softmax(-1)[1]))


def speed(d, path, batch, threads):
    torch.set_num_threads(threads)
    e = Encoder(d)
    docs = [e.ids(t) for t in texts(path)]
    with torch.no_grad():
        e.forward(docs[:1])
        for name, order in (("as they come", docs), ("sorted by length", sorted(docs, key=len))):
            wall, cpu = time.perf_counter(), time.process_time()
            for i in range(0, len(order), batch):
                e.forward(order[i:i + batch])
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            print("torch, batches of %d %s: %.2f documents/s, %.2f s CPU" %
                  (batch, name, len(docs) / wall, cpu))


if __name__ == "__main__":
    a = sys.argv
    if a[1] == "make":
        make(a[2], a[3], *map(int, a[4:9]), a[9])
    elif a[1] == "score":
        score(a[2], a[3])
    else:
        speed(a[2], a[3], int(a[4]), int(a[5]))
