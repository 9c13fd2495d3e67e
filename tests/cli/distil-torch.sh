#!/bin/bash
# distil-torch.sh - thirty steps of distillation agree with PyTorch; a run that
# goes on from a checkpoint ends with the same bytes; wrong teachers.
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/cli/lib-train.sh
. "$TOP/tests/cli/lib-train.sh"

py=$(python_with torch)
for i in $(seq 1 60); do
    printf '{"id":"%d","text":"%s the cat sat on mat %d"}\n' "$i" \
        "$(seq -s ' ' $((i * 5 % 17)))" $((i * 7 % 13))
done >docs.jsonl
tokenized 290
cat >big.yaml <<'E2'
model: {hidden_size: 40, intermediate_size: 64, num_hidden_layers: 2,
        num_attention_heads: 4, num_key_value_heads: 2, head_dim: 10,
        max_position_embeddings: 40, initializer_range: 0.2}
data: {sequence_length: 32, batch_sequences: 6}
optim: {lr: 1e-2}
schedule: {steps: 20, warmup_steps: 5}
E2
cat >run.yaml <<'E2'
model: {hidden_size: 24, intermediate_size: 40, num_hidden_layers: 3,
        num_attention_heads: 4, num_key_value_heads: 2, head_dim: 10,
        max_position_embeddings: 32, tie_word_embeddings: false,
        initializer_range: 0.1, rope_theta: 500}
data: {sequence_length: 32, batch_sequences: 6, micro_sequences: 4, shuffle: false}
optim: {lr: 1e-2, weight_decay: 0.1, clip: 1.0, z_loss: 1e-3, loss_chunk: 50}
schedule: {steps: 30, warmup_steps: 5}
distil: {teacher: teacher/model, weight: 0.7, temperature: 2}
checkpoint: {every_steps: 10}
E2
rc teacher 0 "$KIJIL" train big.yaml --data shards -q -o teacher
rc init 0 "$KIJIL" train run.yaml --data shards -q -o init --steps 1 --set optim.lr=0
rc run 0 "$KIJIL" train run.yaml --data shards -o run
has run err '  KL [0-9.]+  lr'
is kl "$(grep -c '"kl": [0-9]' run/metrics.jsonl)" 30
if [[ -n $py ]]; then
    rc parity 0 "$py" "$TOP/tests/cli/parity.py" . 0.7 2
    sed 's/^/# /' out
else
    skip "python3 has no torch"
fi
cp -r run again
rm -r again/checkpoints/step-00000030 again/model
rc again 0 "$KIJIL" train run.yaml --data shards -j2 -o again
has again err 'goes on behind step 20'
same again run/model/model.safetensors again/model/model.safetensors

# Pure KL: what the texts say is not looked at.
rc pure 0 "$KIJIL" train run.yaml --data shards -q -o pure --set distil.weight=1
first=$(head -n 1 pure/metrics.jsonl | sed 's/.*"kl": \([0-9.]*\).*/\1/')
last=$(tail -n 1 pure/metrics.jsonl | sed 's/.*"kl": \([0-9.]*\).*/\1/')
is nearer "$(awk -v a="$first" -v b="$last" 'BEGIN {print (b < 0.7 * a)}')" 1
rc other 2 "$KIJIL" train run.yaml --data shards -o run --set distil.temperature=1
has other err 'another configuration'
bad=("$KIJIL" train run.yaml --data shards -q -o bad)
rc bad.vocab 2 "${bad[@]}" --set model.vocab_size=400
has bad.vocab err "teacher's vocab_size is [0-9]+, not 400"
rc bad.none 1 "${bad[@]}" --set distil.teacher=nowhere
rc bad.weight 2 "${bad[@]}" --set distil.weight=1.5
rc bad.context 2 "${bad[@]}" --set data.sequence_length=41 --set model.max_position_embeddings=41
done_testing
