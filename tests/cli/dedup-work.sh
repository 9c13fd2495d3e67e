#!/bin/bash
# kijil dedup --work: in steps, by many processes, killed at any time, on a full
# disk, within little memory; always the bytes of a single run.
. "$(dirname "$0")/lib.sh"

mkdir tmp
export TMPDIR=$T/tmp # a killed process leaves an empty folder there

# N documents of W words; three in ten are copies with up to three words changed
corpus() {
    awk -v n="$1" -v w="$2" 'function word(k,  s) {
        for (s = "w"; k > 0; k = int(k / 20)) s = s substr("abcdefghijklmnopqrst", 1 + k % 20, 1)
        return s
    }
    BEGIN {
        srand(7)
        for (i = 0; i < n; i++) {
            if (i % 10 > 6) {
                m = split(text[int(rand() * i)], v, " ")
                for (e = int(rand() * 4); e > 0; e--) v[1 + int(rand() * m)] = "e" word(int(rand() * 9e6))
            } else {
                m = w + int(rand() * w)
                for (k = 1; k <= m; k++) v[k] = word(int(rand() * 9000))
            }
            t = v[1]
            for (k = 2; k <= m; k++) t = t " " v[k]
            text[i] = t
            printf "{\"id\":\"d%06d\",\"text\":\"%s\",\"date\":\"2020-01-%02d\",\"source\":\"s%d\"}\n",
                i, t, 1 + i % 28, i % 4
        }
    }'
}
corpus 3000 40 >all.jsonl
split -n l/5 all.jsonl in.
echo 'no document' >>in.ac # a damaged line has its number as well
in=(in.aa in.ab in.ac in.ad in.ae)
opts=(-q --memory 100M --keep newest)
dedup() { "$KIJIL" dedup "${opts[@]}" "$@"; }
rc "a single run" 3 dedup -j1 "${in[@]}" -o want --rejects want.r
is "it drops" $(($(wc -l <want.r) > 300)) 1

# ---- all steps in one process, and again over what is there ----
rc "in steps" 3 dedup -j2 --work w --piece 100 "${in[@]}" -o got --rejects got.r
same "the same bytes" want got
same "the same rejects" want.r got.r
is "files of signatures" $(($(find w -name "sigs-*" | wc -l) > 30)) 1
is "nothing half-written" "$(find w -name "*tmp*")" ""
ls -l --time-style=full-iso w >before
rc "again" 3 dedup -j1 --work w --piece 100 "${in[@]}" -o got
same "the same bytes again" want got
ls -l --time-style=full-iso w >after
same "nothing was made again" before after
rc "exact" 3 "$KIJIL" dedup exact -q "${in[@]}" -o want.e
rc "exact in steps" 3 "$KIJIL" dedup exact -q --work we --piece 100 "${in[@]}" -o got.e
same "exact: the same bytes" want.e got.e

rev=(in.ad in.aa in.ae in.ac in.ab)
rc "input files in another order" 3 dedup -j2 --work wr --piece 77 "${rev[@]}" -o got.o
sort got.o >got.s
sort want >want.s
same "the same documents" got.s want.s
for i in 0 1 2; do
    rc "shard $i by id" $((i == 1 ? 3 : 0)) dedup --work wr --piece 77 --shard $i/3 "${rev[@]}" -o "got.$i"
done
sort got.0 got.1 got.2 >got.s
same "and by shards" got.s want.s

