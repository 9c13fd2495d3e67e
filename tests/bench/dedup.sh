#!/bin/bash
# tests/bench/dedup.sh [FILE.jsonl...] - MB/s of signatures on one core, and of
# the whole command. Without files: generated English-like text. Then how time,
# memory and disk grow with the corpus: synthetic documents of which the copies
# are known, SCALE="100000 1000000" of them, in files within MEMORY (64M).
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

# Growth. Found: exact and near copies that went; wrong: others that did.
make -s "$B/tests/bench/bench_gen_dups"
for n in ${SCALE:-30000 100000}; do
    "$B/tests/bench/bench_gen_dups" "$n" >"$tmp/dups"
    "$B/kijil" dedup -j1 --spill always --memory "${MEMORY:-64M}" --progress never "$tmp/dups" \
        -o "$tmp/out" --rejects "$tmp/gone" 2>"$tmp/err"
    printf '%9d documents, %s: %s\n' "$n" "${MEMORY:-64M}" "$(tail -n 1 "$tmp/err")"
    for kind in exact near far original; do
        printf '%10s of %d %s gone' "$(grep -c "\"kind\":\"$kind\"" "$tmp/gone")" \
            "$(grep -c "\"kind\":\"$kind\"" "$tmp/dups")" "$kind"
    done
    echo
done
