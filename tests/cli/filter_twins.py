"""Slow twins of the c4., dclm., ko. and text. rules, written from their definitions.

filter_twins.py make SEED N > in.jsonl     hand-made and random texts
filter_twins.py check RECIPE in.jsonl out.jsonl
    ("any" behind them: a rule may hit nothing.) out.jsonl is `kijil filter --mark -r RECIPE` of in.jsonl: every signal, the
    rules that failed, and the text that is left must be equal, exactly.
"""
import json
import os
import random
import re
import sys
import unicodedata
from collections import Counter
from functools import lru_cache

try:
    import regex  # knows the word bounds of UAX #29; without it some texts are left out
except ImportError:
    regex = None

HAND = [
    "", "\n", " \n\n ", "one", "One line. Two! Three? Four… Five.",
    "a b c\na b c\n\nA B C \n a b c", "x\r\ny\u2028 z \x0b w\x85v",
    "Cite [1] this [edit] and [23][citation needed] or [x] [] [१].",
    "It ends here.\nNo end\nWait...\nHe said \"no\"\nit's'\nodd…\nspace. \n",
    "Please enable JavaScript now.\nOur cooKie policy is fine.\nuſe cookies too\n",
    "javaſcript here is odd.\nLorem Ipsum dolor.\nA {brace} here.\nUse of Cookies!",
    "SHOUTING LINE HERE\nFine line\n12345\n12 34\n²³①\nⅣⅤⅥ ab",
    "3 likes\n1.2K Views!\n** 4,000m   followers ..\n5 likes x\n7likes\n٣ liKes\nk 3 views",
    "2 items in cart now\nItems In Cart\n  items in cart\nan items in cart items in cart b",
    "news Read more...\nREAD MORE…..\nread more abc\n read more\nxread more 한국어",
    "Sign-in\nsign-in now\nSıgn-ın  twice\nnot sign-in\n   \n",
    "Dr. Smith met J. R. Hall. He left, e.g. early. (Yes.) \"No.\" She sat! ok",
    "the BE To of\nThe the\nBEFORE wiTh", "- a\n* b\n● c\n• d\ne . . .\n f... \n g…",
    "p one\n\np two\n\n\np one\n\n \n\np one", "# ... . . . … .... ##",
    "w" * 1001 + " is long.\nThis line has lorem IPSUM in it.\nok", "z" * 1000 + " is not so.",
    "A line of five words stays.\nA LINE of five words stays. \nAnother line of five words.",
    "한글과 漢字 그리고 English ㅋㅋㅋㅋ ㅠㅠ ㅎㅎㅎ ㅋ", "ㅋㅋㅋㅋㅋㅋ ㅎㅋㅎㅋ ㅏㅏㅏㅏㅏ\nㅠㅠㅠㅜㅜㅜ",
    "\u1112\u1161\u11ab\u1100\u1173\u11af NFD e\u0301", "ﾡﾢ ￂￃￏￚ ｶﾅ １２ＡＢ\u3000，",
    "본문입니다.\n저작권자 ⓒ 키질일보 무단 전재 및 재배포 금지\n홍길동 기자 hong@a.kr",
    "카카오톡 페이스북 트위터 공유하기\n| - |\n무단 횡단은 위험하다.\n홍길동 기자는 a@b.kr 로 썼다.\n이웃추가 | 공감 댓글\n공유",
    "카지노 바카라 먹튀 룰렛 카지노 파워볼", "카지노사이트 바카라 룰렛 뉴스",
    "당일대출 무직자 급전 소액결제 현금화 저신용자", "출장안마 조건만남 풀싸롱 콜걸 안마방 이다",
    "최저가 비교견적 무료상담 바로가기 카톡문의", "alpha beta alpha beta alpha beta gamma delta alpha beta gamma delta",
    "a b c d e f a b c d e f g a b c d e z", "１２ 三 ㅋㅋ 한국어 한국어 문장 한국어 문장",
]
PIECES = (
    "a b the be The OF cat word 한국 문장 3 12 1,000 4k likes VIEWS x . ... … # ! ? , \" ' "
    "- * • ● { [1] [edit] [2 javascript JavaScript cookies use privacy policy . . lorem "
    "ㅋ ㅋㅋㅋ ㅠㅠ 漢 ﾡ \u1100\u1161 카지노 바카라 먹튀 룰렛 급전 무직자 "
    "ipsum items in cart read more Read more... sign-in Sign-in ABC DEF ² Ⅳ K ı ſ"
).split(" ") + ["\n"] * 18 + ["\n\n", "\n\n\n", "\t", "\r\n", "\u3000", "\u2028",
                               "same line here.\n", "Another same line!\n", "terms of use\n"]


