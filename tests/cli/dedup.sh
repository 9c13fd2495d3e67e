#!/bin/bash
# kijil dedup: copies, clusters and their reasons; the same bytes in every
# order that could matter.
. "$(dirname "$0")/lib.sh"

# A corpus with known copies: texts of 60 random words; every third document is
# a copy of an earlier one with a few words changed; some are exact copies.
awk 'function word(k,  s) {
    for (s = "w"; k > 0; k = int(k / 20)) s = s substr("abcdefghijklmnopqrst", 1 + k % 20, 1)
    return s
}
BEGIN {
    srand(5)
    for (i = 0; i < 600; i++) {
        if (i % 3 == 2) {
            n = split(text[int(rand() * i)], w, " ")
            edits = int(rand() * 4)
            for (e = 0; e < edits; e++) w[1 + int(rand() * n)] = "e" word(int(rand() * 9e6))
        } else {
            n = 40 + int(rand() * 60)
            for (k = 1; k <= n; k++) w[k] = word(int(rand() * 5000))
        }
        t = ""
        for (k = 1; k <= n; k++) t = t (k > 1 ? " " : "") w[k]
        text[i] = t
        printf "{\"id\":\"d%04d\",\"text\":\"%s\",\"source\":\"s%d\"}\n", i, t, i % 4
    }
}' >in.jsonl

# ---- minhash ----
rc "minhash" 0 "$KIJIL" dedup -q -j1 in.jsonl -o out.jsonl --rejects rej.jsonl
is "in = kept + dropped" $(($(wc -l <out.jsonl) + $(wc -l <rej.jsonl))) 600
is "some were dropped" $(($(wc -l <rej.jsonl) > 100)) 1
has "a kept document names its cluster" out.jsonl '"cluster":\{"id":"[0-9a-f]{16}","size":[2-9]'
is "each dropped one has its reason" \
    "$(grep -c '"drop":{"stage":"dedup","rule":"dedup.minhash","value":[01]' rej.jsonl)" \
    "$(wc -l <rej.jsonl)"
is "none below the threshold" "$(grep -cE '"similarity":0\.[0-7]' rej.jsonl)" 0
# every keeper that a dropped document names was kept
grep -o '"keeper":"[^"]*"' rej.jsonl | sort -u | cut -d'"' -f4 >keepers
grep -o '^{"id":"[^"]*"' out.jsonl | cut -d'"' -f4 | sort >kept
is "keepers are kept" "$(sort keepers | comm -23 - kept | wc -l)" 0

rc "again" 0 "$KIJIL" dedup -q out.jsonl -o out2.jsonl
same "a second run changes nothing" out.jsonl out2.jsonl
for j in 2 4; do
    rc "-j$j" 0 "$KIJIL" dedup -q -j$j in.jsonl -o outj.jsonl --rejects rejj.jsonl
    same "-j$j gives the same bytes" out.jsonl outj.jsonl
    same "-j$j gives the same rejects" rej.jsonl rejj.jsonl
done
rc "standard input" 0 bash -c "cat in.jsonl | '$KIJIL' dedup minhash -q >outp.jsonl"
same "a pipe gives the same bytes" out.jsonl outp.jsonl
for i in 0 1 2; do
    rc "shard $i" 0 "$KIJIL" dedup -q --shard $i/3 in.jsonl -o shard$i.jsonl
done
sort shard?.jsonl >shards
sort out.jsonl >whole
same "shards together are the whole" shards whole
is "shards share the work" "$(($(wc -l <shard0.jsonl) > 50))" 1
rc "limit" 0 "$KIJIL" dedup -q --limit 200 in.jsonl -o outl.jsonl
head -n 200 in.jsonl | "$KIJIL" dedup -q >outh.jsonl
same "--limit is the input's head" outl.jsonl outh.jsonl
sort -R --random-source=<(yes) in.jsonl >mixed.jsonl
rc "another order" 0 "$KIJIL" dedup -q mixed.jsonl -o outm.jsonl
sort outm.jsonl >outm
same "the input's order does not matter" outm whole
split -n l/3 in.jsonl part.
rc "several files" 0 "$KIJIL" dedup -q part.ac part.aa part.ab -o outs.jsonl
sort outs.jsonl >outs
same "nor does its cut into files" outs whole

