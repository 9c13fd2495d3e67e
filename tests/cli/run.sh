#!/bin/bash
# run.sh - the properties that the whole thread promises: the shell pipeline
# and `kijil run` give the same bytes; so do all thread counts; so does a run
# that was killed again and again; shards together equal the whole; damage
# costs only itself.
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"

mkdir site1 site2
awk -v dir=site1 -v n=1400 -v seed=1 -f "$TOP/tests/cli/pages.awk"
awk -v dir=site2 -v n=1000 -v seed=2 -f "$TOP/tests/cli/pages.awk"
for s in site1 site2; do
    rc "pack $s" 0 "$KIJIL" pack $s -o $s.warc.gz --base-url "https://$s.example/" -q
done
cat >rules.yaml <<'END'
about: rules of the test
words: whitespace
rules:
  - gopher.min_words: 40
  - gopher.max_words: 100000
END
cat >recipe.yaml <<'END'
about: the whole thread in small
steps:
  - extract: {format: text}
  - lid: {keep: [ko, en], min_score: 0.3}
  - filter: {recipe: [rules.yaml]}
  - dedup: {method: minhash, threshold: 0.8}
  - tokenizer: {vocab_size: 600}
  - tokenize: {shard_tokens: 200000}
END
run() { "$KIJIL" run recipe.yaml -i 'site*.warc.gz' --part-size 100K -q "$@"; }
# What a run leaves, without what may differ (times in the ledger, the report).
prints() {
    (cd "$1" && find . -type f ! -name 'run.db*' ! -name 'report.html' -print0 |
        sort -z | xargs -0 sha256sum)
}

rc "run" 0 run -o out1 -j1
prints out1 >want
parts=$(find out1 -name 'part-*' | wc -l)
if [[ $parts -ge 6 ]]; then ok; else bad "only $parts parts: restart is not tested"; fi
rc "a finished run is left alone" 0 run -o out1 -j2
prints out1 >got
same "a finished run is left alone" want got

rc "run -j4" 0 run -o out4 -j4
prints out4 >got
same "-j1 and -j4" want got

# The shell pipeline.
"$KIJIL" extract -q site*.warc.gz | "$KIJIL" lid -q --keep ko,en --min-score 0.3 |
    "$KIJIL" filter -q -r rules.yaml | "$KIJIL" dedup minhash -q --threshold 0.8 >docs.jsonl
zstd -dcq out1/2-dedup/part-*.jsonl.zst >run.jsonl
same "pipeline and run: documents" docs.jsonl run.jsonl
rc "tokenizer train" 0 "$KIJIL" tokenizer train -q --jsonl --vocab-size 600 \
    -o tokenizer.json docs.jsonl
same "pipeline and run: tokenizer" tokenizer.json out1/tokenizer.json
rc "tokenize" 0 "$KIJIL" tokenize -q -t tokenizer.json --shard-tokens 200000 -o shards docs.jsonl
for f in shards/*; do
    same "pipeline and run: $(basename "$f")" "$f" "out1/$(basename "$f")"
done

# Killed again and again, later each time, until it gets through.
for ((n = 3; n < 9999; n = n * 3 / 2)); do
    killed $n "$KIJIL" run recipe.yaml -i 'site*.warc.gz' \
        --part-size 100K -q -o outk -j2 || break
done
is "killed ($kills times)" $((kills >= 8)) 1
rc "run after $kills kills" 0 run -o outk -j2
prints outk >got
same "killed $kills times" want got
rc "check" 0 "$KIJIL" check -q outk
if command -v sqlite3 >/dev/null; then
    q='select count(*), sum(kept) from decisions'
    is "the ledger after kills" "$(sqlite3 outk/run.db "$q")" "$(sqlite3 out1/run.db "$q")"
fi

# Shards together are the whole.
for i in 0 1 2; do
    "$KIJIL" extract -q --shard $i/3 site*.warc.gz
done | sort >a
"$KIJIL" extract -q site*.warc.gz | sort >b
same "extract: shards equal the whole" a b
"$KIJIL" extract -q site*.warc.gz >all.jsonl
for i in 0 1 2; do
    "$KIJIL" dedup -q --shard $i/3 all.jsonl
done | sort >a
"$KIJIL" dedup -q all.jsonl | sort >b
same "dedup: shards equal the whole" a b

# Damage costs only itself, and is exit status 3.
# Eight bytes overwritten at any place of a member cost that record alone, or
# none when they only touch the member's time stamp; its neighbours stay as
# they were.
head -c 40000 site1.warc.gz >small.warc.gz
"$KIJIL" extract -q small.warc.gz -o small.jsonl
cut -d, -f1 small.jsonl | sort >small.ids
worst=0
for at in $(seq 3000 1709 36000); do
    cp small.warc.gz hurt.warc.gz
    printf 'XXXXXXXX' | dd of=hurt.warc.gz bs=1 seek="$at" conv=notrunc 2>/dev/null
    "$KIJIL" extract -q hurt.warc.gz -o hurt.jsonl --rejects hurt.rej
    grep -q '"rule":"extract.warc_member"\|"rule":"extract.warc_length"' hurt.rej ||
        bad "damage at $at is not in the rejects"
    lost=$(cut -d, -f1 hurt.jsonl | sort | comm -23 small.ids - | wc -l)
    new=$(cut -d, -f1 hurt.jsonl | sort | comm -13 small.ids - | wc -l)
    if [[ $lost -ne 1 || $new -ne 0 ]]; then
        worst=$at
        bad "damage at $at: lost $lost, new $new"
    fi
done
is "damage costs one record" "$worst" 0
size=$(stat -c %s site1.warc.gz)
cp site1.warc.gz hurt.warc.gz
printf 'XXXXXXXX' | dd of=hurt.warc.gz bs=1 seek=$((size / 2)) conv=notrunc 2>/dev/null
rc "damaged archive" 3 "$KIJIL" extract -q hurt.warc.gz --rejects bad.jsonl -o hurt.jsonl
has "rejects name the place" bad.jsonl '"damaged":true'
head -c $((size - 300)) site1.warc.gz >cut.warc.gz
rc "truncated archive" 3 "$KIJIL" extract -q cut.warc.gz -o /dev/null
printf 'steps:\n  - extract\n' >only.yaml
rc "run over it" 3 "$KIJIL" run only.yaml -i cut.warc.gz -o outcut
has "share recovered" "$T/err" '^  cut.warc.gz: [0-9]+ faults?, 9[0-9][.][0-9]+ % of [0-9]+ bytes recovered'
printf '{"text":"x"}\nnot json\n{"text":"y"}\n' >bad.in
rc "invalid line" 3 "$KIJIL" lid -q bad.in
is "invalid line costs itself" "$(wc -l <"$T/out")" 2

# A recipe with a wrong key stops before anything is read.
sed 's/vocab_size/vocab_siez/' recipe.yaml >wrong.yaml
rc "unknown key" 2 "$KIJIL" run wrong.yaml -i 'site*.warc.gz' -o outw
has "unknown key: file and line" "$T/err" 'wrong.yaml:7'
is "unknown key: nothing written" "$(ls -d outw 2>/dev/null)" ""
done_testing
