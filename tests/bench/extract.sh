#!/bin/bash
# extract.sh - speed by phase beside what is installed of the peers, the tree
# against an HTML5 parser's (npm's parse5, by NODE_PATH), and quality of the main
# text, where the gold sets and packages are at hand.
# usage: [B=build/release] tests/bench/extract.sh [WARC...]
set -u
cd "$(dirname "$0")/../.." || exit 2
B=${B:-build/release}
data=../shared/data/extract
make -s "$B/tests/bench/bench_extract" "$B/tests/bench/bench_tree" "$B/kijil"
if [[ $# -gt 0 ]]; then
    exec "$B/tests/bench/bench_extract" "$@"
fi
if [[ ! -e $data/make_warc.py ]] || ! command -v python3 >/dev/null; then
    echo "skip extract: no gold sets in ../shared/data/extract, or no python3"
    exit 0
fi
T=$(mktemp -d)
trap 'rm -rf "$T"' EXIT
for set in wcxb-dev aeb; do
    mkdir "$T/unpacked"
    zstd -dc "$data/$set.tar.zst" | tar x -C "$T/unpacked"
    python3 "$data/make_warc.py" "$T/unpacked/$set" "$T/$set.warc.gz" 2>/dev/null
    echo "== $set: one core"
    "$B/tests/bench/bench_extract" "$T/$set.warc.gz"
    TIMEFORMAT='kijil extract, the whole command: %U s user, %S s system'
    time "$B/kijil" extract -q "$T/$set.warc.gz" >/dev/null
    find "$T/unpacked" -name '*.html' -printf '%h\n' -quit >"$T/dir"
    python3 tests/bench/html_peers.py "$(<"$T/dir")"
    if node -e 'require("parse5")' 2>/dev/null; then
        echo "== $set: the tree against parse5's"
        find "$T/unpacked" -name '*.html' | "$B/tests/bench/bench_tree" |
            node tests/bench/html5_oracle.js extract/tags.h
    fi
    echo "== $set: score"
    "$B/kijil" extract -q "$T/$set.warc.gz" |
        python3 "$data/score.py" "$T/unpacked/$set" - 2>/dev/null
    rm -rf "$T/unpacked" "$T/$set.warc.gz"
done
echo "== Korean documentation of installed packages: score"
python3 tests/bench/doc_pages.py "$T/docs" --lang ko --pages 200
"$B/kijil" extract -q "$T/docs.warc.gz" | python3 tests/bench/doc_pages.py "$T/docs" --score