# ---- chains: A~B, B~C, A!~C; the longest is first ----
w() { seq -f 'w%g' "$1" "$2" | tr '\n' ' '; }
{
    printf '{"id":"A","text":"%s%0200d"}\n' "$(w 1 100)" 0
    printf '{"id":"B","text":"%s"}\n' "$(w 9 108)"
    printf '{"id":"C","text":"%s"}\n' "$(w 17 114)"
} | tr 0123456789 abcdefghij >chain.jsonl
rc "chain" 0 "$KIJIL" dedup exact -q chain.jsonl -o o
is "exact keeps all" "$(wc -l <o)" 3
rc "chain of words" 0 "$KIJIL" dedup -q --bands 50 --rows 4 --ngram 1 chain.jsonl -o o --rejects r
is "B goes, its friend C stays" "$(cut -c1-9 o | tr -d '\n')" '{"id":"A"{"id":"C"'
has "B's keeper is A" r '"keeper":"A"'

# ---- exact against sort -u ----
awk 'BEGIN { srand(3); for (i = 0; i < 5000; i++)
    printf "{\"id\":\"%d\",\"text\":\"line %d\"}\n", i, int(rand() * 2000) }' >lines.jsonl
rc "exact" 0 "$KIJIL" dedup exact -q lines.jsonl -o o
grep -o '"text":"[^"]*"' o | sort >got
grep -o '"text":"[^"]*"' lines.jsonl | sort -u >want
same "exact is sort -u" got want
printf '%s\n' '{"id":"1","text":"A b."}' '{"id":"2","text":"a  B"}' '{"id":"3","text":"a c"}' >n.jsonl
rc "exact --normalize" 0 "$KIJIL" dedup exact --normalize -q n.jsonl -o o
is "the longer of equal ones and the other" "$(grep -o '"id":"[0-9]"' o | tr -d '\n')" \
    '"id":"1""id":"3"'
printf '%s\n' '{"id":"1","text":"x","url":"http://www.a.org/p/","s":1}' \
    '{"id":"2","text":"y","url":"https://a.org/p#q","s":3}' '{"id":"3","text":"z"}' >u.jsonl
rc "exact --key url --keep best" 0 "$KIJIL" dedup exact --key url --keep best=s -q u.jsonl -o o
is "the better page of one URL" "$(grep -o '"id":"[0-9]"' o | tr -d '\n')" '"id":"2""id":"3"'

# ---- lines and paragraphs, against a set ----
awk 'BEGIN { srand(6); for (i = 0; i < 3000; i++) {
    t = ""
    for (k = 1 + int(rand() * 6); k > 0; k--)
        t = t " l" int(rand() * rand() * 9000) (rand() < .3 ? "  " : "") "\\n" (rand() < .3 ? " \\n" : "")
    printf "{\"id\":\"%d\",\"text\":\"%s\"}\n", i, t } }' >units.jsonl
lines() {
    grep -o '"text":"[^"]*"' "$1" | cut -d'"' -f4 | sed 's/\\n/\n/g' | sed 's/^ *//; s/ *$//' | grep .
}
# an empty paragraph stands between two blank lines or more
paragraphs() {
    grep -o '"text":"[^"]*"' "$1" | cut -d'"' -f4 | sed 's/\\n\( *\\n\)\{1,\}/@/g; s/\\n$//' |
        tr '@' '\n' | sed 's/^ *//; s/ *$//' | grep .
}
rc "lines" 0 "$KIJIL" dedup exact --scope line -q -j1 units.jsonl -o o --rejects r
lines o | sort >got
lines units.jsonl | sort -u >want
same "each line stays once" got want
is "documents that lost all" \
    "$(($(grep -c '"rule":"dedup.lines","value":1' r) == $(wc -l <r) && $(wc -l <r) > 20))" 1
has "the share that went" o '"dedup.cut":0\.[0-9]'
rc "lines, -j3, in runs" 0 "$KIJIL" dedup exact --scope line -q -j3 --memory 20M units.jsonl -o o3
same "the same bytes" o3 o
shuf --random-source=units.jsonl units.jsonl >mixed.jsonl
rc "lines, in another order" 0 "$KIJIL" dedup exact --scope line -q mixed.jsonl -o om
sort o >o.sorted
sort om >om.sorted
same "the same documents" o.sorted om.sorted
rc "paragraphs" 0 "$KIJIL" dedup exact --scope paragraph -q units.jsonl -o o
paragraphs o | sort >got
paragraphs units.jsonl | sort -u >want
same "each paragraph stays once" got want
printf '%s\n' '{"id":"1","text":"Menu\nA b.\nmenu!"}' '{"id":"2","text":"MENU\nc"}' >m.jsonl
rc "normalized lines" 0 "$KIJIL" dedup exact --scope line --normalize -q m.jsonl -o o
is "one menu" "$(grep -oi menu o | wc -l)" 1
rc "scope needs exact" 2 "$KIJIL" dedup --scope line m.jsonl

