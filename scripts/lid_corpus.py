#!/usr/bin/python3
"""lid_corpus.py FOLDER > lines: training text for the language model.

FOLDER holds the unpacked documentation, message catalogues, quotations, glosses
and spelling dictionaries of Debian packages (scripts/make_lid_model). Every
sentence or message becomes one line `__label__LANG text`, with LANG an ISO 639-1 code taken
from the path; words of a dictionary are put WORDS_A_LINE on a line. Text that
was never translated is left out (lines that English has too, lines full of
English function words, lines in the wrong script), and so are repeated lines.
Each language gives at most LINES lines of each kind; those with less text are
repeated up to REPEAT times. Korean in Latin letters (ko-Latn) is made from the
Korean lines by romanise(), since nobody translates into it. Some lines get
numbers and dates, and some in other scripts than Latin an English word, since
these say nothing about the language.
The order is shuffled with a fixed seed: the output is a function of the input.
"""
import gettext
import html
import os
import random
import re
import sys
import unicodedata

LINES = {"en": 160000, "ko": 30000, "ko-Latn": 12000}
LINES_OTHER = 16000
LINES_MIN = 300  # a language with less text is left out
WORD_LINES = {"en": 12000, "ko": 20000}
WORD_LINES_OTHER = 4000
WORDS_A_LINE = 7
# Languages that should not win when in doubt get fewer lines.
LINES_SMALL = 6000
SMALL = set("af az bs br cy dz eo fy ga gd gl km lb mg ms nn oc tt ug uz xh zu".split())
# Little text, rare on the web, and taken for larger neighbours.
SKIP = {"an", "tk", "ia", "ie", "co", "wa", "li", "ff", "ln", "ku", "io", "fo", "se"}
REPEAT = 2

# Where the path gives a locale. The rest of a locale is dropped, but for
# variants in another script, which are skipped.
LOCALE = re.compile(
    r"/(?:help|text|locale|html|installation-guide-amd64)/"
    r"([A-Za-z]{2,3}(?:[-_@][A-Za-z]+)?)/|manual\.([A-Za-z_@]+)\.html$"
)
RENAME = {"C": "en", "no": "nb", "ang": "", "grc": "", "he": "he", "iw": "he", "en@shaw": ""}
SCRIPT = {
    "ko": "\uac00-\ud7a3", "ja": "\u3040-\u30ff\u4e00-\u9fff", "zh": "\u4e00-\u9fff",
    "ru": "\u0400-\u04ff", "uk": "\u0400-\u04ff", "bg": "\u0400-\u04ff",
    "sr": "\u0400-\u04ff", "mk": "\u0400-\u04ff", "be": "\u0400-\u04ff",
    "kk": "\u0400-\u04ff", "ky": "\u0400-\u04ff", "mn": "\u0400-\u04ff",
    "tt": "\u0400-\u04ff", "tg": "\u0400-\u04ff",
    "el": "\u0370-\u03ff\u1f00-\u1fff", "he": "\u0590-\u05ff",
    "ar": "\u0600-\u06ff", "fa": "\u0600-\u06ff", "ug": "\u0600-\u06ff",
    "ur": "\u0600-\u06ff", "ps": "\u0600-\u06ff", "ckb": "\u0600-\u06ff",
    "hi": "\u0900-\u097f", "mr": "\u0900-\u097f", "ne": "\u0900-\u097f",
    "bn": "\u0980-\u09ff", "as": "\u0980-\u09ff", "pa": "\u0a00-\u0a7f",
    "gu": "\u0a80-\u0aff", "or": "\u0b00-\u0b7f", "ta": "\u0b80-\u0bff",
    "te": "\u0c00-\u0c7f", "kn": "\u0c80-\u0cff", "ml": "\u0d00-\u0d7f",
    "si": "\u0d80-\u0dff", "th": "\u0e00-\u0e7f", "lo": "\u0e80-\u0eff",
    "my": "\u1000-\u109f", "ka": "\u10a0-\u10ff", "am": "\u1200-\u137f",
    "km": "\u1780-\u17ff", "hy": "\u0530-\u058f", "dz": "\u0f00-\u0fff",
}
LATIN = "A-Za-z\u00c0-\u024f\u1e00-\u1eff"
LETTER = re.compile(r"[^\W\d_]")