def texts(seed, n):
    yield from HAND
    rnd = random.Random(seed)
    for i in range(n):
        few = rnd.sample(PIECES, rnd.randint(3, len(PIECES)))
        glue = " " if i % 4 else ""
        yield glue.join(rnd.choice(few) for _ in range(rnd.randint(0, 150)))


def share(a, b):
    return a / b if b else 0


def unless(lines, gone):
    return [x for x in lines if not gone(x)]


def removed(text, gone, strip=False):
    """Lines that go; the text that is left, and how many went."""
    lines = text.split("\n")
    left = unless(lines, gone)
    new = "\n".join(left)
    return new.strip() if strip else new, len(lines) - len(left)


CITATION = re.compile(r"\[\d*]|\[edit]|\[citation needed]")
POLICY = ["terms of use", "privacy policy", "cookie policy", "uses cookies",
          "use of cookies", "use cookies"]
POLICY_RE = re.compile(r"\s?(?:%s)" % "|".join(POLICY), re.I)
COUNTER = re.compile(
    r"^\W*\d(?:,|\.|\d)*(?:K|k|M|m|B|b)?\s+(?:likes|shares|comments|retweets|reposts|"
    r"quotes|bookmarks|upvotes|downvotes|downloads|views|followers)\W*$")
STOPS = {"the", "be", "to", "of", "and", "that", "have", "with"}
ABBREVIATIONS = set(
    "mr mrs ms dr prof st vs etc e.g i.e inc ltd co corp no jr sr gen col capt lt rev hon "
    "gov sen rep vol fig al cf approx dept".split())


def cut(text, pattern):
    out, count = [], 0
    for line in text.split("\n"):
        if len(line.split()) <= 10:
            new, k = pattern.subn("", line)
            count += k
            if line and (not new or new.isspace()):
                continue
            line = new
        out.append(line)
    return "\n".join(out).strip(), count


def repeated(text):
    seen, out = set(), []
    lines = text.split("\n")
    for line in lines:
        key = line.strip().lower()
        if key not in seen or not key:
            out.append(line)
            seen.add(key)
    return "\n".join(out), len(lines) - len(out)


