#!/bin/bash
# train-fp8.sh - with FP8 in its blocks a model learns as with bfloat16 (scripts/loss-parity
# says so, and notices when not); the bytes are the same at every -j, at every recompute,
# and after a stop; what is not FP8 is told.
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/cli/lib-train.sh
. "$TOP/tests/cli/lib-train.sh"

sentences 120 >docs.jsonl
tokenized 300
cat >run.yaml <<'E2'
model: {hidden_size: 48, intermediate_size: 96, num_hidden_layers: 2,
        num_attention_heads: 4, num_key_value_heads: 2, head_dim: 8,
        max_position_embeddings: 64}
data: {sequence_length: 32, batch_sequences: 8, micro_sequences: 3}
optim: {lr: 3e-3, precision: fp8}
schedule: {steps: 40, warmup_steps: 5}
checkpoint: {every_steps: 20}
E2
train=("$KIJIL" train run.yaml --data shards -q --device cpu)

rc fp8 0 "$KIJIL" train run.yaml --data shards --device cpu -o fp8 -j1
hasnt fp8 err 'of the 4 products'
rc threads 0 "${train[@]}" -o threads -j3 --set optim.recompute=ffn
same threads fp8/model/model.safetensors threads/model/model.safetensors
cp -r fp8 stopped
rm -r stopped/checkpoints/step-00000040
rc on 0 "${train[@]}" -o stopped
same resumed fp8/model/model.safetensors stopped/model/model.safetensors
rc other 2 "${train[@]}" -o fp8 --set optim.precision=bf16
has other err 'another configuration'

rc odd 0 "$KIJIL" train run.yaml --data shards --device cpu -o odd --steps 2 --set model.intermediate_size=100
has odd err 'of the 4 products of a block 2 stay bf16'

export KIJIL
parity="$TOP/scripts/loss-parity"
rc parity 0 "$parity" -l 1 -d runs run.yaml --data shards --device cpu --steps 200
has parity out 'bf16 [0-9.]*, fp8 [0-9.]*: .* % \(limit 1; mean of the last 50 of 200 steps'
differ "not the same" <(jq .loss runs/bf16/metrics.jsonl) <(jq .loss runs/fp8/metrics.jsonl)
rc apart 1 "$parity" -l -50 run.yaml --data shards --device cpu --steps 8
rc usage 2 "$parity"
has usage err 'scripts/loss-parity'
rc wrong 2 "$parity" -b fp7 run.yaml --data shards
done_testing
