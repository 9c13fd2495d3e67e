#!/bin/bash
# kijil bands: bands by rank as the definition gives them, in any order, at any number
# of threads and shards; the ledger's tables; whatif equals a re-run; shards and plans
# take the bands; a killed run gives the same bytes.
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
TWIN=$TOP/tests/cli/bands_twin.py

# 1501 documents: one score all different, one with many ties, some documents without
awk 'BEGIN {
    srand(11)
    for (i = 0; i < 1501; i++) {
        l = i % 9 == 0 ? "fr" : i % 3 == 0 ? "en" : "ko"
        t = "document " i
        for (n = int(exp(rand() * 5)); n > 0; n--) t = t " 낱말" n
        printf "{\"id\":\"d%d\",\"text\":\"%s\"", i, t
        if (i % 50) printf ",\"language\":\"%s\"", l
        if (i % 31) printf ",\"dclm_score\":%.9f", rand() ^ 3
        else if (i % 2) printf ",\"dclm_score\":null"
        if (i % 7) printf ",\"edu_score\":%s", int(rand() * 11) / 2
        print ",\"rest\":[1,2]}"
    }
}' >in.jsonl
B=("$KIJIL" bands -q --scores "dclm_score,edu_score")

rc "two scores" 0 "${B[@]}" in.jsonl -o out.jsonl
is "two scores: as defined" "$(python3 "$TWIN" in.jsonl out.jsonl dclm_score,edu_score)" 1501
has "other fields stay" out.jsonl '"dclm_score":[0-9.]+,"edu_score":[0-9.]+,"rest":\[1,2\],"dclm_band":'
hasnt "no band without a score" <(jq -c 'select(.dclm_score == null and .edu_score == null)' out.jsonl) '_band":[0-9]'
for j in 2 4; do
    rc "-j$j" 0 "${B[@]}" -j$j in.jsonl -o outj.jsonl
    same "-j$j gives the same bytes" out.jsonl outj.jsonl
done
rc "a pipe" 0 bash -c "cat in.jsonl | '${B[0]}' ${B[*]:1} >outp.jsonl"
same "a pipe gives the same bytes" out.jsonl outp.jsonl
rc "shuffled" 0 bash -c "shuf --random-source=<(yes) in.jsonl | '${B[0]}' ${B[*]:1} -j4 | sort >a"
sort out.jsonl >b
same "the order does not matter" a b
for i in 0 1 2; do "${B[@]}" --shard $i/3 in.jsonl; done | sort >a
same "shards together are the whole" a b

