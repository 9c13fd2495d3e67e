#!/bin/bash
# train.sh - plan, train, generate, eval and device from end to end; a run that
# is killed in the middle ends with the bytes of one that is not.
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/cli/lib-train.sh
. "$TOP/tests/cli/lib-train.sh"

# A corpus with something to learn, from two sources.
for i in $(seq 1 120); do
    printf '{"id":"%d","source":"%s","text":"the cat number %d sat on mat %d and the dog saw it %d times"}\n' \
        "$i" "$([[ $((i % 2)) -eq 0 ]] && echo even || echo odd)" "$i" "$((i * 7 % 13))" "$((i % 5))"
done >docs.jsonl
tokenized 300

cat >run.yaml <<'E2'
name: tiny
model: {hidden_size: 32, intermediate_size: 64, num_hidden_layers: 2,
        num_attention_heads: 4, num_key_value_heads: 2, head_dim: 8,
        max_position_embeddings: 64}
data: {sequence_length: 32, batch_sequences: 8, micro_sequences: 3}
optim: {lr: 1e-2}
schedule: {steps: 60, warmup_steps: 5}
checkpoint: {every_steps: 7}
E2
train=("$KIJIL" train run.yaml --data shards/manifest.jsonl)

rc plan 0 "$KIJIL" plan run.yaml --data shards
has plan out '^parameters  .* K'
has plan out '^epochs'
rc plan.json 0 "$KIJIL" plan run.yaml --data shards --json --tflops 1
has plan.json out '^\{"parameters":[0-9]+,'
rc plan.keys 0 "$KIJIL" plan --keys
has plan.keys out 'head_dim: 0'
rc plan.vocab 2 "$KIJIL" plan run.yaml
has plan.vocab err 'vocab_size is not known; give the shards'
# Keys that there are not, where they are near to one, or to no one's.
for k in 'optim: {wieght_decay: 1}' 'optm: {lr: 1}' 'optim: {about: x}' 'stages: [{name: a, shap: x}]'; do
    echo "$k" >bad.yaml
    rc "key $k" 2 "$KIJIL" plan bad.yaml
    cat err
done >keys
is keys "$(sed 's/.*unknown key/key/' keys)" "key 'wieght_decay'; did you mean 'weight_decay'?
key 'optm'; did you mean 'optim'?
key 'about'; kijil plan --keys lists those of run files
key 'shap'; did you mean 'shape'?"
rc key.section 2 "$KIJIL" plan run.yaml --data shards --set lr=1
has key.section err "no key 'lr' in run files; did you mean 'optim.lr'"
# A teacher that is not there is no part of the figures, which is told.
rc plan.teacher 0 "$KIJIL" plan run.yaml --data shards --set distil.teacher=nobody
has plan.teacher out '^teacher +nobody cannot be read: not counted'
# What --dry-run prints is a run file.
rc dry 0 "${train[@]}" --dry-run --set 'samples.prompts="null: #"'
cp out dry.yaml
rc dry.again 0 "$KIJIL" train dry.yaml --data shards/manifest.jsonl --dry-run
is dry.again "$(grep -v '^#' out | cksum)" "$(grep -v '^#' dry.yaml | cksum)"

rc dry 0 "${train[@]}" --dry-run
has dry out '^  hidden_size: 32'
rc whole 0 "${train[@]}" -j1 -o whole
has whole err '^step 1/60 '
has whole err 'done at step 60/60'
# One step's loss jumps: the last one told is the mean of ten.
mean=$(tail -n 10 whole/metrics.jsonl | sed 's/.*"loss": \([0-9.]*\).*/\1/' |
    awk '{s += $1} END {printf "%.3f", s / NR}')
told=$(sed -n 's/.*, loss [0-9.]* to \([0-9.]*\).*/\1/p' err | awk '{printf "%.3f", $1}')
is "mean of ten" "$(awk -v a="$mean" -v b="$told" 'BEGIN {d = a - b; print (d < 0.0015 && d > -0.0015)}')" 1
is metrics "$(wc -l <whole/metrics.jsonl)" 60
is metrics.last "$(tail -n 1 whole/metrics.jsonl | grep -c '"step": 60, "loss": [0-3]\.')" 1
same tokenizer tokenizer.json whole/model/tokenizer.json
is keep "$(echo whole/checkpoints/*)" "whole/checkpoints/step-00000056 whole/checkpoints/step-00000060"

rc threads 0 "${train[@]}" -q -j3 -o threads
hasnt threads err .
same threads whole/model/model.safetensors threads/model/model.safetensors

# Killed again and again, at other moments each time.
for n in 5 40 9 60 30 50; do
    killed $n "${train[@]}" -q -j2 -o killed
done
is kills $kills 6
rc killed 0 "${train[@]}" -j2 -o killed
same killed whole/model/model.safetensors killed/model/model.safetensors
is killed.metrics "$(cut -d, -f1-6 killed/metrics.jsonl | cksum)" "$(cut -d, -f1-6 whole/metrics.jsonl | cksum)"

