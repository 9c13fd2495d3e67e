#!/bin/bash
# The c4., dclm., ko. and text. rules against slow twins in Python, exactly, on
# hand-made and random texts, and on the texts of KIJIL_TEXTS (JSONL) if it is set.
# shellcheck source=tests/cli/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
command -v python3 >"$T/out" || {
    skip 'no python3'
    done_testing
    exit
}
twins=$TOP/tests/cli/filter_twins.py
cat >all.yaml <<'YAML'
rules:
  - text.max_newlines: 2
  - text.max_chars: 300
  - c4.long_lines: 3
  - dclm.min_words: 20
  - dclm.max_words: 50
  - dclm.dup_lines: 30%
  - c4.max_word_len: 4
  - text.split_lines: clean
  - text.strip: clean
YAML
cat >ko.yaml <<'YAML'
rules:
  - ko.laughs: 0.5
  - ko.odd_jamo: 5%
  - ko.half_jamo: clean
  - ko.nfc: clean
  - ko.lone_jamo: 20%
  - ko.jamo_runs: 3
  - ko.news_tails: clean
  - ko.hangul_share: 20%
  - ko.latin_share: 50%
  - ko.hanja_share: 30%
  - ko.spam_gambling: 0.08
  - ko.spam_loan: 0.08
  - ko.spam_adult: 0.05
  - ko.spam_doorway: 0.08
YAML
python3 "$twins" make 7 "${N:-600}" >in.jsonl
for r in "$TOP"/recipes/{c4,c4-dclm,dclm-baseline}.yaml all.yaml ko.yaml; do
    "$KIJIL" filter -q --mark -r "$r" in.jsonl -o out.jsonl
    rc "$(basename "$r")" 0 python3 "$twins" check "$r" in.jsonl out.jsonl
    [[ -n ${KIJIL_TEXTS:-} ]] || continue
    "$KIJIL" filter -q --mark -r "$r" "$KIJIL_TEXTS" -o out.jsonl
    rc "$(basename "$r"), real texts" 0 python3 "$twins" check "$r" "$KIJIL_TEXTS" out.jsonl any
done
done_testing
