#!/bin/bash
# kijil tokenize: shards, manifest, document index.
. "$(dirname "$0")/lib.sh"

for i in $(seq 1 200); do
    echo '{"id":"en-'"$i"'","text":"Document '"$i"' tells of trees and the number '$((i * 7))'.",' \
        '"source":"web","language":"eng_Latn","url":"http://x/'"$i"'"}'
    echo '{"id":"ko-'"$i"'","text":"'"$i"'번째 문서는 나무와 강에 대해 말합니다.\n둘째 줄.",' \
        '"language":"kor_Hang","warc":{"file":"a.warc.gz","offset":'$((i * 100))',"length":99}}'
done >docs.jsonl
"$KIJIL" tokenizer train --jsonl docs.jsonl --vocab-size 500 -q -o t.json

rc tokenize 0 "$KIJIL" tokenize -t t.json -o a docs.jsonl --shard-tokens 2000 -j1
has summary err 'tokens of 400 documents in [0-9]+ shards'
rc tokenize-j4 0 "$KIJIL" tokenize -t t.json -o b --shard-tokens 2000 -j4 -q <docs.jsonl
diff -r a b >/dev/null && ok || bad "-j1 and -j4 differ"
n=$(wc -l <a/manifest.jsonl)
[[ $n -ge 3 ]] && ok || bad "only $n shards"

# ---- the manifest against the files ----
is "documents" "$(jq -s 'map(.documents) | add' a/manifest.jsonl)" 400
is "bytes" "$(jq -s 'map(.bytes) | add' a/manifest.jsonl)" "$(cat a/*.bin | wc -c)"
is "two bytes a token" "$(jq -s 'all(.[]; .bytes == 2 * .tokens and .dtype == "uint16")' a/manifest.jsonl)" true
is "no shard too long" "$(jq -s 'all(.[]; .tokens <= 2000)' a/manifest.jsonl)" true
is "counts add up" "$(jq -s 'all(.[]; .tokens == (.counts | map(.tokens) | add))' a/manifest.jsonl)" true
is "first and last document" "$(jq -rs '.[0].first_id + " " + .[-1].last_id' a/manifest.jsonl)" "en-1 ko-200"
if command -v xxh128sum >/dev/null; then
    is "hash" "$(jq -r '.hash' a/manifest.jsonl | head -n 1)" "xxh128:$(xxh128sum <a/shard-00000.bin | cut -d' ' -f1)"
fi

# ---- the index, read with od ----
u() { od -An -v -t"$1" -j"$3" -N"$2" "$4" | tr -s ' \n' ' ' | sed 's/^ //; s/ $//'; }
idx=a/shard-00000.idx
is "magic" "$(head -c 7 $idx)" MMIDIDX
is "version" "$(u u8 8 9 $idx)" 1
is "type" "$(u u1 1 17 $idx)" 8
s=$(u u8 8 18 $idx)
is "sequences" "$s" "$(jq -s '.[0].documents' a/manifest.jsonl)"
is "document indices" "$(u u8 8 26 $idx)" $((s + 1))
lengths=$(u d4 $((4 * s)) 34 $idx)
is "lengths" "$lengths" "$(zstd -dc a/docs.jsonl.zst | jq -r 'select(.shard == 0).tokens' | tr '\n' ' ' | sed 's/ $//')"
is "pointers" "$(u d8 $((8 * s)) $((34 + 4 * s)) $idx)" \
    "$(zstd -dc a/docs.jsonl.zst | jq -r 'select(.shard == 0) | 2 * .first' | tr '\n' ' ' | sed 's/ $//')"
is "bounds" "$(u d8 $((8 * (s + 1))) $((34 + 12 * s)) $idx)" "$(seq -s' ' 0 "$s")"
is "size" "$(wc -c <$idx)" $((34 + 12 * s + 8 * (s + 1)))

# ---- the tokens: those of `tokenizer encode`, each document ended by EOS ----
is "tokens" "$(cat a/*.bin | od -An -v -tu2 -w2 | tr -d ' ' | cksum)" \
    "$("$KIJIL" tokenizer encode -t t.json --jsonl docs.jsonl -q | jq -r '.ids[], 1' | cksum)"
zstd -dc a/docs.jsonl.zst | sed -n 2p >line
is "document index" "$(cat line)" \
    "$(jq -c '{shard, first, tokens, id: "ko-1",
               warc: {file: "a.warc.gz", offset: 100, length: 99}, language: "kor_Hang"}' line)"

# ---- int32 from a vocabulary of 65,500 on; other EOS ----
jq '.model.vocab["zzzz"] = 65499' t.json >wide.json
rc wide 0 "$KIJIL" tokenize -t wide.json -o w docs.jsonl -q --limit 20
is "four bytes a token" "$(jq '.bytes == 4 * .tokens and .dtype == "int32"' w/manifest.jsonl)" true
is "EOS in the last place" "$(tail -c 4 w/shard-00000.bin | od -An -tu4 | tr -d ' ')" 1
rc eos 0 "$KIJIL" tokenize -t t.json -o e docs.jsonl -q --limit 20 --eos '<|begin_of_text|>'
is "named EOS" "$(jq .eos e/manifest.jsonl) $(tail -c 2 e/shard-00000.bin | od -An -tu2 | tr -d ' ')" "0 0"

# ---- shards of the work together equal the whole ----
for i in 0 1 2; do "$KIJIL" tokenize -t t.json -o p$i docs.jsonl -q --shard $i/3; done
is "--shard I/N" "$(zstd -dc p?/docs.jsonl.zst | jq -r .id | sort | cksum)" "$(jq -r .id docs.jsonl | sort | cksum)"

# ---- what goes wrong ----
rc there-already 2 "$KIJIL" tokenize -t t.json -o a docs.jsonl
has "says how" err 'force'
rc force 0 "$KIJIL" tokenize -t t.json -o a docs.jsonl --force -q
is "old shards are gone" "$(ls a | tr '\n' ' ')" "docs.jsonl.zst manifest.jsonl shard-00000.bin shard-00000.idx "
rc no-folder 2 "$KIJIL" tokenize -t t.json docs.jsonl
rc no-tokenizer 2 "$KIJIL" tokenize -o x docs.jsonl
rc nothing 1 "$KIJIL" tokenize -t t.json -o x -q </dev/null
[[ ! -e x/manifest.jsonl && ! -e x/docs.jsonl.zst ]] && ok || bad "an empty run leaves files"
{ head -n 3 docs.jsonl; echo '{"text":'; echo '{"id":"e","text":""}'; } >damaged.jsonl
rc damaged 3 "$KIJIL" tokenize -t t.json -o d damaged.jsonl --rejects r.jsonl
is "damage costs itself" "$(jq .documents d/manifest.jsonl)" 3
has "empty documents are named" r.jsonl '"rule":"tokenize.empty"'

# ---- a damaged set is found ----
if "$KIJIL" help check >/dev/null 2>&1; then
    rc check 0 "$KIJIL" check b
    for f in shard-00001.idx shard-00000.bin; do
        cp -r b c
        printf '\377' | dd of=c/$f bs=1 seek=40 conv=notrunc status=none
        rc "check $f" 1 "$KIJIL" check c
        cat out err >both
        has "check names $f" both "${f%.*}"
        rm -r c
    done
else
    skip "kijil check is not in this build"
fi
done_testing
