#!/usr/bin/env python3
"""tests/bench/morph.py KIJIL BENCH_MORPH GOLD...

How near the morpheme splitter comes to gold morphemes: pieces, slices, and the
verdicts of recipes/fineweb2-kor.yaml. GOLD is a CoNLL-U file whose lemmas join
morphemes by + (UD_Korean-Kaist, UD_Korean-GSD), or lines of "text TAB form/TAG
form/TAG ..." (eval_data of bab2min/Kiwi). Neither is part of this project.

Gold morphemes become slices of the text as Kiwi's do: each is aligned with the
surface by its jamo, and one that shares a syllable with its neighbour holds it too.
Verdicts are taken on the documents as they are, and on 3,000 made from their
sentences to lie near the thresholds: short ones, lists, lines said twice. Gold
verdicts are computed here, from datatrove's definitions."""
import collections
import json
import os
import random
import subprocess
import sys
import tempfile

STOP = "의 다 이 는 에 을 한 년 하 은 를 했 고 에서 가 있 으로 인 월 로 되".split()
FINAL = {"ㄴ": "ᆫ", "ㄹ": "ᆯ", "ㅁ": "ᆷ", "ㅂ": "ᆸ", "ㅆ": "ᆻ"}


def jamo(text):
    """(jamo, index of its character) of a text."""
    for k, c in enumerate(text):
        o = ord(c) - 0xAC00
        if 0 <= o < 11172:
            yield chr(0x1100 + o // 588), k
            yield chr(0x1161 + o % 588 // 28), k
            if o % 28:
                yield chr(0x11A7 + o % 28), k
        else:
            yield c, k


def cost(a, b):
    if a == b:
        return 0
    x, y = 0x1100 <= ord(a) < 0x1200, 0x1100 <= ord(b) < 0x1200
    if not (x and y):
        return 3
    return 1 if (0x1161 <= ord(a) < 0x11A8) == (0x1161 <= ord(b) < 0x11A8) else 2.2


def slices(form, morphs):
    """Where morphemes lie in a form, in characters."""
    s = list(jamo(form))
    g = [(c, i) for i, m in enumerate(morphs)
         for c, _ in jamo(FINAL.get(m[0], m[0]) + m[1:])]
    best = {(0, 0): (0, None)}
    for i in range(len(s) + 1):
        for j in range(len(g) + 1):
            d = best[i, j][0]
            for di, dj, c in ((1, 1, None), (1, 0, 1.1), (0, 1, 1.1)):
                if i + di > len(s) or j + dj > len(g):
                    continue
                add = cost(s[i][0], g[j][0]) if c is None else c
                to = i + di, j + dj
                if to not in best or d + add < best[to][0]:
                    best[to] = d + add, (di, dj)
    at, spans = (len(s), len(g)), [None] * len(morphs)
    while at != (0, 0):
        di, dj = best[at][1]
        if di and dj:
            k, m = s[at[0] - 1][1], g[at[1] - 1][1]
            a, b = spans[m] or (k, k + 1)
            spans[m] = min(a, k), max(b, k + 1)
        at = at[0] - di, at[1] - dj
    for m in range(1, len(morphs)):
        before = spans[m - 1]
        if spans[m] is None and before and morphs[m] != "이":
            spans[m] = before[1] - 1, before[1]  # merged with the syllable before
        elif before and spans[m] and morphs[m][0] in "아어여았었였":
            a, b = spans[m]
            if a >= before[1] and form[a] not in "아어여았었였":
                spans[m] = before[1] - 1, b
    return [x for x in spans if x]


def conllu(path):
    docs = collections.OrderedDict()
    for block in open(path, encoding="utf-8").read().split("\n\n"):
        name = text = None
        words, at = [], 0
        for row in block.split("\n"):
            if row.startswith("# sent_id ="):
                name = row.split("= ")[1].rsplit("-s", 1)[0]
            elif row.startswith("# text ="):
                text = row[9:]
            elif row[:1].isdigit():
                f = row.split("\t")
                if not f[0].isdigit():
                    continue
                at = text.index(f[1], at)
                morphs = [m for m in f[2].split("+") if m] or [f[1]]
                rest = f[1][len("".join(morphs)):]
                if len(morphs) < len(f[4].split("+")) and rest and \
                        f[1].startswith("".join(morphs)):
                    morphs.append(rest)  # the lemma leaves out the last ending
                words += [(at + a, at + b) for a, b in slices(f[1], morphs)]
                at += len(f[1])
        if text:
            docs.setdefault(name, []).append((text, words))
    return list(docs.values())


def tagged(path):
    docs = []
    for row in open(path, encoding="utf-8"):
        text, _, tags = row.rstrip("\n").partition("\t")
        if not tags:
            continue
        at = [i for i, c in enumerate(text) if not c.isspace()]
        found = slices("".join(text[i] for i in at),
                       [t.rsplit("/", 1)[0] for t in tags.split(" ")])
        docs.append([(text, [(at[a], at[b - 1] + 1) for a, b in found])])
    return docs


def document(sentences, ends):
    """One text, and the words of it, from sentences and what follows each."""
    text, words = "", []
    for (t, w), end in zip(sentences, ends):
        words += [t[a:b] for a, b in w]
        text += t + end
    return text.rstrip(), words


def made(docs, n):
    rnd = random.Random(4)
    pool = [s for d in docs for s in d]
    for _ in range(n):
        some = rnd.sample(pool, min(rnd.randint(1, 12), len(pool)))
        if rnd.random() < .5:  # beginnings of sentences, as in a list
            for i, (t, w) in enumerate(some):
                cut = t.find(" ", rnd.randint(5, 40))
                if cut > 0:
                    some[i] = t[:cut], [x for x in w if x[1] <= cut]
        if rnd.random() < .5:
            some += [some[rnd.randrange(len(some))]] * rnd.randint(1, 3)
            rnd.shuffle(some)
        p = rnd.random()
        yield document(some, ["\n" if rnd.random() < p else " " for _ in some])


def punct(c):
    return not (c.isalnum() or c in "\t\n")


def failing(text, words):
    """Which rules on words fail."""
    bad = set()
    size = len(text)
    solid = [w for w in words if any(not punct(c) for c in w)]
    if len(solid) < 50:
        bad.add("min_words")
    mean = sum(map(len, solid)) / len(solid) if solid else 0
    if mean < 1:
        bad.add("min_mean_word_len")
    if mean > 6:
        bad.add("max_mean_word_len")
    if words and sum(any(c.isalpha() for c in w) for w in words) / len(words) < .791:
        bad.add("alpha_words")
    if len(set(STOP) & set(words)) < 2:
        bad.add("stop_words")
    if words and text.count("\n") / len(words) > .196:
        bad.add("newlines")
    for n, cut in (2, .282), (3, .228), (4, .185):
        grams = collections.Counter(
            " ".join(words[i:i + n]) for i in range(len(words) - n + 1))
        if grams:
            top, k = grams.most_common(1)[0]
            if len(top) * k / size > cut:
                bad.add("top_%dgram" % n)
    for n, cut in zip(range(5, 11), (.201, .184, .168, .154, .14, .127)):
        seen, dup, i = set(), 0, 0
        while i <= len(words) - n:
            gram = "".join(words[i:i + n])
            if gram in seen:
                dup += len(gram)
                i += n
            else:
                seen.add(gram)
                i += 1
        if dup / size > cut:
            bad.add("dup_%dgram" % n)
    return bad


RULES = ["min_words", "min_mean_word_len", "max_mean_word_len", "alpha_words",
         "stop_words", "newlines"] + ["top_%dgram" % n for n in (2, 3, 4)] + \
        ["dup_%dgram" % n for n in range(5, 11)]


def verdicts(kijil, texts):
    """Of kijil: the rules on words that fail, by text."""
    with tempfile.TemporaryDirectory() as d:
        with open(d + "/in", "w", encoding="utf-8") as f:
            for i, t in enumerate(texts):
                f.write(json.dumps({"id": str(i), "text": t}) + "\n")
        subprocess.run([kijil, "filter", "-q", "-j1", "--mark", "-r",
                        "recipes/fineweb2-kor.yaml", d + "/in", "-o", d + "/out"],
                       check=True)
        for row in open(d + "/out", encoding="utf-8"):
            bad = json.loads(row)["filter"].get("failed", [])
            yield {r.split(".")[1] for r in bad} & set(RULES)


def agreement(kijil, docs):
    gold = [failing(t, w) for t, w in docs]
    ours = list(verdicts(kijil, [t for t, w in docs]))
    same = sum(bool(a) == bool(b) for a, b in zip(gold, ours)) / len(docs)
    rules = {r: sum((r in a) == (r in b) for a, b in zip(gold, ours)) / len(docs)
             for r in RULES}
    worst = min(rules, key=rules.get)
    return "%d documents, %.0f %% dropped by gold: %.1f %% agree; worst rule %s %.1f %%" \
        % (len(docs), 100 * sum(map(bool, gold)) / len(docs), 100 * same, worst,
           100 * rules[worst])


def pieces(bench, texts):
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", suffix=".txt") as f:
        f.write("".join(t + "\n" for t in texts))
        f.flush()
        out = subprocess.run([bench, "--spans", f.name], check=True, text=True,
                             stdout=subprocess.PIPE).stdout.split("\n")
    for t, row in zip(texts, out):
        at, byte = {}, 0
        for i, c in enumerate(t + " "):
            at[byte] = i
            byte += len(c.encode())
        yield [tuple(at[int(x)] for x in p.split(",")) for p in row.split()]


def main():
    kijil, bench = sys.argv[1:3]
    for path in sys.argv[3:]:
        docs = conllu(path) if path.endswith(".conllu") else tagged(path)
        pool = [s for d in docs for s in d]
        gold = ours = same = 0
        for (_, w), v in zip(pool, pieces(bench, [t for t, _ in pool])):
            gold += len(w)
            ours += len(v)
            same += sum((collections.Counter(w) & collections.Counter(v)).values())
        print("%s: %d gold pieces; kijil %.3f as many; slices precision %.3f, "
              "recall %.3f, F1 %.3f" % (os.path.basename(path), gold, ours / gold,
                                        same / ours, same / gold,
                                        2 * same / (ours + gold)))
        whole = [document(d, [" \n"[i % 4 == 3] for i in range(len(d))]) for d in docs]
        print("  as they are:", agreement(kijil, whole))
        print("  near the thresholds:", agreement(kijil, list(made(docs, 3000))))


main()
