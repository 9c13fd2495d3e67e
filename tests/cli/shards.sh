#!/bin/bash
# shards.sh - the forms of shards read by a script of its own, the shuffle, bands,
# and damage to every kind of file.
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
READ=$TOP/tests/cli/shards_read.py

for i in $(seq 1 150); do
    echo '{"id":"en-'"$i"'","text":"Document '"$i"' tells of trees and the number '$((i * 7))'.",' \
        '"source":"web","language":"en","url":"http://x/'"$i"'","edu_score":'$((i % 5)).5'}'
    echo '{"id":"ko-'"$i"'","text":"'"$i"'번째 문서는 나무와 강에 대해 말합니다.",' \
        '"language":"ko","grade":"high","cluster":{"id":"a","size":'$((i % 9 + 2))'}}'
done >docs.jsonl
"$KIJIL" tokenizer train --jsonl docs.jsonl --vocab-size 400 -q -o t.json
jq '.model.vocab["zzzz"] = 65499' t.json >wide.json
"$KIJIL" tokenizer encode -t t.json --jsonl docs.jsonl -q | jq -r '.ids + [1] | join(" ")' >ids
paste -d' ' <(jq -r .id docs.jsonl) ids >want

# ---- every form and width holds the same tokens, by the published layouts ----
for format in megatron llm.c ds; do
    for t in t wide; do
        rc "$format $t" 0 "$KIJIL" tokenize -t $t.json -o s docs.jsonl -q --force \
            --format $format --shard-tokens 1500 --band edu_score
        rc "$format $t read" 0 python3 "$READ" s
        same "$format $t tokens" out want
        rc "$format $t check" 0 "$KIJIL" check s
        n=$(wc -l <s/manifest.jsonl)
        [[ $n -ge 3 ]] && ok || bad "only $n shards"
    done
    # A form leaves no file of another behind: folders are equal when made anew.
    "$KIJIL" tokenize -t wide.json -o "fresh.$format" docs.jsonl -q -j3 \
        --format $format --shard-tokens 1500 --band edu_score
    rc "$format again" 0 diff -r s "fresh.$format"
done
rc llm.c-limit 2 "$KIJIL" tokenize -t t.json -o x docs.jsonl --format llm.c --shard-tokens 3000000000
has llm.c-limit err 'at most 2147483647'

# ---- bands and what the rows tell ----
bands() { jq -rs '[.[].counts[] | select(.source == "web").band] | unique | join(" ")' "$1/manifest.jsonl"; }
is "bands by whole part" "$(bands s)" "0 1 2 3 4"
"$KIJIL" tokenize -t t.json -o b docs.jsonl -q --band edu_score --band-cuts 2,4.5
is "bands by cuts" "$(bands b)" "0 1 2"
is "documents in a band" "$(jq '[.counts[] | select(.source == "web" and .band == "1").documents] | add' b/manifest.jsonl)" 60
"$KIJIL" tokenize -t t.json -o g docs.jsonl -q --band grade
is "band by text" "$(jq -r '[.counts[] | .band] | join(" ")' g/manifest.jsonl)" "high "
rc cuts 2 "$KIJIL" tokenize -t t.json -o x docs.jsonl --band edu_score --band-cuts 3,2
rc cuts-of-nothing 2 "$KIJIL" tokenize -t t.json -o x docs.jsonl --band-cuts 3
is "keys" "$(jq -r 'keys | join(" ")' b/manifest.jsonl)" \
    "bytes config_hash counts docs_hash docs_offset documents dtype eos first_id format hash index index_bytes index_hash last_id parents path row_hash seed tokenizer tokenizer_hash tokens tool vocab_size"
is "cluster" "$(zstd -dc b/docs.jsonl.zst | jq -s 'map(.cluster // 0) | add')" "$(jq -s 'map(.cluster.size // 0) | add' docs.jsonl)"
# Parents: sums over the documents, so those of the parts make that of the whole.
hex() { jq -r '.parents[0] | ltrimstr("documents:")' "$1/manifest.jsonl"; }
sum=0
for h in $(hex s); do sum=$((sum + 0x$h)); done
is "parents" "$(printf %016x $sum)" "$(hex b)"

# ---- the shuffle ----
sh() { "$KIJIL" tokenize -t t.json -q --shuffle "$@"; }
sh 7 -o s7 docs.jsonl --shard-tokens 1500 -j1
python3 "$READ" s7 >got
is "the same documents" "$(sort got | cksum)" "$(sort want | cksum)"
differ "the shuffle moves" got want
rc shuffled-check 0 "$KIJIL" check s7
sh 7 -o s7j docs.jsonl --shard-tokens 1500 -j4
rc "any -j" 0 diff -r s7 s7j
# Documents enough for several runs in the file: the order is that of much memory.
for k in 1 2 3 4 5 6 7 8 9; do
    jq -c '.id += "-'$k'" | .text += " " + .text + " " + .text + " '"$(seq -s' ' 400)"'"' docs.jsonl
done >many.jsonl
sh 3 -o big many.jsonl
sh 3 -o small many.jsonl --memory 1M -j2
rc "any memory" 0 diff -r big small
shuf --random-source=<(yes) many.jsonl >other.jsonl
sh 3 -o moved other.jsonl
rc "any order of the input" 0 diff -r big moved
sh 4 -o four many.jsonl
[[ $(diff -r big four >/dev/null; echo $?) -eq 1 ]] && ok || bad "seeds give one order"
is "seed" "$(jq .seed four/manifest.jsonl) $(jq .seed b/manifest.jsonl)" "4 null"
# No first half of the input stays in the first half of the output.
python3 "$READ" big >got
half=$(head -n 1350 got | grep -cE "^(en|ko)-[0-9]+-[1-4] ")
[[ $half -gt 500 && $half -lt 700 ]] && ok || bad "$half of 1350 documents from the first 4 of 9"
is "no temporary file" "$(find big small -name '*sort*' | wc -l)" 0

