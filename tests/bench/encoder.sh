#!/bin/bash
# tests/bench/encoder.sh [DOCUMENTS] - a BERT base of random weights (110 million) with
# FineWeb-Edu's head over texts of 250 tokens in the median, cut at 512, on one thread
# beside PyTorch (batches of 32, padded, as they come and sorted by length). Count the
# CPU seconds: wall times on a busy machine say little.
set -eu
cd "$(dirname "$0")/../.."
B=${B:-build/release}
n=${1:-64}
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
make -s "$B/kijil"
kijil=$PWD/$B/kijil encoder=$PWD/tests/cli/encoder.py
unset OPENBLAS_CORETYPE
export OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1
py=
for p in python3 /usr/bin/python3; do
    if "$p" -c 'import torch' 2>/dev/null; then py=$p; fi
done
[[ $py ]] || { echo "bench: python3 has no torch"; exit 0; }
cd "$tmp"
"$py" "$encoder" make . bert 30522 12 768 3072 12 pooler
awk -v n="$n" 'BEGIN {
    srand(7)
    for (i = 0; i < n; i++) {
        z = 0
        for (k = 0; k < 12; k++) z += rand()
        words = int(exp(log(250) + (z - 6)))
        if (words > 600) words = 600
        t = ""
        for (k = 0; k < words; k++) t = t (k ? " " : "") "w" int(rand() * 30000)
        print "{\"id\":\"" i "\",\"text\":\"" t "\"}"
    }
}' >in.jsonl
"$py" "$encoder" speed . in.jsonl 32 1
"$kijil" classify -j1 -m . --as edu in.jsonl 2>&1 >/dev/null | sed 's/^/kijil: /'
