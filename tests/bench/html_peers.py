#!/usr/bin/env python3
"""MB/s of other HTML parsers and extractors on the same pages, one core, CPU time.

usage: html_peers.py HTML_DIR

Those that are installed: a bare parse by gumbo, lexbor and lxml (libxml2), main text by
readability and resiliparse. The slow ones see every twentieth page.
"""
import ctypes
import ctypes.util
import glob
import os
import sys
import time


def gumbo():
    lib = ctypes.CDLL(ctypes.util.find_library("gumbo"))
    lib.gumbo_parse_with_options.restype = ctypes.c_void_p
    lib.gumbo_parse_with_options.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t]
    lib.gumbo_destroy_output.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
    options = ctypes.addressof(ctypes.c_char.in_dll(lib, "kGumboDefaultOptions"))

    def parse(page):
        lib.gumbo_destroy_output(options, lib.gumbo_parse_with_options(options, page, len(page)))
    return parse


def lexbor():
    lib = ctypes.CDLL(ctypes.util.find_library("lexbor") or "liblexbor.so")
    lib.lxb_html_document_create.restype = ctypes.c_void_p
    lib.lxb_html_document_parse.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t]
    lib.lxb_html_document_destroy.argtypes = [ctypes.c_void_p]

    def parse(page):
        document = lib.lxb_html_document_create()
        lib.lxb_html_document_parse(document, page, len(page))
        lib.lxb_html_document_destroy(document)
    return parse


def lxml():
    from lxml import html
    parser = html.HTMLParser(encoding="utf-8")
    return lambda page: html.document_fromstring(page, parser=parser)


def resiliparse():
    from resiliparse.extract.html2text import extract_plain_text
    return lambda page: extract_plain_text(page.decode("utf-8", "replace"), main_content=True)


def readability():
    import logging
    from readability import Document
    logging.disable(logging.CRITICAL)
    return lambda page: Document(page.decode("utf-8", "replace")).summary()


def main():
    pages = []
    for name in sorted(glob.glob(os.path.join(sys.argv[1], "*.html"))):
        with open(name, "rb") as f:
            pages.append(f.read())
    rows = [("gumbo, bare parse", gumbo, 1), ("lexbor, bare parse", lexbor, 1), ("lxml, bare parse", lxml, 1),
            ("resiliparse, main text", resiliparse, 1), ("readability, main text", readability, 20)]
    for name, make, step in rows:
        try:
            run = make()
        except (ImportError, OSError, TypeError, ValueError, AttributeError):
            continue
        some, bad = pages[::step], 0
        start = time.process_time()
        for page in some:
            try:
                run(page)
            except Exception:  # theirs, whatever it is
                bad += 1
        t = time.process_time() - start
        print("peer    %-24s %8.1f MB/s%s" % (name, sum(map(len, some)) / 1e6 / t, ", fails on %d pages" % bad if bad else ""))


main()
