"""eval_twin.py make DIR | prompts DETAILS SHOTS DATA... | tokens DETAILS KIJIL TOKENIZER |
scores DETAILS RESULTS MODEL | template TOKENIZER ID - the tasks of lm-evaluation-harness by another hand: its templates in Jinja 2, its draws of examples
by Python's random, its way to cut tokens, and the likelihoods by PyTorch. Called by eval.sh.

Written from the task files of lm-evaluation-harness at 4e7e0d47f and lm_eval/api/{task,samplers,
model,metrics,group}.py there."""
import json
import math
import random
import subprocess
import sys

# doc_to_text, choices, target, sampler
LETTERS = ["A", "B", "C", "D"]
TASKS = {
    "mmlu": ("{{question.strip()}}\nA. {{choices[0]}}\nB. {{choices[1]}}\nC. {{choices[2]}}\nD. {{choices[3]}}\nAnswer:",
             LETTERS, lambda d: d["answer"], "first_n"),
    "kmmlu": ("{{question.strip()}}\nA. {{A}}\nB. {{B}}\nC. {{C}}\nD. {{D}}\n정답：",
              LETTERS, lambda d: d["answer"] - 1, "default"),
    "haerae": ("{{query}}", ["(A)", "(B)", "(C)", "(D)", "(E)"],
               lambda d: ["(A)", "(B)", "(C)", "(D)", "(E)"].index(d["answer"]), "default"),
    "kobest_boolq": ("{{paragraph}} 질문: {{question}} 답변: ", ["아니오", "예"], lambda d: d["label"], "default"),
    "kobest_copa": (lambda d: f"""{d["premise"]} {({"원인": " 왜냐하면", "결과": " 그래서"}[d["question"].strip()])}""",
                    lambda d: [d["alternative_1"], d["alternative_2"]], lambda d: d["label"], "default"),
    "kobest_wic": (lambda d: f"""문장1: {d["context_1"]} 문장2: {d["context_2"]} 두 문장에서 {d["word"]}가 같은 뜻으로 쓰였나?""",
                   ["아니오", "예"], lambda d: d["label"], "default"),
    "kobest_hellaswag": (lambda d: f"""문장: {d["context"]}""",
                         lambda d: [d["ending_%d" % i] for i in (1, 2, 3, 4)], lambda d: d["label"], "default"),
    "kobest_sentineg": (lambda d: f"""문장: {d["sentence"]} 긍부정:""", ["부정", "긍정"], lambda d: d["label"], "default"),
}