def rewrite(rule, text, t):
    """A cleaning rule: new text and count; None for one that only measures."""
    words = lambda line: line.split()
    if rule == "text.split_lines":
        lines = text.splitlines()
        return "\n".join(x.strip() for x in lines), sum(x.strip() != x for x in lines)
    if rule == "text.strip":
        return text.strip(), int(text.strip() != text)
    if rule == "text.max_newlines":
        return re.subn(r"\n{%d,}" % (t + 1), "\n" * int(t), text)
    if rule == "c4.max_word_len":
        return removed(text, lambda x: any(len(w) > t for w in words(x)))
    if rule == "c4.min_line_words":
        return removed(text, lambda x: len(words(x)) < t)
    if rule == "dclm.min_line_words":
        return removed(text, lambda x: x and len(words(x)) < t)
    if rule == "c4.citations":
        return CITATION.subn("", text)
    if rule == "c4.terminal_punct":
        ends = (".", "?", "!", '"', "'")
        return removed(text, lambda x: not x.endswith(ends) or x.endswith("..."))
    if rule == "dclm.terminal_punct":
        return removed(text, lambda x: x and not re.search(r'[.!?"\u2026]\s*$', x)
                       or re.search(r"(?:\.\.\.|\u2026)\s*$", x))
    if rule == "c4.javascript":
        return removed(text, lambda x: "javascript" in x.lower())
    if rule == "dclm.javascript":
        return removed(text, lambda x: re.search(r"\s?(?:javascript)", x, re.I))
    if rule == "c4.policy":
        return removed(text, lambda x: any(p in x.lower() for p in POLICY))
    if rule == "dclm.policy":
        return removed(text, POLICY_RE.search)
    if rule == "dclm.repeated_lines":
        return repeated(text)
    if rule == "dclm.upper_lines":
        return removed(text, lambda x: x and sum(c.isupper() for c in x) / len(x) > t, True)
    if rule == "dclm.digit_lines":
        return removed(text, lambda x: x and sum(c.isdigit() for c in x) / len(x) > t, True)
    if rule == "dclm.counter_lines":
        return removed(text, lambda x: COUNTER.search(x.lower()), True)
    if rule == "dclm.cart":
        return cut(text, re.compile(r"\s?(?:items in cart)", re.I))
    if rule == "dclm.read_more":
        return cut(text, re.compile(r"\s?(?:read more...)$", re.I))
    if rule == "dclm.sign_in":
        return cut(text, re.compile(r"^(?:sign-in)\s?", re.I))
    if rule == "ko.nfc":
        new = unicodedata.normalize("NFC", text)
        return new, int(new != text)
    if rule == "ko.half_jamo":
        return half(text)
    if rule == "ko.jamo_runs":
        return re.subn(r"([\u3131-\u318e])\1{%d,}" % t, lambda m: m[1] * int(t), text)
    if rule == "ko.news_tails":
        return removed(text, is_tail)
    return None


def lexicon(which):
    """The words of a list of filter/korean.c."""
    source = open(os.path.join(os.path.dirname(__file__), "../../filter/korean.c"),
                  encoding="utf-8").read()
    return re.findall(r'\{"(\w+)",\s*KJ_SPAM_%s\}' % which.upper(), source)


def is_tail(line):
    line = line.strip()
    words = line.split()
    if not 0 < len(words) <= 30 or len(line.encode()) >= 600:
        return False
    copying = "무단" in line and "금지" in line and re.search("전재|복제|배포", line)
    holder = "저작권자" in line and re.search(r"ⓒ|©|\([cC]\)", line)
    reporter = (len(words) <= 8 and "@" in line and re.search("기자|특파원|리포터", line)
                and line[-1] not in ".?")
    source = open(os.path.join(os.path.dirname(__file__), "../../filter/korean.c"),
                  encoding="utf-8").read()
    names = re.findall(r'"([^"]+)"', source[source.index("is_share_bar"):].split("}")[0])
    return bool(copying or holder or reporter
                or 2 <= len(words) <= 20 and all(w in names for w in words)
                and sum(len(w.encode()) > 2 for w in words) >= 2)


def half(text):
    out = re.sub(r"[\uff01-\uff5e\u3000\uffa1-\uffdc]",
                 lambda m: HALF(m[0]), text)
    return out, sum(a != b for a, b in zip(out, text))


def HALF(c):
    name = unicodedata.name(c, "")
    if name.startswith("HALFWIDTH HANGUL"):
        return unicodedata.lookup(name.replace("HALFWIDTH HANGUL", "HANGUL"))
    new = unicodedata.normalize("NFKC", c)
    return new if new.isascii() else c


