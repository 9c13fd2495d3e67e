#!/usr/bin/env python3
"""Pages of documentation with their text, from installed Debian packages.

usage: doc_pages.py OUT [--pages 40] [--lang ko]
       doc_pages.py OUT --score < EXTRACTED.jsonl

Packages: libreoffice-help-*, apache2-doc, gimp-help-*, debian-handbook; those that
are not installed are left out. Their templates mark the text by an element, whose
words are the gold. Writes OUT/ground-truth.json (as the article extraction benchmark
has it, with the source as type and site) and OUT.warc.gz, with at most so many pages
of each source in each language. --score: mean word F1 of the texts by source.
"""
import argparse
import collections
import glob
import gzip
import html.parser
import json
import os
import random
import re
import sys

VOID = set("area base br col embed hr img input link meta param source track wbr".split())
INLINE = set("a abbr acronym b cite code dfn em font i kbd q s samp small span strong sub sup tt u var".split())
SECTIONS = {"sect1", "sect2", "sect3", "section", "chapter", "appendix", "part", "preface"}
SOURCES = {
    "libreoffice": ("/usr/share/libreoffice/help/*/text/**/*.html", lambda a: a.get("id") == "DisplayArea"),
    "apache": ("/usr/share/doc/apache2-doc/manual/*/**/*.html", lambda a: a.get("id") == "page-content"),
    "gimp": ("/usr/share/gimp/2.0/help/*/*.html", lambda a: a.get("class") in SECTIONS),
    "handbook": ("/usr/share/doc/debian-handbook/html/*/*.html", lambda a: a.get("class") in SECTIONS),
}


class Gold(html.parser.HTMLParser):
    """The text of the first div that is the one."""

    def __init__(self, is_it):
        super().__init__()
        self.is_it, self.depth, self.quiet, self.done, self.out = is_it, 0, 0, False, []

    def handle_starttag(self, tag, attrs):
        if tag not in INLINE and self.depth:
            self.out.append(" ")
        if tag in VOID:
            return
        if self.depth:
            self.depth += 1
            self.quiet += tag in ("script", "style", "noscript")
        elif tag == "div" and not self.done and self.is_it(dict(attrs)):
            self.depth = 1

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag):
        if tag in VOID or not self.depth:
            return
        if tag not in INLINE:
            self.out.append(" ")
        self.quiet -= tag in ("script", "style", "noscript") and self.quiet > 0
        self.depth -= 1
        self.done |= self.depth == 0

    def handle_data(self, data):
        if self.depth and not self.quiet:
            self.out.append(data)


def text_of(raw, lang, is_it):
    try:
        page = raw.decode("utf-8")
    except UnicodeDecodeError:
        page = raw.decode("cp949" if lang.startswith("ko") else "latin-1", "replace")
    p = Gold(is_it)
    p.feed(page)
    text = " ".join("".join(p.out).split())
    if len(text) < 200 or (lang.startswith("ko") and len(re.findall("[가-힣]", text)) < 100):
        return None
    return text


def record(rid, url, raw):
    http = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n" % len(raw)
    head = ("WARC/1.1\r\nWARC-Type: response\r\nWARC-Record-ID: <urn:docs:%s>\r\n"
            "WARC-Date: 2026-01-01T00:00:00Z\r\nWARC-Target-URI: %s\r\n"
            "Content-Type: application/http; msgtype=response\r\nContent-Length: %d\r\n\r\n")
    return (head % (rid, url, len(http) + len(raw))).encode() + http + raw + b"\r\n\r\n"


def score(gold):
    words = lambda s: collections.Counter(re.findall(r"\w+", s.lower()))
    text = {}
    for line in sys.stdin:
        d = json.loads(line)
        text[d["id"].strip("<>").rsplit(":", 1)[-1]] = d.get("text") or ""
    by = collections.defaultdict(list)
    for rid, page in gold.items():
        a, b = words(text.get(rid, "")), words(page["articleBody"])
        by[page["type"]].append(2 * sum((a & b).values()) / (sum(a.values()) + sum(b.values())))
    for source, f in by.items():
        print("%-14s %4d pages  word F1 %.4f" % (source, len(f), sum(f) / len(f)))


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("out")
    ap.add_argument("--pages", type=int, default=40)
    ap.add_argument("--lang")
    ap.add_argument("--score", action="store_true")
    args = ap.parse_args()
    if args.score:
        with open(os.path.join(args.out, "ground-truth.json"), encoding="utf-8") as f:
            score(json.load(f))
        return
    os.makedirs(args.out, exist_ok=True)
    gold = {}
    with gzip.open(args.out + ".warc.gz", "wb", 1) as warc:
        for source, (pattern, is_it) in SOURCES.items():
            files = {}
            for name in sorted(glob.glob(pattern, recursive=True)):
                lang = name[len(pattern.split("*")[0]):].split("/")[0]
                files.setdefault(lang, []).append(name)
            for lang, names in sorted(files.items()):
                if args.lang and not lang.startswith(args.lang):
                    continue
                random.Random(1).shuffle(names)
                n = 0
                for name in names:
                    if n == args.pages:
                        break
                    with open(name, "rb") as f:
                        raw = f.read()
                    text = text_of(raw, lang, is_it)
                    if text is None:
                        continue
                    rid, n = "%s-%s-%04d" % (source, lang, n), n + 1
                    url = "http://%s.example/%s" % (source, rid)
                    gold[rid] = {"articleBody": text, "url": url, "type": source}
                    warc.write(record(rid, url, raw))
    with open(os.path.join(args.out, "ground-truth.json"), "w", encoding="utf-8") as f:
        json.dump(gold, f, ensure_ascii=False)


if __name__ == "__main__":
    main()
