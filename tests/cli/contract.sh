#!/bin/bash
# contract.sh - what holds for every command: where words go, what the exit
# status says, what happens when the world is not as it should be.
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"

mkdir site
awk -v dir=site -v n=120 -v seed=3 -f "$TOP/tests/cli/pages.awk"
rc "pack" 0 "$KIJIL" pack site -o site.warc.gz -q
rc "extract" 0 "$KIJIL" extract -q site.warc.gz -o docs.jsonl
for i in $(seq 40); do sed "s/\"text\":\"/&$i /;s/\"id\":\"/&$i/" docs.jsonl; done >many.jsonl
rc "tokenizer" 0 "$KIJIL" tokenizer train -q --jsonl --vocab-size 300 docs.jsonl -o t.json

# ---- a full disk is a failure, and says so ----
full() {
    "$KIJIL" "$@" >/dev/full 2>err
    is "full disk: $1 ${2-}" $? 1
    has "full disk: $1 ${2-}" err 'No space left'
}
if [[ -c /dev/full ]]; then
    full --help
    full help run
    full completion bash
    full filter --list
    full plan --keys
    full extract site.warc.gz
    full lid docs.jsonl
    full dedup docs.jsonl
    full cat docs.jsonl
    full tokenizer count --jsonl -t t.json docs.jsonl
    full pack site
    rc "full disk: -o" 1 "$KIJIL" lid docs.jsonl -o /dev/full
    rc "full disk: --rejects" 1 "$KIJIL" lid docs.jsonl --keep ko --rejects /dev/full -o /dev/null
    rc "full disk: --ledger" 1 "$KIJIL" lid docs.jsonl --ledger /dev/full -o /dev/null
fi

# ---- a reader who has enough is no fault, and no noise ----
for c in 'lid many.jsonl' 'cat many.jsonl' 'dedup exact many.jsonl' 'extract many.warc.gz'; do
    [[ -e many.warc.gz ]] || for i in $(seq 20); do cat site.warc.gz; done >many.warc.gz
    # shellcheck disable=SC2086
    { "$KIJIL" $c 2>err; echo $? >status; } | head -n 1 >first
    is "closed pipe: $c" "$(cat status)" 0
    hasnt "closed pipe: $c" err 'fault|cannot'
    is "closed pipe: $c: a line came" "$(wc -l <first)" 1
done
{ "$KIJIL" plan --keys 2>err; echo $? >status; } | true
is "closed pipe: plan" "$(cat status) $(cat err)" "0 "

# ---- what is not there, and what is no file ----
for c in extract lid 'filter -r gopher' dedup 'dedup exact' 'tokenizer encode -t t.json' \
    'tokenize -t t.json -o folder' 'model train -o none'; do
    # shellcheck disable=SC2086
    rc "missing file: $c" 1 "$KIJIL" $c missing.jsonl
    has "missing file: $c" err 'missing.jsonl.*No such file'
    # shellcheck disable=SC2086
    rc "folder: $c" 1 "$KIJIL" $c site
    has "folder: $c" err 'site is a folder'
    is "nothing is left: $c" "$(ls -d none 2>/dev/null)" ""
done
: >empty
for c in extract lid 'filter -r gopher' dedup 'dedup exact' cat; do
    # shellcheck disable=SC2086
    rc "empty input: $c" 0 "$KIJIL" $c empty
    is "empty input: $c" "$(wc -c <out)" 0
done
awk 'BEGIN {printf "{\"text\":\"x\""; for (i = 0; i < 200000; i++) printf ",\"k%d\":1", i; print "}"}' >wide.jsonl
cat docs.jsonl >>wide.jsonl
rc "a line of 200,000 fields" 3 timeout 60 "$KIJIL" lid wide.jsonl
is "costs itself alone" "$(wc -l <out)" 120
rc "to /dev/stderr" 3 "$KIJIL" lid -q wide.jsonl --rejects /dev/stderr
has "to /dev/stderr" err 'input.invalid_json'
rc "no such folder" 1 "$KIJIL" lid docs.jsonl -o none/x.jsonl
has "no such folder" err 'none/x.jsonl'
rc "cat: neither file nor id" 1 "$KIJIL" cat docs.jsonl nothing
has "cat: neither file nor id" err "'nothing'"
rc "report of a folder" 1 "$KIJIL" report site
has "report of a folder" err 'site/run.db'
rc "no recipe of that name" 2 "$KIJIL" filter -r nothing docs.jsonl
has "no recipe of that name" err 'nothing.yaml'

for c in generate eval; do
    rc "no model: $c" 1 "$KIJIL" $c site
    has "no model: $c" err 'site holds no model.*config.json'
done </dev/null

# ---- documents are not taken for text in silence ----
for verb in train encode count; do
    rc "documents as text: $verb" 2 "$KIJIL" tokenizer $verb -t t.json docs.jsonl -o none
    has "documents as text: $verb" err '--jsonl'
