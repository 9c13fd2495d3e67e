#!/bin/bash
# states.sh - weights, gradients and moments in bfloat16: which neighbour each weight was
# rounded to, against a second implementation in Python, on the CPU and on an emulated
# GPU; what is refused; what is stored.
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/cli/lib-train.sh
. "$TOP/tests/cli/lib-train.sh"

if ! python3 -c '' 2>/dev/null; then
    skip "no python3"
    done_testing
    exit
fi
emulated_gpu
sentences 60 >docs.jsonl
tokenized 280
cat >run.yaml <<'E2'
name: tiny
seed: 5
model: {hidden_size: 32, intermediate_size: 64, num_hidden_layers: 2,
        num_attention_heads: 4, num_key_value_heads: 2, head_dim: 16,
        max_position_embeddings: 32}
data: {sequence_length: 32, batch_sequences: 8, micro_sequences: 4}
optim: {lr: 3e-5, weight_decay: 10, precision: bf16, clip: 0, eps: 1e-16}
schedule: {steps: 1, warmup_steps: 0, shape: constant}
checkpoint: {export: bf16}
E2
train=("$KIJIL" train run.yaml --data shards -q -j2 --ledger none)
rc before 0 "${train[@]}" -o before
for d in cpu cuda; do
    rc $d 0 "${train[@]}" --device $d -o $d --set optim.states=bf16 --set model.init_from=before/model
    is $d.bits "$(python3 "$TOP/tests/cli/states.py" before/model $d 5 3e-5 10)" "True 0 True 0"
done
rc f32 2 "${train[@]}" -o no --set optim.states=bf16 --set optim.precision=f32
has f32 err 'optim.states: bf16 needs optim.precision: bf16'
rc muon 2 "${train[@]}" -o no --set optim.states=bf16 --set optim.kind=muon
has muon err 'Muon keeps f32'
rc other 2 "${train[@]}" -o cpu --device cpu --set model.init_from=before/model
has other err 'holds a run with another configuration'
done_testing
