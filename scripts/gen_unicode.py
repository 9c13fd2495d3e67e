#!/usr/bin/env python3
"""Write base/unicode_data.c from the Unicode character database.

    scripts/gen_unicode.py /usr/share/unicode > base/unicode_data.c

The folder is laid out as in Debian's package unicode-data. The result is
committed, so that nobody needs the database to build.
"""
import os
import sys

TOP = 0x110000
GC = ("Cn Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Zs Zl Zp "
      "Cc Cf Cs Co").split()
# The order is that of enum wb in base/unicode_words.c.
WB = ("Other CR LF Newline Extend ZWJ Format WSegSpace Regional_Indicator ALetter "
      "Hebrew_Letter Numeric Katakana ExtendNumLet MidLetter MidNum MidNumLet "
      "Single_Quote Double_Quote").split()


def rows(folder, name):
    with open(os.path.join(folder, name), encoding="utf-8") as f:
        for line in f:
            line = line.split("#")[0].strip()
            if line:
                yield [x.strip() for x in line.split(";")]


def span(word):
    lo, _, hi = word.partition("..")
    return range(int(lo, 16), int(hi or lo, 16) + 1)


def prop(folder, name, value):
    return {c for r in rows(folder, name) if r[1] == value for c in span(r[0])}


def emit(ctype, name, values, out):
    out.append(f"const {ctype} {name}[{len(values)}] = {{")
    line = ""
    for v in values:
        word = f"{v},"
        if len(line) + len(word) > 88:
            out.append(line)
            line = ""
        line += word
    out.append(line)
    out.append("};")


def two_stage(table, name, ctype, out):
    """The block size 128 is fixed in the C code."""
    blocks, index, flat = {}, [], []
    for i in range(0, TOP, 128):
        b = tuple(table[i:i + 128])
        if b not in blocks:
            blocks[b] = len(blocks)
            flat.extend(b)
        index.append(blocks[b])
    emit("uint8_t" if len(blocks) <= 256 else "uint16_t", name + "1", index, out)
    emit(ctype, name + "2", flat, out)


