#!/bin/bash
# kijil dedup substring: passages that stand twice go once, whatever the order,
# threads, shards and memory.
. "$(dirname "$0")/lib.sh"

# 400 documents of random words; every third holds a passage of an earlier one.
awk 'BEGIN { srand(9)
    for (i = 0; i < 400; i++) {
        t = ""
        for (k = 20 + int(rand() * 300); k > 0; k--) {
            if (i % 3 == 2 && rand() < .005) {
                e = text[int(rand() * i)]
                t = t substr(e, 1 + int(rand() * length(e) / 2), 100 + int(rand() * 900))
            }
            t = t "w" int(rand() * 90000) (rand() < .1 ? ". " : " ")
        }
        text[i] = t
        printf "{\"id\":\"d%03d\",\"text\":\"%s\"}\n", i, t
    } }' >in.jsonl

opt=(dedup substring -q --min-bytes 60)
rc "substring" 0 "$KIJIL" "${opt[@]}" -j1 in.jsonl -o out.jsonl --rejects rej.jsonl
has "tells what went, and where it stands" out.jsonl \
    '"substring":\{"removed_bytes":[0-9]+,"spans":\[\{"at":[0-9]+,"bytes":[0-9]+,"keeper":"d[0-9]{3}","offset":[0-9]+\}'
has "and its share" out.jsonl '"dedup.cut":0\.[0-9]'

# ---- against the definition, in Python ----
cat >naive.py <<'PY'
import json, sys
L = int(sys.argv[2])
docs = [json.loads(l) for l in open(sys.argv[1])]
docs.sort(key=lambda d: (-len(d["text"]), d["id"]))
first, left = {}, {}
for n, d in enumerate(docs):
    t = d["text"]
    gone = bytearray(len(t))
    for i in range(len(t) - L + 1):
        at = first.setdefault(t[i : i + L], (n, i))
        if at != (n, i) and (at[0] != n or i - at[1] >= L):
            gone[i : i + L] = b"\1" * L
    left[d["id"]] = "".join(c for c, g in zip(t, gone) if not g)
for i in sorted(left):
    if left[i].strip():
        print(i, left[i])
PY
cat >spans.py <<'PY'
# every span is where it says, and so is its copy
import json, sys
was = {d["id"]: d["text"] for d in map(json.loads, open(sys.argv[1]))}
spans = 0
for d in map(json.loads, open(sys.argv[2])):
    s = d.get("substring")
    if not s:
        assert d["text"] == was[d["id"]]
        continue
    t, left, end = was[d["id"]], "", 0
    for p in s["spans"]:
        a, n, k = p["at"], p["bytes"], p["offset"]
        assert t[a : a + n] == was[p["keeper"]][k : k + n] and a >= end, p
        left, end, spans = left + t[end:a], a + n, spans + 1
    assert left + t[end:] == d["text"] and len(t) - len(d["text"]) == s["removed_bytes"]
print(spans)
PY
if command -v python3 >/dev/null; then
    python3 naive.py in.jsonl 60 >want
    sed 's/^{"id":"\([^"]*\)","text":"\([^"]*\)".*/\1 \2/' out.jsonl | sort >got
    same "what stays is what the definition leaves" got want
    rc "spans" 0 python3 spans.py in.jsonl out.jsonl
    is "there are many" "$(($(cat out) > 40))" 1
else
    skip "no python3 for the definition"
fi

# ---- the same bytes ----
for j in 2 4; do
    rc "-j$j" 0 "$KIJIL" "${opt[@]}" -j$j in.jsonl -o outj.jsonl --rejects rejj.jsonl
    same "-j$j gives the same bytes" outj.jsonl out.jsonl
done
rc "a pipe" 0 bash -c "cat in.jsonl | '$KIJIL' ${opt[*]} >outp.jsonl"
same "a pipe gives the same bytes" outp.jsonl out.jsonl
rc "little memory" 0 "$KIJIL" "${opt[@]}" -j1 --memory 40M in.jsonl -o outm.jsonl
same "in runs, the same bytes" outm.jsonl out.jsonl
sort out.jsonl >whole
shuf --random-source=in.jsonl in.jsonl >mixed.jsonl
rc "another order" 0 "$KIJIL" "${opt[@]}" mixed.jsonl -o o
same "the input's order does not matter" <(sort o) whole
for i in 0 1 2; do
    rc "shard $i" 0 "$KIJIL" "${opt[@]}" --shard $i/3 in.jsonl -o shard$i.jsonl
