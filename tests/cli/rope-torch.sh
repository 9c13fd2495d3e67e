#!/bin/bash
# rope-torch.sh - models with longer contexts (YaRN, Llama 3.1's way, linear) train as in
# PyTorch, generate the same with their cache, and keep their scaling; what config.json
# asks of it beyond that.
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
[[ -n $py ]] || skip "python3 has no torch"
# parity TYPE SET...: thirty steps of that scaling, here and there; leaves init and run.
parity() {
    local type=$1
    shift
    rm -rf init run
    rc "$type.init" 0 "$KIJIL" train run.yaml --data shards -q -o init --steps 1 --set optim.lr=0 "$@"
    rc "$type.run" 0 "$KIJIL" train run.yaml --data shards -q -o run "$@"
    has "$type.config" run/model/config.json "\"rope_type\": \"$type\""
    if [[ -n $py ]]; then
        rc "$type.parity" 0 "$py" "$TOP/tests/cli/parity.py" .
        sed "s/^/# $type: /" out
    fi
}
# Of eight pairs two turn fast enough, four are stretched whole, two stand between.
llama3=(--set model.rope_type=llama3 --set model.rope_beta_fast=0.9)
parity llama3 "${llama3[@]}"
c=run/model/config.json
has llama3.high $c '"high_freq_factor": 0.9'
has llama3.low $c '"low_freq_factor": 0.25'
hasnt llama3.beta $c beta
rc llama3.text 0 "$KIJIL" generate run -q -p 'the cat' -n 40 --temperature 0
has llama3.text out '^the cat'
rc llama3.up 0 "$KIJIL" upscale run --keep : -q -o llama3
same llama3.kept $c llama3/config.json
rc llama3.eval 0 "$KIJIL" eval run --json docs.jsonl
mv out scaled
sed -i 's/"high_freq_factor": 0.9/"high_freq_factor": 0.5/' llama3/config.json
rc llama3.other 0 "$KIJIL" eval llama3 --json docs.jsonl
differ "high_freq_factor counts" out scaled
sed -i 's/"high_freq_factor": 0.5/"high_freq_factor": 0.25/' llama3/config.json
rc llama3.equal 1 "$KIJIL" eval llama3 docs.jsonl
has llama3.equal err 'high_freq_factor'
rm -r llama3
parity linear --set model.rope_type=linear
hasnt linear.original $c original
parity yarn
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
