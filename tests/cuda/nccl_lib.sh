#!/bin/bash
# nccl_lib.sh - open NVIDIA's NCCL on a machine without a GPU (nccl_lib.c). CUDA_HOME:
# the toolkit, with NCCL 2.18 or later beside it.
set -eu
cd "$(dirname "$0")/../.."
cuda=${CUDA_HOME:-/usr/local/cuda}
if [[ ! -e $cuda/include/nccl.h ]]; then
    echo "skip nccl_lib: no NCCL in $cuda (set CUDA_HOME)"
    exit 0
fi
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cc -std=c17 -D_GNU_SOURCE -Wall -Wextra -O1 -I. -isystem "$cuda/include" \
    tests/cuda/nccl_lib.c nn/cuda/nccl_lib.c base/err.c -o "$dir/nccl_lib" -ldl \
    -Wl,-rpath,"$cuda/lib64"
"$dir/nccl_lib"
