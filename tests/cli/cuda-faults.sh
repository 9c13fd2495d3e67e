#!/bin/bash
# cuda-faults.sh - what goes wrong with a GPU is told in one line that says what to do,
# and costs no more than the steps since the last checkpoint: on the emulated one,
# whose calls fail when they are told to (tests/cuda_emu/fail.cc).
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/cli/lib-train.sh
. "$TOP/tests/cli/lib-train.sh"

emulated_gpu
sentences 60 >docs.jsonl
tokenized 280
cat >run.yaml <<'E2'
name: tiny
model: {hidden_size: 32, intermediate_size: 64, num_hidden_layers: 2,
        num_attention_heads: 2, num_key_value_heads: 1, head_dim: 64}
data: {sequence_length: 32, batch_sequences: 2, micro_sequences: 1}
optim: {lr: 1e-2, precision: bf16, loss_chunk: 48, deterministic: true}
schedule: {steps: 6, warmup_steps: 2}
checkpoint: {every_steps: 2}
E2
train() { "$KIJIL" train run.yaml --data shards -q --device cuda -o "$@"; }
# fails NAME FAULT PATTERN : a run of its own that stops so, in one line
fails() {
    rm -rf x
    KJ_EMU_FAIL=$2 rc "$1" "${4:-1}" train x
    has "$1" err "^kijil train: .*$3"
    is "$1: one line" "$(wc -l <err)" 1
}
KJ_EMU_FAIL=launch:0:0 rc whole 0 train whole
# Kernels are launched like this often, and four fifths through: step 5 of 6.
all=$(sed -n 's/^launch: //p' err)
late=$((all * 4 / 5)) early=$((all / 10))
# Without graphs, which waiting for each operation leaves out, there are more of them.
KIJIL_CUDA_GRAPHS=0 KJ_EMU_FAIL=launch:0:0 rc plain 0 train x
single=$(($(sed -n 's/^launch: //p' err) * 4 / 5))

# ---- before it begins ----
KJ_EMU_DRIVER=0 rc "no driver" 2 train x
has "no driver" err 'no GPU: no NVIDIA driver is installed here$'
KJ_EMU_DRIVER=12040 rc "old driver" 2 train x
has "old driver" err 'knows CUDA up to 12\.4, this program needs 13\.0: install driver 580 or a later one$'
KJ_EMU_DRIVER=12040 rc "auto" 0 "$KIJIL" train run.yaml --data shards -o x
has "auto says so" err 'OpenBLAS.*; no GPU: the NVIDIA driver knows CUDA up to 12\.4'
KJ_EMU_GPUS=0 rc "no GPU" 2 train x
has "no GPU" err 'no GPU: the driver lists no GPU$'
KJ_EMU_GPUS=0 CUDA_VISIBLE_DEVICES=7 rc "none shown" 2 train x
has "none shown" err 'the driver lists no GPU \(CUDA_VISIBLE_DEVICES=7 lets it show no other\)$'
fails "in use" open:1:46 'GPU 0 cannot be used: .*unavailable: another program has the GPU for itself' 2
fails "another kind of GPU" kernel:1:209 'is of sm_90, and this program was built for emulator' 2
printf 'not a shared object' >broken.so
KIJIL_CUDA_SO=$PWD/broken.so rc "broken object" 2 train x
has "broken object" err 'no GPU: .*broken.so: '
# as where a library of CUDA is missing, or one of another version is there
if command -v cc >/dev/null; then
    echo 'int kj_part;' >part.c
    cc -shared -fPIC -o libpart.so.13 -Wl,-soname,libpart.so.13 part.c
    echo 'extern int kj_part; int *kj_cuda_abi(void) { return &kj_part; }' >object.c
    cc -shared -fPIC -o object.so object.c ./libpart.so.13
    rm libpart.so.13
    KIJIL_CUDA_SO=$PWD/object.so rc "missing library" 2 train x
    has "missing library" err 'no GPU: libpart.so.13: .* \(a library of CUDA; LD_LIBRARY_PATH may name its folder\)'
else
    skip "no compiler to make an object that lacks a library"
fi

# ---- in the middle ----
fails "illegal address" "launch:$late:700" \
    'the GPU: an illegal memory access .*; KIJIL_CUDA_WAIT=1 names the operation.* \(step [0-9]+\); start again to go on behind step [24]$'
KIJIL_CUDA_GRAPHS=0 fails "illegal address, no graphs" "launch:$single:700" \
    'the GPU: an illegal memory access .*\(noticed at .*\); KIJIL_CUDA_WAIT=1 names the operation.* \(step [0-9]+\); start again to go on behind step [24]$'
KIJIL_CUDA_WAIT=1 fails "illegal address, waited for" "launch:$single:700" \
    '[a-z_]+: of [0-9x]+: an illegal memory access .* \(step [0-9]+\); start again to go on behind step [24]$'
fails "time limit" "launch:$late:702" 'the GPU: the launch timed out .*drives a display'
fails "failed launch" "launch:$late:719" 'the GPU: unspecified launch failure.*Xid'
fails "memory is damaged" "launch:$late:214" 'the GPU: uncorrectable ECC error .*take another GPU .*go on behind step [24]$'
fails "in a graph" "launch:$late:901" 'failed: operation failed due to a previous error during capture: KIJIL_CUDA_GRAPHS=0 does'
fails "first step" "launch:$early:700" '\(step 1\); there is no checkpoint yet$'
fails "off the bus" "launch:$late:999" 'the GPU: unknown error: the driver lost the GPU; dmesg .* \(step [0-9]+\); start again to go on behind step [24]$'
rc "and goes on" 0 "$KIJIL" train run.yaml --data shards --device cuda -o x
has "and goes on" err 'goes on behind step [24]$'
same "to the same bytes" whole/model/model.safetensors x/model/model.safetensors

