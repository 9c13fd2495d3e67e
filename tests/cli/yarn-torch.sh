#!/bin/bash
# yarn-torch.sh - a model with YaRN trains as in PyTorch, generates the same with
# its cache, and keeps its scaling; what config.json asks of it beyond that.
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
cat >run.yaml <<'E2'
model: {hidden_size: 24, intermediate_size: 40, num_hidden_layers: 3,
        num_attention_heads: 4, num_key_value_heads: 2, head_dim: 16,
        max_position_embeddings: 64, tie_word_embeddings: false,
        initializer_range: 0.1, rope_theta: 500,
        rope_factor: 4.4, rope_original_positions: 24, rope_beta_fast: 2,
        rope_beta_slow: 0.25}
data: {sequence_length: 32, batch_sequences: 6, micro_sequences: 4, shuffle: false}
optim: {lr: 1e-2, weight_decay: 0.1, clip: 1.0, z_loss: 1e-3}
schedule: {steps: 30, warmup_steps: 5}
E2
rc init 0 "$KIJIL" train run.yaml --data shards -q -o init --steps 1 --set optim.lr=0
rc run 0 "$KIJIL" train run.yaml --data shards -q -o run
if [[ -n $py ]]; then
    rc parity 0 "$py" "$TOP/tests/cli/parity.py" .
    sed 's/^/# /' out
else
    skip "python3 has no torch"
fi
# The scaling is part of the model: it counts, and it is kept.
c=run/model/config.json
has config $c '"factor": 4.4'
has config $c '"original_max_position_embeddings": 24'
rc up 0 "$KIJIL" upscale run --keep : -q -o up
same up.config $c up/config.json
rc eval 0 "$KIJIL" eval run --json docs.jsonl
cp out scaled
sed -i 's/"factor": 4.4/"factor": 4.0/' up/config.json
rc eval.4 0 "$KIJIL" eval up --json docs.jsonl
differ "the factor counts" out scaled
rc text 0 "$KIJIL" generate run -q -p 'the cat' -n 40 --temperature 0
has text out '^the cat'
change() {
    sed "s/\"rope_type\"/$1, \"rope_type\"/" $c >up/config.json
    rc "$2" 1 "$KIJIL" eval up docs.jsonl
    has "$2" err "$2"
}
change '"attention_factor": 1.0' 'attention_factor 1 instead of 1.148'
change '"mscale": 1.0' 'with mscale'
change '"truncate": false' 'truncate false'
sed 's/"yarn"/"longrope"/' $c >up/config.json
rc other 1 "$KIJIL" eval up docs.jsonl
has other err 'of type longrope'
sed 's/"factor": 4.4/"factor": 0.5/' $c >up/config.json
rc factor 1 "$KIJIL" eval up docs.jsonl
rc beta 2 "$KIJIL" train run.yaml --data shards -q -o bad --set model.rope_beta_fast=0.1
done_testing
