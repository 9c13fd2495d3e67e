#!/bin/bash
# kijil tokenizer: train, encode, decode, count, stats.
. "$(dirname "$0")/lib.sh"

# A small bilingual text whose lines differ.
for i in $(seq 1 300); do
    echo "The quick brown fox number $i isn't lazy, it's quick."
    echo "여우 ${i}마리가 빠르게 달려갑니다. 한국어 문장입니다."
done >text.txt
jq -Rc '{text: ., id: ("d" + (input_line_number | tostring))}' text.txt >text.jsonl

# ---- train: the same bytes at every -j; a file that can be used ----
rc train 0 "$KIJIL" tokenizer train text.txt --vocab-size 400 -o t1.json -j1
has summary err 'vocabulary of 400, 14[0-9] merges'
rc train-j4 0 "$KIJIL" tokenizer train text.txt --vocab-size 400 -o t4.json -j4 -q
same "train -j1 = -j4" t1.json t4.json
rc train-stdin 0 "$KIJIL" tokenizer train --vocab-size 400 -q -o ts.json <text.txt
same "train from standard input" t1.json ts.json
zstd -q text.txt -o text.txt.zst
rc train-zst 0 "$KIJIL" tokenizer train --vocab-size 400 -q -o tz.json text.txt.zst
same "train from .zst" t1.json tz.json
is "vocabulary" "$(jq '.model.vocab | length' t1.json)" 400
is "ids are 0..399" "$(jq '[.model.vocab[]] | sort == [range(400)]' t1.json)" true
is "special tokens" "$(jq -c '[.added_tokens[] | [.id, .content]]' t1.json)" \
    '[[0,"<|begin_of_text|>"],[1,"<|end_of_text|>"]]'
is "every merge makes a token" "$(jq '.model as $m | all($m.merges[]; $m.vocab[add] != null)' t1.json)" true
rc train-special 0 "$KIJIL" tokenizer train text.txt --vocab-size 300 --special '<a>,<b>,<c>' -q -o s.json
is "own special tokens" "$(jq -c '[.added_tokens[].content]' s.json)" '["<a>","<b>","<c>"]'
rc train-freq 0 "$KIJIL" tokenizer train text.txt --min-frequency 100000 -q -o f.json
is "minimum frequency" "$(jq '.model.merges | length' f.json)" 0
rc train-small 2 "$KIJIL" tokenizer train text.txt --vocab-size 257 -o x.json
rc train-pattern 2 "$KIJIL" tokenizer train text.txt --pattern 'a(' -o x.json
[[ ! -e x.json ]] && ok || bad "a failed training leaves a file"
# JSONL documents without line ends count the same words but for the line ends.
rc train-jsonl 0 "$KIJIL" tokenizer train --jsonl text.jsonl --vocab-size 400 -q -o j.json
is "train --jsonl" "$(jq '.model.vocab | length' j.json)" 400
printf 'good line\nbad \377 line\n' >bad.txt
rc train-damage 3 "$KIJIL" tokenizer train bad.txt --vocab-size 258 -o b.json

# ---- encode and decode ----
rc encode 0 "$KIJIL" tokenizer encode -t t1.json text.txt -q -o ids.txt -j1
rc encode-j4 0 "$KIJIL" tokenizer encode -t t1.json text.txt -q -o ids4.txt -j4
same "encode -j1 = -j4" ids.txt ids4.txt
is "one line of ids each" "$(wc -l <ids.txt)" 600
rc decode 0 "$KIJIL" tokenizer decode -t t1.json ids.txt -q -o back.txt
same "decode(encode(text)) = text" back.txt text.txt
printf 'a\n\n  b  \n\xed\x95\x9c\t<|end_of_text|>x\n' >odd.txt
"$KIJIL" tokenizer encode -t t1.json -q odd.txt | "$KIJIL" tokenizer decode -t t1.json -q >odd.back
same "empty lines and special tokens" odd.back odd.txt
is "a special token is one id" "$(echo '<|end_of_text|>' | "$KIJIL" tokenizer encode -t t1.json -q)" 1
[[ $(echo '<|end_of_text|>' | "$KIJIL" tokenizer encode -t t1.json -q --no-special | wc -w) -gt 3 ]] && ok ||
    bad "--no-special"
