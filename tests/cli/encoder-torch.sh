#!/bin/bash
# encoder-torch.sh - scores of encoders with random weights agree with PyTorch's to
# 1e-4: a BERT of real shape (12 layers of 768, 30,522 words), an XLM-R of 12 layers of
# 768 with a small vocabulary; pooler, dense and mean heads; texts cut at 512 tokens.
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"

py=$(python_with torch)
if [[ -z $py ]]; then
    skip "python3 has no torch"
    done_testing
fi
awk 'BEGIN {
    srand(3)
    split("3 41 90 1 700 17 5", n)
    for (i = 1; i in n; i++) {
        t = ""
        for (k = 0; k < n[i]; k++) t = t (k ? " " : "") "w" int(rand() * 900)
        printf "{\"id\":\"%d\",\"text\":\"%s\"}\n", i, t
    }
}' >in.jsonl

# agree NAME FIELD ARGUMENTS OF make...
agree() {
    local name=$1 field=$2 dir=m.$1
    shift 2
    mkdir "$dir"
    "$py" "$TOP/tests/cli/encoder.py" make "$dir" "$@"
    "$py" "$TOP/tests/cli/encoder.py" score "$dir" in.jsonl >want
    rc "$name" 0 "$KIJIL" classify -q -j1 -m "$dir" --as edu --label LABEL_1 in.jsonl -o got.jsonl
    jq -r ".$field" got.jsonl >got
    worst=$(paste got want | awk '{ d = $1 - $2; if (d < 0) d = -d; m = $2 < 0 ? -$2 : $2
        if (d > w) w = d; if (m > top) top = m } END { print NR == 7 ? w / top : 9 }')
    is "$name: $worst is below 1e-4" "$(awk -v w="$worst" 'BEGIN { print (w < 1e-4) }')" 1
    echo "# $name: largest difference $worst of the largest score"
}
agree bert edu_score bert 30522 12 768 3072 12 pooler
is "the integer is the score rounded and clamped" \
    "$(jq -r 'select(.edu_int != ([0, ([5, (.edu_score | round)] | min)] | max)) | .id' got.jsonl)" ""
rm -r m.bert
agree xlmr edu_score xlmr 1000 12 768 3072 12 dense:3
rm -r m.xlmr
agree mean edu_score bert 1000 3 96 160 4 mean
for j in 2 3; do
    rc "mean -j$j" 0 "$KIJIL" classify -q -j$j -m m.mean --as edu in.jsonl -o gotj.jsonl
    same "-j$j gives the same bytes" got.jsonl gotj.jsonl
done
done_testing
