#!/bin/bash
# train-bf16.sh - with bfloat16 products the loss falls as with float32, and the bytes
# are the same at every -j and after a stop.
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/cli/lib-train.sh
. "$TOP/tests/cli/lib-train.sh"

sentences 120 >docs.jsonl
tokenized 300
cat >run.yaml <<'E2'
model: {hidden_size: 40, intermediate_size: 88, num_hidden_layers: 2,
        num_attention_heads: 4, num_key_value_heads: 2, head_dim: 8,
        max_position_embeddings: 64}
data: {sequence_length: 32, batch_sequences: 8, micro_sequences: 3}
optim: {lr: 3e-3}
schedule: {steps: 300, warmup_steps: 5}
checkpoint: {every_steps: 100}
E2
train=("$KIJIL" train run.yaml --data shards -q)

rc f32 0 "${train[@]}" -o f32
rc bf16 0 "${train[@]}" -o bf16 -j1 --set optim.precision=bf16
rc threads 0 "${train[@]}" -o threads -j3 --set optim.precision=bf16
same threads bf16/model/model.safetensors threads/model/model.safetensors

# The mean loss over steps 200 to 300 within half a percent; each step's own differs.
mean() { sed 's/.*"loss": \([0-9.]*\).*/\1/' "$1/metrics.jsonl" | awk 'NR > 200 {s += $1} END {print s / 100}'; }
echo "# mean loss of steps 201 to 300: float32 $(mean f32), bfloat16 $(mean bf16)"
is "loss parity" "$(awk -v a="$(mean f32)" -v b="$(mean bf16)" \
    'BEGIN {print (b / a < 1.005 && b / a > 0.995)}')" 1
differ "not the same" f32/model/model.safetensors bf16/model/model.safetensors

# A run goes on with its own precision only.
cp -r bf16 stopped
rm -r stopped/checkpoints/step-00000300
rc on 0 "${train[@]}" -o stopped --set optim.precision=bf16
same resumed bf16/model/model.safetensors stopped/model/model.safetensors
rc other 2 "${train[@]}" -o bf16
has other err 'another configuration'
done_testing
