"""bands_twin.py IN OUT SCORE,... [bands=20] [language] [bytes] [together] [mean|min]:
does OUT, what `kijil bands` made of IN, have the bands that the definition gives?
Scores that are equal may stand in any order, so of those the bands are compared as a
list without order. Prints the number of documents whose bands are right."""

import json
import sys


def main(path_in, path_out, scores, *how):
    bands = int(next((h[6:] for h in how if h.startswith("bands=")), 20))
    docs = [json.loads(line) for line in open(path_in)]
    out = {}
    for line in open(path_out):
        d = json.loads(line)
        out[d["id"]] = d
    scores = scores.split(",")
    own = {s: s[: -len("_score")] + "_band" if s.endswith("_score") else s + "_band" for s in scores}
    if len(scores) == 1:
        own = {scores[0]: "quality_band"}
    wrong = set()
    for s in scores:
        groups = {}
        for d in docs:
            if isinstance(d.get(s), (int, float)):
                groups.setdefault(d.get("language", "") if "language" in how else "", []).append(d)
            elif len(scores) > 1 and own[s] in out[d["id"]]:
                wrong.add(d["id"])
        for group in groups.values():
            group.sort(key=lambda d: -d[s])
            weight = [len(d["text"].encode()) if "bytes" in how else 1 for d in group]
            total, before, want = sum(weight), 0, []
            for w in weight:
                want.append(bands - 1 - before * bands // total)
                before += w
            i = 0
            while i < len(group):
                k = i
                while k < len(group) and group[k][s] == group[i][s]:
                    k += 1
                got = sorted(out[d["id"]][own[s]] for d in group[i:k])
                expect = [max(want[i:k])] * (k - i) if "together" in how else sorted(want[i:k])
                if got != expect:
                    wrong.update(d["id"] for d in group[i:k])
                i = k
    for d in docs:
        o = out[d["id"]]
        have = [o[own[s]] for s in scores if isinstance(d.get(s), (int, float))]
        if not have:
            want = None
        elif "mean" in how:
            want = (2 * sum(have) + len(have)) // (2 * len(have))
        else:
            want = min(have) if "min" in how else max(have)
        level = None
        if want is not None and bands == 20:
            level = ["low", "medium-low", "medium", "medium-high", "high"][sum(want >= b for b in (7, 12, 18, 19))]
        if o.get("quality_band") != want or o.get("quality_level") != level:
            wrong.add(d["id"])
    print(len(docs) - len(wrong))


main(*sys.argv[1:])