done
rc "documents as text, from a pipe" 2 "$KIJIL" tokenizer train -o none <docs.jsonl
rc "documents as text, on purpose" 0 "$KIJIL" tokenizer count -q --lines -t t.json docs.jsonl
rc "no model: -t" 2 "$KIJIL" tokenize -o none docs.jsonl
has "no model: -t" err 'tokenizer train'
rc "no labels" 1 "$KIJIL" model train docs.jsonl -o none
has "no labels" err '--jsonl'
rc "no labels in the field" 1 "$KIJIL" model train --jsonl --label-field mood docs.jsonl -o none
has "no labels in the field" err "'mood'"
is "nothing was written" "$(ls -d none 2>/dev/null)" ""

# ---- options do what they say, or are refused ----
rc "train takes no rejects" 2 "$KIJIL" tokenizer train --rejects r docs.jsonl
has "train takes no rejects" err '--rejects'
rc "--limit" 0 "$KIJIL" lid -q --limit 7 docs.jsonl
is "--limit" "$(wc -l <out)" 7
rc "--dry-run" 0 "$KIJIL" lid --dry-run docs.jsonl
has "--dry-run" out '^max_bytes: 2048'
has "--dry-run: all was read" out '^estimate_from: 120 documents, 100.0 %'
has "--dry-run: documents" out '^estimate_documents: 120$'
"$KIJIL" lid -q docs.jsonl >l
has "--dry-run: the size" out "^estimate_output: $(awk -v n="$(wc -c <l)" 'BEGIN {printf "%.1f", n / 1e6}') MB"
for i in 1 2 3; do cat many.jsonl; done >three.jsonl # 14,400 documents
rc "--dry-run of more" 0 "$KIJIL" lid --dry-run three.jsonl
# A slow build stops after a few batches, and the share is exact to one.
is "--dry-run of more" "$(awk '$1 == "estimate_documents:" {
    print ($2 > 0.6 * 14400 && $2 < 1.6 * 14400) ? "good" : $2}' out)" good
rc "--dry-run of a survey" 0 "$KIJIL" dedup --dry-run docs.jsonl
kept=$("$KIJIL" dedup -q docs.jsonl | wc -l)
has "--dry-run of a survey: kept" out "^estimate_kept: $kept$"
rc "--dry-run of a pipe" 0 "$KIJIL" lid --dry-run <docs.jsonl
has "--dry-run of a pipe" out '^estimate: none'
rc "--dry-run of archives" 0 "$KIJIL" extract --dry-run site.warc.gz
has "--dry-run of archives" out '^estimate_documents: 120$'
rc "-q" 0 "$KIJIL" lid -q docs.jsonl
is "-q" "$(wc -c <err)" 0
rc "closing lines" 0 "$KIJIL" lid --keep ko docs.jsonl
has "closing lines: version, command, documents" err '^kijil [0-9.]+ lid: 120 documents in, [0-9]+ kept'
has "closing lines: rules" err '^  lid.language +[0-9]+$'
has "closing lines: speed" err 'MB/s, .* documents/s; .* s wall, .* s CPU, .* MB peak memory'
rc "--progress json" 0 "$KIJIL" lid -q --progress json docs.jsonl
has "--progress json" err '^\{"command":"lid","share":1.0000,"documents":120,"kept":120,'
rc "--progress plain" 0 "$KIJIL" lid -q --progress plain docs.jsonl
has "--progress plain" err '^kijil lid: 100 % 120 documents'
echo stays >there
rc "--resume" 0 "$KIJIL" lid --resume docs.jsonl -o there
has "--resume: says so" err 'complete already; --force'
is "--resume" "$(cat there)" stays
rc "--resume --force" 0 "$KIJIL" lid -q --resume --force docs.jsonl -o there
is "--resume --force" "$(wc -l <there)" 120
# Files are replaced, as in the shell; folders are not.
for c in "lid docs.jsonl" "cat docs.jsonl" "pack site" "tokenizer count --jsonl -t t.json docs.jsonl"; do
    echo older >there
    # shellcheck disable=SC2086
    rc "a file is replaced: $c" 0 "$KIJIL" $c -o there
    hasnt "a file is replaced: $c" there '^older'
done
rc "shards" 0 "$KIJIL" tokenize -q -t t.json -o shards docs.jsonl
rc "shards are there" 2 "$KIJIL" tokenize -q -t t.json -o shards docs.jsonl
rc "shards are there: --resume" 0 "$KIJIL" tokenize -t t.json -o shards docs.jsonl --resume
has "shards are there: --resume" err 'shards/manifest.jsonl is complete'

# ---- compression: by content on input, by name on output ----
rc "to .zst" 0 "$KIJIL" lid -q docs.jsonl -o l.jsonl.zst
rc "to .gz" 0 "$KIJIL" lid -q docs.jsonl -o l.jsonl.gz
rc "plain" 0 "$KIJIL" lid -q docs.jsonl -o l.jsonl
same ".zst is zstd" <(zstd -dcq l.jsonl.zst) l.jsonl
same ".gz is gzip" <(gzip -dc l.jsonl.gz) l.jsonl
cp l.jsonl.gz named-wrong.zst
rc "by magic bytes" 0 "$KIJIL" cat --bare named-wrong.zst
"$KIJIL" lid -q - <docs.jsonl >l2.jsonl
same "standard input" l.jsonl l2.jsonl