# A GPU that is lost while a checkpoint is read is no damage of the checkpoint: it stays, as
# does what is known of the steps before.
rm -r x/checkpoints/step-00000006 x/model
cp -r x kept
for n in 40 50 60 70; do
    KJ_EMU_FAIL=copy:$n:999 train x 2>err
    is "lost at the start, copy $n" "$?" 1
    hasnt "no damage, copy $n" err 'is damaged'
    is "all is there, copy $n" "$(cd kept && find . -type f ! -name .lock -exec cmp {} ../x/{} \; 2>&1)" ""
    grep -q 'start again to go on behind step 4$' err && break
done
has "lost while it was read" err 'the driver lost the GPU; .*noticed at write of [0-9]+\); start again to go on behind step 4$'
rc "reads it again" 0 train x
same "to the same bytes again" whole/model/model.safetensors x/model/model.safetensors

# The first of the allocations that a step makes.
for n in $(seq 8 40); do
    rm -rf x
    KJ_EMU_FAIL=malloc:$n:2 train x 2>err
    grep -q '(step 1)' err && break
done
has "no memory" err 'no GPU memory for .*are free, .* \(step 1\).*; the run needs [0-9.]+ of [0-9.]+ MB: '

# ---- numbers that are not finite ----
cp -r whole/model nan
n=$(stat -c %s nan/model.safetensors)
printf '\000\000\300\177' |
    dd of=nan/model.safetensors bs=1 seek=$((n - 4)) conv=notrunc 2>/dev/null
rc "not finite" 1 train x2 --set model.init_from=nan
has "not finite" err 'step 1: the weight model\.norm\.weight is not finite \(first of 1 of 20; loss -?nan; the step.s data begin with row 0'

# ---- several ranks: the others hear of it ----
pids=()
for r in 0 1; do
    KJ_EMU_GPUS=2 RANK=$r WORLD_SIZE=2 LOCAL_RANK=$r MASTER_ADDR=127.0.0.1 MASTER_PORT=$port \
        KJ_EMU_FAIL=$([[ $r == 1 ]] && echo launch:$late:700) \
        "$KIJIL" train run.yaml --data shards -q -j1 --device cuda -o ranks 2>"r$r" &
    pids+=($!)
done
all "all stop" "1 1"
has "the one says why" r1 'the GPU: an illegal memory access'
has "the other, too" r0 'rank 1 .*the GPU: an illegal memory access .*start again to go on behind step'

# The kernel that adds up what came runs on the exchanges' stream: it is named as well.
for wait in '' 1; do
    rm -rf x
    export KJ_EMU_GPUS=2 KJ_EMU_FAIL=aside:1:700 ${wait:+KIJIL_CUDA_WAIT=1}
    ranks 2 x -q --device cuda
    all "an exchange${wait:+, waited for}" "1 1"
    unset KJ_EMU_FAIL KIJIL_CUDA_WAIT KJ_EMU_GPUS
    if [[ $wait ]]; then
        has "an exchange is named" <(cat r0 r1) 'train: reduce_scatter: of [0-9]+: an illegal memory access'
    else
        has "an exchange" <(cat r0 r1) 'the GPU: an illegal memory access .*KIJIL_CUDA_WAIT=1 names'
    fi
done

# ---- classification: nothing half done, nothing lost ----
awk 'BEGIN {
    srand(4)
    for (i = 0; i < 900; i++) {
        c = rand() < 0.3
        printf "__label__%s", c ? "hq" : "cc"
        for (n = 3 + int(rand() * 12); n > 0; n--)
            printf " %s%d", rand() < 0.6 ? "w" : c ? "x" : "y", rand() * 60
        print ""
    }
}' >train.txt
rc "a classifier" 0 "$KIJIL" model train -q train.txt -o m.bin --dim 8 --epoch 3 --bucket 2000
C=("$KIJIL" classify -m m.bin --as edu --device cuda docs.jsonl -o scored.jsonl)
KJ_EMU_FAIL=launch:1:700 rc "classify" 1 "${C[@]}"
has "classify says it" err 'kijil classify: .*the GPU: an illegal memory access'
is "no half file" "$(ls scored.jsonl 2>/dev/null)" ""
rc "classify again" 0 "${C[@]}"
is "all documents" "$(wc -l <scored.jsonl)" 60
mkdir site
awk -v dir=site -v n=300 -v seed=1 -f "$TOP/tests/cli/pages.awk"
rc pack 0 "$KIJIL" pack site -o site.warc.gz --base-url https://a.example/ -q
cat >recipe.yaml <<'E2'
about: a classifier on a GPU among the steps
steps:
  - extract: {format: text}
  - classify: {model: m.bin, as: edu, device: cuda}
E2
sed 's/cuda}/cpu}/' recipe.yaml >cpu.yaml
pipe() { "$KIJIL" run "${2:-recipe.yaml}" -i site.warc.gz --part-size 20K -j1 -q -o "$1"; }
rc "steps, CPU" 0 pipe cpu cpu.yaml
KJ_EMU_FAIL=launch:2:700 rc "steps, a fault" 1 pipe gpu
has "the steps say it" err 'the GPU: an illegal memory access'
rc "steps again" 0 pipe gpu
is "the same documents and scores" \
    "$(zstd -dcq gpu/*/part-*.zst | sha256sum)" "$(zstd -dcq cpu/*/part-*.zst | sha256sum)"
done_testing