done
same "shards together are the whole" <(sort shard?.jsonl) whole
rc "again" 0 "$KIJIL" "${opt[@]}" --min-bytes 200 out.jsonl -o o

# ---- what becomes too short; who keeps ----
printf '%s\n' '{"id":"1","text":"the same forty letters of text are here. And this.","n":1}' \
    '{"id":"2","text":"the same forty letters of text are here. And tha","n":2}' >two.jsonl
rc "min-left" 0 "$KIJIL" dedup substring -q --min-bytes 40 --min-left 10 two.jsonl -o o --rejects r
is "the longer one stays whole" "$(cut -c1-9 o)" '{"id":"1"'
has "the other is out" r '"rule":"dedup.substring","value":1,"threshold":10'
has "with its text as it was" r '"text":"the same forty'
rc "keep" 0 "$KIJIL" dedup substring -q --min-bytes 40 --keep best=n two.jsonl -o o
has "the better one stays whole" o '"id":"2","text":"the same.*And tha",'
has "the other keeps the rest" o '"id":"1","text":"is\.",'
rc "sentences" 0 "$KIJIL" dedup substring -q --min-bytes 40 --cut sentence two.jsonl -o o
has "whole sentences go" o '"id":"2","text":"And tha"'
rc "words" 0 "$KIJIL" dedup substring -q --min-words 8 two.jsonl -o o
has "whole words go" o '"id":"2","text":"tha"'

# ---- ledger, run, refusals, damage ----
rc "ledger" 0 "$KIJIL" dedup substring -q --min-bytes 40 --min-left 10 --ledger l.db two.jsonl -o o
if command -v sqlite3 >/dev/null; then
    is "the ledger says why" "$(sqlite3 l.db "SELECT rule, value, op, threshold FROM why WHERE id = '2'")" \
        'dedup.substring|1.0|<|10.0'
    is "and where the copies are" "$(sqlite3 l.db "SELECT id, at, p.bytes, keeper, p.offset FROM passages p
        JOIN documents USING (doc)")" '2|0|47|1|0'
else
    skip "no sqlite3"
fi
mkdir pages
grep -o '"text":"[^"]*"' in.jsonl | cut -d'"' -f4 | head -n 90 |
    awk '{ printf "<html><body><article><h1>Page</h1><p>%s</p></article></body></html>", $0 >"pages/" NR ".html" }'
"$KIJIL" pack -q pages -o pages.warc.gz 2>err
printf 'about: passages\nsteps:\n  - extract: {}\n  - dedup: {method: substring, min_bytes: 60}\n' >s.yaml
rc "kijil run" 0 "$KIJIL" run s.yaml -i pages.warc.gz -o ran --quiet
zstd -dcq ran/2-dedup/part-*.zst | grep -o '"text":.*' | sort >got
"$KIJIL" extract -q pages.warc.gz | "$KIJIL" dedup substring -q --min-bytes 60 | grep -o '"text":.*' | sort >want
same "run gives the same documents" got want
has "with passages cut" got '"removed_bytes":[0-9]{3}'
rc "too short" 2 "$KIJIL" dedup substring --min-bytes 2 in.jsonl
rc "no steps" 2 "$KIJIL" dedup substring -q --work w in.jsonl -o o
{ head -n 50 in.jsonl; echo '{"id": broken'; tail -n +51 in.jsonl; } >bad.jsonl
rc "a damaged line" 3 "$KIJIL" "${opt[@]}" bad.jsonl -o o
same "costs only itself" o out.jsonl
rc "empty input" 0 "$KIJIL" dedup substring -q /dev/null -o o
is "gives empty output" "$(wc -c <o)" 0

# ---- a play within a collection ----
if [[ -e $SHARED/text/en.jsonl.zst ]] && command -v jq >/dev/null; then
    zstd -dc "$SHARED/text/en.jsonl.zst" | grep shakespeare >plays.jsonl
    rc "plays" 0 "$KIJIL" dedup substring -q plays.jsonl -o o
    cut_of() { jq -r "select(.id | test(\"$1\")) | .substring.removed_bytes // 0" o | sort -rn | head -n 1; }
    is "the play that stands twice goes" "$(($(cut_of r_and_j) > 130000))" 1
    is "the others stay" "$(jq -r 'select(.substring) | .id' o | wc -l)" 1
else
    skip "real texts are not here"
fi
done_testing
