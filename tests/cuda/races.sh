#!/bin/bash
# races.sh [PROGRAM ARGUMENT...] - kernels on the emulated device with a look at each of
# their accesses (races.cc): threads that touch the same memory without an order between
# them, and memory that is not the device's. Without a program the planted faults have to
# be seen, then the self-test and a model's gradients have to be free of them.
set -eu
cd "$(dirname "$0")/../.."
B=build/release
dir=$B/tests/cuda_races
make -s RACES=1 all "$dir/kijil-cuda.so" "$dir/planted" "$B/tests/cuda/gradients"
export KIJIL_CUDA_SO=$PWD/$dir/kijil-cuda.so
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# Runs it; says where in the source each race is.
look() {
    local status=0 at
    "$@" >"$log" 2>&1 || status=$?
    ((status)) && { grep -av '^race:' "$log" | tail -n 5 >&2; }
    while read -r line; do
        at=$(grep -o '+0x[0-9a-f]*' <<<"$line" | head -n 1)
        echo "${line/ at $at/}"
        addr2line -ipfCe "$KIJIL_CUDA_SO" "${at#+}" | sed 's/^/    /'
    done < <(grep -a '^race:' "$log") >&2
    return "$status"
}
if (($#)); then
    look "$@"
    exit
fi
for fault in good good-warp good-constant no-barrier no-warp-barrier overtake blocks host; do
    status=0
    "$dir/planted" "$fault" >"$log" 2>&1 || status=$?
    case $fault in
    good*) want=0 ;;
    *) want=66 ;;
    esac
    if ((status != want)); then
        echo "races: $fault gave $status, not $want" >&2
        cat "$log" >&2
        exit 1
    fi
done
KIJIL_CUDNN=0 look "$B/kijil" device --device cuda --size 64 --seconds 0.001
look "$B/tests/cuda/gradients" tiny64 cuda 2 f32 bf16 states fp8
look "$B/tests/cuda/gradients" odd cuda 0 f32 bf16
echo "races: none in the self-test and the gradients of two models; five planted ones seen"