def main(folder):
    gc = ["Cn"] * TOP
    ccc = [0] * TOP
    lower, upper = list(range(TOP)), list(range(TOP))
    decomp, compat, numeric = {}, {}, set()
    first = None
    for r in rows(folder, "UnicodeData.txt"):
        c = int(r[0], 16)
        if r[1].endswith("First>"):
            first = c
            continue
        for x in range(first if r[1].endswith("Last>") else c, c + 1):
            gc[x], ccc[x] = r[2], int(r[3])
        if r[8]:
            numeric.add(c)
        if r[5]:
            words = r[5].split()
            if words[0][0] == "<":
                compat[c] = [int(w, 16) for w in words[1:]]
            else:
                decomp[c] = [int(w, 16) for w in words]
        if r[12]:
            upper[c] = int(r[12], 16)
        if r[13]:
            lower[c] = int(r[13], 16)

    # Characters: one 16-bit word of properties.
    space = prop(folder, "PropList.txt", "White_Space")
    cased = prop(folder, "DerivedCoreProperties.txt", "Cased")
    ignorable = prop(folder, "DerivedCoreProperties.txt", "Case_Ignorable")
    pict = prop(folder, "emoji/emoji-data.txt", "Extended_Pictographic")
    wb = [0] * TOP
    for r in rows(folder, "auxiliary/WordBreakProperty.txt"):
        for c in span(r[0]):
            wb[c] = WB.index(r[1])
    bidi = {c for r in rows(folder, "extracted/DerivedBidiClass.txt")
            if r[1] in ("WS", "B", "S") for c in span(r[0])}
    words = []
    for c in range(TOP):
        w = GC.index(gc[c]) | wb[c] << 5
        w |= (c in space) << 10
        w |= (gc[c] == "Zs" or c in bidi) << 11  # Python: Zs, or bidi WS, B, S
        w |= (gc[c][0] == "L" or c in numeric) << 12
        w |= (c in pict) << 13
        w |= (c in cased) << 14
        w |= (c in ignorable) << 15
        words.append(w)

    # Case: differences to the simple mappings, by number of the pair.
    deltas, case = {(0, 0): 0}, []
    for c in range(TOP):
        case.append(deltas.setdefault((lower[c] - c, upper[c] - c), len(deltas)))
    assert len(deltas) <= 256

    # Normal forms. Hangul syllables are left to arithmetic.
    def full(c, kinds):
        for k in kinds:
            if c in k:
                return [y for x in k[c] for y in full(x, kinds)]
        return [c]

    excluded = {c for r in rows(folder, "DerivedNormalizationProps.txt")
                if r[1] == "Full_Composition_Exclusion" for c in span(r[0])}
    pairs = sorted((d[0], d[1], c) for c, d in decomp.items()
                   if len(d) == 2 and c not in excluded)
    back = {b for _, b, _ in pairs} | set(range(0x1161, 0x1176)) | set(range(0x11A8, 0x11C3))
    no = {k: {c for r in rows(folder, "DerivedNormalizationProps.txt")
              if r[1] == k and r[2] == "N" for c in span(r[0])}
          for k in ("NFC_QC", "NFD_QC", "NFKC_QC", "NFKD_QC")}
    maybe = {c for r in rows(folder, "DerivedNormalizationProps.txt")
             if r[1] == "NFC_QC" and r[2] == "M" for c in span(r[0])}
    assert maybe == back, "the back-combining characters are those of NFC_QC=Maybe"
    records, norm = {0: 0}, []
    for c in range(TOP):
        r = ccc[c] | (c in back) << 8
        for i, k in enumerate(("NFC_QC", "NFD_QC", "NFKC_QC", "NFKD_QC")):
            r |= (c in no[k]) << (9 + i)
        norm.append(records.setdefault(r, len(records)))
    assert len(records) <= 256
    # The pool holds, for each code point that decomposes, a head
    # (canonical length << 5 | compatibility length) and then both.
    pool, where = [0], [0] * TOP
    seen = {}
    for c in sorted(set(decomp) | set(compat)):
        can, com = full(c, (decomp,)), full(c, (decomp, compat))
        can = [] if can == [c] else can
        com = [] if com == can else com
        key = (tuple(can), tuple(com))
        if key not in seen:
            seen[key] = len(pool)
            pool += [len(can) << 5 | len(com)] + can + com
        where[c] = seen[key]
    assert len(pool) < 65536

    # Scripts: starts of runs.
    code = {r[2]: r[1] for r in rows(folder, "PropertyValueAliases.txt") if r[0] == "sc"}
    script = ["Zzzz"] * TOP
    for r in rows(folder, "Scripts.txt"):
        for c in span(r[0]):
            script[c] = code[r[1]]
    names = sorted(set(script))
    runs = [c << 8 | names.index(script[c]) for c in range(TOP)
            if c == 0 or script[c] != script[c - 1]]

    out = ["/* unicode_data.c - GENERATED by scripts/gen_unicode.py; do not edit.",
           " *",
           " * Tables of the Unicode character database 15.0.0, Copyright 1991-2022",
           " * Unicode, Inc.; terms of use: unicode.org/terms_of_use.html. Layout:",
           " * base/unicode_internal.h. */",
           "/* clang-format off */",
           '#include "base/unicode_internal.h"', ""]
    two_stage(words, "kj_ud_prop", "uint16_t", out)
    two_stage(case, "kj_ud_case", "uint8_t", out)
    emit("int32_t", "kj_ud_delta", [x for p in deltas for x in p], out)
    two_stage(norm, "kj_ud_norm", "uint8_t", out)
    emit("uint16_t", "kj_ud_rec", list(records), out)
    two_stage(where, "kj_ud_dec", "uint16_t", out)
    emit("uint32_t", "kj_ud_pool", pool, out)
    emit("uint32_t", "kj_ud_pair", [x for p in pairs for x in p], out)
    out.append(f"const unsigned kj_ud_pairs = {len(pairs)};")
    emit("uint32_t", "kj_ud_run", runs, out)
    out.append(f"const unsigned kj_ud_runs = {len(runs)};")
    out.append(f"const char kj_ud_script[{len(names)}][5] = {{")
    for i in range(0, len(names), 12):
        out.append("".join(f'"{n}",' for n in names[i:i + 12]))
    out.append("};")
    print("\n".join(out))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
