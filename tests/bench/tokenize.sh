#!/bin/bash
# tests/bench/tokenize.sh - MB/s of encoding and training beside npm's
# tokenizers, where node has it (NODE_PATH names the folder), and whether the ids
# are the same. With the published Llama 3 and Qwen 3 tokenizers and texts where
# they are, else with generated ones.
set -eu
cd "$(dirname "$0")/../.."
B=${B:-build/release}
make -s "$B/kijil" "$B/tests/bench/bench_tokenize"
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
data=../shared/data
if [[ -e $data/tokenize/llama3.tokenizer.json.zst && -e $data/text/ko.jsonl.zst ]]; then
    zstd -dcq $data/tokenize/llama3.tokenizer.json.zst >"$tmp/tokenizer.json"
    zstd -dcq $data/tokenize/qwen3.tokenizer.json.zst >"$tmp/qwen3.json"
    for l in ko en; do zstd -dcq "$data/text/$l.jsonl.zst" >"$tmp/$l.jsonl"; done
else
    for lang in 'en:e t a o i n s h r d l u c m f w' \
        'ko:가 나 다 라 마 바 사 아 자 차 의 은 를 에 서 고'; do
        awk -v parts="${lang#*:}" 'BEGIN {
            srand(1)
            n = split(parts, part, " ")
            for (i = 0; i < 20000; i++)
                for (k = 1 + int(rand() * 7); k >= 0; k--)
                    words[i] = words[i] part[1 + int(rand() * n)]
            for (i = 0; i < 3000; i++) {
                t = ""
                for (k = 100 + int(rand() * 1500); k > 0; k--)
                    t = t words[int(rand() * rand() * 20000)] " "
                printf "{\"id\":\"%d\",\"text\":\"%s\"}\n", i, t
            }
        }' >"$tmp/${lang%%:*}.jsonl"
    done
    "$B/kijil" tokenizer train --jsonl "$tmp"/??.jsonl --vocab-size 32000 -q -o "$tmp/tokenizer.json"
fi
for v in tokenizer qwen3; do
    [[ ! -e $tmp/$v.json ]] || "$B/tests/bench/bench_tokenize" "$tmp/$v.json" "$tmp/ko.jsonl" "$tmp/en.jsonl"
done

jq -r .text "$tmp"/??.jsonl >"$tmp/text.txt"
bytes=$(wc -c <"$tmp/text.txt")
TIMEFORMAT='%R %U'
took=$({ time "$B/kijil" tokenizer train "$tmp/text.txt" --vocab-size 32000 --min-frequency 0 \
    -q -o "$tmp/made.json"; } 2>&1)
awk -v b="$bytes" '{
    printf "kijil, training 32,000 on %.0f MB: %.1f s wall, %.1f s CPU\n", b / 1e6, $1, $2
}' <<<"$took"

if ! node -e 'require("tokenizers")' 2>/dev/null; then
    echo "npm tokenizers: not installed here"
    exit
fi
node -e '
    const T = require("tokenizers"), fs = require("fs"), dir = process.argv[1]
    const cpu = () => { const u = process.cpuUsage(); return (u.user + u.system) / 1e6 }
    process.env.TOKENIZERS_PARALLELISM = "false"
    ;(async () => {
        for (const v of ["tokenizer", "qwen3"]) for (const l of ["ko", "en"]) {
            if (!fs.existsSync(dir + "/" + v + ".json")) continue
            const t = T.Tokenizer.fromFile(dir + "/" + v + ".json")
            const texts = fs.readFileSync(dir + "/" + l + ".jsonl", "utf8").split("\n").filter(x => x)
                .map(x => JSON.parse(x).text)
            let bytes = 0, n = 0
            const start = cpu(), ids = []
            while (n < texts.length && bytes <= 5e6) {
                bytes += Buffer.byteLength(texts[n])
                ids.push((await t.encode(texts[n++], null, { addSpecialTokens: false })).getIds())
            }
            const speed = (bytes / 1e6 / (cpu() - start)).toFixed(1).padStart(9)
            fs.writeFileSync(dir + "/" + v + "." + l + ".ids", ids.map(x => JSON.stringify(x) + "\n").join(""))
            console.log(`npm tokenizers, ${v} ${l}.jsonl ${speed} MB/s (first 5 MB, CPU time)`)
        }
        const j = JSON.parse(fs.readFileSync(dir + "/made.json", "utf8"))
        j.added_tokens = []; j.model.vocab = {}; j.model.merges = []
        const e = T.Tokenizer.fromString(JSON.stringify(j))
        const w = Date.now(), c = cpu()
        e.train([dir + "/text.txt"])
        const wall = ((Date.now() - w) / 1e3).toFixed(1), used = (cpu() - c).toFixed(1)
        console.log(`npm tokenizers, training 30,000 on the same: ${wall} s wall, ${used} s CPU`)
    })()' "$tmp"
for v in tokenizer qwen3; do
    for l in ko en; do
        [[ -e $tmp/$v.$l.ids ]] || continue
        n=$(wc -l <"$tmp/$v.$l.ids")
        head -n "$n" "$tmp/$l.jsonl" | "$B/kijil" tokenizer encode --jsonl -t "$tmp/$v.json" -q |
            jq -c .ids | cmp -s - "$tmp/$v.$l.ids" && same=same || same=OTHER
        echo "kijil and npm tokenizers, $v $l.jsonl, first $n documents: $same ids"
    done
done