is "--skip-special" "$(echo '1 1' | "$KIJIL" tokenizer decode -t t1.json -q --skip-special)" ""
rc encode-jsonl 0 "$KIJIL" tokenizer encode --jsonl -t t1.json text.jsonl -q -o ids.jsonl
is "ids of both forms" "$(jq -r '.ids | map(tostring) | join(" ")' ids.jsonl | cksum)" "$(cksum <ids.txt)"
rc decode-jsonl 0 "$KIJIL" tokenizer decode --jsonl -t t1.json ids.jsonl -q -o back.jsonl
is "text again" "$(jq -r .text back.jsonl | cksum)" "$(cksum <text.txt)"
is "ids of documents pass" "$(jq -r .id back.jsonl | cksum)" "$(jq -r .id text.jsonl | cksum)"
rc damaged-text 3 "$KIJIL" tokenizer encode -t t1.json bad.txt
is "a damaged line leaves an empty one" "$(wc -l <out)" 2
echo '5 x' >bad.ids
rc damaged-ids 3 "$KIJIL" tokenizer decode -t t1.json bad.ids
echo 400 >bad.ids
rc unknown-id 3 "$KIJIL" tokenizer decode -t t1.json bad.ids

# ---- count ----
rc count 0 "$KIJIL" tokenizer count -t t1.json text.txt -q
is "tokens" "$(awk '$1 == "bytes" { print $2 }' out)" "$(wc -c <text.txt)"
rc count-jsonl 0 "$KIJIL" tokenizer count --jsonl -t t1.json text.jsonl -q
is "tokens of documents" "$(awk '$1 == "tokens" { print $2 }' out)" "$(wc -w <ids.txt)"

# ---- stats, against values found by hand ----
# One vocabulary of the bytes alone; one with the syllable 가 (ea b0 80); and one
# that has it too, but first merges its last byte with the first of 나 (eb 82 98).
jq -c '.' f.json >v1.json
jq -c '.model.merges = [["ê","°"],["ê°","Ģ"]] | .model.vocab += {"ê°":258,"ê°Ģ":259}' f.json >v2.json
jq -c '.model.merges = [["Ģ","ë"],["ê","°"],["ê°","Ģ"]]
    | .model.vocab += {"Ģë":258,"ê°":259,"ê°Ģ":260}' f.json >v3.json
printf '%s\n' '{"text":"가나 다","language":"ko","source":"a"}' \
    '{"text":"가","language":"ko","source":"b"}' '{"text":"ab ab","language":"en","source":"b"}' >s.jsonl
rc stats 0 "$KIJIL" tokenizer stats -t v1.json --against v2.json,v3.json --jsonl s.jsonl --json -q
cp out s.json
is "stats: size and unused" "$(jq -c '[.vocabularies[] | [.tokens, .unused]]' s.json)" '[[258,247],[260,251],[261,250]]'
is "stats: Hangul" "$(jq -c '[.vocabularies[].hangul | [.syllables, .of, .ksx1001 // 0, .in_text, .in_text_alone, .in_text_whole]]' s.json)" \
    '[[0,11172,0,4,0,0],[1,11172,1,4,2,2],[1,11172,1,4,2,1]]'
is "stats: groups" "$(jq -c '[.groups[] | [.language, .source, .documents, .bytes, .characters, .words, [.vocabularies[].tokens]]]' s.json)" \
    '[["en","b",1,5,5,2,[5,5,5]],["ko","a",1,10,4,2,[10,8,8]],["ko","b",1,3,1,1,[3,1,1]],["ko","*",2,13,5,3,[13,9,9]],["*","*",3,18,10,5,[18,14,14]]]'
