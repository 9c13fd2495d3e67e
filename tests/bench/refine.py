#!/usr/bin/env python3
"""refine.py split SHARE SEEDS SOURCES DRAW DIR <TEXT.jsonl
   refine.py score DIR                 every model of a draw on its test set
   refine.py table DIR,...             mean over draws
   refine.py plot OUT.svg TITLE=DIR,...

Pieces of about 800 letters of tutorials and encyclopaedia articles are the positives,
of film reviews and news comments the negatives (English: pages of documentation on
the web; film reviews and prose of 1961). Only letters are left of them, of Korean only
Hangul: neither code nor a corpus's way with punctuation may tell the classes apart. A
fifth of the documents, with all of their pieces, is the test set, a fifth is held out
for refine to judge by, the rest is the pool. Positives are thinned out to SHARE; SEEDS
of them, all of SOURCES, and as many negatives are the labels. Everything goes by hashes
of DRAW and ids, so a split is always the same."""
import hashlib
import json
import os
import re
import subprocess
import sys

POSITIVE = {"react-ko", "vue-ko", "progit2-ko", "korquad", "documentation"}
NEGATIVE = {"nsmc", "kocohub-comments", "movie-reviews", "brown"}


def lot(kind, name):
    return int(hashlib.sha1(f"{kind} {name}".encode()).hexdigest()[:12], 16) / 16**12


def bare(text):
    korean = len(re.findall("[가-힣]", text)) * 10 > len(text)
    text = re.sub(r"[^가-힣\s]" if korean else r"[^a-z\s]", " ", text.lower())
    return re.sub(r"[^\S\n]+", " ", text)


def pieces(doc):
    part, number = "", 0
    for line in bare(doc["text"] or "").split("\n") + [None]:
        if line is None or len(part) + len(line) > 800:
            if len(part) > 200:
                yield {"id": f"{doc['id']}#{number}", "text": part, "source": doc["source"],
                       "edu": int(doc["source"] in POSITIVE)}
                number += 1
            part = ""
        if line is not None and line.strip():
            part += line[:2000].strip() + "\n"


def write(path, docs):
    with open(path, "w", encoding="utf-8") as f:
        for d in docs:
            f.write(json.dumps(d, ensure_ascii=False) + "\n")


def split(share, seeds, sources, draw, where):
    share, seeds, sources = float(share), int(seeds), sources.split(",")
    parts = {"test": [], "held": [], "pool": []}
    for line in sys.stdin:
        doc = json.loads(line)
        if doc["id"].startswith("brown-cj"):
            continue  # learned prose is neither
        if doc["source"] in POSITIVE | NEGATIVE:
            at = lot("part" + draw, doc["id"])
            name = "test" if at < 0.2 else "held" if at < 0.4 else "pool"
            parts[name].extend(pieces(doc))
    os.makedirs(where, exist_ok=True)
    for name, docs in parts.items():
        no = [d for d in docs if not d["edu"]]
        yes = sorted((d for d in docs if d["edu"]), key=lambda d: lot("thin" + draw, d["id"]))
        yes = yes[:round(share * len(no) / (1 - share))]
        if name == "pool":
            known = [d for d in yes if d["source"] in sources][:seeds]
            known += sorted(no, key=lambda d: lot("seed" + draw, d["id"]))[:len(known)]
            write(f"{where}/seeds.jsonl", known)
            write(f"{where}/all.jsonl", yes + no)  # what full labels would be
            ids = {d["id"] for d in known}
            yes, no = ([d for d in x if d["id"] not in ids] for x in (yes, no))
        write(f"{where}/{name}.jsonl", sorted(yes + no, key=lambda d: lot("order", d["id"])))


def judge(model, label, test):
    """Precision, recall and F1 at a score of 0.5, and average precision."""
    out = subprocess.run([os.environ["KIJIL"], "classify", "-q", "-m", model, "--label", label,
                          "--as", "s", test], capture_output=True, check=True).stdout
    docs = sorted(((d["s"], d["edu"]) for d in map(json.loads, out.splitlines())), reverse=True)
    gold = sum(e for _, e in docs)
    taken = [e for s, e in docs if s >= 0.5]
    right, total = 0, 0.0
    for i, (_, e) in enumerate(docs):
        right += e
        total += e * right / (i + 1)
    p, r = sum(taken) / max(1, len(taken)), sum(taken) / gold
    return {"precision": p, "recall": r, "f1": 2 * p * r / (p + r) if p + r else 0,
            "ap": total / gold}