way() { # way NAME SCORES OPTIONS... -- WORDS for the twin...
    local name=$1 scores=$2 opts=()
    shift 2
    while [[ $# -gt 0 && $1 != -- ]]; do opts+=("$1") && shift; done
    rc "$name" 0 "$KIJIL" bands -q --scores "$scores" "${opts[@]}" in.jsonl -o way.jsonl
    is "$name: as defined" "$(python3 "$TWIN" in.jsonl way.jsonl "$scores" "${@:2}")" 1501
}
way "one score" dclm_score
way "ties" edu_score
way "ties together" edu_score --ties together -- together
way "seven bands" dclm_score,edu_score --bands 7 -- bands=7
way "a hundred" dclm_score --bands 100 -- bands=100
way "by language" dclm_score,edu_score --per-language -- language
way "by text" dclm_score --weight bytes -- bytes
way "by text and language" dclm_score --weight bytes --per-language -- bytes language
way "mean" dclm_score,edu_score --combine mean -- mean
way "worst" dclm_score,edu_score --combine min -- min
rc "levels" 0 "$KIJIL" bands -q -s dclm_score --bands 10 --levels 1,2,3,9 in.jsonl -o way.jsonl
is "levels: where they begin" "$(jq -rs 'group_by(.quality_level)[] | "\(.[0].quality_level) \(map(.quality_band) | min)"' \
    way.jsonl | sort | tr '\n' ' ')" "high 9 low 0 medium 2 medium-high 3 medium-low 1 null null "
rc "no levels" 0 "$KIJIL" bands -q -s dclm_score --levels none in.jsonl -o way.jsonl
hasnt "no levels" way.jsonl quality_level
printf '{"id":"x","text":"a","s":2}\n{"id":"y","text":""}\n' >few.jsonl
rc "one document" 0 "$KIJIL" bands -q -s s --as good few.jsonl -o way.jsonl
has "one document: the best" way.jsonl '"s":2,"good":19,"good_level":"high"'
rc "no document" 0 "$KIJIL" bands -q -s s /dev/null

# ---- the bands from b up are the best (20 - b) / 20, document for document ----
for b in 18 13 1; do
    rc "from $b up" 0 "${B[@]}" --as b --min $b in.jsonl -o kept.jsonl --rejects rej.jsonl
    is "from $b up: all above" "$(jq "select(.b < $b)" kept.jsonl | wc -l)" 0
    is "from $b up: in = kept + dropped" $(($(wc -l <kept.jsonl) + $(wc -l <rej.jsonl))) 1501
    is "from $b up: no other" "$(jq "select((.b // -1) >= $b)" rej.jsonl | wc -l)" 0
    jq -r .id kept.jsonl | sort >a
    jq -r "select((.quality_band // -1) >= $b) | .id" out.jsonl | sort >b
    same "from $b up: the same bands" a b
done
has "rejects say why" rej.jsonl '"rule":"bands.b","value":-1,"threshold":1'
awk 'BEGIN {srand(3); for (i = 0; i < 400; i++) {
    printf "__label__%s", i % 2 ? "hq" : "cc"
    for (n = 6; n > 0; n--) printf " %s%d", i % 2 ? "good" : "bad", rand() * 20
    print ""}}' >train.txt
"$KIJIL" model train -q train.txt -o m.bin --dim 4 --epoch 1 --lr 0.05
jq -c '.text = (if .rest and (.id | ltrimstr("d") | tonumber) % 3 == 0 then "good1 bad3" else
    "good\(.edu_score) bad\(.id | ltrimstr("d") | tonumber % 90) good\(.dclm_score)" end)' in.jsonl >texts.jsonl
"$KIJIL" classify -q -m m.bin --as own_score texts.jsonl -o scored.jsonl
"$KIJIL" bands -q -s own_score scored.jsonl -o way.jsonl
for p in 10:18 45:11 95:1; do
    "$KIJIL" classify -q -m m.bin --as own_score --keep-top "${p%:*}%" texts.jsonl | jq -r .id >a
    jq -r "select(.quality_band >= ${p#*:}) | .id" way.jsonl >b
    same "--keep-top ${p%:*}%: bands from ${p#*:} up, also among equal scores" a b
done

# ---- samples ----
rc "sample" 0 "${B[@]}" --sample 30% --seed 3 in.jsonl -o s1.jsonl --ledger s.db
rc "sample, -j4" 0 "${B[@]}" --sample 30% --seed 3 -j4 in.jsonl -o s4.jsonl
same "sample: -j4 gives the same bytes" s1.jsonl s4.jsonl
rc "another sample" 0 "${B[@]}" --sample 30% --seed 4 in.jsonl -o s2.jsonl
differ "another seed, another sample" s1.jsonl s2.jsonl
"${B[@]}" in.jsonl --ledger exact.db -o /dev/null
q() { sqlite3 "$1" "$2"; }
is "sample: looked at" "$(q s.db "select count(*) from quantiles where seen between 0.25 * docs and 0.35 * docs")" 40
is "sample: edges with an interval" "$(q s.db "select count(*) from quantiles where band > 0 and low <= cut and
    cut <= high and share_low < share and share < share_high")" 38
q s.db "attach 'exact.db' as x; select sum(e.cut between q.low and q.high) from quantiles q join x.quantiles e
    using (score, language, band) where q.band > 0" >held # 95 % of 38, and neighbours go together
if [[ $(cat held) -ge 33 ]]; then ok; else bad "sample: exact edges within $(cat held) of 38 intervals"; fi
is "exact: no interval" "$(q exact.db 'select count(*) from quantiles where low is not null or seen < docs')" 0

# ---- the ledger ----
rc "ledger" 0 "${B[@]}" --per-language --min 5 in.jsonl -o kept.jsonl --rejects rej.jsonl --ledger run.db
jq -rs 'group_by(.language, (.quality_band // -1))[] |
    "\(.[0].language // "")|\(.[0].quality_band // -1)|\(length)|\(map(.text | utf8bytelength) | add)|\(map(select(.drop == null)) |
    length)"' kept.jsonl rej.jsonl | sort >want
