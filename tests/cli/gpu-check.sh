#!/bin/bash
# gpu-check.sh - scripts/gpu-check from end to end on the emulated GPU: every step is there,
# a wrong operation fails, what is missing is skipped, time is kept, a kill leaves a table
# and no process.
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"

dir=${KIJIL%/*}
export KIJIL_CUDA_SO=$dir/tests/cuda_emu/kijil-cuda.so PYTHON=/nowhere
[[ -x $dir/tests/cuda/gradients ]] || rc build 0 make -s -C "$TOP" "CONFIG=${dir##*/}" tests
# Programs by a path of this test's own: what a kill leaves behind is found by it.
mkdir bin
ln -s "$KIJIL" bin/kijil
ln -s "$dir/tests" bin/tests
export KIJIL=$T/bin/kijil
check() { "$TOP/scripts/gpu-check" --small -o "$T/$1" "${@:2}"; }
# result DIR NAME: of its last row
result() { jq -r --arg n "$2" '[.rows[] | select(.name == $n) | .result] | last' "$1/gpu-check.json"; }

KJ_EMU_WRONG=1 rc wrong 1 check wrong gradients
is wrong "$(result wrong gradients.tiny64) $(result wrong gradients.tiny64.f32)" "FAILED FAILED"
has wrong.table wrong/gpu-check.md '^\| gradients.tiny64.f32 \| FAILED \|'
is torch.skip "$(result wrong torch.gradients.tiny64)" null
has summary out '^FAILED gradients.tiny64: status 1'
has summary.log out '^    \| '
# A GPU that a kernel has lost costs the group of checks, not those behind it.
KJ_EMU_FAIL=launch:400:700 rc lost 1 check lost operations
has lost.first lost/gpu-check.md '^\| operations.1 \| FAILED \| group [0-9]+: .*illegal memory access'
has lost.next lost/gpu-check.md '^\| operations.2 \| FAILED \| group [0-9]+: '
is lost.apart "$(grep -o 'group [0-9]*' lost/gpu-check.md | sort -u | wc -l)" \
    "$(jq '[.rows[] | select(.name | startswith("operations."))] | length' lost/gpu-check.json)"
case $dir in
*/asan | */tsan)
    # the emulated device is slow there, and only it is looked at
    done_testing
    ;;
esac

# Two that wait for what hangs, beside what follows. Without PyTorch: tools that report, and
# one that hangs; and a call of the GPU that never returns. Too little time for the rest.
mkdir tools slow
cat >tools/compute-sanitizer <<'E2'
#!/bin/bash
case $2 in
memcheck) echo "=========     at void k_norm<float>(float *)+0x10 in norm.cu:12" && exit 9 ;;
racecheck) echo "=========     at void cutlass::segment_k_off(float *)+0x10" && exit 9 ;;
initcheck) echo "========= Error: Device not supported. Please refer to the manual" && exit 1 ;;
synccheck) sleep 600 ;;
esac
E2
chmod +x tools/compute-sanitizer
PATH=$T/tools:$PATH check some --seconds 32 sanitizer >/dev/null 2>&1 &
some=$!
cat >slow/kijil <<E2
#!/bin/bash
[[ "\$*" == *--ops* || "\$*" == *" -v"* ]] && sleep 600
exec $T/bin/kijil "\$@"
E2
chmod +x slow/kijil
ln -s "$dir/tests" slow/tests
KIJIL=$T/slow/kijil check hang --seconds 24 speed torch >/dev/null 2>&1 &
hang=$!

python=$(python_with torch)
PYTHON=$python rc all 0 check all gradients train ops speed memory classify generate torch
cp out all.out
rc json 0 jq -e '(.rows | length) > 25 and (.commit | length) > 5 and (.operations[0].ops | length) > 25 and
    (.device | test("emulated"))' all/gpu-check.json