def score(where):
    """What every model of one draw is worth on the test set, into result.json."""
    test = f"{where}/test.jsonl"
    with open(f"{where}/rounds/rounds.jsonl", encoding="utf-8") as f:
        rounds = [json.loads(x) for x in f]
    rows = [{"name": "once, the seed labels", **judge(f"{where}/seeds.bin", "1", test)}]
    best = max(rounds, key=lambda x: (x["held"]["average_precision"], -x["round"]))
    for x in rounds:
        # Of what was taken as positives, how much is: the pool's labels are known here.
        n = x["harvest"]["docs"]
        wrong = sum(g["harvest"] for g in x["harvest"]["groups"] if g["group"] in NEGATIVE)
        rows.append({"name": f"round {x['round']}", "taken": n, "right": 1 - wrong / n if n else 1,
                     **judge(f"{where}/rounds/round-{x['round']:02}/model.bin", "hq", test)})
    rows.append({**rows[best["round"]], "name": "model.bin (best on held-out)"})
    if os.path.exists(f"{where}/all.bin"):
        rows.append({"name": "once, all labels of the pool", **judge(f"{where}/all.bin", "1", test)})
    with open(f"{where}/result.json", "w", encoding="utf-8") as f:
        json.dump(rows, f)


def results(folders):
    for where in folders.split(","):
        with open(f"{where}/result.json", encoding="utf-8") as f:
            yield json.load(f)


def table(folders):
    draws = list(results(folders))
    order = ("once, the", "round", "model", "once, all")
    names = sorted({r["name"] for d in draws for r in d},
                   key=lambda n: ([n.startswith(o) for o in order].index(True), n))
    print(f"{'mean of ' + str(len(draws)):30} {'draws':>5} {'taken':>7} {'right':>6} {'prec.':>6} "
          f"{'recall':>6} {'F1':>6} {'av.pr.':>6}  of each draw")
    for name in names:
        rows = [r for d in draws for r in d if r["name"] == name]

        def mean(key, form):
            v = [r[key] for r in rows if key in r]
            return form % (sum(v) / len(v)) if v else ""
        print(f"{name:30} {len(rows):5d} {mean('taken', '%.0f'):>7} {mean('right', '%.3f'):>6} "
              f"{mean('precision', '%.3f'):>6} {mean('recall', '%.3f'):>6} {mean('f1', '%.3f'):>6} "
              f"{mean('ap', '%.3f'):>6}  {' '.join('%.3f' % r['ap'] for r in rows)}")


LINES = (("precision", "#0072b2"), ("recall", "#d55e00"), ("ap", "#009e73"))


def plot(out, *named):
    width, height, left, top = 340, 190, 48, 40
    svg = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{len(named) * width + 30}" '
           f'height="{height + 90}" font-family="sans-serif" font-size="11" fill="#555">',
           '<rect width="100%" height="100%" fill="#fff"/>']
    for k, name in enumerate(named):
        title, folders = name.split("=")
        draws = [[r for r in d if r["name"].startswith(("once, the", "round"))]
                 for d in results(folders)]
        whole = [r["ap"] for d in results(folders) for r in d if r["name"].startswith("once, all")]
        x0, w = left + k * width, width - 60
        last = max(max(map(len, draws)) - 1, 1)

        def x(i):
            return x0 + w * i / last

        def y(v):
            return top + height * (1 - v)

        def line(values, colour, stroke):
            points = " L".join(f"{x(i):.1f} {y(v):.1f}" for i, v in enumerate(values))
            svg.append(f'<path d="M{points}" fill="none" stroke="{colour}" '
                       f'stroke-width="{stroke}"/>')

        svg.append(f'<text x="{x0}" y="20" font-size="12" fill="#222">{title}</text>')
        for v in (0, 0.25, 0.5, 0.75, 1):
            svg.append(f'<path d="M{x0} {y(v):.1f}h{w}" stroke="#ddd"/>'
                       f'<text x="{x0 - 6}" y="{y(v) + 4:.1f}" text-anchor="end">{v:g}</text>')
        for i in range(last + 1):
            svg.append(f'<text x="{x(i):.1f}" y="{top + height + 16}" text-anchor="middle">'
                       f'{i or "labels"}</text>')
        for d in draws:
            line([r["ap"] for r in d], "#009e73", 0.7)
        for key, colour in LINES:
            # A draw that has stopped stays where it was.
            line([sum(d[min(i, len(d) - 1)][key] for d in draws) / len(draws)
                  for i in range(last + 1)], colour, 2)
        if whole:
            v = sum(whole) / len(whole)
            svg.append(f'<path d="M{x0} {y(v):.1f}h{w}" stroke="#009e73" stroke-dasharray="4 3"/>')
    for n, (label, colour) in enumerate((("precision at 0.5", "#0072b2"), ("recall at 0.5", "#d55e00"),
                                         ("average precision; thin: each draw, dashed: all labels",
                                          "#009e73"))):
        lx = left + n * 125
        svg.append(f'<path d="M{lx} {height + 74}h18" stroke="{colour}" stroke-width="2"/>'
                   f'<text x="{lx + 23}" y="{height + 78}">{label}</text>')
    svg.append("</svg>")
    with open(out, "w", encoding="utf-8") as f:
        f.write("\n".join(svg) + "\n")


if __name__ == "__main__":
    {"split": split, "score": score, "table": table, "plot": plot}[sys.argv[1]](*sys.argv[2:])