# ---- killed at any moment: no manifest, or a whole one; again gives the same ----
for i in 1 7 18 40 60 2:manifest; do
    rm -rf kill
    killed "$i" "$KIJIL" tokenize -t t.json -q -o kill many.jsonl \
        --shard-tokens 20000 --shuffle 3 --memory 1M
    [[ ! -e kill/manifest.jsonl ]] || "$KIJIL" check -q kill || bad "a manifest before its shards"
    rc "again $i" 0 "$KIJIL" tokenize -t t.json -q -o kill many.jsonl --shard-tokens 20000 \
        --shuffle 3 --force -j$((kills % 3 + 1))
    [[ -d whole ]] || cp -r kill whole
    rc "killed $i, the same bytes" 0 diff -r kill whole
done
is "killed" $kills 6

# ---- trace: every document of a shuffled set, from its first and last token ----
jq -c '.warc = {file: "a.warc.gz", offset: (.id | length * 100), length: 9}' docs.jsonl >warc.jsonl
for format in megatron llm.c ds; do
    "$KIJIL" tokenize -t t.json -o tr warc.jsonl -q --force --format $format --shuffle 2 \
        --shard-tokens 1500
    zstd -dc tr/docs.jsonl.zst >lines
    jq -rs --slurpfile m tr/manifest.jsonl '.[] | "tr/" + $m[.shard].path + ":" +
        ((.first, .first + .tokens - 1) | tostring)' lines >places
    xargs "$KIJIL" trace --json <places >got
    is "$format by shard" "$(jq -c .document got | cksum)" "$(sed p lines | cksum)"
    is "$format places" "$(jq -r '"\(.shard):\(.token)"' got | cksum)" "$(cksum <places)"
    # Numbers in the whole set.
    awk '{print "tr:" n + 0; n += $1}' <(jq .tokens lines) >places
    xargs "$KIJIL" trace --json <places >got
    is "$format by set" "$(jq -c .document got | cksum)" "$(cksum <lines)"
    for id in en-1 ko-150 en-77; do
        rc "$format $id" 0 "$KIJIL" trace --doc $id tr --json
        is "$format $id" "$(jq -c .document out)" "$(grep -F "\"$id\"" lines)"
    done
done
rc trace.text 0 "$KIJIL" trace tr/shard-00001.ds:0
has trace.text out '^archive   a.warc.gz, offset [45]00, length 9$'
has trace.token out '^token     0 of tr/shard-00001.ds: 0 of the document.s [0-9]+$'
rc trace.beyond 1 "$KIJIL" trace tr/shard-00001.ds:1501
has trace.beyond err 'shard-00001.ds has [0-9]+ tokens'
rc trace.none 1 "$KIJIL" trace --doc en-1000 tr
rc trace.other 1 "$KIJIL" trace tr/shard-00099.ds:0
rc trace.usage 2 "$KIJIL" trace tr
rc trace.number 2 "$KIJIL" trace tr:x1
"$KIJIL" mix <(printf 'mix: [{name: a, share: 1, language: ko}]\nepochs: 2\n') tr -q -o tro
rc trace.order 0 "$KIJIL" trace tro:0 tro:100 tro:1000 --json
is "tokens of an order are Korean" "$(jq -r .document.language out | tr '\n' ' ')" "ko ko ko "

# ---- from a token to the bytes of its record in the archive ----
mkdir -p site/x
for i in 1 2 3; do
    printf '<html><body><h1>Page %s</h1>%s</body></html>' $i \
        "$(for _ in 1 2 3 4; do echo "<p>The river number $i flows past the old mill and the tall trees, as it always has.</p>"; done)" \
        >site/x/p$i.html
done
"$KIJIL" pack site -q -o site.warc.gz
"$KIJIL" extract -q site.warc.gz | "$KIJIL" tokenize -t t.json -q -o site-shards
"$KIJIL" trace site-shards:0 site-shards:150 --json >out
is "documents of an archive" "$(wc -l <out)" 2
while read -r offset length id; do
    tail -c +$((offset + 1)) site.warc.gz | head -c "$length" | zcat >record
    has "the record of $id" record "^WARC-Record-ID: $id"
done < <(jq -r '.document | "\(.warc.offset) \(.warc.length) \(.id)"' out)

# ---- one altered bit, or an end cut off: check names the file ----
flip() { # FILE OFFSET: the byte's lowest bit
    local b
    b=$(od -An -tu1 -j"$2" -N1 "$1" | tr -d ' ')
    printf "\\x$(printf %x $((b ^ 1)))" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}
for format in megatron llm.c ds; do
    rm -rf good
    "$KIJIL" tokenize -t t.json -o good docs.jsonl -q --format $format --shard-tokens 4000
    for f in good/*; do
        f=${f#good/}
        size=$(wc -c <"good/$f")
        for how in first middle last cut; do
            rm -rf c
            cp -r good c
            case $how in
            first) flip "c/$f" 0 ;;
            middle) flip "c/$f" $((size / 2)) ;;
            last) flip "c/$f" $((size - 1)) ;;
            cut) truncate -s $((size - 1)) "c/$f" ;;
            esac
            rc "$format $f $how" 1 "$KIJIL" check c -q
            has "$format $f $how is named" err "c/$f"
        done
    done
    rc "$format good" 0 "$KIJIL" check good
done
done_testing