is none.failed "$(jq -r '.rows[] | select(.result == "FAILED") | .name' all/gpu-check.json)" ""
for s in gradients.tiny64.f32 gradients.tiny64.bf16 gradients.tiny64.fp8 gradients.tiny64.states fp8.gate losses.tiny64.bf16 train.agree train.losses.bf16 train.losses.states repeat \
    resume fasttext.same; do
    is "$s" "$(result all $s)" good
done
for s in ops.tiny ops.tiny.fp8 nano-4096 nano-4096.fp8 nano-8192.fp8 nano-8192 qwen-1.5b-1024 8b-8192 nano-4096.deterministic nano-4096.own-attention 85m-2048.graphs0 85m-2048.graphs1 fasttext \
    generate.graphs0 generate.graphs1; do
    is "$s" "$(result all $s)" measured
done
has rates all.out '^nano-4096 [0-9.]+ \([0-9.]+ of the aim\)$'
rc at 0 jq -e '[.rows[].at] | all(type == "number") and . == sort' all/gpu-check.json
rc numbers 0 jq -e '[.rows[] | select(.name == "nano-4096") | .tokens_per_s > 0 and .tflops > 0 and .share > 0] |
    all' all/gpu-check.json
has operations all/gpu-check.md '^\| matmul, gate and up dw \| 128x32x64 \| 2 \|'
has operations.fp8 all/gpu-check.md '^\| quantize, down gradient \| 64x32 \| 2 \|'
if [[ -n $python ]]; then
    is oracle "$(result all torch.gradients.tiny64.cpu) $(result all torch.losses.tiny64.f32)" "good good"
    is peer "$(result all nano-4096.torch) $(result all bert-base)" "measured measured"
    # Gradients of another model are not those of this one.
    rc mixed 1 "$python" "$TOP/tests/cuda/torch_llama.py" check <(:)
else
    skip "no PyTorch: neither oracle nor peer"
fi

rc compare 0 "$TOP/scripts/gpu-check" compare wrong/gpu-check.json all/gpu-check.json
has compare.result out '^gradients.tiny64.f32 +FAILED +good$'
rc compare.same 0 "$TOP/scripts/gpu-check" compare all/gpu-check.json all/gpu-check.json
has compare.rate out '^nano-4096 .* 1\.00$'
hasnt compare.same out 'good'

wait $some
is tools $? 1
rc some.seconds 0 jq -e '.seconds <= 45' some/gpu-check.json
is own "$(result some memcheck)" FAILED
is library "$(result some racecheck) $(result some sanitizer.racecheck)" "good measured"
is hangs "$(result some synccheck)" FAILED
is no.tool "$(result some initcheck) $(result some sanitizer.initcheck)" "good skip"
has hangs some/gpu-check.md '^\| synccheck \| FAILED \| not done after'

# A call that never returns costs its row.
wait $hang
is hang $? 1
rc hang.seconds 0 jq -e '.seconds <= 35' hang/gpu-check.json
has hang hang/gpu-check.md '^\| ops.tiny \| FAILED \| not done in time'
has budget hang/gpu-check.md '^\| nano-4096 \| skip \| no time'
is torch.skip "$(result hang nano-4096.torch)" skip

# What is measured tells which way it went.
KJ_EMU_CUDNN=missing rc left 0 check left memory
has left left/gpu-check.md '^\| 8b-8192 \| measured \| .*; no cuDNN: .*: our own attention goes on'

