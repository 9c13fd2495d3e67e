#!/bin/bash
# experiments.sh - the scripts behind docs/experiments.md, on generated texts and at a
# size for a test: every arm and seed has its curve, comparisons are at equal tokens or
# FLOPs, what is finished is not done again, table and plot say what the results do.
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
for tool in jq zstd python3; do
    command -v $tool >/dev/null || { skip "no $tool"; done_testing; }
done
export KIJIL OUT=$T/out-exp SEEDS="1 2" LRS=4e-3 SCALE=0.01 WIDTH=16 VOCAB=400 POINTS=2
data=$T/data

# Texts of which every document differs, with what the rules of the recipes want:
# sentences, common words, full stops; and pages with the same menu around them.
python3 - "$data" <<'END'
import json, os, random, subprocess, sys
out = sys.argv[1]
r = random.Random(1)
en = ("river garden letter window market summer teacher bridge history village music paper "
      "morning winter journey harbour kitchen question answer mountain station picture").split()
ko = "강물 정원 편지 창문 시장 여름 선생님 다리 역사 마을 음악 종이 아침 겨울 여행 항구 부엌 질문 대답 산길".split()
def english():
    a = [r.choice(en) for _ in range(6)]
    return f"The {a[0]} of the {a[1]} was near a {a[2]}, and they have seen that {a[3]} with the {a[4]} in the {a[5]}."
def korean():
    a = [r.choice(ko) for _ in range(6)]
    return f"{a[0]}에서 본 {a[1]}은 {a[2]} 옆에 있었고 {a[3]}와 {a[4]}는 {a[5]}보다 컸다."
def text(sentence):
    return "\n".join(" ".join(sentence() for _ in range(4)) for _ in range(2))
def write(lang, sentence, sources):
    lines = [json.dumps({"id": f"{s}-{i}", "text": text(sentence), "source": s}, ensure_ascii=False)
             for s in sources for i in range(36)]
    os.makedirs(f"{out}/text", exist_ok=True)
    subprocess.run(["zstd", "-q", "-o", f"{out}/text/{lang}.jsonl.zst"], check=True,
                   input="\n".join(lines).encode())
write("ko", korean, ["korquad", "ud-kaist", "nsmc", "kocohub-comments", "react-ko"])
write("en", english, ["onestop", "brown", "masc", "movie-reviews"])
for d in ("html", "ground-truth"):
    os.makedirs(f"{out}/pages/wcxb-dev/{d}")
menu = "".join(f"<li><a href='/{w}'>{w}</a></li>" for w in en)
for i in range(1, 61):
    body = text(english)
    with open(f"{out}/pages/wcxb-dev/html/{i:04}.html", "w") as f:
        f.write(f"<html><body><ul>{menu}</ul><main><h1>{r.choice(en)}</h1>" +
                "".join(f"<p>{p}</p>" for p in body.split("\n")) + "</main></body></html>")
    with open(f"{out}/pages/wcxb-dev/ground-truth/{i:04}.json", "w") as f:
        json.dump({"ground_truth": {"main_content": body}}, f)
os.makedirs(f"{out}/extract")
tar = subprocess.run(["tar", "c", "-C", f"{out}/pages", "wcxb-dev"], check=True, stdout=subprocess.PIPE)
subprocess.run(["zstd", "-q", "-o", f"{out}/extract/wcxb-dev.tar.zst"], check=True, input=tar.stdout)
END

