#!/bin/bash
# tests/bench/dedup.sh [FILE.jsonl...] - MB/s of signatures on one core, and of
# the whole command. Without files: generated English-like text.
set -eu
cd "$(dirname "$0")/../.."
B=${B:-build/release}
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
if [[ $# -eq 0 ]]; then
    awk 'BEGIN {
        srand(1)
        for (i = 0; i < 20000; i++) {
            words[i] = ""
            for (n = 2 + int(rand() * 9); n > 0; n--)
                words[i] = words[i] substr("etaoinshrdlucmfw", 1 + int(rand() * 16), 1)
        }
        for (i = 0; i < 4000; i++) {
            printf "{\"id\":\"%d\",\"text\":\"", i
            if (i % 4 || !i) {
                t = ""
                for (n = 100 + int(rand() * 1500); n > 0; n--)
                    t = t words[int(rand() * rand() * 20000)] (n % 12 ? " " : ". ")
            }
            print t "\"}"
        }
    }' >"$tmp/text.jsonl"
    set -- "$tmp/text.jsonl"
fi
make -s "$B/tests/bench/bench_dedup" "$B/kijil"
"$B/tests/bench/bench_dedup" "$@"
# The whole command, all of its readings included.
for method in exact minhash; do
    for j in 1 2; do
        for f in "$@"; do
            bytes=$(zstd -dcqf "$f" | wc -c)
            TIMEFORMAT='%U %S'
            took=$({ time "$B/kijil" dedup "$method" -q -j$j "$f" -o "$tmp/out"; } 2>&1)
            awk -v m="$method" -v j=$j -v b="$bytes" -v f="$(basename "$f")" \
                '{ printf "kijil dedup %-8s -j%d %7.1f MB/s of CPU time  %s\n",
                          m, j, b / 1e6 / ($1 + $2), f }' <<<"$took"
        done
    done
done
