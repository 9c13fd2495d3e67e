#!/bin/bash
# tests/bench/decontam.sh [PAGES.jsonl[.zst] BENCH.jsonl...] - how many planted items
# `kijil decontaminate` finds, how many clean pages it drops, and how fast it is on
# one core. Without files: those of ../shared/data, where it exists.
set -eu
cd "$(dirname "$0")/../.."
B=${B:-build/release}
make -s "$B/kijil"
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
if [[ $# -eq 0 && -d ../shared/data/eval ]]; then
    for f in ../shared/data/text/{en,ko}.jsonl.zst; do zstd -dcq "$f"; done >"$tmp/pages"
    set -- "$tmp/pages" ../shared/data/eval/*.jsonl
fi
if [[ $# -lt 2 ]]; then
    echo 'no ../shared/data: give PAGES.jsonl BENCH.jsonl...'
    exit
fi
zstd -dcqf "$1" >"$tmp/clean.jsonl"
shift
b=$(IFS=,; echo "$*")
python3 tests/bench/decontam_plant.py make "$tmp/clean.jsonl" "$tmp/leaks.jsonl" "$@"
"$B/kijil" decontaminate -q -b "$b" --mark "$tmp/leaks.jsonl" -o "$tmp/marked.jsonl"
python3 tests/bench/decontam_plant.py score "$tmp/marked.jsonl" "$@"
"$B/kijil" decontaminate -q -j1 -b "$b" "$tmp/clean.jsonl" --rejects "$tmp/rej.jsonl" -o "$tmp/left.jsonl"
docs=$(wc -l <"$tmp/clean.jsonl")
echo "clean: $(wc -l <"$tmp/rej.jsonl") of $docs pages dropped"
for stage in "decontaminate -b $b" 'filter --set gopher.max_words=off'; do
    # shellcheck disable=SC2086
    TIMEFORMAT='%U %S'; t=$({ time "$B/kijil" $stage -q -j1 "$tmp/clean.jsonl" -o "$tmp/x.jsonl"; } 2>&1)
    echo "$t" | awk -v n="$docs" -v b="$(wc -c <"$tmp/clean.jsonl")" -v what="${stage%% *}" \
        '{ s = $1 + $2; printf "%s -j1: %.0f documents/s, %.1f MB/s of CPU time\n", what, n / s, b / s / 1e6 }'
    rm -f "$tmp/x.jsonl"
done