def text_of(task, d):
    t = TASKS[task][0]
    if callable(t):
        return t(d)
    import jinja2
    env = jinja2.Environment(loader=jinja2.BaseLoader, undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    return env.from_string(t).render(**d)


def choices_of(task, d):
    c = TASKS[task][1]
    return c(d) if callable(c) else c


def prompt(task, d, shots):
    out = ""
    if task == "mmlu":
        out = "The following are multiple choice questions (with answers) about %s.\n\n" % d["subject"].replace("_", " ")
    for s in shots:
        out += text_of(task, s) + " " + choices_of(task, s)[TASKS[task][2](s)] + "\n\n"
    return out + text_of(task, d)


def drawn(task, doc, pool, n, rnd, own):
    if TASKS[task][3] == "first_n":
        return [x for x in pool if not own or x != doc][:n]
    if not n:
        return []
    if own:
        return [x for x in rnd.sample(pool, n + 1) if x != doc][:n]
    return rnd.sample(pool, n)


def rows(path):
    return [json.loads(line) for line in open(path, encoding="utf-8")]


def make(folder):
    """Questions with odd white space, of every task."""
    r = random.Random(7)
    words = ["바다", "산", "하늘이", "number", "seven", "왜", "（가）", "①", "é", "x=3", "물은", "'quoted'", "{{x}}", "100 %", "\t", "\u3000"]
    say = lambda n: " ".join(r.choice(words) for _ in range(n))
    pad = lambda s: r.choice(["", " ", "\n", "\u3000"]) + s + r.choice(["", " ", "\n\n", "\u00a0"])

    def put(name, docs):
        with open("%s/%s.jsonl" % (folder, name), "w", encoding="utf-8") as f:
            for i, d in enumerate(docs):
                f.write(json.dumps(dict(d, id=i), ensure_ascii=False) + "\n")
    subjects = ["abstract_algebra", "us_foreign_policy", "anatomy"]
    mmlu = lambda s: {"subject": s, "question": pad(say(6)), "choices": [say(2) for _ in range(4)], "answer": r.randrange(4)}
    put("mmlu.dev", [mmlu(s) for s in subjects for _ in range(5)])
    put("mmlu.test", [mmlu(r.choice(subjects)) for _ in range(17)])
    kmmlu = lambda s: dict({k: say(2) for k in LETTERS}, subject=s, question=pad(say(6)), answer=1 + r.randrange(4))
    put("kmmlu.dev", [kmmlu(s) for s in ("math", "Law") for _ in range(5)])
    put("kmmlu.test", [kmmlu(s) for s in ["math", "Law"] * 6])
    for s in ("history", "rare_words"):
        put("haerae_%s.test" % s, [{"query": say(5) + r.choice(["", "\n"]), "answer": "(%s)" % r.choice("ABCDE")} for _ in range(9)])
    two = lambda: r.randrange(2)
    kobest = {"boolq": lambda: {"paragraph": say(9), "question": say(4), "label": two()},
              "copa": lambda: {"premise": say(4), "question": r.choice(["원인", "결과 "]), "alternative_1": say(3), "alternative_2": say(4), "label": two()},
              "wic": lambda: {"word": say(1), "context_1": say(4), "context_2": say(4), "label": two()},
              "hellaswag": lambda: dict({"ending_%d" % i: say(2 + r.randrange(4)) for i in (1, 2, 3, 4)}, context=pad(say(5)), label=r.randrange(4)),
              "sentineg": lambda: {"sentence": say(4), "label": two()}}
    put("../docs", [{"text": say(30)} for _ in range(60)])
    for k, f in kobest.items():
        put("kobest_%s.train" % k, [f() for _ in range(40)])  # over 21: sample()'s other path
        put("kobest_%s.test" % k, [f() for _ in range(11)])


def prompts(details, shots, data):
    """data: TASK=TEST,POOL[,LIMIT]. Every prompt, choice and answer of the details, in order."""
    want = []
    for one in data:
        task, files = one.split("=", 1)
        test, pool, limit = (files + ",1000000").split(",")[:3]
        own, test, pool = test == pool, rows(test), rows(pool)
        sub = [d.get("subject", "") for d in test]
        rnd, seen = {s: random.Random(1234) for s in sub}, {s: 0 for s in sub}
        for d, s in zip(test, sub):
            seen[s] += 1
            if seen[s] > int(limit):
                continue
            ex = drawn(task, d, [p for p in pool if p.get("subject", "") == s], shots, rnd[s], own)
            want.append((task, prompt(task, d, ex), choices_of(task, d), TASKS[task][2](d)))
    got = [(x["task"], x["prompt"], x["choices"], x["gold"]) for x in rows(details)]
    for i, (a, b) in enumerate(zip(want, got)):
        assert a == b, "question %d:\n want %r\n got  %r" % (i, a, b)
    assert len(want) == len(got), (len(want), len(got))
    print("%d prompts agree" % len(got))


def encode(kijil, tokenizer, texts):
    p = "".join(json.dumps({"text": t}) + "\n" for t in texts)
    out = subprocess.run([kijil, "tokenizer", "encode", "-t", tokenizer, "--jsonl"], input=p.encode(), stdout=subprocess.PIPE, check=True)
    return [json.loads(x)["ids"] for x in out.stdout.decode().splitlines()]


def tokens(details, kijil, tokenizer):
    """TemplateLM._encode_pair, with the ids of whole texts as given."""
    docs = rows(details)
    want, texts = [], []
    for x in docs:
        for c in x["choices"]:
            ctx, cont = x["prompt"], " " + c
            n = len(ctx) - len(ctx.rstrip())
            if n:
                ctx, cont = ctx[:-n], ctx[-n:] + cont
            texts += [ctx, ctx + cont]
    ids = iter(encode(kijil, tokenizer, texts))
    for x in docs:
        for k in range(len(x["choices"])):
            ctx, whole = next(ids), next(ids)
            assert x["prompt_ids"] == ctx, (x["prompt"], x["prompt_ids"], ctx)
            assert x["choice_ids"][k] == whole[len(ctx):], (x, k)
    print("%d choices cut alike" % (len(ids_of(docs))))


def ids_of(docs):
    return [c for x in docs for c in x["choice_ids"]]


def macro_f1(pairs):
    labels, out = {x for p in pairs for x in p}, []
    for l in labels:
        tp = sum(g == l and p == l for g, p in pairs)
        out.append(2 * tp / (sum(g == l for g, _ in pairs) + sum(p == l for _, p in pairs)))
    return sum(out) / len(out)


def scores(details, results, model):
    import torch
    sys.path.insert(0, __file__.rsplit("/", 1)[0])
    import parity
    docs, c = rows(details), json.load(open(model + "/config.json"))
    p, worst, by = parity.load(model + "/model.safetensors"), 0, {}
    most = c["max_position_embeddings"]
    for x in docs:
        lls = []
        for ids in x["choice_ids"]:
            seq = (x["prompt_ids"] + ids)[-(most + 1):]
            with torch.no_grad():
                z = parity.forward(p, c, torch.tensor(seq[:-1]), [0, len(seq) - 1])
                lp = torch.log_softmax(z.double(), -1)[-len(ids):]
            lls.append(float(lp[range(len(ids)), ids].sum()))
        worst = max(worst, max(abs(a - b) / max(1, abs(b)) for a, b in zip(x["scores"], lls)))
        best = lambda v: max(range(len(v)), key=lambda i: (v[i], -i))
        assert best(x["scores"]) == x["taken"]
        norm = best([v / len(t) for v, t in zip(x["scores"], x["choices"])])
        by.setdefault(x["task"], {}).setdefault(x["subset"], []).append((x["gold"], x["taken"], norm))
    assert worst < 2e-4, worst
    se = lambda v: math.sqrt(sum((a - sum(v) / len(v)) ** 2 for a in v) / (len(v) - 1)) / math.sqrt(len(v))
    checked = 0
    for r in rows(results):
        tasks = [r["task"]] if r["task"] in by else [t for t in by if t.startswith(r["task"] + "_")]
        parts = [(t, s) for t in tasks for s in by[t]]
        if "subset" in r:
            parts = [(r["task"], r["subset"])]
        elif "group" in r:
            continue
        for metric in ("acc", "acc_norm", "f1"):
            if metric not in r:
                continue
            mine = [q for q in parts if metric != "acc_norm" or q[0] in ("haerae", "kobest_hellaswag")]
            v = [[float(g == (n if metric == "acc_norm" else t)) for g, t, n in by[q[0]][q[1]]] for q in mine]
            size = [len(x) for x in v]
            value = [sum(x) / len(x) for x in v] if metric != "f1" else [macro_f1([(g, t) for g, t, _ in by[q[0]][q[1]]]) for q in mine]
            want = sum(a * n for a, n in zip(value, size)) / sum(size)
            assert abs(want - r[metric]) < 1e-9, (r, want)
            if metric == "f1":
                assert r["f1_stderr"] is None
            elif len(v) == 1:
                assert abs(se(v[0]) - r[metric + "_stderr"]) < 1e-9, (r, se(v[0]))
            else:
                pooled = sum((n - 1) * se(x) ** 2 * n for n, x in zip(size, v)) / (sum(size) - len(size))
                assert abs(math.sqrt(pooled / sum(size)) - r[metric + "_stderr"]) < 1e-9, r
                assert abs(sum(value) / len(value) - r[metric + "_macro"]) < 1e-9, r
            checked += 1
    print("scores of %d questions agree with PyTorch to %.1e, %d means and errors with the harness's formulas" % (len(docs), worst, checked))


TEMPLATES = [
    "{{a}}", "{{ a }}-{{b}}", "{{- a -}} x", "x {{- a}} \n", " {{ n }} {{ n + 1 }} {{n-1}} {{ 3 - n - 1 }}", "{{-n}}",
    "{{ -n }}{{ - (n + 2) }}", "{{l[0]}}{{l[-1]}}{{ l[n] }}", "{{o.k}}{{o['k']}}{{o.in.deep}}", "{{a.strip()}}|{{a.lstrip()}}|{{a.rstrip()}}",
    "{{a|trim|lower}}", "{{ b.lower() }}{{b|lower}}", "{{ b.replace('B', \"x'y\") }}", "{{ b|replace('e', 'E') }}", "{{t}}{{f}}{{z}}",
    "{{ a if t else b }}{{ a if f else b }}", "{{ 'one' if n == 1 else 'two' if n == 2 else 'many' }}", "{{ t == 1 }}{{ n != 2 }}{{ '2' == n }}",
    "{{ {'x': 1, 'y': [2, 3]}['y'][1] }}", "{{ ['p', 'q'][n - 1] + 'r' }}", "{{ a ~ n ~ 'z' }}", "{{ n ~ n + 1 ~ 2 }}", "{{ s|int + 1 }}",
    "{{ l|length }}{{ a|length }}{{b | string}}", "{{ (n + n)|string + 'x' }}", "{{'a\\nb\\'c'}}", "}} { { % #}{{a}}", "{{ none }}{{ True }}{{false}}",
    "{{ l + [n] | length }}", "{{ ([1] + [2, 3])|length }}", "{{ [] | length }}{{ '' if '' else 'e' }}{{ 'l' if l else 'e' }}", "{{ k }}",
    # what is missing, of the wrong kind, or not understood
    "{{ no }}", "{{ o.no }}", "{{ l[9] }}", "{{ a + 1 }}", "{{ a - b }}", "{{ l }}", "{{ o }}", "{{ r }}", "{{ 1 / 2 }}", "{{ n * 2 }}", "{{ n % 2 }}",
    "{% if t %}x{% endif %}", "{# c #}x", "{{ a|upper }}", "{{ a.split() }}", "{{ a if t }}", "{{ n < 3 }}", "{{ not t }}", "{{ t and f }}",
    "{{ 'B' in b }}", "{{ a[1:] }}", "{{ 1.5 }}", "{{ 'a' 'b' }}", "{{ a", "{{ }}", "{{ a b }}", "{{ (a }}", "{{ a|replace('x') }}", "{{ x|default('d') }}",
    "{{ o | int }}", "{{ a|int }}", "{{ '\\q' }}", "{{ 99999999999999999999 }}", "{{ n.strip() }}", "{{ a|trim('x') }}", "{{ loop }}",
]
VALUES = [{"a": " A\u3000b\n", "b": "Beleg É", "n": 1, "l": ["p", "q"], "o": {"k": "v", "in": {"deep": 5}}, "t": True, "f": False, "z": None, "s": " 41 ", "r": 1.5, "k": "{{a}}"},
          {"a": "", "b": "ΣΑΣ", "n": 2, "l": ["가", "나", "다"], "o": {"k": 0, "in": {"deep": ""}}, "t": 3, "f": "", "z": None, "s": "-7", "r": 0.25, "k": "k"}]


def templates(folder):
    with open(folder + "/v.jsonl", "w") as f:
        f.write("".join(json.dumps(v) + "\n" for v in VALUES))
    for i, t in enumerate(TEMPLATES):
        with open("%s/%03d.yaml" % (folder, i), "w") as f:  # JSON is YAML
            json.dump({"task": "t%d" % i, "files": {"test": "v.jsonl"}, "doc_to_text": t, "doc_to_choice": ["x", "y"], "doc_to_target": "0"}, f)


def rendered(folder):
    import jinja2
    env = jinja2.Environment(loader=jinja2.BaseLoader, undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    got = {(x["task"], x["line"]): x["prompt"] for x in rows(folder + "/details")}
    same, refused = 0, 0
    for i, t in enumerate(TEMPLATES):
        for k, v in enumerate(VALUES):
            mine = got.get(("t%d" % i, k + 1))
            try:
                want = env.from_string(t).render(**v)
            except Exception:
                want = None
            assert mine is None or mine == want, (t, mine, want)
            assert mine is not None or i >= TEMPLATES.index("{{ no }}") or not want or not want.strip(), (t, want)
            same, refused = same + (mine is not None), refused + (mine is None)
    print("%d texts as Jinja has them, %d refused" % (same, refused))


def main(verb, *a):
    if verb == "make":
        make(a[0])
    elif verb == "prompts":
        prompts(a[0], int(a[1]), a[2:])
    elif verb == "tokens":
        tokens(*a)
    elif verb == "templates":
        templates(*a)
    elif verb == "rendered":
        rendered(*a)
    elif verb == "template":
        t = json.load(open(a[0]))
        special = {"SpecialToken": {"id": "<|end_of_text|>", "type_id": 0}}
        t["post_processor"] = {"type": "TemplateProcessing", "single": [special, {"Sequence": {"id": "A", "type_id": 0}}], "pair": [],
                               "special_tokens": {"<|end_of_text|>": {"id": "<|end_of_text|>", "ids": [int(a[1])], "tokens": ["<|end_of_text|>"]}}}
        json.dump(t, sys.stdout)
    else:
        scores(*a)


main(*sys.argv[1:])