QUOTATIONS = re.compile(r"/games/fortunes/(bg|cs|de|eo|es|ga|it|pl|ru)/([^./]+)(?:\.fortunes)?$")
DROP = re.compile(r"<(script|style|head|code|pre|cmd|sys|input|screen)\b.*?</\1>", re.S | re.I)
BLOCK = re.compile(
    r"</?(?:p|div|li|td|th|h\d|title|dt|dd|tr|table|ul|ol|item|section|page|desc|br|note|info)\b[^>]*>",
    re.I,
)
TAG = re.compile(r"<[^<>]*>")
FORMAT = re.compile(r"%[-+ #0-9.$]*[a-zA-Z]|%%|\$\w+\|?|\{[^{}]*\}|https?://\S+|\S+@\S+|\\n")
STOP = set(
    "the of and to is in for you that with this be are your not can or from if it "
    "will have has was by an on at which when all use".split()
)
SENTENCE = re.compile(r"(?<=[.!?\u0964\u3002])\s+")


def language(path):
    if re.search(r"/wordnet/data\.|/anarchism/html/", path):
        return "en"
    m = QUOTATIONS.search(path)
    if m:
        return "" if m.group(2).endswith("-sk") else m.group(1)
    m = LOCALE.search(path)
    if not m:
        return ""
    loc = m.group(1) or m.group(2)
    if loc in RENAME:
        return RENAME[loc]
    if "@" in loc and not loc.lower().endswith("valencia"):
        return ""
    lang = re.split(r"[-_@]", loc)[0]
    return lang if len(lang) == 2 else ""


def dictionary_language(path):
    m = re.search(r"/hunspell/([a-z]{2})(?:[-_][A-Z]{2})?\.dic$", path)
    return m.group(1) if m else ""


def from_dictionary(path):
    encoding = "latin-1"
    with open(path[:-4] + ".aff", "rb") as f:
        m = re.search(rb"^(?:\xef\xbb\xbf)?SET[ \t]+(\S+)", f.read(), re.M)
    if m:
        encoding = m.group(1).decode("ascii").lower()
        encoding = {"microsoft-cp1251": "cp1251", "tis620-2533": "tis-620"}.get(
            encoding, encoding
        )
    with open(path, encoding=encoding, errors="ignore") as f:
        for line in f:
            word = re.split(r"[/\t ]", line.strip())[0]
            if len(word) > 1 and not re.search(r"[\d.]", word):
                yield unicodedata.normalize("NFC", word)


def english(text):
    words = re.findall(r"[a-z]+", text.lower())
    hits = sum(w in STOP for w in words)
    return hits >= 2 and hits * 6 >= len(words)


def number(rng):
    kind = rng.randrange(5)
    if kind == 0:
        return "%d-%02d-%02d" % (rng.randrange(1950, 2030), rng.randrange(1, 13),
                                 rng.randrange(1, 29))
    if kind == 1:
        return "%02d:%02d:%02d" % (rng.randrange(24), rng.randrange(60),
                                   rng.randrange(60))
    if kind == 2:
        return "%d.%d" % (rng.randrange(1000), rng.randrange(100))
    if kind == 3:
        return "%d%%" % rng.randrange(100)
    return str(rng.randrange(10 ** rng.randrange(1, 9)))


def disturb(rng, lang, text, names):
    """Numbers, dates and foreign words stand in text of every language."""
    words = text.split(" ")
    if rng.random() < 0.2:
        for _ in range(rng.randrange(1, 5)):
            at = rng.randrange(len(words) + 1)
            # Japanese, Chinese and Korean write units behind the number.
            if at < len(words) and lang in ("ja", "zh", "ko") and rng.random() < 0.5:
                words[at] = str(rng.randrange(10 ** rng.randrange(1, 5))) + words[at]
            else:
                words.insert(at, number(rng))
    if lang in SCRIPT and len(words) > 1 and rng.random() < 0.15:
        words.insert(rng.randrange(len(words) + 1), rng.choice(names))
    return " ".join(words)


def pieces(text):
    text = " ".join(html.unescape(TAG.sub(" ", text)).split())
    while text:
        cut = len(text)
        if cut > 300:
            at = [m.start() for m in SENTENCE.finditer(text, 120, 400)]
            cut = at[0] if at else text.rfind(" ", 0, 300)
            cut = cut if cut > 0 else 300
        yield text[:cut].strip()
        text = text[cut:].strip()


def from_mo(path):
    try:
        with open(path, "rb") as f:
            cat = gettext.GNUTranslations(f)._catalog
    except (OSError, UnicodeDecodeError, ValueError, IndexError):
        return
    for key, value in cat.items():
        source = key[0] if isinstance(key, tuple) else key
        source = source.split("\x04")[-1]
        if not source or not isinstance(value, str):
            continue
        source = source.rsplit("^", 1)[-1]
        value = value.rsplit("^", 1)[-1]
        for text, is_source in ((source, True), (value, False)):
            if value == source:
                continue
            text = re.sub(r"(?<=\w)_(?=\w)|\b_|[&~](?=\w)", "", text)
            for p in text.split("\n\n"):
                yield p, is_source


