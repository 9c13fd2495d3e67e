#!/bin/bash
# stream.sh - does tokenization keep up with extraction? CPU seconds of each step of
# a pipe from archives to shards, and of `kijil run` with and without its last step.
# usage: [B=build/release] tests/bench/stream.sh [WARC TOKENIZER.json]
# Without arguments: the gold set of pages in ../shared/data, Llama 3's vocabulary.
set -u
cd "$(dirname "$0")/../.." || exit 2
B=${B:-build/release}
data=../shared/data
T=$(mktemp -d)
trap 'rm -rf "$T"' EXIT
make -s "$B/kijil"
K=$PWD/$B/kijil
if [[ $# -ge 2 ]]; then
    warc=$1 tokenizer=$2
elif [[ -e $data/extract/make_warc.py ]] && command -v python3 >/dev/null; then
    zstd -dc $data/extract/wcxb-dev.tar.zst | tar x -C "$T"
    python3 $data/extract/make_warc.py "$T/wcxb-dev" "$T/pages.warc.gz" 2>/dev/null
    zstd -dcq $data/tokenize/llama3.tokenizer.json.zst >"$T/t.json"
    rm -rf "$T/wcxb-dev"
    warc=$T/pages.warc.gz tokenizer=$T/t.json
else
    echo "skip stream: no pages in $data/extract, or no python3"
    exit 0
fi
raw=$(gzip -dc "$warc" | wc -c)
echo '{"id":"a","text":"a"}' >"$T/one.jsonl"
TIMEFORMAT='%U %S'
timed() { # NAME COMMAND... : CPU seconds to $T/NAME.time
    { time "${@:2}" 2>/dev/null; } 2>"$T/$1.time"
}
cpu() { awk '{printf "%.2f", $1 + $2}' "$T/$1.time"; }
row() { # NAME BYTES OF
    awk -v n="$1" -v t="$(cpu "$1")" -v b="$2" -v what="$3" -v raw="$raw" 'BEGIN {
        printf "%-24s %7.2f s   %7.1f MB of %-18s %8.1f MB/s of it  %8.1f MB/s of raw pages\n",
               n, t, b / 1e6, what, b / 1e6 / t, raw / 1e6 / t}'
}

timed loading "$K" tokenize -q -t "$tokenizer" -o "$T/s0" "$T/one.jsonl"
timed extract "$K" extract -q -j1 "$warc" |
    tee >(wc -c >"$T/b1") | timed lid "$K" lid -q -j1 |
    timed filter "$K" filter -q -j1 -r gopher |
    timed dedup "$K" dedup exact -q -j1 |
    tee >(wc -c >"$T/b2") | timed tokenize "$K" tokenize -q -j1 -t "$tokenizer" -o "$T/s1"
sleep 0.2
echo "== a pipe, -j1 each, CPU seconds; raw pages are $((raw / 1000000)) MB"
row extract "$raw" "raw pages"
row lid "$(<"$T/b1")" "documents"
row filter "$(<"$T/b1")" "documents"
row dedup "$(<"$T/b2")" "documents"
row tokenize "$(<"$T/b2")" "documents"
echo "of tokenize, loading the vocabulary: $(cpu loading) s"

printf 'steps:\n  - extract: {}\n  - lid: {}\n  - filter: {recipe: [gopher]}\n  - dedup: {method: exact}\n' >"$T/a.yaml"
{ cat "$T/a.yaml"; echo "  - tokenize: {tokenizer: $tokenizer}"; } >"$T/b.yaml"
for r in a b; do
    timed "run-$r" "$K" run "$T/$r.yaml" -i "$warc" -q -j1 -o "$T/run-$r"
done
echo "== kijil run, -j1: the same steps with their ledger $(cpu run-a) s, and with shards $(cpu run-b) s"
for f in "$T"/s1/shard-*; do
    cmp -s "$f" "$T/run-b/$(basename "$f")" || echo "DIFFERENT: $(basename "$f")"
done
