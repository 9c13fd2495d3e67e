#!/bin/bash
# inputs.sh - what people hand over by mistake: files that are not there, of another
# kind, empty, damaged; an output that is an input. Each is told, with name, place and
# reason, before any harm is done.
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"

for i in 1 2 3 4 5 6; do
    printf '{"id":"d%d","text":"The %d. document is about winnowing.","url":"http://a.example/%d"}\n' \
        "$i" "$i" "$((i / 2))"
done >docs.jsonl
cp docs.jsonl kept.jsonl
"$KIJIL" pack "$TOP/recipes" --include '*.yaml' -o a.warc.gz -q

# ---- all inputs are looked at before the first is read ----
rc "the last of many is missing" 1 "$KIJIL" lid docs.jsonl docs.jsonl missing.jsonl
has "the last of many is missing" err 'missing.jsonl: No such file'
is "nothing was written" "$(wc -c <out)" 0
rc "extract, too" 1 "$KIJIL" extract a.warc.gz missing.warc.gz
is "extract wrote nothing" "$(wc -c <out)" 0
rc "a folder" 1 "$KIJIL" lid docs.jsonl "$TOP/recipes"
has "a folder" err 'is a folder; name its files: .*recipes/\*'
rc "standard input twice" 2 "$KIJIL" lid - - <docs.jsonl
has "standard input twice" err 'named twice'

rc "an address" 1 "$KIJIL" extract https://a.example/x.warc.gz
has "an address" err "addresses are not fetched; curl -sfL 'https://a.example/x.warc.gz'"
head -n 1 docs.jsonl >bench.jsonl
: >none.jsonl
rc "one of two benchmarks is empty" 1 "$KIJIL" decontaminate -b bench.jsonl,none.jsonl docs.jsonl
has "one of two benchmarks is empty" err 'none.jsonl: there is no item in it'

# ---- an output that is an input, or another output ----
rc "-o is the input" 2 "$KIJIL" lid docs.jsonl -o docs.jsonl --limit 1
has "-o is the input" err '--output is an input too \(docs.jsonl\)'
ln -s docs.jsonl link.jsonl
rc "by another name" 2 "$KIJIL" lid docs.jsonl -o link.jsonl
rc "--rejects is the input" 2 "$KIJIL" lid docs.jsonl --keep ko --rejects docs.jsonl
rc "--ledger is the input" 2 "$KIJIL" lid docs.jsonl --ledger docs.jsonl
# Without the check this one reads what it writes until the disk is full.
timeout 20 "$KIJIL" lid docs.jsonl >>docs.jsonl 2>err
is ">> the input" $? 2
timeout 20 "$KIJIL" lid <docs.jsonl >>docs.jsonl 2>err
is ">> the input, from standard input" $? 2
has ">> the input" err 'standard output is an input too'
same "the input is as it was" docs.jsonl kept.jsonl
rc "-o is --rejects" 2 "$KIJIL" lid docs.jsonl -o x.jsonl --rejects x.jsonl
has "-o is --rejects" err '--output and --rejects are the same file, x.jsonl'
is "no such file came" "$(ls x.jsonl* 2>/dev/null)" ""
rc "devices may be both" 0 "$KIJIL" lid -q docs.jsonl -o /dev/null --rejects /dev/null

# ---- files of other kinds ----
rc "an archive" 1 "$KIJIL" lid a.warc.gz
has "an archive" err 'a.warc.gz is a WARC archive; kijil extract'
printf 'PAR1\025\004\025\n\000\001PAR1' >x.parquet
rc "Parquet" 1 "$KIJIL" dedup x.parquet
has "Parquet" err 'x.parquet is Parquet'
{ echo '[' && sed 's/$/,/' docs.jsonl && echo '{}]'; } >array.json
rc "a JSON array" 1 "$KIJIL" lid array.json
has "a JSON array" err "a JSON array.*jq -c '\.\[\]'"
printf '{\n "text": "x"\n}\n' >pretty.json
rc "one object over several lines" 1 "$KIJIL" lid - <pretty.json
has "one object over several lines" err 'standard input is JSON over several lines'
rc "JSONL to extract" 3 "$KIJIL" extract docs.jsonl
has "JSONL to extract" err 'docs.jsonl at 0: no WARC or ARC record.*JSONL'

