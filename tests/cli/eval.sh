#!/bin/bash
# eval.sh - multiple choice: prompts, tokens, scores and means against another
# hand (eval_twin.py: Jinja, Python's random, PyTorch); bad lines; any thread count.
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/cli/lib-train.sh
. "$TOP/tests/cli/lib-train.sh"
twin=$TOP/tests/cli/eval_twin.py

py=$(python_with json)
if [[ -z $py ]]; then
    skip "no python3"
    done_testing
fi
jinja=$(python_with jinja2)
torch=$(python_with torch)
[[ -n $jinja ]] || skip "python3 has no jinja2: prompts of MMLU, KMMLU, HAE-RAE, BoolQ"

# A model of random weights, with a tokenizer that has merges across blanks.
mkdir data
rc make 0 "$py" "$twin" make data
tokenized 600
cat >run.yaml <<'E2'
model: {hidden_size: 32, intermediate_size: 48, num_hidden_layers: 2,
        num_attention_heads: 4, num_key_value_heads: 2, head_dim: 8,
        max_position_embeddings: 700, initializer_range: 0.2}
data: {sequence_length: 64, batch_sequences: 2, micro_sequences: 2}
optim: {lr: 0}
schedule: {steps: 1}
E2
rc model 0 "$KIJIL" train run.yaml --data shards -q -o m
tasks=(mmlu kmmlu kobest_boolq kobest_copa kobest_wic kobest_hellaswag kobest_sentineg)


for shots in 0 5; do
    rc eval.$shots 0 "$KIJIL" eval m -q -t mmlu,kmmlu,kobest,haerae --shots $shots \
        --data data --details details.$shots -o results.$shots -j1
    has table out '^kmmlu  .* 12 '
    cp out table.$shots
    args=()
    for t in "${tasks[@]}"; do
        pool=train
        [[ $t == *mmlu ]] && pool=dev
        args+=("$t=data/$t.test.jsonl,data/$t.$pool.jsonl")
    done
    for t in history rare_words; do
        args+=("haerae=data/haerae_$t.test.jsonl,data/haerae_$t.test.jsonl")
    done
    if [[ -n $jinja ]]; then
        rc prompts.$shots 0 "$jinja" "$twin" prompts details.$shots $shots "${args[@]}"
        has prompts out '102 prompts agree'
    fi
    rc tokens.$shots 0 "$py" "$twin" tokens details.$shots "$KIJIL" tokenizer.json
    has tokens out 'choices cut alike'
    if [[ -n $torch && $shots -eq 5 ]]; then
        rc scores.$shots 0 "$torch" "$twin" scores details.$shots results.$shots m/model
        has scores out 'agree with PyTorch .*, 2[0-9] means'
        sed 's/^/# /' out
    fi
done
[[ -n $torch ]] || skip "python3 has no torch: scores"
# The tasks say themselves how many examples: 5, and none for KoBEST.
rc own 0 "$KIJIL" eval m -q -t mmlu,kobest --data data -o own
is own "$(sed 's/.*"shots":\([0-9]*\).*/\1/' own | sort -u | xargs)" "0 5"

# Threads and standard output change nothing; passes of other sizes no answer.
rc threads 0 "$KIJIL" eval m -q -t mmlu,kmmlu,kobest,haerae --shots 5 --data data \
    --details threads -o - -j3
same threads.results results.5 out
same threads.details details.5 threads
for n in 1 333; do
    rc pass.$n 0 "$KIJIL" eval m -q -t mmlu,kmmlu,kobest,haerae --shots 5 --data data \
        --pass-tokens $n --details pass.$n --json
    same pass.$n results.5 out
    is pass.$n "$(sed 's/,"scores.*//' pass.$n | cksum)" "$(sed 's/,"scores.*//' details.5 | cksum)"
done

