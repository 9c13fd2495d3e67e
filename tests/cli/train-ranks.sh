#!/bin/bash
# train-ranks.sh - one model trained by two and by three processes has the losses of
# one, with gradients cut among them too; a run goes on at another number of ranks, after
# a rank was killed too; ranks that are gone, too many or of another run are told.
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/cli/lib-train.sh
. "$TOP/tests/cli/lib-train.sh"

sentences 120 >docs.jsonl
tokenized 300
cat >run.yaml <<'E2'
name: tiny
model: {hidden_size: 32, intermediate_size: 64, num_hidden_layers: 2,
        num_attention_heads: 4, num_key_value_heads: 2, head_dim: 8,
        max_position_embeddings: 64}
data: {sequence_length: 32, batch_sequences: 8, micro_sequences: 1}
optim: {lr: 1e-2}
schedule: {steps: 40, warmup_steps: 5}
checkpoint: {every_steps: 10, keep: 9}
E2
rc one 0 "$KIJIL" train run.yaml --data shards -q -j1 -o one
ranks 2 two
all two "0 0"
has two.said r0 'kijil train: 2 ranks'
hasnt two.silent r1 .
close two one two
ranks 3 three -q
all three "0 0 0"
close three one three
ranks 2 again -q
all again "0 0"
same again.bytes two/model/model.safetensors again/model/model.safetensors

# Weights, gradients and moments in bfloat16: each rank's gradients are rounded before they
# are summed; two ranks that go on as three have the bytes of their checkpoint.
low=(-q --set optim.precision=bf16 --set optim.states=bf16)
rc low.one 0 "$KIJIL" train run.yaml --data shards -j1 -o low-one "${low[@]}"
for d in low-two low-again; do
    ranks 2 $d "${low[@]}"
    all $d "0 0"
done
same low.bytes low-two/model/model.safetensors low-again/model/model.safetensors
rm -r low-again/checkpoints/step-0000004* low-again/model
ranks 2 low-again "${low[@]}"
all low.resumed "0 0"
same low.resumed.bytes low-two/model/model.safetensors low-again/model/model.safetensors
close low.losses low-one low-two 0.03

# Muon keeps whole matrices on every rank.
rc muon 0 "$KIJIL" train run.yaml --data shards -q -j1 -o muon --set optim.kind=muon
ranks 2 muon2 -q --set optim.kind=muon
all muon2 "0 0"
close muon muon muon2

# Another number of ranks goes on: from 20 steps of two, by three, then by one.
mkdir parts
cp -r two parts/on
rm -r parts/on/checkpoints/step-000000{30,40} parts/on/model
ranks 3 parts/on
all on.three "0 0 0"
has on.said r0 'goes on behind step 20'
close on one parts/on
rm -r parts/on/checkpoints/step-000000{30,40} parts/on/model
rc on.one 0 "$KIJIL" train run.yaml --data shards -q -j1 -o parts/on
close on.one one parts/on
# and the same number gives the same bytes
cp -r two parts/same
rm -r parts/same/checkpoints/step-000000{30,40} parts/same/model
ranks 2 parts/same -q
all same "0 0"
same same.bytes two/model/model.safetensors parts/same/model/model.safetensors

# Gradients cut among ranks, too: with one pass a rank the same bytes; with more of them
# (one rank has one pass less) the losses of one process, and any that goes on.
for zero in 1 2; do
    ranks 3 pass$zero -q --set optim.zero=$zero --set data.micro_sequences=3
    all pass$zero "0 0 0"
done
for f in model optimizer; do
    same zero.$f pass1/checkpoints/step-00000040/$f.safetensors \
        pass2/checkpoints/step-00000040/$f.safetensors
done
# also from a teacher, with a head that is not the embedding
some=(-q --set distil.teacher=one/model --set data.micro_sequences=4
    --set model.tie_word_embeddings=false --set checkpoint.every_steps=0)
for zero in 1 2; do
    ranks 2 some$zero "${some[@]}" --set optim.zero=$zero
    all some$zero "0 0"
done
same zero.some some1/checkpoints/step-00000040/optimizer.safetensors \
    some2/checkpoints/step-00000040/optimizer.safetensors
ranks 3 zero -q --set optim.zero=2
all zero "0 0 0"
close zero one zero
for by in 3 2 1; do # and by those that do not cut them
    cp -r zero parts/zero$by
    rm -r parts/zero$by/checkpoints/step-000000{30,40} parts/zero$by/model
    ranks $by parts/zero$by -q --set optim.zero=$((by == 3 ? 2 : 1))
    all zero.by$by "$(yes 0 | head -n $by | xargs)"
    close zero.by$by one parts/zero$by