is "stats: fertility" "$(jq -c '.groups[3].vocabularies[1] | [.tokens_per_word, .bytes_per_token, .characters_per_token]' s.json)" '[3,1.444444,0.555556]'
rc stats-j3 0 "$KIJIL" tokenizer stats -t v1.json --against v2.json,v3.json --jsonl s.jsonl --json -q -j3
same "stats -j1 = -j3" out s.json
rc stats-text 0 "$KIJIL" tokenizer stats -t v2.json --jsonl s.jsonl -q
has "stats: table" out '^ko +\* +2 +13 +1 +9 +3\.0000 +1\.4444 +0\.5556$'
has "stats: coverage" out '^ +1 +260 +251 +1 +1 +50\.00 % +50\.00 %  v2\.json$'
is "stats = count" "$("$KIJIL" tokenizer stats -t t1.json text.txt -q | awk 'END { print $6 }')" "$(wc -w <ids.txt)"
rc stats-no-file 1 "$KIJIL" tokenizer stats -t v1.json --against nothing.json --jsonl s.jsonl -q

# ---- refusals ----
rc no-verb 2 "$KIJIL" tokenizer -t t1.json
rc wrong-verb 2 "$KIJIL" tokenizer encoda -t t1.json
rc no-model 2 "$KIJIL" tokenizer encode text.txt
rc no-file 1 "$KIJIL" tokenizer encode -t nothing.json text.txt
jq '.normalizer = {type: "ByteLevel"}' t1.json >l.json
rc unsupported 1 "$KIJIL" tokenizer encode -t l.json text.txt
has "names the path" err 'l.json: normalizer.type: "ByteLevel" is not supported'
jq '.model.merges[7][1] = "nope"' t1.json >m.json
rc bad-merge 1 "$KIJIL" tokenizer encode -t m.json text.txt
has "names the merge" err 'model\.merges\[7\]'

# ---- files of ranks: pattern and special tokens that are given ----
for i in $(seq 0 255); do
    # shellcheck disable=SC2059
    printf '%s %d\n' "$(printf "\\x$(printf %x "$i")" | base64)" "$i"
done >own.tiktoken
printf 'YWI= 256\nIGI= 257\n' >>own.tiktoken
cp own.tiktoken gpt2.tiktoken
ids() { printf '%s\n' "$1" | "$KIJIL" tokenizer encode -t "${@:2}" -q; }
is "ranks, --pattern by name" "$(ids 'abab b' own.tiktoken --pattern gpt2)" "256 256 257"
is "ranks, own pattern; what it leaves is left out" "$(ids 'ab b!' own.tiktoken --pattern '[a-z]+')" "256 98"
is "ranks, --special" "$(ids 'ab<x>b<y>' own.tiktoken --pattern gpt2 --special '<x>=300,<y>=299')" "256 300 98 299"
is "ranks, a name's special tokens stay" "$(ids '<|endoftext|><x>' gpt2.tiktoken --special '<x>=300')" "50256 300"
is "ranks, or move" "$(ids '<|endoftext|>' gpt2.tiktoken --special '<|endoftext|>=300')" 300
rc ranks-no-pattern 1 "$KIJIL" tokenizer encode -t own.tiktoken text.txt
has "says what is missing" err 'no pattern, and none is given'
for bad in '<x>' '<x>=' '=5' '<x>=1x' '<x>=97' '<x>=300,<x>=301' '<x>=300,<y>=300' '<x>=99999999999999999999'; do
    rc "ranks, --special $bad" 1 "$KIJIL" tokenizer encode -t gpt2.tiktoken --special "$bad" text.txt
done
rc ranks-bad-pattern 1 "$KIJIL" tokenizer encode -t own.tiktoken --pattern 'a(' text.txt
rc ranks-for-json 2 "$KIJIL" tokenizer encode -t t1.json --special '<x>=300' text.txt
for p in gpt2 '\w+|\W'; do
    rc "tokenize -t own.tiktoken --pattern $p" 0 "$KIJIL" tokenize -t own.tiktoken --pattern "$p" \
        --special '</s>=300' -q -o "shards.${#p}" text.jsonl
