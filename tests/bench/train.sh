#!/bin/bash
# tests/bench/train.sh - tokens/s of training a small Llama (recipes/
# demo-train.yaml) on generated text, at one thread and at all, with its share
# of the matrix product's speed at the same number of threads.
set -eu
cd "$(dirname "$0")/../.."
B=${B:-build/release}
K=$PWD/$B/kijil
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
awk 'BEGIN {
    srand(1)
    for (i = 0; i < 9000; i++) {
        words[i] = ""
        for (n = 2 + int(rand() * 9); n > 0; n--)
            words[i] = words[i] substr("etaoinshrdlucmfw", 1 + int(rand() * 16), 1)
    }
    for (i = 0; i < 400; i++) {
        t = ""
        for (n = 100 + int(rand() * 900); n > 0; n--)
            t = t words[int(rand() * rand() * 9000)] (n % 12 ? " " : ". ")
        printf "{\"id\":\"%d\",\"text\":\"%s\"}\n", i, t
    }
}' >"$tmp/docs.jsonl"
"$K" tokenizer train -q --jsonl --vocab-size 8192 -o "$tmp/tokenizer.json" "$tmp/docs.jsonl"
"$K" tokenize -q -t "$tmp/tokenizer.json" -o "$tmp/shards" "$tmp/docs.jsonl"
flops=$("$K" plan recipes/demo-train.yaml --data "$tmp/shards" --json |
    sed 's/.*"flops_per_token":\([0-9.e+]*\).*/\1/')
for j in 1 "$(nproc)"; do
    peak=$("$K" device -j"$j" | sed -n 's/.*1024^3: *\([0-9]*\) GFLOP.*/\1/p')
    "$K" train recipes/demo-train.yaml --data "$tmp/shards" -o "$tmp/run$j" -q -j"$j" \
        --steps 12 --set checkpoint.every_steps=0
    sed 's/.*"tokens_per_s": \([0-9.]*\).*/\1/' "$tmp/run$j/metrics.jsonl" | sort -n |
        awk -v j="$j" -v f="$flops" -v p="$peak" '{ v[NR] = $1 } END {
            r = v[int((NR + 1) / 2)]
            printf "kijil train -j%d %9.0f tokens/s %6.0f GFLOP/s, %3.0f %% of a matrix product\n",
                   j, r, r * f / 1e9, 100 * r * f / 1e9 / p }'
done
