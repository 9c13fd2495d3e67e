#!/bin/bash
# chain.sh - the family as in the Kanana report: recipes have the published
# sizes; and the whole chain at a size for a test: a base, up-scaled and trained
# on; pruned, taught by the base, pruned again with tying, taught by the base.
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/cli/lib-train.sh
. "$TOP/tests/cli/lib-train.sh"

size() {
    is "size of $1" "$("$KIJIL" plan "$TOP/recipes/$1.yaml" --json |
        sed 's/.*"parameters":\([0-9]*\),.*/\1/' | awk '{printf "%.3f", $1 / 1e9}')" "$2"
}
size 8b 8.030
size essence-9.8b 9.775
size distil-4.5b 4.513
size distil-2.1b 2.087
size nano-2.1b 2.087
size distil-1.3b 1.279
size distil-635m 0.635

sentences 120 >docs.jsonl
tokenized 300
recipe() { # NAME LAYERS HIDDEN FFN HEADS TIED MORE
    cat >"$1.yaml" <<E2
model: {hidden_size: $3, intermediate_size: $4, num_hidden_layers: $2,
        num_attention_heads: $5, num_key_value_heads: 2, head_dim: 8,
        max_position_embeddings: 32, rope_theta: 500000, tie_word_embeddings: $6$7}
data: {sequence_length: 32, batch_sequences: 8}
optim: {lr: 5e-3}
schedule: {steps: 40, warmup_steps: 4}
E2
}
recipe base 4 48 96 8 false ""
recipe deep 6 48 96 8 false ", init_from: deep-0"
recipe mid 4 32 64 8 false ", init_from: mid-0"
recipe nano 4 24 56 6 true ", init_from: nano-0"
echo 'distil: {teacher: base/model}' | tee -a mid.yaml >>nano.yaml
train() { rc "$1" 0 "$KIJIL" train "$1.yaml" --data shards -q -o "$1" "${@:2}"; }
number() { sed 's/.*"'"$1"'": \([0-9.e+-]*\).*/\1/'; }
falls() { # NAME KEY FACTOR
    is "$1: $2 falls" "$(awk -v a="$(head -n 1 "$1/metrics.jsonl" | number "$2")" \
        -v b="$(tail -n 1 "$1/metrics.jsonl" | number "$2")" -v f="$3" \
        'BEGIN {print (b < f * a) ? "yes" : a " to " b}')" yes
}
train base --steps 100
falls base loss 0.4
rc up 0 "$KIJIL" upscale base --keep 0:3,1:4 -q -o deep-0
train deep --steps 80
# The base has learnt these few texts; what the copied layers upset is repaired.
rc deep-0 0 "$KIJIL" eval deep-0 --json docs.jsonl
before=$(tail -n 1 out)
rc deep 0 "$KIJIL" eval deep --json docs.jsonl
is "deep: better" "$(printf '%s\n%s\n' "$before" "$(tail -n 1 out)" |
    sed 's/.*"perplexity":\([0-9.]*\).*/\1/' | paste -sd' ' |
    awk '{print ($2 < 0.99 * $1) ? "yes" : $0}')" yes
rc mid-0 0 "$KIJIL" prune base --to mid.yaml --calib shards --samples 20 -q -o mid-0
train mid
falls mid kl 0.5
rc nano-0 0 "$KIJIL" prune mid --to nano.yaml --calib shards --samples 20 -q -o nano-0
has nano-0.config nano-0/config.json '"tie_word_embeddings": true'
train nano
falls nano kl 0.6
# Pruning kept something: taught from fresh weights, the same shape is further off.
sed 's/, init_from: nano-0//' nano.yaml >fresh.yaml
train fresh
is "better than fresh" "$(awk -v a="$(tail -n 10 nano/metrics.jsonl | number kl | awk '{s += $1} END {print s}')" \
    -v b="$(tail -n 10 fresh/metrics.jsonl | number kl | awk '{s += $1} END {print s}')" \
    'BEGIN {print (a < b) ? "yes" : a " against " b}')" yes
rc text 0 "$KIJIL" generate nano -q -p 'the cat' -n 8 --temperature 0
has text out '^the cat number'
done_testing