done
is "shards of ranks" "$(tail -c 2 shards.4/shard-00000.bin | od -An -tu2 | tr -d ' ')" 300
is "the hash of the tokenizer knows the pattern" \
    "$(jq -r .tokenizer_hash shards.4/manifest.jsonl shards.6/manifest.jsonl | sort -u | wc -l)" 2

# ---- rules of training ----
train() { "$KIJIL" tokenizer train "$@" --min-frequency 0 --vocab-size 32000 -q; }
# Tokens of a file as bytes in the alphabet: all that are not special.
tokens() { jq -c '[.model.vocab | to_entries[] | select(.value > 1) | .key]' "$1"; }
seq 1 400 | awk '{ printf "in %d: 12345678 items,  %d more\n\n\tand 3.14159\n", $1, $1 * $1 }' >num.txt
for p in llama3 qwen2 gpt2 o200k '\w+|\W'; do
    train num.txt --pattern "$p" --digits single -o d1.json
    is "digits single, $p" "$(tokens d1.json | jq '[.[] | select(test("[0-9].*[0-9]"))] | length')" 0
    train num.txt --pattern "$p" --digits three -o d3.json
    is "digits three, $p" "$(tokens d3.json | jq '[.[] | select(test("[0-9]{3}"))] | length > 0')" true
    is "no four digits, $p" "$(tokens d3.json | jq '[.[] | select(test("[0-9]{4}"))] | length')" 0
    train num.txt --pattern "$p" --whitespace apart -o wa.json
    is "whitespace apart, $p" "$(tokens wa.json | jq '[.[] | select(test("[ĠĊĉ][^ĠĊĉ]|[^ĠĊĉ][ĠĊĉ]"))] | length')" 0
    train num.txt --pattern "$p" --whitespace lines -o wl.json
    is "whitespace lines, $p" "$(tokens wl.json | jq '[.[] | select(test("Ċ.|.Ċ"))] | length')" 0
done
is "what is cut is in the file" "$(jq -c '[.pre_tokenizer.pretokenizers[].pattern.Regex // empty]' wl.json)" '["[\\r\\n]","\\w+|\\W"]'
"$KIJIL" tokenizer encode -t wl.json num.txt -q | "$KIJIL" tokenizer decode -t wl.json -q >num.back
same "and is read back" num.txt num.back
train num.txt -o all.json
train num.txt --max-token-length 4 -o m4.json
is "max-token-length" "$(tokens m4.json | jq '[.[] | length] | max')" 4
is "without it" "$(tokens all.json | jq '[.[] | length] | max > 4')" true
rc max-token-length-1 2 "$KIJIL" tokenizer train num.txt --max-token-length 1 -o x.json
"$KIJIL" tokenizer train num.txt --min-frequency 50 --vocab-size 32000 -q -o mf.json
is "min-frequency: the front of all merges" "$(jq -c '.model.merges' mf.json)" \
    "$(jq -c --argjson n "$(jq '.model.merges | length' mf.json)" '.model.merges[:$n]' all.json)"
# Sampling is by id: the documents that are taken do not depend on their order or
# on how they are cut into files, and the half is about a half.
seq 1 2000 | jq -c '{id: "doc-\(.)", text: "word\(.)x text number \(. * 7)"}' >many.jsonl
rc sample 0 "$KIJIL" tokenizer train --jsonl many.jsonl --sample 50% --vocab-size 400 -o sa.json
n=$(sed -n 's/.*train: \([0-9]*\) documents.*/\1/p' err)
[[ $n -gt 900 && $n -lt 1100 ]] && ok || bad "half of 2000 documents are $n"
tac many.jsonl | split -l 700 - part.
"$KIJIL" tokenizer train --jsonl part.aa part.ab part.ac --sample 0.5 --vocab-size 400 -q -j3 -o sb.json
same "sample by id" sa.json sb.json
rc sample-seed 0 "$KIJIL" tokenizer train --jsonl many.jsonl --sample 50% --seed 7 --vocab-size 400 -o sc.json
[[ $(sed -n 's/.*train: \([0-9]*\) documents.*/\1/p' err) != "$n" ]] && ok || bad "--seed"
rc sample-0 2 "$KIJIL" tokenizer train --jsonl many.jsonl --sample 0 -o x.json