# ---- Ctrl-C: a clean stop, no file that looks whole ----
mkfifo pipe
"$KIJIL" lid -q pipe -o stopped.jsonl 2>err &
pid=$!
exec 9>pipe
cat docs.jsonl >&9
sleep 0.3
kill -INT $pid
cat many.jsonl >&9 2>/dev/null
exec 9>&-
wait $pid
is "Ctrl-C" $? 130
is "Ctrl-C leaves nothing" "$(ls stopped.jsonl* 2>/dev/null)" ""

# Also while a pipe is copied for a survey, and while the corpus is surveyed.
mkdir tmp
TMPDIR=$T/tmp "$KIJIL" dedup pipe -o stopped.jsonl 2>err &
pid=$!
exec 9>pipe
cat docs.jsonl >&9
while kill -0 $pid && ! compgen -G 'tmp/*' >there; do sleep 0.01; done
kill -INT $pid
cat docs.jsonl >&9 2>/dev/null
exec 9>&-
wait $pid
is "Ctrl-C before a survey" $? 130
is "Ctrl-C before a survey leaves nothing" "$(ls stopped.jsonl* tmp/* 2>/dev/null)" ""
has "Ctrl-C before a survey: said" err 'dedup: interrupted; 0 documents in'
for i in $(seq 4); do cat many.jsonl; done >corpus.jsonl
for _ in $(seq 5); do # a larger one, where it was done before it heard
    cat corpus.jsonl corpus.jsonl >doubled
    mv doubled corpus.jsonl
    rm -f stopped.jsonl
    TMPDIR=$T/tmp "$KIJIL" dedup corpus.jsonl -o stopped.jsonl 2>err &
    pid=$!
    while kill -0 $pid 2>/dev/null && ! compgen -G 'tmp/kijil-survey-*' >there; do sleep 0.01; done
    kill -INT $pid 2>/dev/null
    wait $pid
    status=$?
    [[ $status -ne 0 ]] && break
done
is "Ctrl-C in a survey" $status 130
is "Ctrl-C in a survey leaves nothing" "$(ls stopped.jsonl* 2>/dev/null)" ""
has "Ctrl-C in a survey: said" err 'dedup: interrupted; 0 documents in'

# ---- run: folders and their ledgers ----
cat >r.yaml <<'END2'
about: two steps
steps:
  - extract: {}
  - lid: {keep: [ko, en]}
END2
rc "run into one folder" 0 "$KIJIL" run r.yaml -i site.warc.gz -o r1 --ledger both.db -q
rc "and another, same ledger" 0 "$KIJIL" run r.yaml -i site.warc.gz -o r2 --ledger both.db -q
same "the same parts" r1/1-extract/part-00000.jsonl.zst r2/1-extract/part-00000.jsonl.zst
rc "--force" 0 "$KIJIL" run r.yaml -i site.warc.gz -o r1 --ledger both.db -q --force
sed 's/ko, en/ko/' r.yaml >r-ko.yaml
rc "dry run" 0 "$KIJIL" run r.yaml -i site.warc.gz -o r9 --dry-run
has "dry run: the recipe" out '^step: lid'
has "dry run: the steps" out '^estimate_steps: extract lid'
has "dry run: kept" out "^estimate_kept: $(zstd -dcq r1/1-extract/part-*.zst | wc -l)$"
is "dry run: nothing is written" "$(ls -d r9 2>/dev/null)" ""
rc "another recipe" 1 "$KIJIL" run r-ko.yaml -i site.warc.gz -o r1 --ledger both.db -q
has "another recipe" err 'another recipe.*--force'
rc "a model that is not there" 1 "$KIJIL" run <(echo 'steps: [extract, classify: {model: no.bin}]') -i site.warc.gz -o r3
has "a model that is not there" err 'step classify: no.bin'
head -c $(($(stat -c %s site.warc.gz) - 300)) site.warc.gz >cut.warc.gz
rc "damaged input" 3 "$KIJIL" run r.yaml -i cut.warc.gz -o r4 -q
rc "damaged input, complete already" 3 "$KIJIL" run r.yaml -i cut.warc.gz -o r4 -q
rc "run takes no rejects" 2 "$KIJIL" run r.yaml -i site.warc.gz -o r5 --rejects r
if command -v sqlite3 >/dev/null; then
    is "runs in the ledger" "$(sqlite3 both.db 'select count(*) from runs')" 3
    rc "extract with a ledger" 0 "$KIJIL" extract -q --ledger e.db site.warc.gz -o e.jsonl
    is "its input" "$(sqlite3 e.db 'select path from inputs')" site.warc.gz
fi
rc "report of a run's folder" 0 "$KIJIL" report r4
done_testing
