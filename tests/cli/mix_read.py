#!/usr/bin/python3
"""Read an order by its documented layout, and tell per part: its tokens, its
entries, and how often its documents stand there (least and most). With --docs,
the order itself: one line "part id" per entry."""
import json
import os
import struct
import subprocess
import sys

folder = sys.argv[1]
order = json.load(open(f"{folder}/order.json"))
docs = []
for s in order["sets"]:
    shards = os.path.dirname(os.path.join(folder, s["manifest"]))
    raw = subprocess.run(["zstd", "-dc", f"{shards}/docs.jsonl.zst"], check=True,
                         stdout=subprocess.PIPE).stdout
    docs += [json.loads(line) for line in raw.splitlines()]
data = open(f"{folder}/order.bin", "rb").read()
assert data[:8] == b"KJORDER1"
(n,) = struct.unpack_from("<Q", data, 8)
assert len(data) == 16 + 16 * (n + 1) and n == order["entries"]
words = struct.unpack_from(f"<{2 * (n + 1)}Q", data, 16)
at = 0
parts = {}
for first, what in zip(words[0:2 * n:2], words[1:2 * n:2]):
    doc, part = what & (1 << 48) - 1, what >> 48
    assert first == at
    at += docs[doc]["tokens"]
    parts.setdefault(part, []).append(doc)
    if sys.argv[2:] == ["--docs"]:
        print(order["parts"][part]["name"], docs[doc]["id"])
assert at == words[2 * n] == order["tokens"]
if sys.argv[2:] == ["--docs"]:
    sys.exit()
for part, of in sorted(parts.items()):
    times = [of.count(d) for d in set(of)] if len(of) < 5000 else [0]
    print(order["parts"][part]["name"], sum(docs[d]["tokens"] for d in of), len(of),
          min(times), max(times))