def korean(rule, text):
    letters = [c for c in text if c.isalpha()]
    hangul = [c for c in letters if "HANGUL" in unicodedata.name(c, "")]
    if rule == "ko.hangul_share":
        return share(len(hangul), len(letters))
    if rule == "ko.latin_share":
        return share(sum(ord(c) < 0x250 for c in letters), len(letters))
    if rule == "ko.hanja_share":
        return share(sum("CJK " in unicodedata.name(c, "") for c in letters), len(letters))
    if rule == "ko.lone_jamo":
        return share(sum("\u3131" <= c <= "\u318e" for c in text), len(text))
    if rule == "ko.odd_jamo":
        return share(sum(("\u1100" <= c <= "\u11ff" or
                         "HALFWIDTH HANGUL" in unicodedata.name(c, "")
                         and c != "\uffa0") for c in text), len(text))
    if rule == "ko.laughs":
        return share(len(re.findall(r"([ㅋㅎㅠㅜㅡㄷㅇㄱㅅㅉ])\1+", text)), len(text.split()))
    counts = {w: len(re.findall("(?=%s)" % w, text)) for w in lexicon(rule[8:])}
    kinds = sum(k > 0 for k in counts.values())
    return share(sum(counts.values()), len(text.split())) if kinds >= 4 else 0


def sentences(text):
    n = 0
    for line in text.split("\n"):
        line = line.strip()
        n += bool(line)
        for m in re.finditer(r"""[.?!…](?=(["')\]}”’]*)(\s+)(\S))""", line):
            before = re.split(r'[ ("]', line[max(0, m.start() - 8):m.start()])[-1]
            whole = m.start() - len(before) == 0 or line[m.start() - len(before) - 1] in ' ("'
            short = m[0] == "." and (re.fullmatch("[A-Z]", before) and whole
                                     or whole and before.lower() in ABBREVIATIONS)
            n += not short and not m[3].islower()
    return n


def tokens(text):
    return sum(w[0].isalnum() for w in re.split(r"[ \n\r\t\v\f\0]+", text) if w)


@lru_cache(2)
def uax29(text):
    words = regex.split(r"(?wV1)\b", text) if regex else re.findall(r"\w+", text)
    return [w for w in words if w and w[0].isalnum()]


def grams(text, n):
    words = uax29(text)
    chars = sum(map(len, words))
    g = [tuple(words[i:i + n]) for i in range(len(words) - n + 1)]
    count = Counter(g)
    if not g or max(count.values()) == 1:
        return 0
    most = max(count.values())
    if n < 5:
        return most * max(sum(map(len, x)) for x in count if count[x] == most) / chars
    hit = {k for i, x in enumerate(g) if count[x] > 1 for k in range(i, i + n)}
    return sum(len(words[k]) for k in hit) / chars


# Between these UAX #29 does not part words where \w+ does, or the other way.
UNLIKE = re.compile(r"\w['’.,:;·]\w|[²①ⅣⅤⅥ\u3040-\u30ff一-鿿१٣\u00ad\u0300-\u036f"
                    r"\u0591-\u06ff\u0900-\u0eff\u200b-\u200f\u2060\u20d0-\u20f0\ufe00-\ufe0f\ufeff]")
# regex still breaks between an apostrophe and a vowel, as an old UAX #29 did.
if regex:
    UNLIKE = re.compile(r"['’][aeiouyhàâéèêAEIOUYH]", re.IGNORECASE)


def segments(text, sep):
    s = [x.strip() for x in text.split(sep) if x.strip()]
    many = {x: k for x, k in Counter(s).items() if k > 1}
    return (s, share(sum(many.values()), len(s)),
            share(sum(len(x) * k for x, k in many.items()), sum(map(len, s))))


