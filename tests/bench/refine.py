#!/usr/bin/env python3
"""refine.py split TEXT.jsonl.zst SHARE SEEDS SOURCES DIR
   refine.py row DIR NAME MODEL...     a line of the table for each round
   refine.py plot OUT.svg TITLE=DIR... precision and recall by round

Pieces of about 800 characters of tutorials and encyclopaedia articles (English:
news written for learners) are the positives, of film reviews and news comments
(English: film reviews, mail, blogs, prose of 1961) the negatives. Of each DOCUMENT
all pieces are held out (a fifth of the documents) or in the pool. Positives
are thinned out to SHARE; SEEDS of them, all of SOURCES, and as many negatives
are the labels. Everything goes by hashes of ids, so the split is always the same."""
import hashlib
import json
import os
import subprocess
import sys

POSITIVE = {"react-ko", "vue-ko", "progit2-ko", "korquad", "onestop"}
NEGATIVE = {"nsmc", "kocohub-comments", "movie-reviews", "masc", "brown"}


def lot(kind, name):
    return int(hashlib.sha1(f"{kind} {name}".encode()).hexdigest()[:12], 16) / 16**12


def pieces(doc):
    part, number = "", 0
    for line in doc["text"].split("\n") + [None]:
        if line is None or len(part) + len(line) > 800:
            if len(part) > 200:
                yield {"id": f"{doc['id']}#{number}", "text": part, "source": doc["source"],
                       "edu": int(doc["source"] in POSITIVE)}
                number += 1
            part = ""
        if line is not None:
            part += line[:2000] + "\n"


def write(path, docs):
    with open(path, "w", encoding="utf-8") as f:
        for d in docs:
            f.write(json.dumps(d, ensure_ascii=False) + "\n")


def split(text, share, seeds, sources, where):
    share, seeds, sources = float(share), int(seeds), sources.split(",")
    raw = subprocess.run(["zstd", "-dc", text], capture_output=True, check=True).stdout
    parts = {"held": [], "pool": []}
    for line in raw.splitlines():
        doc = json.loads(line)
        if doc["source"] in POSITIVE | NEGATIVE:
            parts["held" if lot("held", doc["id"]) < 0.2 else "pool"].extend(pieces(doc))
    os.makedirs(where, exist_ok=True)
    for name, docs in parts.items():
        no = [d for d in docs if not d["edu"]]
        yes = sorted((d for d in docs if d["edu"]), key=lambda d: lot("thin", d["id"]))
        yes = yes[:round(share * len(no) / (1 - share))]
        if name == "pool":
            known = [d for d in yes if d["source"] in sources][:seeds]
            known += sorted(no, key=lambda d: lot("seed", d["id"]))[:len(known)]
            write(f"{where}/seeds.jsonl", known)
            write(f"{where}/all.jsonl", yes + no)  # what full labels would be
            ids = {d["id"] for d in known}
            yes, no = ([d for d in x if d["id"] not in ids] for x in (yes, no))
        write(f"{where}/{name}.jsonl", sorted(yes + no, key=lambda d: lot("order", d["id"])))


def judge(kijil, model, held):
    out = subprocess.run([kijil, "classify", "-q", "-m", model, "--label", sys.argv[3], "--as",
                          "s", held], capture_output=True, check=True).stdout
    docs = sorted(((json.loads(x)["s"], json.loads(x)["edu"]) for x in out.splitlines()),
                  reverse=True)
    gold = sum(e for _, e in docs)
    taken = [e for s, e in docs if s >= 0.5]
    right, total = 0, 0.0
    for i, (_, e) in enumerate(docs):
        right += e
        total += e * right / (i + 1)
    return sum(taken) / max(1, len(taken)), sum(taken) / gold, total / gold


def row(where, _label, *names):
    for name in names:
        title, model = name.split("=")
        p, r, ap = judge(os.environ["KIJIL"], model, f"{where}/held.jsonl")
        f1 = 2 * p * r / (p + r) if p + r else 0
        print(f"{title:34} {'':>9} {'':>6} {p:9.3f} {r:9.3f} {f1:9.3f} {ap:9.4f}")


def rounds(where):
    with open(f"{where}/rounds/rounds.jsonl", encoding="utf-8") as f:
        return [json.loads(x) for x in f]


def table(where):
    for x in rounds(where):
        h, at = x["held"], x["held"]["at"]
        # Of what was taken as positives, how much is: the pool's labels are known here.
        groups = x["harvest"]["groups"]
        wrong = sum(g["harvest"] for g in groups if g["group"] in NEGATIVE)
        n = x["harvest"]["docs"]
        print(f"{'round ' + str(x['round']):34} {n:9d} {1 - wrong / n if n else 1:6.3f} "
              f"{at['precision']:9.3f} {at['recall']:9.3f} {at['f1']:9.3f} "
              f"{h['average_precision']:9.4f}")


def plot(out, *named):
    width, height, left, top = 300, 190, 48, 40
    svg = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{len(named) * width + 30}" '
           f'height="{height + 90}" font-family="sans-serif" font-size="11" fill="#555">',
           '<rect width="100%" height="100%" fill="#fff"/>']
    for k, name in enumerate(named):
        title, where = name.split("=")
        data = rounds(where)
        x0, w = left + k * width, width - 60
        last = max(len(data), 2)

        def x(i):
            return x0 + w * (i - 1) / (last - 1)

        def y(v):
            return top + height * (1 - v)

        svg.append(f'<text x="{x0}" y="20" font-size="12" fill="#222">{title}</text>')
        for v in (0, 0.25, 0.5, 0.75, 1):
            svg.append(f'<path d="M{x0} {y(v):.1f}h{w}" stroke="#ddd"/>'
                       f'<text x="{x0 - 6}" y="{y(v) + 4:.1f}" text-anchor="end">{v:g}</text>')
        for i in range(1, len(data) + 1):
            svg.append(f'<text x="{x(i):.1f}" y="{top + height + 16}" '
                       f'text-anchor="middle">{i}</text>')
        lines = (("precision", "#0072b2", lambda h: h["at"]["precision"]),
                 ("recall", "#d55e00", lambda h: h["at"]["recall"]),
                 ("average precision", "#009e73", lambda h: h["average_precision"]))
        for n, (label, colour, get) in enumerate(lines):
            points = [(x(i + 1), y(get(d["held"]))) for i, d in enumerate(data)]
            path = "M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in points)
            svg.append(f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
            svg += [f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3" fill="{colour}"/>'
                    for a, b in points]
            if k == 0:
                lx = left + n * 110
                svg.append(f'<path d="M{lx} {height + 74}h18" stroke="{colour}" '
                           f'stroke-width="2"/><text x="{lx + 23}" '
                           f'y="{height + 78}">{label}</text>')
    svg.append(f'<text x="{left + 360}" y="{height + 78}">by round, on held-out documents; '
               'round 1: the seed labels, random negatives</text></svg>')
    with open(out, "w", encoding="utf-8") as f:
        f.write("\n".join(svg) + "\n")


if __name__ == "__main__":
    {"split": split, "row": row, "table": table, "plot": plot}[sys.argv[1]](*sys.argv[2:])