# ---- damage is named, with and without --rejects ----
{ head -n 2 docs.jsonl && echo '{"text":"cut' && echo && echo 7 && tail -n 4 docs.jsonl; } >bad.jsonl
rc "damaged lines" 3 "$KIJIL" lid bad.jsonl
has "their number" err '^2 damaged inputs were stepped over; --rejects FILE keeps them:'
has "place and reason" err '^  bad.jsonl at [0-9]+: line 3: invalid JSON'
has "of each" err '^  bad.jsonl at [0-9]+: line 5: .*not an object'
hasnt "all were named" err 'more$'
rc "with --rejects" 3 "$KIJIL" lid bad.jsonl --rejects r.jsonl
has "with --rejects" err 'stepped over; r.jsonl has them:'
rc "quiet" 3 "$KIJIL" lid -q bad.jsonl
is "quiet" "$(wc -c <err)" 0
for i in $(seq 9); do echo "no$i"; done >no.jsonl
rc "many" 3 "$KIJIL" lid no.jsonl
has "many" err '^  and 6 more'
printf '{"text":"\033]0;x\007"\n' >esc.jsonl
printf 'a\033[31m' | cat - docs.jsonl >"$(printf 'n\033[31m.jsonl')"
rc "names that a terminal would obey" 3 "$KIJIL" lid "$(printf 'n\033[31m.jsonl')"
hasnt "names that a terminal would obey" err "$(printf '\033')"

# ---- documents whose text is in another field do not pass as empty ones ----
sed 's/"text"/"content"/' docs.jsonl >other.jsonl
rc "no field text" 3 "$KIJIL" lid other.jsonl --rejects r.jsonl
is "none is kept" "$(wc -l <out)" 0
has "what it may be called" err "no field \"text\"; if it is \"content\": jq -c '.text = .content'"
is "rejects have them whole" "$(jq -r '.text, .drop.rule, (.content | length)' r.jsonl | sort | uniq -c |
    awk '{$1 = $1; print}' | tr '\n' ';')" "6 35;6 input.no_text;6 null;"
jq -c '.text = .content | del(.drop)' r.jsonl | "$KIJIL" lid -q >mended.jsonl
is "and mended they go in" "$(wc -l <mended.jsonl)" 6
echo '{"id":"n","text":null}' | "$KIJIL" lid -q >null.jsonl
is "a text that is null is an empty one" "$(jq -r .text null.jsonl)" ""
is "and is kept" "$(wc -l <null.jsonl)" 1
jq -c 'del(.text)' docs.jsonl >urls.jsonl
rc "addresses alone" 0 "$KIJIL" urls --respect robots urls.jsonl
is "stay without text" "$(jq -c 'has("text")' out | sort -u)" false
rc "one of each address" 0 "$KIJIL" dedup exact --key url urls.jsonl
is "one of each address" "$(wc -l <out)" 4
rc "the same in steps" 0 "$KIJIL" dedup exact --key url --work w urls.jsonl -o w.jsonl
rc "near copies need a text" 3 "$KIJIL" dedup urls.jsonl

# ---- nothing in them ----
: >empty.warc.gz
rc "a file of no bytes" 0 "$KIJIL" extract a.warc.gz empty.warc.gz
has "a file of no bytes" err 'warning: 1 of 2 input files has 0 bytes: empty.warc.gz'
rc "no documents" 0 "$KIJIL" lid /dev/null
has "no documents" err '0 documents in, 0 kept: the input was empty'
rc "sizes in messages" 2 "$KIJIL" lid --memory 1K docs.jsonl
has "sizes in messages" err '--memory takes a size of at least 1M \(like 4G\), not .1K.'

# ---- what two patterns of a run match is one file ----
printf 'steps:\n  - extract: {}\n' >extract.yaml
mkdir page && echo '<html><body><p>A page about winnowing grain in the wind.</p></body></html>' >page/p.html
"$KIJIL" pack page -o b.warc.gz -q
rc "run" 0 "$KIJIL" run -q extract.yaml -i '*b.warc.gz' -o one
rc "run, two patterns" 0 "$KIJIL" run -q extract.yaml -i 'b*.gz,b.warc*' b.warc.gz -o two
same "the same documents" one/1-extract/part-00000.jsonl.zst two/1-extract/part-00000.jsonl.zst
is "once" "$(zstd -dc two/1-extract/part-00000.jsonl.zst | wc -l)" 1
rc "run of a pattern with a folder" 1 "$KIJIL" run -q extract.yaml -i 'b*.gz,page' -o three
has "run of a pattern with a folder" err 'page is a folder'
is "no run was begun" "$(ls -d three 2>/dev/null)" ""

done_testing
