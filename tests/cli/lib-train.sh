# lib-train.sh - for tests of training: a small corpus, the emulated GPU, ranks. Source
# it after lib.sh.
# shellcheck shell=bash
# sentences N : so many documents that have something to be learnt
sentences() {
    awk -v n="$1" 'BEGIN {
        for (i = 1; i <= n; i++)
            printf "{\"id\":\"%d\",\"text\":\"the cat number %d sat on mat %d and the dog saw it %d times\"}\n",
                i, i, i * 7 % 13, i % 5
    }'
}
# tokenized VOCABULARY : tokenizer.json and shards/ of docs.jsonl
tokenized() {
    rc tokenizer 0 "$KIJIL" tokenizer train --jsonl --vocab-size "$1" -o tokenizer.json docs.jsonl
    rc shards 0 "$KIJIL" tokenize -q -t tokenizer.json -o shards docs.jsonl
}
# emulated_gpu : the programs that follow find one
emulated_gpu() { export KIJIL_CUDA_SO="${KIJIL%/*}/tests/cuda_emu/kijil-cuda.so"; }
# sanitized : the program under test has a sanitizer, which is slow and maps terabytes
sanitized() { readelf -d "$KIJIL" | grep -qE 'libasan|libtsan'; }

port=$((20000 + RANDOM % 20000))
pids=()
# ranks N DIR OPTION... : starts run.yaml in the background; each rank's stderr in r$RANK.
# $LOCAL: the LOCAL_RANK of all; rank_options: options of every rank; doomed: the rank
# that is killed before its kill_at-th change of a file (kill_at.c); away: that whose
# folder is another one.
rank_options=() doomed='' kill_at=1 away=''
ranks() {
    local n=$1 dir=$2 r
    shift 2
    pids=()
    port=$((port + 1))
    for ((r = 0; r < n; r++)); do
        (
            export RANK=$r WORLD_SIZE=$n LOCAL_RANK=${LOCAL:-$r} MASTER_ADDR=127.0.0.1 MASTER_PORT=$port
            if [[ $r == "$doomed" ]]; then
                export LD_PRELOAD=${KIJIL%/*}/tests/kill_at.so KILL_AT=$kill_at
                export ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}verify_asan_link_order=0
            fi
            to=$dir
            [[ $r == "$away" ]] && to=$dir.away
            exec "$KIJIL" train run.yaml --data shards -j1 "${rank_options[@]}" -o "$to" "$@"
        ) 2>"r$r" &
        pids+=($!)
    done
}
# all NAME WANT : their exit statuses
all() {
    local got=() p
    for p in "${pids[@]}"; do
        wait "$p" 2>/dev/null
        got+=($?)
    done
    is "$1" "${got[*]}" "$2"
}
# under_way DIR : until it has done a step
under_way() {
    local i
    for ((i = 0; i < 600; i++)); do
        [[ -s $1/metrics.jsonl ]] && return
        sleep 0.1
    done
    bad "$1: no step in a minute"
}
# close NAME DIR DIR [TOLERANCE] : the same steps, losses as close as that (1e-4)
close() {
    is "$1" "$(paste <(jq -r .loss "$2/metrics.jsonl") <(jq -r .loss "$3/metrics.jsonl") |
        awk -v t="${4:-1e-4}" '{d = $1 - $2; if (!(d <= t && d >= -t)) n++} END {print (NR > 0), n + 0}')" "1 0"
}
