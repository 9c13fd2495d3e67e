#!/bin/bash
# The masks of recipes/pii-ko.yaml on the labelled set of pii_set.py: at least the
# precision and recall of docs/pii.md; and the places that are recorded.
# shellcheck source=tests/cli/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
printf '{"id":"a","text":"키질 kim@kijil.kr, 010-2345-6789"}\n' >in.jsonl
"$KIJIL" filter -q -r pii-ko in.jsonl >out.jsonl
has 'masked' out.jsonl '"text":"키질 email@example.com, 010-0000-0000"'
has 'places, in characters' out.jsonl \
    '"pii":\[\{"rule":"pii.email_any","start":3,"end":20,"was":12\},\{"rule":"pii.phone","start":22,"end":35,"was":13\}\]'
has 'counts' out.jsonl '"pii.email_any":1,.*"pii.phone":1'
"$KIJIL" filter -q -r pii-ko out.jsonl >again.jsonl
has 'what is masked is not found again' again.jsonl '"pii.email_any":0,.*"pii.phone":0'
"$KIJIL" filter -q --set pii.phone=count in.jsonl >count.jsonl
has 'counted only' count.jsonl '010-2345-6789.*"pii.phone":1'
hasnt 'counted only: no places' count.jsonl '"pii":'
if command -v python3 >"$T/out"; then
    python3 "$TOP/tests/cli/pii_set.py" make >set.jsonl
    "$KIJIL" filter -q -r pii-ko set.jsonl >out.jsonl
    rc 'precision and recall' 0 python3 "$TOP/tests/cli/pii_set.py" score set.jsonl out.jsonl 0.999 0.99
    python3 "$TOP/tests/cli/pii_fresh.py" make >set.jsonl
    "$KIJIL" filter -q -r pii-ko set.jsonl >out.jsonl
    rc 'the fresh set' 0 python3 "$TOP/tests/cli/pii_set.py" score set.jsonl out.jsonl 0.98 0.99
else
    skip 'no python3'
fi
done_testing