# ---- bloom, against old-both with a set in place of the filter ----
awk 'BEGIN { srand(8); for (i = 0; i < 400; i++) {
    t = ""
    for (k = 1 + int(rand() * 4); k > 0; k--) {
        if (n && rand() < .5) {
            l = line[int(rand() * n)]
            if (rand() < .5) l = l " and some new words behind it"
        } else {
            l = ""
            for (w = int(rand() * 40); w >= 0; w--) l = l " w" int(rand() * 5000)
            line[n++] = l
        }
        t = t (t == "" ? "" : "\\n") l
    }
    printf "{\"id\":\"%d\",\"text\":\"%s\"}\n", i, t } }' >bloom.jsonl
cat >oldboth.py <<'PY'
import json, sys
seen = set()
for row in sys.stdin:
    text, out, total, known = json.loads(row)["text"], "", 0, 0
    for line in text.splitlines(True):
        w = line.split()
        grams = [tuple(w[i : i + 13]) for i in range(len(w) - 12)]
        has = sum(g in seen for g in grams)
        total, known = total + len(grams), known + has
        if has > 0.8 * len(grams):
            continue
        seen.update(grams)
        out += line
    if known > 0.8 * total or (not out.strip() and text.strip()):
        continue
    if not text.endswith("\n"):
        out = out.rstrip("\n")
    print(out.replace("\n", "\\n"))
PY
texts() { grep -o '"text":"[^"]*"' "$1" | cut -d'"' -f4; }
rc "bloom" 0 "$KIJIL" dedup bloom -q -j1 --fpr 1e-9 --expected 1000000 bloom.jsonl -o o --rejects r
if command -v python3 >/dev/null; then
    texts o >got
    python3 oldboth.py <bloom.jsonl >want
    same "bloom is old-both" got want
else
    skip "no python3 for the model of old-both"
fi
has "its rule" r '"rule":"dedup.bloom"'
rc "bloom, -j4" 0 "$KIJIL" dedup bloom -q -j4 --fpr 1e-9 --expected 1000000 bloom.jsonl -o o4
same "the same bytes" o4 o
printf '%s\n' '{"id":"1","text":"a b c d e f"}' '{"id":"2","text":"a b c d e f g"}' >1.jsonl
sort -r 1.jsonl >2.jsonl
rc "two orders" 0 "$KIJIL" dedup bloom -q --ngram 3 --threshold 0.7 1.jsonl -o o1
rc "two orders" 0 "$KIJIL" dedup bloom -q --ngram 3 --threshold 0.7 2.jsonl -o o2
is "the first one stays" "$(cut -c8 o1)$(cut -c8 o2)" 12
rc "more than expected" 1 "$KIJIL" dedup bloom -q --expected 100 bloom.jsonl -o never.jsonl
has "says how many" err 'there are [0-9]{4,} n-grams'
is "no output" "$(ls never.jsonl* 2>/dev/null)" ""

# ---- in temporary files ----
mkdir -p spill
for j in 1 2; do
    rc "in files, -j$j" 0 env TMPDIR=spill "$KIJIL" dedup -q -j$j --spill always --memory 100M \
        in.jsonl -o outf.jsonl --rejects rejf.jsonl
    same "in files, -j$j: the same bytes" out.jsonl outf.jsonl
    same "in files, -j$j: the same rejects" rej.jsonl rejf.jsonl
done
is "nothing stays behind" "$(ls spill)" ""
awk 'BEGIN { srand(4); for (i = 0; i < 60000; i++)
    printf "{\"id\":\"%d\",\"text\":\"%d\"}\n", i, int(rand() * 20000) }' >many.jsonl
rc "more copies than memory foresaw" 0 "$KIJIL" dedup exact -q -j1 --memory 18M many.jsonl -o o
rc "and without files" 0 "$KIJIL" dedup exact -q -j1 --spill never many.jsonl -o want
same "the same bytes" o want
rc "not at all without files" 1 "$KIJIL" dedup exact -q -j1 --memory 4M --spill never many.jsonl -o o2
if [[ $(id -u) -eq 0 ]] && mount -t tmpfs -o size=1M tmpfs spill 2>err; then
    rc "a full disk" 1 env TMPDIR=spill "$KIJIL" dedup -q -j1 --spill always many.jsonl -o full.jsonl
    has "is named" err 'cannot write spill/.*No space left'
    is "nothing under the final name" "$(ls full.jsonl* 2>/dev/null)" ""
    is "nothing on the full disk" "$(ls spill)" ""
    mount -o remount,size=200M spill
    rc "more space" 0 env TMPDIR=spill "$KIJIL" dedup -q -j1 --spill always in.jsonl -o full.jsonl
    same "and it goes on" full.jsonl out.jsonl
    umount spill
else
    skip "no file system of its own to fill"
fi

