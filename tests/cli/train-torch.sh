#!/bin/bash
# train-torch.sh - thirty steps of training, by AdamW and by Muon, and with bfloat16 products, agree with
# PyTorch: losses, gradient norms, and the weights at the end (head_dim differs from hidden / heads).
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/cli/lib-train.sh
. "$TOP/tests/cli/lib-train.sh"

py=$(python_with torch)
if [[ -z $py ]]; then
    skip "python3 has no torch"
    done_testing
fi
for i in $(seq 1 60); do
    printf '{"id":"%d","text":"%s the cat sat on mat %d"}\n' "$i" \
        "$(seq -s ' ' $((i * 5 % 17)))" $((i * 7 % 13))
done >docs.jsonl
tokenized 290
cat >run.yaml <<'E2'
model: {hidden_size: 24, intermediate_size: 40, num_hidden_layers: 3,
        num_attention_heads: 4, num_key_value_heads: 2, head_dim: 10,
        max_position_embeddings: 32, tie_word_embeddings: false,
        initializer_range: 0.1, rope_theta: 500}
data: {sequence_length: 32, batch_sequences: 6, micro_sequences: 4, shuffle: false}
optim: {lr: 1e-2, weight_decay: 0.1, clip: 1.0, z_loss: 1e-3}
schedule: {steps: 30, warmup_steps: 5}
E2
# A step at learning rate 0 leaves the fresh weights in the model's folder.
rc init 0 "$KIJIL" train run.yaml --data shards -q -o init --steps 1 --set optim.lr=0
rc run 0 "$KIJIL" train run.yaml --data shards -q -o run
rc parity 0 "$py" "$TOP/tests/cli/parity.py" .
sed 's/^/# /' out

# The same with Muon.
mv run adamw
rc muon 0 "$KIJIL" train run.yaml --data shards -q -o run --set optim.kind=muon
rc muon.parity 0 "$py" "$TOP/tests/cli/parity.py" . 0 1 muon
sed 's/^/# /' out
differ "muon is not adamw" run/model/model.safetensors adamw/model/model.safetensors

# Products of operands rounded to bfloat16.
rm -r run
rc bf16 0 "$KIJIL" train run.yaml --data shards -q -o run --set optim.precision=bf16
rc bf16.parity 0 "$py" "$TOP/tests/cli/parity.py" . 0 1 bf16
sed 's/^/# /' out
differ "bf16 is not f32" run/model/model.safetensors adamw/model/model.safetensors
done_testing
