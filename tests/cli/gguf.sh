#!/bin/bash
# gguf.sh - convert to GGUF: every key, tensor and token against a reader of its
# own; kijil check on what it wrote, and on damaged files.
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
model: {hidden_size: 24, intermediate_size: 40, num_hidden_layers: 2, vocab_size: 310,
        num_attention_heads: 4, num_key_value_heads: 2, head_dim: 10,
        max_position_embeddings: 32}
data: {sequence_length: 32, batch_sequences: 4}
optim: {lr: 1e-2}
schedule: {steps: 6, warmup_steps: 2}
E2
rc tied 0 "$KIJIL" train run.yaml --data shards -q -o tied
rc yarn 0 "$KIJIL" train run.yaml --data shards -q -o yarn --set model.rope_factor=4.4 \
    --set model.tie_word_embeddings=false
rc llama3 0 "$KIJIL" train run.yaml --data shards -q -o llama3 --set model.rope_factor=8 \
    --set model.rope_type=llama3 --set model.rope_beta_fast=0.3 --set model.rope_beta_slow=0.05
rc linear 0 "$KIJIL" train run.yaml --data shards -q -o linear --set model.rope_factor=2 \
    --set model.rope_type=linear
twin=(env PYTHONDONTWRITEBYTECODE=1 python3 "$TOP/tests/cli/gguf_twin.py")
if ! python3 -c '' 2>/dev/null; then
    skip "no python3"
    twin=(true)
fi
for m in tied yarn llama3 linear; do
    for type in f16 f32; do
        rc "$m.$type" 0 "$KIJIL" convert $m --type $type -o $m.$type.gguf
        has "$m.$type" err 'with its tokenizer$'
        rc "$m.$type.twin" 0 "${twin[@]}" $m/model $m.$type.gguf $type
        rc "$m.$type.check" 0 "$KIJIL" check $m.$type.gguf
        has "$m.$type.check" err 'Llama of 0.0[0-9]* M parameters in 2[01] tensors, tokenizer llama-bpe'
    done
done
echo older >again.gguf
rc again 0 "$KIJIL" convert tied -q -o again.gguf
hasnt again err .
same again again.gguf tied.f16.gguf

# Another way of cutting words than the format has a name for.
cp -r tied/model odd
sed -i 's/{1,3}/{1,4}/' odd/tokenizer.json
rc odd 0 "$KIJIL" convert odd -o odd.gguf
has odd err 'without its tokenizer: the format has no name for how it cuts words'
rc odd.check 0 "$KIJIL" check odd.gguf
has odd.check err 'no tokenizer'
rm odd/tokenizer.json
rc none 0 "$KIJIL" convert odd -o odd.gguf
has none err 'no tokenizer.json'

# Damaged in every way that a small tool can make.
f=tied.f32.gguf size=$(stat -c %s tied.f32.gguf)
for n in 0 3 20 500 5000 $((size - 40)); do
    head -c "$n" $f >cut.gguf
    rc "cut to $n" 1 "$KIJIL" check cut.gguf
done
cat $f $f >twice.gguf
rc twice 1 "$KIJIL" check twice.gguf
has twice err 'bytes behind the last tensor'
change() { # NAME SED-EXPRESSION MESSAGE
    LC_ALL=C sed "$2" $f >bad.gguf
    rc "$1" 1 "$KIJIL" check bad.gguf
    has "$1" err "$3"
}
change name 's/blk.1.attn_q/blk.7.attn_q/' 'blk.1.attn_q.weight is missing'
change twin 's/blk.1.attn_q/blk.0.attn_q/' 'two tensors'
change arch 's/\x05\x00\x00\x00\x00\x00\x00\x00llama/\x05\x00\x00\x00\x00\x00\x00\x00lamas/' 'is not llama'
change magic 's/^GGUF\x03/GGUF\x02/' 'not a GGUF file of version 3'
change eps 's/layer_norm_rms_epsilon/layer_norm_rms_epsilom/' 'epsilon is missing'
change merge 's/\xc4\xa0 t/\xc4\xa0_t/' 'is not of two tokens'
{ head -c $((size - 24)) $f; printf '\0\0\300\177'; tail -c 20 $f; } >nan.gguf
rc nan 1 "$KIJIL" check nan.gguf
has nan err 'holds -?nan'
rc missing 1 "$KIJIL" check missing.gguf
done_testing