KIJIL_CUDA_SO=/nowhere rc none 1 check none
has none none/gpu-check.md '^\| device \| FAILED \| .*no GPU: /nowhere'
# CUDA's libraries are looked for among Python's packages; one that is nowhere is named.
if command -v cc >/dev/null; then
    mkdir -p site/nvidia/cublas/lib
    echo 'int kj_part;' >part.c
    cc -shared -fPIC -o site/nvidia/cublas/lib/libcublasLt.so.99 -Wl,-soname,libcublasLt.so.99 part.c
    echo 'extern int kj_part; int *kj_cuda_abi(void) { return &kj_part; }' >object.c
    cc -shared -fPIC -o object.so object.c site/nvidia/cublas/lib/libcublasLt.so.99
    printf '#!/bin/bash\necho %s/site\n' "$T" >tools/python3
    chmod +x tools/python3
    KIJIL_CUDA_SO=$T/object.so rc missing 1 check missing
    has missing missing/gpu-check.md '^\| device \| FAILED \| .*no GPU: libcublasLt.so.99: '
    PYTHON=$T/tools/python3 KIJIL_CUDA_SO=$T/object.so rc found 1 check found
    has found found/gpu-check.md '^\| device \| FAILED \| .*built with another version of this program'
else
    skip "no compiler to make an object that lacks a library"
fi
rc unknown 2 check x abacus

# A package of no use here, nothing to write to but the folder of results: it is built, with the
# code of the GPU at hand. What cannot be built is said in a row.
mkdir -p tree/scripts tree/build/gpu tools2
cp "$TOP/scripts/gpu-check" tree/scripts/
printf '#!/bin/bash\necho old >&2\nexit 1\n' >tree/build/gpu/kijil
chmod +x tree/build/gpu/kijil
echo old >tree/build/gpu/commit
tar czf tree/build/gpu.tar.gz -C tree/build gpu && rm -r tree/build/gpu
printf '#!/bin/bash\necho "NVIDIA X100, 580.1, 81559 MiB, 700.00 W, 1980 MHz, Default, 8.6"\n' >tools2/nvidia-smi
cat >tools2/make <<E2
#!/bin/bash
echo "\$*" >>$T/made
[[ -e $T/refuse ]] && echo "cannot find -lzstd" && exit 2
mkdir -p $T/tree/build/release/tests/cuda
ln -sf $dir/kijil $dir/tests/cuda_emu/kijil-cuda.so $T/tree/build/release/
ln -sf $dir/tests/cuda/gradients $T/tree/build/release/tests/cuda/
E2
chmod +x tools2/*
bare() {
    env -u KIJIL -u KIJIL_CUDA_SO TMPDIR=/nowhere HOME=/nowhere PATH="$T/tools2:$PATH" \
        "$T/tree/scripts/gpu-check" --small -o "$T/$1" torch
}
rc built 0 bare built
is built.device "$(result built device)" good
has built.with made "-j[0-9]+ CUSM=sm_86 CUARCH=-gencode arch=compute_86,code=sm_86 .*all cuda"
is built.once "$(wc -l <made)" 1
is built.files "$(ls -A built)" "$(printf 'gpu-check.json\ngpu-check.log\ngpu-check.md')"
touch refuse
rc unbuilt 1 bare unbuilt
has unbuilt unbuilt/gpu-check.md '^\| program \| FAILED \| it cannot be built here.*cannot find -lzstd'

# Killed while a call of the GPU goes on: as long as the test wants.
KIJIL=$T/slow/kijil "$TOP/scripts/gpu-check" --small -o "$T/killed" operations >/dev/null 2>&1 &
pid=$!
for _ in $(seq 300); do
    grep -q '"device", "result": "good"' killed/gpu-check.json 2>/dev/null && pgrep -f "$T/slow/kijil device .*-v" \
        >/dev/null && break
    sleep 0.1
done
is under.way "$(pgrep -cf "$T/slow/kijil device .*-v" | grep -c '[1-9]')" 1
kill "$pid"
wait "$pid"
is killed "$?" 143
is table "$(jq -r '.rows[0].name' killed/gpu-check.json)" device
for _ in $(seq 50); do # it takes its time to go
    pgrep -f "$T/(bin|slow)/kijil" >/dev/null || break
    sleep 0.1
done
is left "$(pgrep -f "$T/(bin|slow)/kijil")" ""
is files "$(ls -A killed)" "$(printf 'gpu-check.json\ngpu-check.log\ngpu-check.md')"
done_testing