# ---- an array of jobs, in any order ----
step() { # NAME N: its shards in a random order
    local i
    for i in $(shuf -i 0-$(($2 - 1)) --random-source=<(yes "$1")); do
        rc "$1 $i/$2" 0 dedup -j1 --work wa --piece 100 --step "$1" --shard "$i/$2" "${in[@]}"
    done
}
step sign 3
step match 4
step gather 7
rc "solve" 0 dedup --work wa --piece 100 --step solve "${in[@]}"
for f in w/*; do
    same "the same file" "$f" "wa/${f#w/}"
done
for i in 1 0; do
    rc "apply $i/2" $((i ? 0 : 3)) dedup --work wa --piece 100 --step apply --shard "$i/2" "${in[@]}" -o "part.$i"
done
sort part.0 part.1 >parts
sort want >want.s
same "the parts are the whole" parts want.s
rc "more shards than files" 0 dedup --work wa --piece 100 --step apply --shard 9/10 "${in[@]}" -o none
is "give nothing" "$(wc -c <none)" 0

# ---- killed, and killed again ----
for i in $(seq 1 40); do
    killed "$((i % 9 * 4 + 5))" "$KIJIL" dedup "${opts[@]}" -j$((i % 2 + 1)) --work wk \
        --piece 100 "${in[@]}" -o killed
done
is "it was killed ($kills times)" $((kills > 5)) 1
rc "then to the end" 3 dedup --work wk --piece 100 "${in[@]}" -o killed
same "the bytes of a run that was not" want killed
is "nothing half-written is left" "$(find wk -name "*tmp*")" ""
for f in w/*; do
    same "and its files" "$f" "wk/${f#w/}"
done

# ---- what is missing or damaged is named, with what to do ----
missing() { # FILE STEP NEXT [WHAT NEXT LEAVES]
    cp -r w wm
    # shellcheck disable=SC2086
    (cd wm && rm "$1" ${4:-})
    rc "without $1" 1 dedup --work wm --piece 100 --step "$3" "${in[@]}"
    has "$1 is named" err "wm/$1"
    has "with the step to run" err "step $2"
    rc "the step $2" 0 dedup -j1 --work wm --piece 100 --step "$2" "${in[@]}"
    same "makes it again" "w/$1" "wm/$1"
    rm -r wm
}
rm w/list w/names # so that solve has something to do
cp -r w wnolist
missing sigs-00001-0002 sign match
missing match-0003 match gather "sets-*"
missing sets-00002 gather solve
rc "solve again" 0 dedup --work w --piece 100 --step solve "${in[@]}"
missing list solve apply
missing names solve apply
damage() { # FILE FOLDER STEPS...: of each file one byte, then its end
    local file=$1 from=$2 n at how s
    shift 2
    n=$(stat -c %s "$from/$file")
    for how in 20 100 $((n / 2)) cut; do
        cp -r "$from" wd
        if [[ $how == cut ]]; then
            truncate -s $((n - 1)) "wd/$file"
        else
            at=$(od -An -tu1 -j "$how" -N1 "wd/$file")
            printf "%b" "\\x$(printf %x $((at ^ 4)))" | dd of="wd/$file" bs=1 seek="$how" conv=notrunc status=none
        fi
        s=0
        for step in "$@"; do
            if [[ $step == apply ]]; then
                dedup -j1 --work wd --piece 100 --step apply "${in[@]}" -o d.out >out 2>err || s=$?
            else
                dedup -j1 --work wd --piece 100 --step "$step" "${in[@]}" >out 2>err || s=$?
            fi
            [[ $s -eq 1 ]] && break
        done
        is "damage of $file ($how)" "$s" 1
        has "is told by name" err "wd/$file"
        is "without output" "$(ls d.out* 2>/dev/null)" ""
        rm -r wd
    done
}
rm wnolist/match-*
damage sigs-00001-0001 wnolist match
rm -r wnolist
cp -r w wsolve
rm wsolve/list wsolve/names
damage sets-00003 wsolve solve
rm wsolve/sets-*
damage match-0007 wsolve gather solve
rm -r wsolve
damage list w apply
damage names w apply
rc "another seed" 1 dedup --seed 2 --work w --piece 100 "${in[@]}" -o never
has "is told" err 'w/sigs-00000-0000: made with another seed or other parameters'
rc "other bands" 1 dedup --bands 13 --work w --piece 100 "${in[@]}" -o never
rc "another threshold" 1 dedup --threshold 0.7 --work w --piece 100 "${in[@]}" -o never
has "concerns the list" err 'w/(list|names): made with'
rc "other input" 1 dedup --work w --piece 100 in.ab in.aa -o never
has "is no longer the same" err 'w/sigs-00000-0000'
is "no output" "$(ls never* 2>/dev/null)" ""
sed 's/wa/wb/' in.ad >x && mv x in.ad # of the same size
rc "changed input" 1 dedup --work w --piece 100 "${in[@]}" -o never
has "is noticed" err 'the input changed'
split -n l/5 all.jsonl in.
echo 'no document' >>in.ac
rc "standard input" 2 bash -c "cat in.aa | '$KIJIL' dedup --work w2"
rc "no folder" 2 dedup --step sign in.aa
rc "a method that is not in steps" 2 "$KIJIL" dedup bloom --work w2 in.aa

# ---- a full disk ----
(
    ulimit -f 600 # KiB: no file of signatures fits
    "$KIJIL" dedup "${opts[@]}" -j1 --work wf --piece 20000 all.jsonl -o full >out 2>err
    echo $? >status
)
is "a full disk stops it" "$(cat status)" 1
has "and is named" err 'cannot write wf/sigs-00000-0000'
is "nothing is there by halves" "$(find wf full* -type f 2>/dev/null)" ""
dedup -j1 --work wf --piece 1000 all.jsonl -o full
(
    rm wf/sets-* wf/list wf/names
    ulimit -f 600
    "$KIJIL" dedup "${opts[@]}" -j1 --work wf --piece 1000 all.jsonl -o full2 >out 2>err
    echo $? >status
)
is "nor in another step" "$(cat status)" 1
has "which is named too" err 'cannot write wf/sets-00000'
rc "with more space it goes on" 0 dedup -j1 --work wf --piece 1000 all.jsonl -o full2
same "to the same bytes" full full2

# ---- within its memory ----
if [[ $KIJIL != */release/* ]]; then
    skip "memory is not measured in this build"
else
    corpus 100000 8 >large.jsonl
    rc "100,000 documents" 0 "$KIJIL" dedup -j1 --bands 40 --rows 5 --memory 2G large.jsonl -o want.l
    free=$(grep -oE '[0-9]+ MB peak' err | cut -d' ' -f1)
    rc "in 40 MB" 0 "$KIJIL" dedup -j1 --bands 40 --rows 5 --memory 40M large.jsonl -o got.l
    peak=$(grep -oE '[0-9]+ MB peak' err | cut -d' ' -f1)
    is "keeps to it ($peak of 40, $free without a limit)" $((peak <= 40 && free > 40)) 1
    same "with the same outcome" want.l got.l
    rc "in steps" 0 "$KIJIL" dedup -j1 --bands 40 --rows 5 --memory 40M --work wl large.jsonl -o got.l
    peak=$(grep -oE '[0-9]+ MB peak' err | cut -d' ' -f1)
    is "these as well ($peak of 40)" $((peak <= 40)) 1
    same "with the same outcome" want.l got.l

    # --dry-run against real use: documents, memory, disk, and time, of which the
    # machine's other work is a part
    close_to() { # NAME ESTIMATE REAL LOW HIGH (estimate over real)
        is "$1: $2 for $3" "$(awk -v e="$2" -v r="$3" -v l="$4" -v h="$5" \
            'BEGIN { print (e >= l * r && e <= h * r) }')" 1
    }
    said() { grep "^estimate_$1:" said | grep -oE '[0-9.]+' | head -n 1; }
    for memory in 2G 40M; do
        o=(-j1 --bands 40 --rows 5 --memory "$memory")
        rc "a dry run" 0 "$KIJIL" dedup "${o[@]}" --dry-run large.jsonl
        mv out said
        rm -rf wl
        start=$(date +%s%N)
        rc "and a real one" 0 "$KIJIL" dedup "${o[@]}" large.jsonl -o got.l
        took=$(($(date +%s%N) - start))
        peak=$(grep -oE '[0-9]+ MB peak' err | cut -d' ' -f1)
        close_to "documents" "$(said documents)" 100000 .95 1.05
        close_to "memory, at most" "$(said memory)" "$peak" .95 2.5
        close_to "seconds" "$(said seconds)" "$(awk "BEGIN { print $took / 1e9 }")" .15 6
    done
    rc "with files to look at" 0 "$KIJIL" dedup "${o[@]}" --work wl large.jsonl -o got.l
    close_to "disk, at most" "$(said disk)" "$(awk "BEGIN { print $(du -sb wl | cut -f1) / 1e6 }")" .95 2.5
fi
done_testing