# By bytes: the documents of least hash until there are enough, however they come.
rc sample-bytes 0 "$KIJIL" tokenizer train --jsonl many.jsonl --sample-bytes 20K --vocab-size 400 -o sd.json
if command -v xxh64sum >/dev/null; then
    want=$(jq -r '[.id, (.text | utf8bytelength)] | @tsv' many.jsonl | while IFS=$'\t' read -r id size; do
        printf '%s %d\n' "$(printf %s "$id" | xxh64sum | cut -d' ' -f1)" "$size"
    done | sort | awk '{ n++; s += $2; if (s >= 20480) { print n; exit } }')
    rc sample-bytes-seed 0 "$KIJIL" tokenizer train --jsonl many.jsonl --sample-bytes 20K --seed 0 --vocab-size 400 -o s0.json
    is "sample-bytes: documents" "$(sed -n 's/.*train: \([0-9]*\) documents.*/\1/p' err)" "$want"
else
    skip "no xxh64sum here"
fi
"$KIJIL" tokenizer train --jsonl part.aa part.ab part.ac --sample-bytes 20K --vocab-size 400 -q -j3 -o se.json
same "sample-bytes by id" sd.json se.json
"$KIJIL" tokenizer train --jsonl --sample-bytes 20K --vocab-size 400 -q -o sf.json <many.jsonl
same "sample-bytes from standard input" sd.json sf.json
"$KIJIL" tokenizer train --jsonl many.jsonl --sample-bytes 20K --seed 7 --vocab-size 400 -q -o sg.json
differ "--sample-bytes knows --seed" sd.json sg.json
"$KIJIL" tokenizer train --jsonl many.jsonl --sample-bytes 1G --vocab-size 400 -q -o sh.json
"$KIJIL" tokenizer train --jsonl many.jsonl --vocab-size 400 -q -o si.json
same "a sample of all there is" sh.json si.json
"$KIJIL" tokenizer train --jsonl many.jsonl --sample 50% --sample-bytes 1G --vocab-size 400 -q -o sj.json
same "bytes of a share" sj.json sa.json
rc sample-bytes-memory 2 "$KIJIL" tokenizer train --jsonl many.jsonl --sample-bytes 3G --memory 4G -o x.json

# ---- the reference's merges, where it is installed ----
if command -v node >/dev/null && NODE_PATH=${KJ_NODE_PATH:-} node -e 'require("tokenizers")' 2>/dev/null; then
    for o in "" "--pattern gpt2 --digits single" "--pattern gpt2 --digits three" "--digits single" \
        "--pattern qwen2 --digits three" "--whitespace lines" "--whitespace apart" \
        "--pattern gpt2 --whitespace lines --digits single" "--pattern o200k" "--pattern tekken"; do
        cat num.txt text.txt >both.txt
        # shellcheck disable=SC2086
        train both.txt $o -o full.json
        jq -c '.added_tokens = [] | .model.vocab = {} | .model.merges = []' full.json >empty.json
        NODE_PATH=${KJ_NODE_PATH:-} node -e '
            const T = require("tokenizers"), t = T.Tokenizer.fromFile("empty.json")
            t.train(["both.txt"]); t.save("hf.json", true)'
        is "merges as the reference $o" "$(jq -c '.model.merges' full.json | cksum)" "$(jq -c '.model.merges' hf.json | cksum)"
    done
else
    skip "no npm tokenizers here"
fi
done_testing