q run.db "select language, band, docs, bytes, docs_kept from band_counts" | sort >got
same "ledger: documents and text by language and band" got want
is "ledger: edges" "$(q run.db 'select count(*), count(distinct language), min(band), max(band) from quantiles')" "160|4|0|19"
jq -s 'map(select(.language == "ko" and .dclm_band == 15)) | map(.dclm_score) | min' kept.jsonl rej.jsonl >want
q run.db "select cut from quantiles where language = 'ko' and score = 'dclm_score' and band = 15" >got
is "ledger: an edge is the worst of its band" "$(cat got)" "$(cat want)"
rc "ledger: check" 0 "$KIJIL" report run.db
has "report: bands" out '^19 +[0-9]+ '
has "report: bands" out '^none +[0-9]+ '
rc "report: page" 0 "$KIJIL" report run.db -o page.html
has "report: page has the bands" page.html '<h2>Quality bands</h2>'
has "report: by language" page.html '<h3>ko</h3>'
has "report: edges" page.html '<td>edu_score ko</td>'
for i in 0 1; do "${B[@]}" --per-language --min 5 --shard $i/2 in.jsonl --ledger shards.db >/dev/null; done
is "ledger: shards add up" "$(q shards.db "select language, band, sum(docs), sum(bytes_kept) from band_counts
    group by 1, 2 order by 1, 2")" "$(q run.db "select language, band, docs, bytes_kept from band_counts order by 1, 2")"
rc "report of shards" 0 "$KIJIL" report shards.db
is "report of shards: the same bands" "$(grep -E '^(none|[0-9]+) ' out | md5sum)" \
    "$("$KIJIL" report run.db | grep -E '^(none|[0-9]+) ' | md5sum)"
has "report of shards: books" out '^books balance'
cp run.db bent.db
q bent.db 'update bands set docs_kept = docs_kept - 1, bytes_kept = bytes_kept - 9 where band = 7 and language = 1'
rc "books: a band that was changed" 0 "$KIJIL" report bent.db
has "books: a band that was changed" out 'stage bands: 1,?501 documents in and [0-9]+ kept, by bands 1,?501 and [0-9]+'
"${B[@]}" --per-language --min 5 in.jsonl --ledger none.db --signals none >/dev/null
is "ledger: counts without signals" "$(q none.db 'select count(*), sum(docs) from bands')" \
    "$(q run.db 'select count(*), sum(docs) from bands')"

# ---- whatif ----
kept_now() { awk '/^kept now/ {gsub(",", "", $3); print $3}' "$T/out"; }
ids() { jq -r .id "$1" | sort; }
for min in 0 3 12 19; do
    "${B[@]}" --per-language --min $min in.jsonl -o again.jsonl
    rc "whatif $min" 0 "$KIJIL" whatif run.db "bands.quality_band>=$min" --changed changed.jsonl
    is "whatif $min: as a re-run" "$(kept_now)" "$(wc -l <again.jsonl)"
    comm -3 <(ids kept.jsonl) <(ids again.jsonl) | tr -d '\t' | sort >want
    ids changed.jsonl >got
    same "whatif $min: the very documents" got want
