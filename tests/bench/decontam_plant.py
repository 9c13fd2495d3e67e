"""Plants benchmark items into pages, and counts which were found.

decontam_plant.py make PAGES.jsonl OUT.jsonl BENCH.jsonl...
    each item of each file in the middle of a page, in several forms; ids are
    FILE:LINE/FORM
decontam_plant.py score MARKED.jsonl BENCH.jsonl...
    MARKED.jsonl is `kijil decontaminate --mark` of OUT.jsonl. A plant is found when
    the very item is among the hits; prints the share by file and form.

Items are written as pages show them, not as the program reads them: a question, then
its choices with letters, or with the right one only.
"""
import json
import os
import random
import re
import sys
from collections import Counter

R = random.Random(7)
FILLER = {"en": "really quite simply indeed also often".split(),
          "ko": "아주 정말 매우 사실 대체로 흔히".split()}


def korean(t):
    return len(re.findall("[가-힣]", t)) * 4 > len(t)


def strings(v):
    if isinstance(v, list):
        return [s for x in v for s in strings(x)]
    return [v] if isinstance(v, str) else []


def shown(item):
    """The item as a page shows it, and its question with the right answer or None."""
    skip = {"id", "task_id", "subject", "category", "label", "answer", "entry_point"}
    body = {k: strings(v) for k, v in item.items() if k not in skip and strings(v)}
    choices = body.pop("choices", None) or [s for k in list(body) if k in "ABCD"
                                            for s in body.pop(k)]
    lines = [s for v in body.values() for s in v]
    if not choices:
        return "\n".join(lines), None
    n = item["answer"] - (0 if "choices" in item else 1)
    right = choices[n] if 0 <= n < len(choices) else choices[0]
    listed = [f"{'ABCDEFGH'[i]}. {c}" for i, c in enumerate(choices)]
    return "\n".join(lines + listed), "\n".join(lines + ["Answer: " + right])


def wrapped(t):
    words, lines, line = t.upper().split(), [], ""
    for w in words:
        if len(line) + len(w) > 38:
            lines.append(line)
            line = ""
        line += (" " if line else "> ") + w
    return "\n".join(lines + [line])


def edited(t):
    """Every 14th word replaced, dropped or followed by another."""
    words = re.split(r"(\s+)", t)
    filler = FILLER["ko" if korean(t) else "en"]
    at = 2 * R.randrange(14)
    for i in range(at, len(words), 28):
        words[i] = R.choice([R.choice(filler), "", words[i] + " " + R.choice(filler)])
    return "".join(words)


def spaced(t):
    t = re.sub(r"(?<=[가-힣]) (?=[가-힣])", lambda m: R.choice(["", " "]), t)
    return re.sub(r"(?<=[가-힣])(?=[가-힣])", lambda m: " " if R.random() < 0.1 else "", t)


def make(pages, out, benches):
    with open(pages, encoding="utf-8") as f:
        texts = [json.loads(line)["text"] for line in f]
    with open(out, "w", encoding="utf-8") as o:
        for path in benches:
            for n, line in enumerate(open(path, encoding="utf-8"), 1):
                whole, answered = shown(json.loads(line))
                forms = {"verbatim": whole, "one line": whole.replace("\n", " "),
                         "wrapped": wrapped(whole), "edited": edited(whole)}
                if korean(whole):
                    forms["spaced"] = spaced(whole)
                if answered:
                    forms["with answer"] = answered
                for form, t in forms.items():
                    page = R.choice(texts)
                    cut = page.find("\n", len(page) // 2)
                    cut = cut if cut >= 0 else len(page)
                    glue = " " if form == "one line" else "\n"
                    t = page[:cut] + glue + t + glue + page[cut:].lstrip("\n")
                    name = os.path.basename(path)
                    o.write(json.dumps({"id": f"{name}:{n}/{form}", "text": t},
                                       ensure_ascii=False) + "\n")


def score(marked, benches):
    found, seen, forms = Counter(), Counter(), {}
    for line in open(marked, encoding="utf-8"):
        d = json.loads(line)
        item, form = d["id"].split("/")
        hit = any(h["item"] == item for h in d.get("contamination", []))
        for key in (item.split(":")[0], "all"):
            seen[key, form] += 1
            found[key, form] += hit
        forms[form] = 1
    print("| benchmark | items | " + " | ".join(forms) + " |")
    print("| --- |" + " --- |" * (len(forms) + 1))
    for key in [os.path.basename(b) for b in benches] + ["all"]:
        row = [f"{100 * found[key, f] / seen[key, f]:.1f} %" if seen[key, f] else "–"
               for f in forms]
        print(f"| {key} | {seen[key, 'verbatim']} | " + " | ".join(row) + " |")


if sys.argv[1] == "make":
    make(sys.argv[2], sys.argv[3], sys.argv[4:])
else:
    score(sys.argv[2], sys.argv[3:])