def from_markup(path):
    with open(path, "rb") as f:
        text = f.read().decode("utf-8", "replace")
    m = re.search(r'<div id="DisplayArea"[^>]*>(.*)', text, re.S)
    text = DROP.sub(" ", m.group(1) if m else text)
    for p in BLOCK.split(text):
        yield p, False


def from_quotations(path):
    with open(path, "rb") as f:
        text = f.read().decode("utf-8", "replace")
    for p in re.split(r"^%.*\n", text, flags=re.M):
        for q in re.split(r"\n\s*(?=--)|\n\n", p):  # the author is no sentence
            if not q.lstrip().startswith("--"):
                yield q, False


def from_wordnet(path):
    """Lines are `numbers and words | meaning; "example"; "example"`."""
    with open(path, encoding="utf-8", errors="replace") as f:
        for line in f:
            if " | " in line and not line.startswith("  "):
                for p in re.split(r'"; "|; "|"', line.split(" | ", 1)[1]):
                    yield p.strip(' ";\n'), False


INITIAL = "g kk n d tt r m b pp s ss  j jj ch k t p h".split(" ")
VOWEL = "a ae ya yae eo e yeo ye o wa wae oe yo u wo we wi yu eu ui i".split(" ")
FINAL = (" k k k n n n t l k m l l l p l m p p t t ng t t k t p t").split(" ")
# A final before a vowel is spoken as the next syllable's initial.
LINKED = (" g kk gs n nj n d r lg lm lb ls lt lp r m b bs s ss ng j ch k t p ").split(" ")


def romanise(text):
    """The Revised Romanisation: syllable by syllable, with the linking of
    finals; n/l assimilation as in Silla is left to the reader, as most do."""
    out = []
    for i, c in enumerate(text):
        s = ord(c) - 0xAC00
        if not 0 <= s < 11172:
            out.append(c)
            continue
        after = ord(text[i + 1]) - 0xAC00 if i + 1 < len(text) else -1
        linked = 0 <= after < 11172 and after // 588 == 11
        final = (LINKED if linked else FINAL)[s % 28]
        out.append(INITIAL[s // 588] + VOWEL[s % 588 // 28] + final)
    text = "".join(out)
    return text[:1].upper() + text[1:]


def usable(lang, text):
    letters = len(LETTER.findall(text))
    if letters < 8 or letters * 2 < len(text.replace(" ", "")):
        return False
    own = len(re.findall("[" + SCRIPT.get(lang, LATIN) + "]", text))
    if lang == "ja" and not re.search("[\u3040-\u30ff]", text):
        return False
    return own * 10 >= letters * 6


def main():
    lines, words = {}, {}
    for top, folders, files in os.walk(sys.argv[1]):
        folders.sort()
        for name in sorted(files):
            path = os.path.join(top, name)
            if name.endswith(".dic"):
                lang = dictionary_language(path)
                if lang and not os.path.islink(path):
                    words.setdefault(lang, {}).update(
                        dict.fromkeys(from_dictionary(path)))
                continue
            lang = language(path)
            if not lang or lang in SKIP or name.endswith(".aff"):
                continue
            read = from_mo if name.endswith(".mo") else from_markup
            if "/fortunes/" in path:
                read = from_quotations
            elif "/wordnet/" in path:
                read = from_wordnet
            for raw, is_source in read(path):
                to = "en" if is_source else lang
                for text in pieces(FORMAT.sub(" ", raw)):
                    text = " ".join(text.split())
                    if usable(to, text) and (to == "en" or not english(text)):
                        lines.setdefault(to, {})[text] = None
    source = lines["en"]
    names = sorted({w for t in source for w in re.findall(r"[A-Za-z]{3,}", t)})
    lines["ko-Latn"] = {romanise(t): None for t in lines["ko"]
                        if len(re.findall("[\uac00-\ud7a3]", t)) >= 8}
    rng = random.Random(20241101)
    out = []
    for lang in sorted(lines):
        own = [t for t in lines[lang] if lang == "en" or t not in source]
        if len(own) < LINES_MIN:
            continue
        rng.shuffle(own)
        want = LINES.get(lang, LINES_SMALL if lang in SMALL else LINES_OTHER)
        copies = min(REPEAT, max(1, want // len(own)))
        take = (own * copies)[:want]
        list_ = sorted(words.get(lang, {}))
        for _ in range(min(WORD_LINES.get(lang, WORD_LINES_OTHER), len(list_) // 3)):
            n = WORDS_A_LINE if rng.random() < 0.7 else rng.randrange(1, 4)
            take.append(" ".join(rng.choice(list_) for _ in range(n)))
        out += ["__label__%s %s" % (lang, disturb(rng, lang, t, names)) for t in take]
        print(lang, len(own), len(list_), len(take), file=sys.stderr)
    rng.shuffle(out)
    sys.stdout.write("\n".join(out) + "\n")


main()