# Packed by best fit: the same after kills, and read ahead or not; no document is
# cut, so the step's predictions are fewer than its places.
fit=("$KIJIL" train run.yaml --data shards --set data.packing=bestfit --steps 30 -q)
rc bestfit 0 "${fit[@]}" -j1 -o fit --set data.prefetch=0
kills=0
for n in 10 33 25; do
    killed $n "${fit[@]}" -o fit2
done
is bestfit.kills $kills 3
rc bestfit.killed 0 "${fit[@]}" -j2 -o fit2 --set data.prefetch=3
same bestfit.killed fit/model/model.safetensors fit2/model/model.safetensors
differ "packing counts" fit/model/model.safetensors whole/model/model.safetensors
is "bestfit: places" "$(tail -n 1 fit/metrics.jsonl | sed 's/.*"tokens": \([0-9]*\).*/\1/' |
    awk '{print ($1 < 30 * 256 && $1 > 0.5 * 30 * 256) ? "fewer" : $1}')" fewer

# The tokenizer's class and end tokens, for others that load the folder; upscale hands on
# the file that is there.
is tok.config "$(jq -c '[.tokenizer_class, .bos_token, .eos_token, .model_max_length]' whole/model/tokenizer_config.json)" \
    "$(jq -c --argjson id "$(jq .eos_token_id whole/model/config.json)" \
        '.added_tokens[] | select(.id == $id) | ["PreTrainedTokenizerFast", .content, .content, 64]' tokenizer.json)"
cp -r whole/model given
jq -c '. + {chat_template: "{{ messages }}"}' whole/model/tokenizer_config.json >given/tokenizer_config.json
rc tok.given 0 "$KIJIL" upscale given --keep 0:2,1:2 -o deep -q
same tok.given {given,deep}/tokenizer_config.json
has tok.hashed whole/checkpoints/step-00000060/checkpoint.json '"tokenizer_config.json"'
# A vocabulary with the word added_tokens, and texts with brackets among the added ones.
jq -c '.model.vocab["added_tokens"] = 299 | .added_tokens += [{id: 300, content: "a]\\\"]"}] |
    {model, version, added_tokens}' tokenizer.json >given/tokenizer.json
rm given/tokenizer_config.json
rc tok.odd 0 "$KIJIL" upscale given --keep 0:2 -o odd -q
same tok.odd {whole/model,odd}/tokenizer_config.json

# Only one at a time in a folder.
rc locked 1 flock whole/.lock "${train[@]}" -o whole
has locked err 'another process'

# Interrupted: 130, and it goes on.
rc slow 0 sed -i 's/steps: 60/steps: 100000/' run.yaml
"${train[@]}" -o stopped 2>err &
pid=$!
for _ in $(seq 100); do [[ -s stopped/metrics.jsonl ]] && break; sleep 0.05; done
kill -INT $pid
wait $pid
is interrupt $? 130
has interrupt err 'goes on from here'
is no-model "$(ls stopped)" "$(printf 'checkpoints\nmetrics.jsonl\nreport.html\nrun.db\nrun.yaml')"
rc limit 0 "${train[@]}" -o stopped --time-limit 1s
has limit err 'goes on behind step [0-9]+'
has limit err 'stopped at the time limit'
rc other 2 "${train[@]}" -o stopped --set optim.lr=1e-3
has other err 'another configuration: optim.lr 0.001 \(there 0.01\); --change goes on so, --force'

# Changed on its way. At a constant rate a longer run has the bytes of one that was as long
# from its first step; what was changed once is asked for once.
sed 's/^schedule: .*/schedule: {shape: constant, steps: 20, warmup_steps: 5}/; s/every_steps: 7/every_steps: 7, keep: 9/' \
    run.yaml >constant.yaml
grow=("$KIJIL" train constant.yaml --data shards -q -j1)
rc grow.whole 0 "${grow[@]}" -o grow-whole --steps 34
rc grow 0 "${grow[@]}" -o grow
rc grow.no 2 "${grow[@]}" -o grow --steps 34
has grow.no err 'schedule.steps 34 \(there 20\); --change goes on'
rc grow.fixed 2 "${grow[@]}" -o grow --steps 34 --change --set model.intermediate_size=32
has grow.fixed err 'intermediate_size 32 \(there 64\), .*that cannot change'
rc grow.change 0 "$KIJIL" train constant.yaml --data shards -j1 -o grow --steps 34 --change --ledger none
has grow.change err 'changed behind step 20: schedule.steps 34 \(there 20\)$'
same grow grow{-whole,}/model/model.safetensors
same grow.moments grow{-whole,}/checkpoints/step-00000034/optimizer.safetensors
is grow.steps "$(jq -c .step grow/metrics.jsonl | xargs)" "$(seq -s ' ' 34)"
has grow.before grow/run.to-00000020.yaml '^  steps: 20$'
has grow.now grow/run.yaml '^  steps: 34$'
rm -r grow/model grow/checkpoints/step-000000{21,28,34}
rc grow.again 0 "${grow[@]}" -o grow --steps 34
same grow.again grow{-whole,}/model/model.safetensors
rc grow.itself 0 "$KIJIL" train grow/run.yaml -q -j1 -o itself
same grow.itself grow-whole/model/model.safetensors itself/model/model.safetensors
head -n 90 docs.jsonl >fewer.jsonl
rc fewer 0 "$KIJIL" tokenize -q -t tokenizer.json -o fewer fewer.jsonl
rc data.no 2 "${grow[@]}" -o grow --data fewer --steps 34
has data.no err 'another data set: the data; --change'
rc data 0 "${grow[@]}" -o grow --data fewer --steps 36 --change
is data "$(jq -c .step grow/metrics.jsonl | tail -n 1)" 36

