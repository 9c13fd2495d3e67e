#!/bin/bash
# tests/bench/filter.sh [FILE.jsonl...] - MB/s of JSONL through `kijil filter` on
# one core, reading and writing included: with every value measured, and with
# --first, which stops at the first rule that fails. Without files: the texts of
# ../shared/data/text, or generated ones, English-like and Korean-like. The fastest
# of three runs.
set -eu
cd "$(dirname "$0")/../.."
B=${B:-build/release}
make -s "$B/kijil" "$B/tests/bench/bench_morph"
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
texts=../shared/data/text
if [[ $# -eq 0 && -e $texts/en.jsonl.zst && -e $texts/ko.jsonl.zst ]]; then
    set -- "$texts/en.jsonl.zst" "$texts/ko.jsonl.zst"
elif [[ $# -eq 0 ]]; then
    echo "no $texts: generated texts, which say little about real ones"
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

# CPU seconds of a command, the least of three
least() {
    local TIMEFORMAT='%U %S' best='' took
    for _ in 1 2 3; do
        took=$({ time "$@"; } 2>&1) || return 1
        best+=$(awk '{ print $1 + $2 }' <<<"$took")$'\n'
    done
    sort -n <<<"${best%$'\n'}" | head -n 1
}
speed() { awk -v b="$1" -v s="$2" 'BEGIN { printf "%.1f", b / 1e6 / s }'; }

any=(--set lang.keep=off --set lang.min_score=off)
printf '%-30s %10s %10s  MB/s of CPU time\n' recipe 'all values' --first
for f in "$@"; do
    zstd -dcqf "$f" >"$tmp/in"
    bytes=$(wc -c <"$tmp/in")
    name=$(basename "$f" .zst)
    for what in 'reading and writing: --set gopher.max_words=off --set pii.email=off' \
        'pii: -r pii' 'pii-ko: -r pii-ko' 'gopher: -r gopher' 'c4: -r c4' \
        'fineweb: -r fineweb' 'dclm-baseline: -r dclm-baseline' \
        'fineweb2-kor: -r fineweb2-kor' 'fineweb-ko-eojeol: -r fineweb-ko-eojeol' \
        'kanana-ko: -r kanana-ko'; do
        read -ra args <<<"${what#*: }"
        [[ ${args[0]} != -r ]] || args+=("${any[@]}")
        run=("$B/kijil" filter -q -j1 --recipes-dir recipes "${args[@]}" "$tmp/in" -o "$tmp/out")
        all=$(least "${run[@]}" --mark)
        first=$(least "${run[@]}" --first)
        printf '%-30s %10s %10s\n' "$name ${what%%:*}" "$(speed "$bytes" "$all")" \
            "$(speed "$bytes" "$first")"
    done
done

# Its peer in Python, if it is there: the same Gopher rules, words by spaCy.
if python3 -c 'import datatrove, spacy' 2>"$tmp/err"; then
    zstd -dcqf "$1" >"$tmp/in"
    python3 - "$tmp/in" <<'PY'
import json
import sys
import time

from datatrove.data import Document
from datatrove.pipeline.filters import GopherQualityFilter, GopherRepetitionFilter

docs = [json.loads(line) for line in open(sys.argv[1], encoding="utf-8")][:500]
size = sum(len(d["text"].encode()) for d in docs)
filters = [GopherRepetitionFilter(), GopherQualityFilter()]
start = time.process_time()
for d in docs:
    for f in filters:
        f.filter(Document(text=d["text"], id=str(d["id"])))
print("datatrove, gopher, 500 documents: %.2f MB/s"
      % (size / 1e6 / (time.process_time() - start)))
PY
else
    echo 'datatrove is not installed: no peer'
fi
zstd -dcqf "${!#}" | jq -r .text >"$tmp/text" 2>"$tmp/err" &&
    "$B/tests/bench/bench_morph" "$tmp/text"