# ---- alarm ----
awk 'BEGIN { for (i = 0; i < 300; i++)
    printf "{\"id\":\"%d\",\"text\":\"%s\",\"source\":\"%s\"}\n", i, i % 3 ? i : "same", i % 3 ? "good" : "bad" }' >src.jsonl
rc "alarm" 0 "$KIJIL" dedup exact -q src.jsonl -o o
has "names the source" err 'source "bad" loses 99.0 % of its 100 documents'
is "and no other" "$(grep -c warning err)" 1
rc "no alarm" 0 "$KIJIL" dedup exact -q --alarm 1 src.jsonl -o o
is "is quiet" "$(wc -c <err)" 0

# ---- the report: sources, clusters, copies beside what was kept ----
awk 'function word(n) { return sprintf("%c%c%c", 97 + n / 100, 97 + n / 10 % 10, 97 + n % 10) }
BEGIN { for (i = 0; i < 240; i++) {
    t = "<script>alert(1)</script>"
    for (k = 0; k < 60; k++) t = t " w" word(i % 4 ? k : i) "x" word(k == 30 && i % 4 ? i : k)
    printf "{\"id\":\"r%03d\",\"text\":\"%s\",\"source\":\"%s\"}\n", i, t, i % 4 ? "mirror" : "own" } }' >rep.jsonl
rc "for the report" 0 "$KIJIL" dedup -q -j1 --ngram 2 --alarm 0.9 --ledger rep.db rep.jsonl -o o --rejects r
has "the alarm" err '"mirror" loses 99.4 %'
rc "report" 0 "$KIJIL" report rep.db -o rep.html
rc "report as text" 0 "$KIJIL" report rep.db
has "its alarm" out 'ALARM: deduplication took 99.4 % of the 180 documents of source "mirror" \(more than 90 %\)'
is "one" "$(grep -c ALARM out)" 1
has "the source with an alarm" rep.html 'mirror <span class="badge bad">alarm</span>'
is "one alarm" "$(grep -o 'bad">alarm<' rep.html | wc -l)" 1
has "the largest cluster" rep.html '<b>180</b> documents · cluster [0-9a-f]{16} · dedup.minhash: [^<]*the longest stays'
has "who was kept" rep.html '<td><b>kept</b></td><td class="w">'
has "the removed word is marked" rep.html '<del>wadax[a-z]+</del>'
has "and the kept one" rep.html '<ins>wadax[a-z]+</ins>'
hasnt "texts are no markup" rep.html '<script'
rc "-j4" 0 "$KIJIL" dedup -q -j4 --ngram 2 --ledger rep4.db rep.jsonl -o o
if command -v sqlite3 >/dev/null; then
    sqlite3 rep.db "SELECT * FROM copies ORDER BY cluster, member" >copies1
    sqlite3 rep4.db "SELECT * FROM copies ORDER BY cluster, member" >copies4
    is "the alarm in the ledger" "$(sqlite3 rep.db \
        'SELECT source, docs, removed, alarm FROM dedup_sources WHERE alarm')" "mirror|180|179|1"
    same "the same texts by four threads" copies1 copies4
    is "a few of each cluster" "$(($(wc -l <copies1) > 1 && $(wc -l <copies1) <= 120))" 1
else
    skip "no sqlite3"
fi

# ---- refusals, damage ----
rc "no memory" 1 "$KIJIL" dedup --memory 1M --bands 450 --rows 20 in.jsonl -o never.jsonl
has "says what to do" err 'memory'
is "leaves no output" "$(ls never.jsonl* 2>/dev/null)" ""
rc "bad policy" 2 "$KIJIL" dedup --keep oldest in.jsonl
has "names the policies" err 'longest, first, newest'
rc "bad number" 2 "$KIJIL" dedup --bands 0 in.jsonl
rc "no file" 1 "$KIJIL" dedup missing.jsonl
has "names the file" err 'missing.jsonl'
{ head -n 50 in.jsonl; echo '{"id": broken'; tail -n +51 in.jsonl; } >bad.jsonl
rc "a damaged line" 3 "$KIJIL" dedup -q bad.jsonl -o o
same "costs only itself" o out.jsonl
rc "empty input" 0 "$KIJIL" dedup -q /dev/null -o o
is "gives empty output" "$(wc -c <o)" 0

# ---- real texts, where they are ----
if [[ -e $SHARED/text/en.jsonl.zst ]]; then
    rc "real English" 0 "$KIJIL" dedup -q "$SHARED/text/en.jsonl.zst" -o o --rejects r
    is "pairs at .8 within what the curve allows" $(($(wc -l <r) >= 9 && $(wc -l <r) <= 14)) 1
else
    skip "real texts are not here"
fi
done_testing
