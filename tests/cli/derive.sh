#!/bin/bash
# derive.sh - upscale and merge: what they write against a twin, and what they
# refuse.
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/cli/lib-train.sh
. "$TOP/tests/cli/lib-train.sh"

for i in $(seq 1 40); do
    printf '{"id":"%d","text":"%s the cat sat on mat %d"}\n' "$i" \
        "$(seq -s ' ' $((i * 5 % 17)))" $((i * 7 % 13))
done >docs.jsonl
tokenized 290
cat >run.yaml <<'E2'
model: {hidden_size: 24, intermediate_size: 40, num_hidden_layers: 3,
        num_attention_heads: 4, num_key_value_heads: 2, head_dim: 10,
        max_position_embeddings: 32, tie_word_embeddings: false}
data: {sequence_length: 32, batch_sequences: 4}
optim: {lr: 1e-2}
schedule: {steps: 6, warmup_steps: 2}
E2
train=("$KIJIL" train run.yaml --data shards -q)
rc a 0 "${train[@]}" -o a --set checkpoint.export=bf16
rc b 0 "${train[@]}" -o b --set seed=2
rc c 0 "${train[@]}" -o c --set seed=2 --steps 12
rc d 0 "${train[@]}" -o d --set model.num_hidden_layers=2
twin=(python3 "$TOP/tests/cli/derive.py")
if ! python3 -c '' 2>/dev/null; then
    skip "no python3"
    twin=(true)
fi

rc up 0 "$KIJIL" upscale a --keep 0:2,1:3 -o up
has up err '4 layers in up'
rc up.twin 0 "${twin[@]}" upscale a/model up 0:2,1:3
cat out
same up.tokenizer tokenizer.json up/tokenizer.json
rc up.f32 0 "$KIJIL" upscale b/model --keep :1,2:,0:1 -q -o up32
rc up.f32.twin 0 "${twin[@]}" upscale b/model up32 0:1,2:3,0:1
cat out
rc up.all 0 "$KIJIL" upscale b --keep : -q -o same
same up.all b/model/model.safetensors same/model.safetensors
rc up.go 0 "$KIJIL" train run.yaml --data shards -q -o on --set model.num_hidden_layers=4 \
    --set model.init_from=up
for bad in 0:4 2:2 1 x:2 '0:1,' '0:1,,1:2' -1:2 0:99999999999999999999; do
    rc "up.bad $bad" 2 "$KIJIL" upscale a --keep "$bad" -o bad
done
rc up.there 2 "$KIJIL" upscale a --keep 0:1 -o up
has up.there err 'up is there already'
rc up.force 0 "$KIJIL" upscale a --keep 0:1 -q --force -o up
rc up.not-a-model 2 "$KIJIL" upscale a --keep 0:1 --force -o shards
rc up.no-model 1 "$KIJIL" upscale shards --keep 0:1 -o bad
is up.nothing "$(ls -d bad* 2>/dev/null)" ""

rc mean 0 "$KIJIL" merge b c -o mean
rc mean.twin 0 "${twin[@]}" linear mean 1 b/model 1 c/model
cat out
rc three 0 "$KIJIL" merge b c same -q -o three -w 2,1,-0.5
rc three.twin 0 "${twin[@]}" linear three 2 b/model 1 c/model -0.5 same
cat out
rc w 0 "$KIJIL" merge c b -q -o w -w 0.3,0.1
rc w.twin 0 "${twin[@]}" linear w 0.3 c/model 0.1 b/model
cat out
rc slerp 0 "$KIJIL" merge b c --slerp 0.3 -q -o slerp
rc slerp.twin 0 "${twin[@]}" slerp slerp 0.3 b/model c/model
cat out
rc slerp.end 0 "$KIJIL" merge b c --slerp 0 -q -o end
same slerp.end b/model/model.safetensors end/model.safetensors
rc merge.one 2 "$KIJIL" merge b -o bad
rc merge.shape 2 "$KIJIL" merge b d -o bad
has merge.shape err 'different shapes'
rc merge.weights 2 "$KIJIL" merge b c -w 1 -o bad
rc merge.zero 2 "$KIJIL" merge b c -w 1,-1 -o bad
rc merge.word 2 "$KIJIL" merge b c -w 1,x -o bad
rc merge.slerp3 2 "$KIJIL" merge b c d --slerp 0.5 -o bad
rc merge.no-out 2 "$KIJIL" merge b c
done_testing
