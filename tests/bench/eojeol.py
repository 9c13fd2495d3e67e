#!/usr/bin/env python3
"""tests/bench/eojeol.py KIJIL FILE.jsonl - fits recipes/fineweb-ko-eojeol.yaml.

For each rule on words: the cut on eojeol whose verdict agrees most often with that
of recipes/fineweb2-kor.yaml (morphemes) on every other document of FILE; of equally
good ones the middle. A rule that fails for fewer than 20 of them cannot be fitted:
its cut is scaled, by the median of the two values. Then how often the verdicts of
the two recipes, as they stand, agree on the documents not fitted on."""
import json
import statistics
import subprocess
import sys
import tempfile

LESS = {"gopher.min_words": 50, "gopher.min_mean_word_len": 1, "gopher.alpha_words": .791}
MORE = {"gopher.top_2gram": .282, "gopher.top_3gram": .228, "gopher.top_4gram": .185,
        "gopher.dup_5gram": .201, "gopher.dup_6gram": .184, "gopher.dup_7gram": .168,
        "gopher.dup_8gram": .154, "gopher.dup_9gram": .14, "gopher.dup_10gram": .127,
        "fineweb.newlines": .196, "gopher.max_words": 100000,
        "gopher.max_mean_word_len": 6, "gopher.hash_ratio": .1,
        "gopher.ellipsis_ratio": .1}


def run(kijil, recipe, path):
    with tempfile.NamedTemporaryFile("r", encoding="utf-8") as out:
        subprocess.run([kijil, "filter", "-q", "-j1", "--mark", "-r", recipe,
                        "--set", "lang.keep=off", "--set", "lang.min_score=off", path,
                        "-o", out.name], check=True)
        return [json.loads(row) for row in open(out.name, encoding="utf-8")]


def fit(fails, values):
    """Values above the cut fail: the cut that agrees most with `fails`."""
    pairs = sorted(zip(values, fails))
    wrong = sum(not f for f in fails)  # a cut below all: everything fails
    best, low, high = wrong, float("-inf"), pairs[0][0]
    for i, (v, f) in enumerate(pairs):
        wrong += 1 if f else -1
        after = pairs[i + 1][0] if i + 1 < len(pairs) else v
        if after == v and i + 1 < len(pairs):
            continue
        if wrong < best:
            best, low = wrong, v
            high = after
    return (max(low, pairs[0][0]) + high) / 2, 1 - best / len(pairs)


def main():
    kijil, path = sys.argv[1:]
    morph = run(kijil, "recipes/fineweb2-kor.yaml", path)
    eoj = run(kijil, "recipes/fineweb-ko-eojeol.yaml", path)
    half = range(0, len(morph), 2)
    for rule, cut in list(MORE.items()) + list(LESS.items()):
        sign = -1 if rule in LESS else 1
        a = [sign * morph[i]["signals"][rule] for i in half]
        b = [sign * eoj[i]["signals"][rule] for i in half]
        fails = [v > sign * cut for v in a]
        if sum(fails) < 20:
            ratio = statistics.median(y / x for x, y in zip(a, b) if x and y) \
                if any(x and y for x, y in zip(a, b)) else float("nan")
            print("%-26s %8.3f scaled (%d fail)" % (rule, cut * ratio, sum(fails)))
            continue
        at, right = fit(fails, b)
        print("%-26s %8.3f agrees %.1f %% (%d of %d fail)" %
              (rule, sign * at, 100 * right, sum(fails), len(fails)))
    same = [m["filter"]["keep"] == e["filter"]["keep"] for m, e in zip(morph, eoj)]
    print("verdicts of the two recipes: %.1f %% agree on the documents fitted on, "
          "%.1f %% on the others" % (100 * statistics.mean(same[0::2]),
                                     100 * statistics.mean(same[1::2])))


main()