# arms NAME GROUPS ARM... : a point for each arm, seed, group and POINTS
arms() {
    local name=$1 groups=$2 arm
    shift 2
    rc "$name" 0 "$TOP/scripts/experiments/$name" "$data"
    for arm in "$@"; do
        is "$name: $arm" "$(awk -F'\t' -v a="$arm" '$1 == a {n[$2]++} END {print n[1], n[2]}' \
            "$OUT/$name/results.tsv")" "$((groups * 2)) $((groups * 2))"
    done
    is "$name: no other" "$(cut -f1 "$OUT/$name/results.tsv" | sort -u | wc -l)" "$#"
    rc "$name: plot" 0 python3 -c 'import sys, xml.dom.minidom as m
paths = [p for p in m.parse(sys.argv[1]).getElementsByTagName("path") if p.getAttribute("fill") == "none"]
sys.exit(len(paths) != int(sys.argv[2]))' "$OUT/$name/plot.svg" $((groups * $# * 3))
    has "$name: table" "$OUT/$name/table.md" "^\| ${!#} \| [0-9e-]+ \| [0-9]+ \| .* ± "
    cp "$OUT/$name/results.tsv" results.first
    rc "$name: again" 0 "$TOP/scripts/experiments/$name" "$data"
    hasnt "$name: nothing done again" err 'bits/byte'
    same "$name: same results" results.first "$OUT/$name/results.tsv"
}
# last NAME COLUMN: of each arm, its last value
last() { awk -F'\t' -v c="$2" '{v[$1] = $c} END {for (a in v) print v[a]}' "$OUT/$1/results.tsv"; }
one() { sort -u | wc -l; }

# at five times the size, so that the smallest part holds a few documents
SCALE=0.1 arms stages 4 mixture staged
is "stages: equal tokens" "$(last stages 4 | one)" 1
# Both arms have the same tokens of each part, but for documents and rows at the ends.
parts() {
    jq -c '[(.stages // [.])[].parts[]] | group_by(.name) |
        map({(.[0].name): (map(.tokens) | add)}) | add' "$1"
}
parts "$OUT"/stages/runs/mixture-4e-3-s2/run/parts.json >a
parts "$OUT"/stages/runs/staged-4e-3-s2/run/parts.json >b
is "stages: the same parts" "$(jq -n --slurpfile a a --slurpfile b b '[$a[0] | to_entries[] |
    ((.value - $b[0][.key]) | fabs) / ([.value, 1000] | max)] | length == 8 and max < 0.5')" true
is "stages: edited texts come late" "$(jq '[.stages[].parts | map(select(.name | test("edited")).tokens) |
    add] | .[1] > 1.5 * .[0]' "$OUT"/stages/runs/staged-4e-3-s2/run/parts.json)" true
LRS="2e-3 4e-3" arms upscale 4 deep shallow upscaled
is "upscale: equal FLOPs, to a step" "$(last upscale 5 | sort -g | awk 'NR == 1 {a = $1}
    {b = $1} END {print (b < 1.2 * a) ? "yes" : a " to " b}')" yes
arms distil 4 scratch pruned taught pruned_taught
is "distil: equal tokens" "$(last distil 4 | one)" 1
arms curation 3 raw curated classified
is "curation: equal tokens" "$(last curation 4 | one)" 1
is "curation: menus went" "$(jq -r .text "$OUT/curation/curated-en.jsonl" | grep -c '^- river')" 0
is "curation: menus were" "$(jq -r .text "$OUT/curation/raw-en.jsonl" | grep -c '^- river' |
    awk '{print ($1 > 20) ? "yes" : $1}')" yes

# The table's statistics, against numbers worked out apart.
for s in 1 2 3; do
    printf 'a\t%d\t1e-3\t100\t1\tg\t9\na\t%d\t1e-3\t200\t2\tg\t%s\n' $s $s "$(sed -n ${s}p <<<'2.1
2.3
2.2')"
done >t.tsv
for s in 1 2 3; do
    printf 'b\t%d\t2e-3\t200\t2\tg\t%s\n' $s "$(sed -n ${s}p <<<'2.0
2.1
2.2')"
done >>t.tsv
rc table 0 awk -f "$TOP/scripts/experiments/table.awk" t.tsv
has "mean and deviation" out '^\| a \| 1e-3 \| 200 \| 2.00 \| 2.200 ± 0.100 \| 2.200 ± 0.100 \|$'
# differences -0.1, -0.2, 0: mean -0.1, deviation 0.1, half width 4.303 * 0.1 / sqrt 3
has "paired difference" out '^\| b \| -0.100 \(-0.348 to \+0.148\)'
rc "no data" 2 "$TOP/scripts/experiments/stages" "$T/nowhere"
done_testing