def measure(rule, text, came):
    words = text.split()
    lines, copies, copy_chars = segments(text, "\n")
    _, para_copies, para_chars = segments(text, "\n\n")
    gram = re.match(r"dclm\.(?:top|dup)_(\d+)gram", rule)
    if gram:
        return None if UNLIKE.search(text) else grams(text, int(gram[1]))
    if rule.startswith("ko."):
        return korean(rule, text)
    symbols = sum(text.count(x) for x in ["#", "...", ". . .", "…"])
    values = {
        "text.max_chars": lambda: len(text),
        "c4.lorem_ipsum": lambda: "lorem ipsum" in text.lower(),
        "c4.curly_bracket": lambda: "{" in text,
        "c4.min_sentences": lambda: sentences(text),
        "c4.long_lines": lambda: sum(len(x) >= 200 for x in text.split("\n")),
        "dclm.removed_words": lambda: max(0, share(tokens(came) - tokens(text), tokens(came))),
        "dclm.min_words": lambda: tokens(text),
        "dclm.max_words": lambda: tokens(text),
        "dclm.min_mean_word_len": lambda: share(sum(map(len, words)), len(words)),
        "dclm.max_mean_word_len": lambda: share(sum(map(len, words)), len(words)),
        "dclm.symbol_ratio": lambda: share(symbols, len(words)),
        "dclm.bullet_lines": lambda: share(sum(x[0] in "●•*-" for x in lines), len(lines)),
        "dclm.ellipsis_lines": lambda: share(
            sum(x.endswith(("...", ". . .", "…")) for x in lines), len(lines)),
        "dclm.non_alpha_words": lambda: share(
            sum(not any(c.isalpha() for c in w) for w in words), len(words)),
        "dclm.stop_words": lambda: sum(w.lower() in STOPS for w in words),
        "dclm.dup_lines": lambda: copies,
        "dclm.dup_line_chars": lambda: copy_chars,
        "dclm.dup_paras": lambda: para_copies,
        "dclm.dup_para_chars": lambda: para_chars,
    }
    return values[rule]() if rule in values else None


LOW = {"c4.min_sentences", "c4.long_lines", "dclm.min_words", "dclm.min_mean_word_len",
       "dclm.stop_words", "ko.hangul_share"}


def fails(rule, value, t):
    return value < t if rule in LOW else value > t


def rules_of(path):
    for line in open(path, encoding="utf-8"):
        m = re.match(r"\s*- ([a-z0-9]+\.\w+): ([\d.]+%?|clean)", line)
        if m:
            t = m[2]
            yield m[1], t if t == "clean" else float(t[:-1]) / 100 if t[-1] == "%" else float(t)


def check(recipe, before, after, any_hits=""):
    rules = [(r, t) for r, t in rules_of(recipe)]
    n = skipped = bad = 0
    seen = Counter()
    for a, b in zip(open(before, encoding="utf-8"), open(after, encoding="utf-8")):
        came, out = json.loads(a)["text"], json.loads(b)
        text, wrong = came, []
        verdict = out["filter"].get("failed", [])
        for rule, t in rules:
            new = rewrite(rule, text, int(t) if t != "clean" and t >= 1 else t)
            if new is not None:
                text, want = new
            else:
                want = measure(rule, text, came)
                if want is None:
                    skipped += 1
                    continue
                if fails(rule, want, t) != (rule in verdict):
                    wrong.append((rule, "verdict", verdict))
            n += 1
            seen[rule] += want > 0
            if out["signals"][rule] != want:
                wrong.append((rule, out["signals"][rule], want))
        if text != out["text"]:
            wrong.append(("text", out["text"], text))
        if wrong:
            bad += 1
            if bad < 6:
                print("DIFFERENT", json.dumps(came, ensure_ascii=False), wrong[:3])
    never = [r for r, _ in rules if not seen[r] and not r.startswith("lang.")]
    print(f"{n} values compared, {skipped} left out, {bad} texts differ, never hit: {never}")
    return 1 if bad or not n or never and not any_hits else 0


if __name__ == "__main__":
    if sys.argv[1] == "make":
        for k, text in enumerate(texts(int(sys.argv[2]), int(sys.argv[3]))):
            print(json.dumps({"id": str(k), "text": text}))
    else:
        sys.exit(check(*sys.argv[2:]))