done
"$KIJIL" bands -q -s edu_score in.jsonl -o all.jsonl --ledger all.db # no cut was made
rc "whatif without a cut" 0 "$KIJIL" whatif all.db 'bands.quality_band>=12'
has "whatif without a cut: says so" out 'dropped none; now < 12'
is "whatif without a cut: as a re-run" "$(kept_now)" "$("$KIJIL" bands -q -s edu_score --min 12 in.jsonl | wc -l)"
rc "whatif: the curve" 0 "$KIJIL" whatif all.db --sweep bands.quality_band
awk '$1 == "<" {gsub(",", "", $3); print $2, $3}' out >curve
if [[ $(wc -l <curve) -gt 10 ]]; then ok; else bad "whatif: the curve has $(wc -l <curve) rows"; fi
while read -r min n; do
    is "whatif: the curve at $min" "$n" "$(jq -c "select((.quality_band // -1) >= $min)" all.jsonl | wc -l)"
done <curve
"$KIJIL" classify -q -m m.bin --as own_score texts.jsonl -o /dev/null --ledger c.db
rc "whatif: a score without a cut" 0 "$KIJIL" whatif c.db 'classify.own_score>=0.5'
is "whatif: a score without a cut: as a re-run" "$(kept_now)" \
    "$("$KIJIL" classify -q -m m.bin --as own_score --min 0.5 texts.jsonl | wc -l)"
"$KIJIL" classify -q -m m.bin --as own_score --keep-top 30% texts.jsonl -o top.jsonl --ledger t.db
rc "whatif: of --keep-top" 0 "$KIJIL" whatif t.db
is "whatif: of --keep-top: as it ran" "$(awk '/^kept before/ {gsub(",", "", $3); print $3}' out)" "$(wc -l <top.jsonl)"
for min in 0.3 0.5 "$(jq .own_score top.jsonl | sort -g | head -n1)"; do
    "$KIJIL" classify -q -m m.bin --as own_score --min "$min" texts.jsonl -o again.jsonl
    rc "whatif: $min of --keep-top" 0 "$KIJIL" whatif t.db "classify.own_score>=$min" --changed changed.jsonl
    is "whatif: $min of --keep-top: as a re-run" "$(kept_now)" "$(wc -l <again.jsonl)"
    comm -3 <(ids top.jsonl) <(ids again.jsonl) | tr -d '\t' | sort >want
    ids changed.jsonl >got
    same "whatif: $min of --keep-top: the very documents" got want
done

# ---- shards and plans ----
"$KIJIL" tokenizer train --jsonl in.jsonl --vocab-size 400 -q -o t.json
rc "tokenize" 0 "$KIJIL" tokenize -q -t t.json --band quality_band -o set out.jsonl
jq -r '(.quality_band // "") | tostring' out.jsonl | sort | uniq -c |
    awk '{print (NF == 2 ? $2 " " : "") $1}' | sort >want
jq -r '.counts[]? | "\(.band) \(.documents)"' set/manifest.jsonl |
    awk -F' ' '{c[NF == 2 ? $1 : ""] += $NF} END {for (k in c) print (k == "" ? c[k] : k " " c[k])}' | sort >got
same "tokenize: documents by band" got want
cat >plan.yaml <<'P'
name: bands
sets: [set]
tokens: 5000
mix:
  - {name: high, share: 3, band: ["1[2-9]"]}
  - {name: low, share: 1, band: ["[0-9]", "1[01]"]}
P
rc "mix" 0 "$KIJIL" mix plan.yaml --json
is "mix: tokens from 12 up" "$(jq -r '.parts[0].available' out)" \
    "$(zstd -dc set/docs.jsonl.zst | jq -s 'map(select(.band != null and .band != "" and (.band | tonumber) >= 12).tokens) | add')"

# ---- a run: two classifiers, bands, shards; killed and gone on with ----
mkdir site
awk -v dir=site -v n=260 -v seed=5 -f "$TOP/tests/cli/pages.awk"
"$KIJIL" pack site -o s.warc.gz -q
awk -F'\t' 'NR % 2 {print "__label__hq file server table data 문서를 파일을"; print "__label__cc menu window user 메뉴에서 화면에"}
    !(NR % 2) {print "__label__hq menu good reason"; print "__label__cc wants settings 여러"}' train.txt >t2.txt
"$KIJIL" model train -q t2.txt -o m2.bin --dim 4 --epoch 2 --lr 0.1
sed 's/hq/xx/; s/cc/hq/; s/xx/cc/' t2.txt | awk 'NR % 3' >t3.txt
"$KIJIL" model train -q t3.txt -o m3.bin --dim 5 --epoch 3 --lr 0.07
cat >recipe.yaml <<'R'
about: two classifiers and their bands
steps:
  - extract: {format: text}
  - lid
  - classify: {model: m2.bin, as: dclm_score}
  - classify: {model: m3.bin, as: edu_score}
  - bands: {scores: [dclm_score, edu_score], per_language: true, min: 8, sample: 60%}
  - tokenizer: {vocab_size: 400}
  - tokenize: {band: quality_band}
R
run() { "$KIJIL" run recipe.yaml -i s.warc.gz --part-size 20K -q "$@"; }
prints() {
    (cd "$1" && find . -type f ! -name 'run.db*' ! -name 'report.html' -print0 | sort -z | xargs -0 sha256sum)
}
rc "run" 0 run -o r1 -j1
prints r1 >want
rc "run -j4" 0 run -o r4 -j4
prints r4 >got
same "run: -j4 gives the same bytes" want got
for ((n = 2; n < 9999; n = n * 3 / 2)); do # later each time, until it comes to its end
    killed $n "$KIJIL" run recipe.yaml -i s.warc.gz --part-size 20K -q -o rk \
        -j2 || break
done
is "killed ($kills times)" $((kills >= 8)) 1
rc "run after $kills kills" 0 run -o rk -j2
prints rk >got
same "killed $kills times" want got
rc "check" 0 "$KIJIL" check -q rk
for t in 'select * from band_counts' 'select * from quantiles' 'select count(*), sum(kept) from decisions'; do
    is "the ledger after kills: $t" "$(q rk/run.db "$t" | md5sum)" "$(q r1/run.db "$t" | md5sum)"
done
is "run: manifests by band" "$(jq -r '[.counts[]?.documents] | add // empty' r1/manifest.jsonl | paste -sd+ | bc)" \
    "$(q r1/run.db 'select sum(docs_kept) from bands')"
"$KIJIL" extract -q s.warc.gz | "$KIJIL" lid -q | "$KIJIL" classify -q -m m2.bin --as dclm_score |
    "$KIJIL" classify -q -m m3.bin --as edu_score |
    "$KIJIL" bands -q -s dclm_score,edu_score --per-language --min 8 --sample 60% >pipe.jsonl
zstd -dcq r1/2-bands/part-*.jsonl.zst >run.jsonl
same "pipeline and run: documents" pipe.jsonl run.jsonl
is "run: each classifier's options" "$(q r1/run.db "select s.name, value from config c join stages s on s.stage = c.number
    where key = 'as' and s.name = 'classify' order by ordinal")" $'classify|"dclm_score"\nclassify|"edu_score"'
is "run: a classifier that makes no cut by rank is no phase" "$(cd r1 && echo [0-9]-*)" "1-extract 2-bands"

# ---- wrong use ----
rc "no score" 2 "$KIJIL" bands in.jsonl
rc "misspelt score" 1 "$KIJIL" bands -s dclm_score,edu_scor in.jsonl
has "misspelt score: named" err "no document has the score 'edu_scor'"
rc "sample too small" 1 "$KIJIL" bands -s s --sample 0.001% few.jsonl
has "sample too small: says so" err 'raise it'
rc "band over the best" 2 "${B[@]}" --min 20 in.jsonl
rc "levels that fall" 2 "${B[@]}" --levels 7,12,11,19 in.jsonl
rc "three levels" 2 "${B[@]}" --levels 7,12,19 in.jsonl
rc "a name twice" 2 "$KIJIL" bands -s a_score,a in.jsonl
has "a name twice: says which" err "'a_band'"
rc "a score and a band" 2 "$KIJIL" bands -s quality_band in.jsonl
rc "bad name" 2 "${B[@]}" --as 'a b' in.jsonl
awk 'BEGIN {for (i = 0; i < 1100; i++) printf "{\"id\":\"%d\",\"text\":\"a\",\"s\":1,\"language\":\"l%d\"}\n", i, i}' >langs.jsonl
rc "languages that are none" 1 "$KIJIL" bands -s s --per-language langs.jsonl
has "languages that are none: says so" err 'more than 1024 languages'
rc "not by language" 0 "$KIJIL" bands -q -s s langs.jsonl
awk 'BEGIN {for (i = 0; i < 20000; i++) printf "{\"id\":\"%d\",\"text\":\"a\",\"s\":%d}\n", i, i}' >many.jsonl
rc "too little memory" 1 "$KIJIL" bands -s s --memory 1M many.jsonl
has "too little memory: says what helps" err 'take a --sample'
rc "a sample takes less" 0 "$KIJIL" bands -q -s s --memory 1M --sample 20% many.jsonl
done_testing