# The folder of a run stands for its model: to begin with, and as a teacher.
for from in whole whole/model; do
    rc from.$from 0 "${train[@]}" -q -j1 -o from --force --no-save --steps 2 \
        --set model.init_from=$from --set distil.teacher=$from
    jq -c '[.loss, .kl < 1e-6]' from/metrics.jsonl
done >from.losses
is from "$(head -n 2 from.losses)" "$(tail -n 2 from.losses)"
is from.same "$(sed -n '1s/.*,//p' from.losses)" 'true]'
rc plan.from 0 "$KIJIL" plan run.yaml --data shards --set distil.teacher=whole
has plan.from out '^teacher +[0-9.]+ K parameters'

rc greedy 0 "$KIJIL" generate whole -p 'the cat' -n 12 --temperature 0
has greedy out '^the cat number [0-9]'
cp out greedy
rc greedy.2 0 "$KIJIL" generate whole/model -j1 -q -p 'the cat' -n 12 --temperature 0
same greedy greedy out
hasnt greedy.2 err .
rc seed 0 "$KIJIL" generate whole -p 'the dog' --seed 5 -n 20
cp out seeded
printf 'the dog' >prompt
rc seed.2 0 "$KIJIL" generate whole --seed 5 -n 20 <prompt
same seed seeded out
rc no-prompt 0 "$KIJIL" generate whole -p '' -n 5
rc no-model 1 "$KIJIL" generate shards -p x
has no-model err 'config.json'
rc too-long 1 "$KIJIL" generate whole -p "$(seq 200)"
has too-long err 'the context 64'

rc eval 0 "$KIJIL" eval whole -t ppl docs.jsonl
has eval out '^even +60 '
has eval out '^\(all\) +120 '
{ head -n 3 docs.jsonl; echo '{'; echo '{"id":1}'; } >damaged.jsonl
rc eval.damaged 3 "$KIJIL" eval whole --json <damaged.jsonl
has eval.damaged err '2 lines'
has eval.damaged out '"source":"\(all\)","documents":3,'
rc eval.task 2 "$KIJIL" eval whole -t chess docs.jsonl
is eval.same "$("$KIJIL" eval whole docs.jsonl -j1 | cksum)" "$("$KIJIL" eval whole docs.jsonl -j2 | cksum)"

KIJIL_CUDA_SO=/nowhere rc device 0 "$KIJIL" device -j2
has device out '^cpu: OpenBLAS'
has device out 'attention .* good'
has device out '^cuda: no GPU: /nowhere: '
hasnt device out FAILED
is device.once "$(awk '$1 == "matmul"' out | wc -l)" 1
mkdir none && : >none/libopenblas.so.0
LD_LIBRARY_PATH=none rc blas 1 "$KIJIL" device --device cpu
has blas err 'need OpenBLAS: .*libopenblas.so.0: file too short'
LD_LIBRARY_PATH=none rc blas.unused 0 "$KIJIL" lid docs.jsonl
rc ops 0 "$KIJIL" device --device cpu --size 64 --ops tiny
has ops out '^ *matmul, gate and up dw +128x32x64 +2 .* %$'
has ops.sum out 'all of them: .* ms for 64 tokens'
rc ops.json 0 "$KIJIL" device --device cpu --size 64 --ops tiny --json
is ops.json "$(jq -r '[.ops[] | select(.op == "matmul") | .tflops > 0] | all, length' out | paste -sd' ')" "true 15"
rc ops.unknown 2 "$KIJIL" device --ops abacus
has ops.unknown err 'there are nano .* tiny'

rc no-file 2 "$KIJIL" train
rc no-data 2 "$KIJIL" train run.yaml
rc no-device 2 "${train[@]}" --device abacus -o x
has no-device err 'no compute back end "abacus"'
rc bad-set 2 "${train[@]}" --set optim.speed=1
rc bad-time 2 "${train[@]}" --time-limit soon
done_testing
