#!/bin/bash
# sdpa_plans.sh - make cuDNN's plans for attention on a machine without a GPU. A
# library that stands in for the driver lets modules load and refuses all else.
# CUDA_HOME: the toolkit, with cuDNN 9.8 or later beside it.
set -eu
cd "$(dirname "$0")/../.."
cuda=${CUDA_HOME:-/usr/local/cuda}
stub=$cuda/lib64/stubs/libcuda.so
if [[ ! -e $stub || ! -e $cuda/include/cudnn.h ]]; then
    echo "skip sdpa_plans: no CUDA toolkit with cuDNN in $cuda (set CUDA_HOME)"
    exit 0
fi
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
nm -D --defined-only "$stub" | awk '$2 == "T" {
    split($3, part, "@"); name = part[1]
    if (name ~ "^cu(Library|Module)(Load|Get)")
        print "int " name "(void **h) { *h = h; return 0; }"
    else if (name ~ "^cu(Library|Module|Kernel|Func)")
        print "int " name "(void) { return 0; }"
    else
        print "int " name "(void) { return 34; }"
}' | sort -u >"$dir/driver.c"
cc -w -shared -fPIC -Wl,-soname,libcuda.so.1 -o "$dir/libcuda.so.1" "$dir/driver.c"
cc -std=c17 -D_GNU_SOURCE -Wall -Wextra -O1 -I. -isystem "$cuda/include" \
    tests/cuda/sdpa_plans.c nn/cuda/attn_cudnn.c nn/cuda/cudnn_graph.c base/err.c \
    -o "$dir/sdpa_plans" -ldl -lm
LD_LIBRARY_PATH=$dir:$cuda/lib64 "$dir/sdpa_plans"