# The begin token: from the post-processor, or when asked for.
ids() { sed -n '1s/.*"prompt_ids":\[\([0-9]*\),\([0-9]*\),.*/\1 \2/p' "$1"; }
rc bos 0 "$KIJIL" eval m -q -t kobest_wic --data data --bos yes --details bos
first=$(ids bos | cut -d' ' -f1)
is bos "$(ids bos | cut -d' ' -f2)" "$("$KIJIL" eval m -q -t kobest_wic --data data --details - |
    sed -n '1s/.*"prompt_ids":\[\([0-9]*\),.*/\1/p')"
is bos.id "$(sed -n 's/.*"bos_token_id": \([0-9]*\).*/\1/p' m/model/config.json)" "$first"
rc template.json 0 "$py" "$twin" template tokenizer.json "$first"
cp out template.json
rc template 0 "$KIJIL" eval m -q -t kobest_wic --data data --tokenizer template.json --details template
same template template bos

# Lines that cannot be used are named, counted and left out.
head -n 3 data/kobest_copa.test.jsonl >bad.jsonl
cat >>bad.jsonl <<'E2'
{"premise":"a","question":"원인","alternative_1":"b","alternative_2":"c"}
{"premise":"a","question":"원인","alternative_1":"b","alternative_2":"c","label":2}
{"premise":"a","question":"?","alternative_1":"b","alternative_2":"c","label":0}
{"premise":"a","question":"원인","alternative_1":"","alternative_2":"c","label":0}
{"premise":7.5,"question":"원인","alternative_1":"b","alternative_2":"c","label":0}
{"premise":
[]
E2
rc bad 3 "$KIJIL" eval m -t kobest_copa --data data --data kobest_copa.test=bad.jsonl --json
has bad out '"questions":3,'
has bad.4 err 'bad.jsonl:4: there is no field "label"'
has bad.5 err 'bad.jsonl:5: the answer is choice 2, of 0 to 1'
has bad.6 err 'bad.jsonl:6: no entry "\?"'
has bad.7 err 'bad.jsonl:7: choice 1 is empty'
has bad.8 err 'bad.jsonl:8: a number with a fraction cannot'
has bad.9 err 'bad.jsonl:9: '
has bad.10 err 'bad.jsonl:10: not a JSON object'
has bad.all err '7 lines could not be used'
rc none 1 "$KIJIL" eval m -t kobest_copa --data kobest_copa.test=/dev/null
rc few 1 "$KIJIL" eval m -t kmmlu --shots 6 --data data
has few err '5 examples of math for 6 shots'
rc nowhere 2 "$KIJIL" eval m -t mmlu --data .
has nowhere err 'mmlu.test=FILE'
rc unknown 2 "$KIJIL" eval m -t mlu --data data
has unknown err "there is no task 'mlu'"

# A task of one's own, in any folder; its own faults come with their line.
cat >capital.yaml <<'E2'
task: capital
files: {test: capital.jsonl}
doc_to_text: "{{country|trim}}'s capital is"
doc_to_choice: cities
doc_to_target: "{{answer}}"
target_delimiter: ": "
metric_list: [acc, acc_norm]
E2
printf '{"country":" Korea ","cities":["Seoul","Busan","Jeju"],"answer":"Seoul"}\n' >capital.jsonl
rc mine 0 "$KIJIL" eval m -q -t capital.yaml --data . --details -
has mine out "\"prompt\":\"Korea's capital is\",\"choices\":\[\"Seoul\",\"Busan\",\"Jeju\"\]"
sed -i 's/|trim/|trimm/' capital.yaml
rc filter 2 "$KIJIL" eval m -q -t capital.yaml --data .
has filter err 'capital.yaml:3: template, byte .* there is no filter'
sed -i 's/metric_list.*/metrics: [acc]/; s/trimm/trim/' capital.yaml
rc key 2 "$KIJIL" eval m -q -t capital.yaml --data .
has key err "capital.yaml:7: there is no key 'metrics'"

# Templates: the text that Jinja makes, or a refusal, never another text.
if [[ -n $jinja ]]; then
    mkdir templates
    rc templates 0 "$jinja" "$twin" templates templates
    for t in templates/*.yaml; do
        "$KIJIL" eval m -q -t "$t" --data templates --details templates/one >/dev/null 2>>templates/err
        [[ $? -le 3 ]] || bad "$t crashes"
        [[ -f templates/one ]] && cat templates/one >>templates/details
        rm -f templates/one
    done
    rc templates 0 "$jinja" "$twin" rendered templates
    sed 's/^/# /' out
fi

# A context that is too short loses tokens at the left, and says so.
sed 's/"max_position_embeddings": 700/"max_position_embeddings": 40/' m/model/config.json >c.json
mkdir short && cp m/model/* short && cp c.json short/config.json
rc short 0 "$KIJIL" eval short -t mmlu --data data --details short.details -o short.results
has short err '17 prompts are longer than the context \(40\)'
if [[ -n $torch ]]; then
    rc short.scores 0 "$torch" "$twin" scores short.details short.results short
fi

# In the ledger.
rc ledger 0 "$KIJIL" eval m -q -t ppl,kobest_wic --data data --ledger run.db docs.jsonl
rc ledger 0 "$KIJIL" eval m -q -t kmmlu --data data --ledger run.db
if command -v sqlite3 >/dev/null; then
    is ledger "$(sqlite3 run.db 'select count(distinct evaluation), count(distinct task) from scores')" '2|3'
    read -r n value error < <(sed -n 's/.*"kmmlu","group":"stem".*"questions":\([0-9]*\),"shots":5,"acc":\([0-9.]*\),"acc_stderr":\([0-9.]*\)[,}].*/\1 \2 \3/p' results.5)
    is score "$(sqlite3 run.db "select n, abs(value - $value) < 1e-12, abs(stderr - $error) < 1e-12, shots
        from scores where kind = 'group' and part = 'stem' and metric = 'acc'")" "$n|1|1|5"
else
    skip "no sqlite3"
fi

rc report 0 "$KIJIL" report run.db
has report out '^  m +kmmlu +12 questions, 5 shots  acc [0-9.]+ \+- [0-9.]+$'
has report out 'm +ppl +60 documents  bits_per_byte'
rc page 0 "$KIJIL" report run.db -o page.html
has page page.html 'What models can do'
has page page.html '<td>kmmlu \(group\)</td>'
# A ledger from before there were scores can be read, and goes on.
if command -v sqlite3 >/dev/null; then
    sqlite3 run.db 'DROP VIEW band_counts; DROP TABLE bands; DROP TABLE quantiles; DROP TABLE scores; DROP TABLE evaluations; DROP TABLE metric_sources;
        DROP TABLE generations; DROP TABLE metric_validation; DROP TABLE metrics; PRAGMA user_version = 5; CREATE TABLE
        metrics (series TEXT NOT NULL, step INTEGER NOT NULL, loss REAL, lr REAL, tokens
        INTEGER, tokens_per_s REAL, PRIMARY KEY (series, step)) WITHOUT ROWID;
        INSERT INTO metrics VALUES ("old", 1, 2.5, 1e-3, 64, 100), ("old", 2, 2.25, 1e-3, 128, 100)'
    rc old 0 "$KIJIL" report run.db -o old.html
    has old old.html 'Loss by step'
    rc on 0 "$KIJIL" eval m -q -t kobest_wic --data data --ledger run.db
    is on "$(sqlite3 run.db 'select count(*) from metrics; select count(*) from scores')" $'2\n2'
fi

# All prompts of real questions.
if [[ -n $jinja && -d $SHARED/eval ]]; then
    args=() files=()
    for t in "${tasks[@]}"; do
        f=$SHARED/eval/$t.dev.jsonl
        args+=("$t=$f,$f,2")
        files+=(--data "$t.test=$f" --data "$t.train=$f" --data "$t.dev=$f")
    done
    rc real 0 "$KIJIL" eval m -q -t mmlu,kmmlu,kobest --shots 2 --limit 2 "${files[@]}" --details real
    rc real.prompts 0 "$jinja" "$twin" prompts real 2 "${args[@]}"
    has real.prompts out '214 prompts agree'
else
    skip "no ../shared/data/eval"
fi
done_testing
