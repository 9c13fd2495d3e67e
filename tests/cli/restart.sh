#!/bin/bash
# restart.sh - writing shards goes on after kills, alone and within kijil run: the
# same bytes, whatever was being written; and what may not be gone on with is not.
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"

RANDOM=5
for i in $(seq 1 3000); do
    echo '{"id":"en-'"$i"'","text":"Document '"$i"' tells of trees, of rivers and of the number '$((i * 7919 % 10007))'. '"$RANDOM$RANDOM"' is another.","source":"s'$((i % 3))'"}'
    [[ $((i % 500)) -eq 0 ]] && echo '{"id":'
    [[ $((i % 5)) -eq 0 ]] && echo '{"id":"ko-'"$i"'","text":"'"$i"'번째 문서는 나무와 강에 대해 말합니다. '"$((i * 31))"'.","language":"ko"}'
done >part
# Lines that cross frames, and frames that are not ours.
for k in $(seq 12); do sed "s/-\([0-9]*\)\"/-\1.$k\"/" part; done >docs.jsonl
zstd -q docs.jsonl -o one.jsonl.zst
split -b 1500001 docs.jsonl piece
for p in piece*; do zstd -qc "$p"; done >frames.jsonl.zst
gzip -c part >tail.jsonl.gz
"$KIJIL" tokenizer train --jsonl part --vocab-size 500 -q -o t.json

shards=("$KIJIL" tokenize -t t.json -q --part-size 20K --shard-tokens 40000)
# Kill until it gets through, each time when it is about to write another state, or
# somewhere; count how often one was taken up.
many() { # DIR ARGUMENTS
    local at
    kills=0 ups=0
    for at in 3:tokenize.state 4:tokenize.state 40 5:tokenize.state 3:tokenize.state 90 7:tokenize.state; do
        [[ -e $1/tokenize.state ]] && ups=$((ups + 1))
        killed "$at" "${shards[@]}" -o "$@" -j$((kills % 3 + 1)) || return
    done
    rc "$1" 3 "${shards[@]}" -o "$@"
}
all_ups=0
for n in megatron.one.jsonl.zst llm.c.frames.jsonl.zst ds.docs.jsonl; do
    in=${n#*.} format=${n%%.*}
    [[ $format == llm ]] && in=${n#llm.c.} format=llm.c
    "${shards[@]}" -o "whole.$n" --format "$format" "$in" tail.jsonl.gz -j1
    many "$n" --format "$format" "$in" tail.jsonl.gz
    rc "$n, $kills kills, $ups states taken up" 0 diff -r "whole.$n" "$n"
    all_ups=$((all_ups + ups))
done
is "states taken up ($all_ups)" $((all_ups >= 12)) 1
rc check 0 "$KIJIL" check -q ds.docs.jsonl

# ---- what a state says, and when it does not hold ----
begun() { # leaves a state in DIR
    rm -rf "$1"
    killed 3:tokenize.state "${shards[@]}" -o "$1" frames.jsonl.zst
    [[ -e $1/tokenize.state && ! -e $1/manifest.jsonl ]] || bad "not killed behind a state"
}
loud() { "$KIJIL" tokenize -t t.json --part-size 20K --shard-tokens 40000 "$@"; }
"${shards[@]}" -o whole frames.jsonl.zst
begun a
rc "goes on" 3 loud -o a frames.jsonl.zst
has "it says so" err 'goes on behind document [0-9]+'
rc "to the same bytes" 0 diff -r whole a
begun a
rc "other options" 3 loud -o a frames.jsonl.zst --no-special
hasnt "other options start over" err 'goes on'
begun a
rc "other input" 3 loud -o a frames.jsonl.zst tail.jsonl.gz
hasnt "other input starts over" err 'goes on'
begun a
touch -d '2001-02-03' frames.jsonl.zst
rc "input touched" 3 loud -o a frames.jsonl.zst
hasnt "input touched: starts over" err 'goes on'
rc "and is whole" 0 diff -r whole a
begun a
rc force 3 loud -o a frames.jsonl.zst --force
hasnt "force starts over" err 'goes on'
for damage in 'truncate -s -1' 'truncate -s 4' 'dd of=a/tokenize.state conv=notrunc bs=1 seek=70 count=3 status=none if=/dev/urandom #'; do
    begun a
    eval "$damage a/tokenize.state"
    rc "damaged state" 3 loud -o a frames.jsonl.zst
    hasnt "damaged state: starts over" err 'goes on'
    rc "damaged state: whole" 0 diff -r whole a
done
begun a
rm a/docs.jsonl.zst.part
rc "part missing" 3 loud -o a frames.jsonl.zst
rc "part missing: whole" 0 diff -r whole a
begun a
rc "a rejects file has all" 3 loud -o a frames.jsonl.zst --rejects r.jsonl
is "rejects" "$(wc -l <r.jsonl)" 72
begun a
rc "locked" 1 flock a "$KIJIL" tokenize -t t.json -o a frames.jsonl.zst
has "locked" err 'another process'

# ---- kijil run ----
command -v sqlite3 >/dev/null || { skip "sqlite3 is not here"; done_testing; }
mkdir site
awk -v dir=site -v n=1500 -v seed=3 -f "$TOP/tests/cli/pages.awk"
"$KIJIL" pack site -o site.warc.gz --base-url https://site.example/ -q
cat >recipe.yaml <<'P'
steps:
  - extract: {format: text}
  - tokenize: {tokenizer: t.json, shard_tokens: 100000}
P
run=("$KIJIL" run recipe.yaml -i site.warc.gz --part-size 60K -q)
books() {
    sqlite3 "$1/run.db" "select s.phase, s.docs_in, s.docs_kept, s.sum_kept from stages s order by 1, s.stage;
        select phase, part, path, hash, docs, text_bytes, sum from outputs where path not like '-' order by 1, 2;
        select count(*), sum(kept) from decisions"
}
rc "run" 0 "${run[@]}" -o r1 -j1
books r1 >want
kills=0 ups=0
# Somewhere, then in the step that writes shards.
for at in 9 60 200 {3,4,3,5,3,6}:tokenize.state; do
    find r2 -name 'tokenize.state-*' 2>/dev/null | grep -q . && ups=$((ups + 1))
    killed "$at" "${run[@]}" -o r2 -j$((kills % 2 + 1)) || break
done
rc "run after $kills kills, $ups states taken up" 0 "${run[@]}" -o r2
books r2 >got
same "the books after $kills kills" want got
for f in r1/shard-* r1/docs.jsonl.zst r1/manifest.jsonl; do
    same "$(basename "$f")" "$f" "r2/$(basename "$f")"
done
is "no state stays" "$(find r1 r2 -name 'tokenize.state*' -o -name '*.part' | wc -l)" 0
is "states taken up ($ups)" $((ups >= 3)) 1
rc "run check" 0 "$KIJIL" check -q r2
done_testing
