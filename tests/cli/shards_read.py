#!/usr/bin/python3
"""Read a folder of shards by the published layouts alone, and print its documents
as lines "id tokens". Nothing here shares code with the program.

Megatron: megatron/core/datasets/indexed_dataset.py; llm.c: dev/data/data_common.py;
datatrove: pipeline/tokens/tokenizer.py (TokenizedFile)."""
import json
import struct
import subprocess
import sys


def need(ok, what):
    if not ok:
        sys.exit(f"shards_read: {what}")


def megatron(folder, row):
    idx = open(f"{folder}/{row['index']}", "rb").read()
    need(idx[:9] == b"MMIDIDX\x00\x00", "magic")
    version, code = struct.unpack_from("<QB", idx, 9)
    need(version == 1, "version")
    width = {8: 2, 4: 4}[code]
    need(row["dtype"] == {8: "uint16", 4: "int32"}[code], "dtype")
    sequences, bounds = struct.unpack_from("<QQ", idx, 18)
    need(bounds == sequences + 1 == row["documents"] + 1, "counts")
    at = 34
    lengths = struct.unpack_from(f"<{sequences}i", idx, at)
    at += 4 * sequences
    pointers = struct.unpack_from(f"<{sequences}q", idx, at)
    at += 8 * sequences
    documents = struct.unpack_from(f"<{bounds}q", idx, at)
    need(at + 8 * bounds == len(idx), "size of the index")
    need(documents == tuple(range(bounds)), "document indices")
    data = open(f"{folder}/{row['path']}", "rb").read()
    need(sum(lengths) * width == len(data), "size of the .bin")
    end = 0
    for n, p in zip(lengths, pointers):
        need(p == end, "pointer")
        end += n * width
        yield struct.unpack_from(f"<{n}{'H' if width == 2 else 'i'}", data, p)


def ends(folder, row, data, width):
    raw = open(f"{folder}/{row['index']}", "rb").read()
    last = 0
    for (end,) in struct.iter_unpack("<Q", raw):
        yield struct.unpack_from(f"<{end - last}{'H' if width == 2 else 'I'}", data,
                                 last * width)
        last = end
    need(last * width == len(data), "the ends do not reach the end")


def llmc(folder, row):
    data = open(f"{folder}/{row['path']}", "rb").read()
    header = struct.unpack_from("<256i", data)
    width = {(20240520, 1): 2, (20240801, 7): 4}[header[:2]]
    need(header[2] * width + 1024 == len(data), "tokens in the header")
    need(not any(header[3:]), "header")
    yield from ends(folder, row, data[1024:], width)


def ds(folder, row):
    data = open(f"{folder}/{row['path']}", "rb").read()
    note = open(f"{folder}/{row['path']}.metadata").read().split("\n")
    width = int(note[0].split("|")[1])
    need(len(note) == 3 and int(note[1]) * width == len(data), "metadata")
    yield from ends(folder, row, data, width)


def main():
    folder = sys.argv[1]
    raw = subprocess.run(["zstd", "-dc", f"{folder}/docs.jsonl.zst"], check=True,
                         stdout=subprocess.PIPE).stdout
    docs = [json.loads(line) for line in raw.splitlines()]
    at = 0
    stored = open(f"{folder}/docs.jsonl.zst", "rb").read()
    for number, line in enumerate(open(f"{folder}/manifest.jsonl")):
        row = json.loads(line)
        read = {"megatron": megatron, "llm.c": llmc, "ds": ds}[row["format"]]
        first = 0
        need(stored[row["docs_offset"]:][:4] == b"\x28\xb5\x2f\xfd", "docs_offset")
        counts = {}
        for tokens in read(folder, row):
            d = docs[at]
            at += 1
            need((d["shard"], d["first"], d["tokens"]) == (number, first, len(tokens)),
                 f"place of {d['id']}")
            need(tokens[-1] == row["eos"] and max(tokens) < row["vocab_size"], "tokens")
            first += len(tokens)
            key = (d.get("source", ""), d.get("language", ""), d.get("band", ""))
            n = counts.setdefault(key, [0, 0])
            n[0] += 1
            n[1] += len(tokens)
            print(d["id"], *tokens)
        need(first == row["tokens"], "tokens of the row")
        told = {(c["source"], c["language"], c["band"]): [c["documents"], c["tokens"]]
                for c in row["counts"]}
        need(told == counts, f"counts: {told}, by the documents {counts}")
    need(at == len(docs), "documents")


main()
