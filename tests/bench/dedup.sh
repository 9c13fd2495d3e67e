#!/bin/bash
# tests/bench/dedup.sh [FILE.jsonl...] - MB/s of signatures on one core, and of
# the whole command. Without files: generated English-like text. Then the quality
# on real near-duplicates (QUALITY=0: not). Then how time and memory grow with
# the corpus: synthetic documents of about WORDS words of which the copies are
# known, SCALE="100000 1000000" of them, in files within MEMORY (64M).
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
for method in exact minhash substring; do
    for j in 1 2; do
        for f in "$@"; do
            bytes=$(zstd -dcqf "$f" | wc -c)
            TIMEFORMAT='%U %S'
            took=$({ time "$B/kijil" dedup "$method" -q -j$j "$f" -o "$tmp/out"; } 2>&1)
            awk -v m="$method" -v j=$j -v b="$bytes" -v f="$(basename "$f")" \
                '{ printf "kijil dedup %-9s -j%d %7.1f MB/s of CPU time  %s\n",
                          m, j, b / 1e6 / ($1 + $2), f }' <<<"$took"
        done
    done
done

# Quality on real near-duplicates, beside an exact comparison of all pairs:
# Debian's installation guides for two architectures with the copyright files of
# this machine, and the texts of ../shared/data.
make -s "$B/tests/bench/bench_dups_quality"
quality() { # NAME FILE
    "$B/kijil" dedup -q -j1 --alarm 1 "$2" -o "$tmp/out" --rejects "$tmp/gone"
    "$B/tests/bench/bench_dups_quality" "$1" "$2" "$tmp/out" "$tmp/gone"
}
guides() {
    mkdir -p "$tmp/debs" "$tmp/guides"
    (cd "$tmp/debs" && apt-get download installation-guide-amd64 installation-guide-arm64) \
        >/dev/null 2>&1 || return 1
    for deb in "$tmp"/debs/*.deb; do
        dpkg-deb -x "$deb" "$tmp/guides" || return 1
    done
    "$B/kijil" pack "$tmp/guides" --include '*.html' -q -o "$tmp/guides.warc.gz" &&
        "$B/kijil" extract -q "$tmp/guides.warc.gz" -o "$tmp/real.jsonl"
}
if [[ ${QUALITY:-1} == 0 ]]; then
    echo "quality: left out"
elif ! guides; then
    echo "quality: no installation guides to be had"
else
    if command -v jq >/dev/null; then
        for f in /usr/share/doc/*/copyright; do
            jq -Rsc --arg id "$f" '{id: $id, text: .}' <"$f"
        done >>"$tmp/real.jsonl"
    fi
    quality "guides and copyright files" "$tmp/real.jsonl"
fi
for l in ko en; do
    f=../shared/data/text/$l.jsonl.zst
    if [[ ${QUALITY:-1} != 0 && -e $f ]]; then
        zstd -dcqf "$f" >"$tmp/real.jsonl"
        quality "$l" "$tmp/real.jsonl"
    fi
done

# Growth. Found: exact and near copies that went; wrong: others that did. Lines
# "growth DOCUMENTS INPUT_MB WALL_S CPU_S PEAK_MB" are for plot_growth.
make -s "$B/tests/bench/bench_gen_dups"
for n in ${SCALE:-30000 100000}; do
    "$B/tests/bench/bench_gen_dups" "$n" "${WORDS:-60}" >"$tmp/dups"
    "$B/kijil" dedup -j1 --spill always --memory "${MEMORY:-64M}" --progress never "$tmp/dups" \
        -o "$tmp/out" --rejects "$tmp/gone" 2>"$tmp/err"
    tail -n 1 "$tmp/err" | awk -v n="$n" '{ gsub(",", ""); for (i = 2; i <= NF; i++) {
        if ($(i) == "MB" && $(i + 1) == "in") mb = $(i - 1)
        if ($(i) == "s" && $(i + 1) == "wall") wall = $(i - 1)
        if ($(i) == "s" && $(i + 1) == "CPU") cpu = $(i - 1)
        if ($(i) == "MB" && $(i + 1) == "peak") peak = $(i - 1) }
        printf "growth %d %s %s %s %s\n", n, mb, wall, cpu, peak }'
    for kind in exact near far original; do
        printf '%10s of %d %s gone' "$(grep -c "\"kind\":\"$kind\"" "$tmp/gone")" \
            "$(grep -c "\"kind\":\"$kind\"" "$tmp/dups")" "$kind"
    done
    echo
done
