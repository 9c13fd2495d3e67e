#!/bin/bash
# tests/bench/filter.sh [FILE.jsonl...] - MB/s of JSONL through `kijil filter` on
# one core, reading and writing included, with every signal measured. Without
# files: generated texts, English-like and Korean-like.
set -eu
cd "$(dirname "$0")/../.."
B=${B:-build/release}
make -s "$B/kijil"
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
if [[ $# -eq 0 ]]; then
    for lang in 'en:e t a o i n s h r d l u c m f w' \
        'ko:가 나 다 라 마 바 사 아 자 차 의 은 를 에 서 고'; do
        awk -v parts="${lang#*:}" 'BEGIN {
            srand(1)
            n = split(parts, part, " ")
            for (i = 0; i < 20000; i++)
                for (k = 1 + int(rand() * 7); k >= 0; k--)
                    words[i] = words[i] part[1 + int(rand() * n)]
            for (i = 0; i < 3000; i++) {
                t = ""
                for (k = 100 + int(rand() * 1500); k > 0; k--) {
                    end = k % 60 ? (k % 12 ? " " : ". ") : ".\\n"
                    t = t words[int(rand() * rand() * 20000)] end
                }
                printf "{\"id\":\"%d\",\"text\":\"%s\"}\n", i, t
            }
        }' >"$tmp/${lang%%:*}.jsonl"
    done
    set -- "$tmp/en.jsonl" "$tmp/ko.jsonl"
fi
for f in "$@"; do
    zstd -dcqf "$f" >"$tmp/in"
    bytes=$(wc -c <"$tmp/in")
    for what in 'pass: --set gopher.max_words=off --set pii.email=off' 'pii: -r pii' \
        'gopher: -r gopher' 'c4: -r c4' 'pii-ko: -r pii-ko' \
        'dclm-baseline: -r dclm-baseline --set lang.keep=off --set lang.min_score=off' \
        'fineweb: -r fineweb --set lang.keep=off --set lang.min_score=off' \
        'kanana-ko: -r kanana-ko --set lang.keep=off --set lang.min_score=off' \
        'fineweb-ko-eojeol: -r fineweb-ko-eojeol --set lang.keep=off --set lang.min_score=off'; do
        read -ra args <<<"${what#*: }"
        TIMEFORMAT='%U %S'
        took=$({ time "$B/kijil" filter -q -j1 --mark "${args[@]}" "$tmp/in" -o "$tmp/out"; } 2>&1)
        awk -v w="${what%%:*}" -v b="$bytes" -v f="$(basename "$f")" \
            '{ printf "kijil filter %-18s %7.1f MB/s of CPU time  %s\n", w,
                      b / 1e6 / ($1 + $2), f }' <<<"$took"
    done
done
