#!/bin/bash
# readme.sh - the README's commands as they are written, on small archives: all
# of them work, and its two forms of one job give the same bytes.
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"

mkdir job bin
cd job || exit 2
mkdir crawl
ln -s "$KIJIL" ../bin/kijil
ln -s "$TOP/recipes" recipes
PATH=$T/bin:$PATH
for s in 1 2; do
    mkdir site$s
    awk -v dir=site$s -v n=300 -v seed=$s -f "$TOP/tests/cli/pages.awk"
    rc "pack" 0 kijil pack site$s -q -o crawl/site$s.warc.gz --base-url "https://site$s.example/"
done

# The sh blocks that call kijil, one file each; training is cut short.
awk '/^```sh/ {on = 1; n++; next} /^```/ {on = 0} on {print > ("block" n ".sh")}' "$TOP/README.md"
blocks=0
for b in block*.sh; do
    grep -q '^kijil' "$b" || continue
    ! grep -q -- '--device cuda' "$b" || continue # wants the toolkit, or a GPU
    blocks=$((blocks + 1))
    if ! command -v sqlite3 >/dev/null; then
        skip "no sqlite3 for one line"
        sed -i '/^sqlite3/d' "$b"
    fi
    sed -i 's/^kijil train .*/& --steps 2/' "$b"
    rc "$b as written" 0 bash -euo pipefail "$b"
done
is "blocks found" "$blocks" 2

for f in tokenizer.json manifest.jsonl docs.jsonl.zst shard-00000.bin shard-00000.idx; do
    d=shards/
    [[ $f == tokenizer.json ]] && d=
    same "pipeline and run: $f" "$d$f" "out/$f"
done
has "Korean stays" docs.jsonl '"language":"ko"'
has "English stays" docs.jsonl '"language":"en"'
hasnt "others go" docs.jsonl '"language":"de"'
has "the report" report.html '<svg'
is "a model" "$(ls model/model/model.safetensors)" model/model/model.safetensors

# Every command has its row, and every link leads somewhere.
kijil --help | awk '/^  [a-z]/ {print $1}' | grep -vE '^(help|completion)$' >commands
while read -r c; do
    has "row of $c" "$TOP/README.md" "^\| .kijil .*\b$c\b.* \|"
done <commands
for page in "$TOP"/README.md "$TOP"/CONTRIBUTING.md "$TOP"/docs/*.md "$TOP"/docs/*/*.md; do
    while read -r link; do
        [[ $link == http* || -e $(dirname "$page")/${link%%#*} ]] && ok ||
            bad "${page##*/}: dead link $link"
    done < <(grep -oE '\]\([^)]+\)' "$page" | sed 's/^](//; s/)$//')
done
# Options that the pages name exist, of a command or of a script that trains or measures;
# not those of programs that start it.
kijil completion man man
# shellcheck disable=SC2013
for o in $(cat "$TOP"/README.md "$TOP"/docs/*.md "$TOP"/docs/formats/*.md | grep -vE '^(torchrun|srun) ' |
    grep -oE -- '--[a-z][a-z-]+' | sort -u); do
    grep -qF -- "$(sed 's/-/\\-/g' <<<"$o")" man/*.1 ||
        grep -rqF -- "$o" "$TOP/scripts" "$TOP/tests/bench" && ok || bad "nothing has $o"
done
done_testing
