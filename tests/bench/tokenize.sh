#!/bin/bash
# tests/bench/tokenize.sh - languages x vocabularies x tools: MB/s of text by CPU time
# on one thread, and whether the ids are the same; the worst cases; training. Peers
# where they are installed: npm tokenizers and tiktoken (NODE_PATH or KJ_NODE_PATH
# names the folder), sentencepiece for Python. With the published Llama 3 and Qwen 3
# tokenizers and texts where they are, else with generated ones.
set -eu
cd "$(dirname "$0")/../.."
B=${B:-build/release}
make -s "$B/kijil" "$B/tests/bench/bench_tokenize"
export NODE_PATH=${KJ_NODE_PATH:-${NODE_PATH:-}} TOKENIZERS_PARALLELISM=false
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
data=../shared/data
has() { command -v node >/dev/null && node -e "require('$1')" 2>/dev/null; }
python=
for p in python3 /usr/bin/python3; do
    ! "$p" -c 'import sentencepiece' 2>/dev/null || python=$p
done

# ---- texts and vocabularies ----
vocabularies=()
if [[ -e $data/tokenize/llama3.tokenizer.json.zst && -e $data/text/ko.jsonl.zst ]]; then
    for v in llama3 qwen3; do
        zstd -dcq $data/tokenize/$v.tokenizer.json.zst >"$tmp/$v.json"
        vocabularies+=("$v.json")
    done
    for l in ko en; do zstd -dcq "$data/text/$l.jsonl.zst" >"$tmp/$l.jsonl"; done
else
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
                for (k = 100 + int(rand() * 1500); k > 0; k--)
                    t = t words[int(rand() * rand() * 20000)] " "
                printf "{\"id\":\"%d\",\"text\":\"%s\"}\n", i, t
            }
        }' >"$tmp/${lang%%:*}.jsonl"
    done
    "$B/kijil" tokenizer train --jsonl "$tmp"/??.jsonl --vocab-size 32000 -q -o "$tmp/made32k.json"
    vocabularies+=(made32k.json)
fi
if has tiktoken; then
    node tests/cli/tokenizer_peers.js ranks "$tmp"
    vocabularies+=(gpt2.tiktoken cl100k_base.tiktoken o200k_base.tiktoken)
fi
if [[ $python ]]; then
    "$python" tests/bench/tokenize_spm.py train "$tmp"/ko.jsonl "$tmp"/en.jsonl -o "$tmp"
    vocabularies+=(spm.json)
fi

# ---- the table ----
# kijil's ids of the documents that a peer did: all, or how many are the same
compare() {
    local n
    n=$(wc -l <"$3")
    head -n "$n" "$2" | "$B/kijil" tokenizer encode --jsonl -t "$1" -q | sed 's/.*"ids":\(.*\)}$/\1/' |
        paste -d '\n' - "$3" | awk -v n="$n" 'NR % 2 { a = $0; next }
            { same += a == $0 } END { print same == n ? "same" : same "/" n }'
}
# peer COMMAND...: one cell
peer() {
    local speed
    speed=$("$@" "$tmp/$l.jsonl" "$tmp/peer.ids")
    echo "$speed $(compare "$tmp/$v" "$tmp/$l.jsonl" "$tmp/peer.ids")"
}
echo "MB/s, one thread, CPU time; kijil: 20 MB with an empty cache, all with a full one; peers: 5 MB"
row='%-22s %-4s %8s %8s   %-16s %-16s %-16s\n'
# shellcheck disable=SC2059
printf "$row" vocabulary text cold warm 'npm tokenizers' tiktoken sentencepiece
for v in "${vocabularies[@]}"; do
    "$B/tests/bench/bench_tokenize" "$tmp/$v" "$tmp/ko.jsonl" "$tmp/en.jsonl" >"$tmp/own"
    cp "$tmp/own" "$tmp/own.$v"
    for l in ko en; do
        hf=- tik=- spm=-
        [[ $v != *.json ]] || ! has tokenizers || hf=$(peer node tests/bench/tokenize_peers.js hf "$tmp/$v")
        [[ $v != *.tiktoken ]] || tik=$(peer node tests/bench/tokenize_peers.js tiktoken "${v%.tiktoken}")
        [[ $v != spm.json ]] || spm=$(peer "$python" tests/bench/tokenize_spm.py encode "$tmp")
        read -r cold warm < <(awk -F'\t' -v f=$l.jsonl '$1 == f { print $2, $3 }' "$tmp/own")
        # shellcheck disable=SC2059
        printf "$row" "${v%.*}" $l "$cold" "$warm" "$hf" "$tik" "$spm"
    done
done
echo
echo "kijil, ${vocabularies[0]}: loading, and the worst cases in MB/s"
grep -E '^(loading|1 MB)' "$tmp/own.${vocabularies[0]}"

# ---- training ----
echo
jq -r .text "$tmp"/??.jsonl >"$tmp/text.txt"
bytes=$(wc -c <"$tmp/text.txt")
TIMEFORMAT='%R %U'
took=$({ time "$B/kijil" tokenizer train "$tmp/text.txt" --vocab-size 32000 --min-frequency 0 \
    -q -o "$tmp/made.json"; } 2>&1)
awk -v b="$bytes" '{
    printf "kijil, training 32,000 on %.0f MB: %.1f s wall, %.1f s CPU\n", b / 1e6, $1, $2
}' <<<"$took"
! has tokenizers || echo "npm tokenizers, 30,000 on the same: $(node tests/bench/tokenize_peers.js train "$tmp/made.json" "$tmp/text.txt")"