done
same zero.resumed zero/model/model.safetensors parts/zero3/model/model.safetensors
# So many passes that bfloat16 gradients are added up by chance: the same one again.
many=("${low[@]}" --set data.batch_sequences=260 --set schedule.steps=3
    --set checkpoint.every_steps=2)
for d in many many-again; do
    ranks 2 $d "${many[@]}" --set optim.zero=2
    all $d "0 0"
    if [[ $d == many ]]; then
        cp -r many many-again
        rm -r many-again/checkpoints/step-00000003 many-again/model
    fi
done
same many.bytes many/model/model.safetensors many-again/model/model.safetensors
ranks 2 many-whole "${many[@]}"
all many-whole "0 0"
is many.losses "$(paste <(jq .loss many/metrics.jsonl) <(jq .loss many-whole/metrics.jsonl) |
    awk '{d = $1 - $2; if (d > 0.01 || d < -0.01) n++} END {print NR, n + 0}')" "3 0"
rc zero.muon 2 "$KIJIL" train run.yaml --data shards -o x --set optim.zero=2 --set optim.kind=muon
has zero.muon err 'optim.zero: 2 is for optim.kind: adamw'

# Each rank has written its part of the files; where one does not see the folder, rank 0
# writes them all, and they are the same.
away=1
ranks 3 apart
away=
all apart "0 0 0"
has apart.said r0 'not all ranks see apart: rank 0 writes for them'
is apart.once "$(grep -c 'not all ranks' r0)" 1
for f in model optimizer; do
    same apart.$f three/checkpoints/step-00000040/$f.safetensors \
        apart/checkpoints/step-00000040/$f.safetensors
done
same apart.export three/model/model.safetensors apart/model/model.safetensors
ranks 3 seen
all seen "0 0 0"
hasnt seen.quiet r0 'not all ranks'
is seen.files "$(ls -A seen/model seen/checkpoints/step-00000040)" \
    "$(ls -A one/model one/checkpoints/step-00000040 | sed 's/^one/seen/')"
# Killed while it writes its part, at every change of a file: another rank, and the first.
short=(-q --set schedule.steps=4 --set checkpoint.every_steps=2)
[[ -e ${KIJIL%/*}/tests/kill_at.so ]] || make -s -C "$TOP" "CONFIG=$(basename "${KIJIL%/*}")" \
    "${KIJIL%/*}/tests/kill_at.so"
ranks 2 short "${short[@]}"
all short "0 0"
for at in 1 2 5 40 61 70; do
    rm -rf cut
    doomed=1 kill_at=$at
    ranks 2 cut "${short[@]}"
    doomed=
    all "cut.$at" "1 137"
    has "cut.$at" r0 'rank 1 \(process [0-9]+ on .*\)'
    is "cut.$at.tmp" "$(cd cut/checkpoints && find . -name '*.tmp')" ''
    ranks 2 cut "${short[@]}"
    all "cut.$at.on" "0 0"
    same "cut.$at.bytes" short/checkpoints/step-00000004/optimizer.safetensors \
        cut/checkpoints/step-00000004/optimizer.safetensors
done
for at in 30 50 90; do
    rm -rf cut
    doomed=0 kill_at=$at
    ranks 2 cut "${short[@]}"
    doomed=
    all "first.$at" "137 1"
    ranks 2 cut "${short[@]}"
    all "first.$at.on" "0 0"
    same "first.$at.bytes" short/checkpoints/step-00000004/optimizer.safetensors \
        cut/checkpoints/step-00000004/optimizer.safetensors
done

# A rank that is killed stops the others, who say which it was.
ranks 3 killed --steps 100000
under_way killed
kill -9 "${pids[1]}"
all killed "1 137 1"
has killed.first r0 'rank 1 \(process [0-9]+ on .*\)'
has killed.last r2 'rank 1 \(process [0-9]+ on .*\)'
# One that is interrupted stops all, with a checkpoint.
ranks 2 asked --steps 100000
under_way asked
kill -INT "${pids[1]}"
all asked "130 130"
has asked.said r0 'the same command goes on from here'

ranks 2 few --set data.micro_sequences=8
all few "2 2"
has few r0 'has no work for 2 ranks'
port=$((port + 1))
export WORLD_SIZE=2 MASTER_ADDR=127.0.0.1 MASTER_PORT=$port
RANK=2 rc outside 2 "$KIJIL" train run.yaml --data shards -o x
has outside err 'RANK=2 of WORLD_SIZE=2'

done_testing
