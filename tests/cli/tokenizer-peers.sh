#!/bin/bash
# kijil tokenizer: ids and text as Hugging Face's tokenizers and tiktoken give them
# (npm `tokenizers` and `tiktoken`), on random and adversarial strings. KJ_NODE_PATH
# says where the packages lie. KJ_STRINGS=1000000 makes that many, in rounds of
# 100,000, and from 500,000 on every character of Unicode is among them; KJ_MODELS
# chooses among the models; KJ_IDS_ONLY=1 leaves decoding out.
. "$(dirname "$0")/lib.sh"
export NODE_PATH=${KJ_NODE_PATH:-${NODE_PATH:-}} TOKENIZERS_PARALLELISM=false
command -v node >/dev/null && node -e 'require("tokenizers"), "".isWellFormed()' 2>/dev/null || {
    skip "no npm tokenizers here"
    done_testing
}
js=$TOP/tests/cli/tokenizer_peers.js n=${KJ_STRINGS:-800}
texts=()
for l in ko en; do
    [[ ! -e $SHARED/text/$l.jsonl.zst ]] && continue
    zstd -dcq "$SHARED/text/$l.jsonl.zst" >$l.jsonl
    texts+=("$l.jsonl")
done
mkdir models
node "$js" models models
for m in llama3 qwen3; do
    [[ ! -e $SHARED/tokenize/$m.tokenizer.json.zst ]] ||
        zstd -dcq "$SHARED/tokenize/$m.tokenizer.json.zst" >models/$m.json
done
node "$js" strings 4000 9 0 1 "${texts[@]}" >corpus.jsonl
for p in gpt2 o200k tekken; do
    "$KIJIL" tokenizer train --jsonl corpus.jsonl --pattern $p --vocab-size 3000 -q -o models/bytes-$p.json
done
! node -e 'require("tiktoken")' 2>/dev/null || node "$js" ranks models

# first NAME A B: the first line that differs, with its string
first() {
    cmp -s "$2" "$3" && { ok; return; }
    local k
    k=$(paste -d '\n' "$2" "$3" | awk 'NR % 2 { a = $0; next } a != $0 { print NR / 2; exit }')
    bad "$1: string $k of $(wc -l <"$2"), $(paste -d '\n' "$2" "$3" |
        awk 'NR % 2 { a = $0; next } a != $0' | wc -l) in all"
    sed -n "${k}p" strings.jsonl | cut -c1-400
    sed -n "${k}p" "$2" | cut -c1-400
    sed -n "${k}p" "$3" | cut -c1-400
}
size=$((n < 100000 ? n : 100000)) rounds=$(((n + 99999) / 100000))
for ((round = 0; round < rounds; round++)); do
    node "$js" strings $size "${KJ_SEED:-1}" $round $rounds "${texts[@]}" >strings.jsonl
    is "strings" "$(wc -l <strings.jsonl)" $size
    for m in models/*; do
        name=$(basename "$m")
        [[ " ${KJ_MODELS:-$name} " == *" $name "* ]] || continue
        rc "$name" 0 "$KIJIL" tokenizer encode --jsonl -t "$m" strings.jsonl -q -o ids.jsonl
        sed 's/.*"ids":\(.*\)}$/\1/' ids.jsonl >own.ids
        if [[ $m == *.tiktoken ]]; then
            node "$js" tiktoken "${name%.tiktoken}" <strings.jsonl >its.ids
            first "ids of $name" own.ids its.ids
            continue
        fi
        node "$js" encode "$m" <strings.jsonl >its.ids
        first "ids of $name" own.ids its.ids
        for skip in "" --skip-special; do
            [[ -z ${KJ_IDS_ONLY:-} ]] || break
            # shellcheck disable=SC2086
            rc "$name decode" 0 "$KIJIL" tokenizer decode --jsonl $skip -t "$m" ids.jsonl -q -o text.jsonl
            jq -c .text text.jsonl >own.text
            node "$js" decode "$m" ${skip:+1} <own.ids | jq -c . >its.text
            first "text of $name $skip" own.text its.text
        done
    done
done
done_testing
