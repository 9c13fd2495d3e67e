#!/bin/bash
# Heads on a frozen encoder: kijil model train --encoder and test, classify with the
# folder that they make, on the CPU and on an emulated GPU; what is refused. The encoder is random (python3 writes the
# file; no torch): a random encoder still tells words apart.
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"

command -v python3 >/dev/null || { skip "no python3"; done_testing; }
mkdir enc
python3 - <<'E2'
import json, random, struct
random.seed(2)
V, H, F, L, P = 300, 128, 96, 2, 40
t = {}
def add(name, *shape, scale=0.15, base=0.0):
    n = shape[0] * (shape[1] if len(shape) > 1 else 1)
    t[name] = (shape, [base + random.gauss(0, scale) for _ in range(n)])
def linear(name, o, i):
    add(name + ".weight", o, i)
    add(name + ".bias", o)
def norm(name):
    add(name + ".weight", H, base=1)
    add(name + ".bias", H)
add("embeddings.word_embeddings.weight", V, H, scale=1)
add("embeddings.position_embeddings.weight", P, H)
add("embeddings.token_type_embeddings.weight", 1, H)
norm("embeddings.LayerNorm")
for i in range(L):
    p = f"encoder.layer.{i}."
    for s in ("query", "key", "value"):
        linear(p + "attention.self." + s, H, H)
    linear(p + "attention.output.dense", H, H)
    norm(p + "attention.output.LayerNorm")
    linear(p + "intermediate.dense", F, H)
    linear(p + "output.dense", H, F)
    norm(p + "output.LayerNorm")
head, data = {}, b""
for k, (shape, x) in t.items():
    b = struct.pack("<%df" % len(x), *x)
    head[k] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + len(b)]}
    data += b
h = json.dumps(head).encode()
open("enc/model.safetensors", "wb").write(struct.pack("<Q", len(h)) + h + data)
json.dump({"model_type": "xlm-roberta", "vocab_size": V, "hidden_size": H,
           "intermediate_size": F, "num_hidden_layers": L, "num_attention_heads": 2,
           "max_position_embeddings": P, "type_vocab_size": 1, "pad_token_id": 1,
           "layer_norm_eps": 1e-5}, open("enc/config.json", "w"))
words = ["<s>", "<pad>", "</s>", "<unk>", "\u2581"] + ["\u2581w%d" % i for i in range(200)]
words += ["\u2581별%d" % i for i in range(90)]
json.dump({"added_tokens": [], "normalizer": None,
           "pre_tokenizer": {"type": "Metaspace", "replacement": "\u2581", "add_prefix_space": True},
           "post_processor": {"type": "TemplateProcessing", "pair": [],
                              "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}},
                                         {"Sequence": {"id": "A", "type_id": 0}},
                                         {"SpecialToken": {"id": "</s>", "type_id": 0}}],
                              "special_tokens": {s: {"id": s, "ids": [words.index(s)], "tokens": [s]}
                                                 for s in ("<s>", "</s>")}},
           "decoder": None,
           "model": {"type": "Unigram", "unk_id": 3, "byte_fallback": False,
                     "vocab": [[w, -1.0 - (i == 4) * 9] for i, w in enumerate(words)]}},
          open("enc/tokenizer.json", "w"))
# The score of a text is the share of its stars; its kind, whether they are many.
for name, n in (("train", 600), ("held", 200)):
    with open(name + ".jsonl", "w") as f:
        for i in range(n):
            share = random.random()
            text = " ".join("별%d" % random.randrange(6) if random.random() < share
                            else "w%d" % random.randrange(10) for _ in range(random.randrange(12, 60)))
            stars = text[:9999].count("별") / len(text.split())
            f.write(json.dumps({"id": f"{name}{i}", "text": text, "label": round(5 * stars, 3),
                                "kind": "many" if stars > 0.5 else "few"}) + "\n")
E2
M=("$KIJIL" model)
rc "train" 0 "${M[@]}" train -q --encoder enc --pooling mean train.jsonl -o edu --head-epochs 60 --head-lr 0.01
rc "again, two threads" 0 "${M[@]}" train -q -j2 --encoder enc --pooling mean train.jsonl -o edu2 --head-epochs 60 --head-lr 0.01
same "equal bytes" edu/head.safetensors edu2/head.safetensors
is "the encoder is not copied" "$(stat -c %i enc/model.safetensors)" "$(stat -c %i edu/encoder.safetensors)"
rc "test" 0 "${M[@]}" test edu held.jsonl -o table
is "it learned: r above 0.9" "$(awk '$1 == "r" { print ($2 > 0.9) }' table)" 1
is "all were judged" "$(awk '$1 == "N" { print $2 }' table)" 200
rc "classify" 0 "$KIJIL" classify -q -m edu --as edu held.jsonl -o out.jsonl
is "MSE by jq is that of test" \
    "$(jq -s '[.[] | (.edu_score - .label) | . * .] | add / length * 1000 | round' out.jsonl)" \
    "$(awk '$1 == "MSE" { print int($2 * 1000 + .5) }' table)"
is "integers are the scores, rounded" \
    "$(jq -r 'select(.edu_int != ([0, ([5, (.edu_score | round)] | min)] | max)) | .id' out.jsonl)" ""
rc "min" 0 "$KIJIL" classify -q -m edu --as edu --min 2.5 held.jsonl -o cut.jsonl --rejects rej.jsonl
is "in = kept + dropped" $(($(wc -l <cut.jsonl) + $(wc -l <rej.jsonl))) 200
is "kept are above" "$(jq 'select(.edu_score < 2.5)' cut.jsonl | wc -l)" 0
has "rule" rej.jsonl '"rule":"classify.edu_score"'
rc "top" 0 "$KIJIL" classify -q -m edu --as edu --keep-top 10% held.jsonl -o top.jsonl
is "the best tenth" "$(jq -r .id top.jsonl | sort)" \
    "$(jq -r '[.edu_score, .id] | @tsv' out.jsonl | sort -gr | head -20 | cut -f2 | sort)"
for j in 2 4; do
    rc "-j$j" 0 "$KIJIL" classify -q -j$j -m edu --as edu held.jsonl -o outj.jsonl
    same "-j$j gives the same bytes" out.jsonl outj.jsonl
done

rc "labels" 0 "${M[@]}" train -q --encoder enc --task classification --label-field kind \
    --hidden 24 --head-lr 0.01 --activation relu --pooling mean --prefix "w1 w2 " --max-tokens 30 train.jsonl -o kind
rc "test labels" 0 "${M[@]}" test --label-field kind kind held.jsonl -o table
is "P@1 above 0.8" "$(awk '$1 == "P@1" { print ($2 > 0.8) }' table)" 1
has "a row for each label" table '^many[[:space:]]0\.'
rc "classify labels" 0 "$KIJIL" classify -q -m kind --as stars --label many held.jsonl -o out.jsonl
is "probabilities decide as test does" \
    "$(jq -s '[.[] | select((.stars_score > 0.5) == (.kind == "many"))] | length / 2 | floor' out.jsonl)" \
    "$(awk '$1 == "P@1" { print int($2 * 100) }' table)"
rc "a head on the folder of a head" 0 "${M[@]}" train -q --encoder kind --pooling mean train.jsonl -o third
rc "it has its own head" 0 "$KIJIL" classify -q -m third --as edu --limit 3 held.jsonl -o x.jsonl
has "a regression" x.jsonl edu_int

# ---- refused before any document ----
refuse() {
    rc "$1" "$2" "$KIJIL" classify -q -m "$4" --as edu "${@:5}" held.jsonl
    has "$1 says why" err "$3"
    is "$1: nothing was written" "$(wc -c <out)" 0
}
refuse "no head" 1 "no head" enc
refuse "no such label" 2 "no label 'hq'" kind
cp -rL edu bad && head -c 3000 edu/encoder.safetensors >bad/encoder.safetensors
refuse "truncated" 1 "data_offsets|not a safetensors|overlap|hole" bad
rm bad/encoder.safetensors && jq '.model.vocab += [range(300) | ["x\(.)", -3]]' enc/tokenizer.json >bad/tokenizer.json
cp edu/encoder.safetensors bad/
refuse "vocabulary" 1 "tokenizer has [0-9]+ ids, the model" bad
cp enc/tokenizer.json bad/ && sed 's/xlm-roberta/llama/' edu/config.json >bad/config.json
refuse "another kind" 1 "model_type" bad
rc "the folder exists" 2 "${M[@]}" train -q --encoder enc train.jsonl -o edu --head-epochs 1
has "the folder exists" err 'edu is there already; remove it, or name another folder'
is "nothing stays behind" "$(ls -d edu.tmp* 2>/dev/null)" ""
rc "labels are words" 1 "${M[@]}" train -q --encoder enc --label-field kind train.jsonl -o x
has "what to do" err "task classification"
rc "no labels" 1 "${M[@]}" train -q --encoder enc --label-field nothing train.jsonl -o x
# On a GPU: the emulated one, which rounds to bfloat16 as a real one does.
emu=$(dirname "$KIJIL")/tests/cuda_emu/kijil-cuda.so
if [[ -e $emu ]]; then
    head -n 24 held.jsonl >few.jsonl
    rc "classify, CPU" 0 "$KIJIL" classify -q -m edu --as edu few.jsonl --device cpu -o cpu.jsonl
    # Windows of 256 tokens: several of them.
    export KIJIL_CUDA_SO=$emu KIJIL_CUDA_WINDOW=256
    rc "classify, GPU" 0 "$KIJIL" classify -m edu --as edu few.jsonl --device auto -o gpu.jsonl
    has "it says so" err 'kijil classify: on the GPU, in bfloat16: .*\(sm_'
    is "GPU's scores near" "$(paste <(jq .edu_score cpu.jsonl) <(jq .edu_score gpu.jsonl) |
        awk '{ d = $1 - $2; if (d < 0) d = -d; if (d > 0.1) far++; if (d > 0) other++ } END { print NR, far + 0, (other > 0) }')" "24 0 1"
    # What a text gets does not depend on the texts beside it, nor on who brought them.
    { tac few.jsonl; sed -n 3,9p few.jsonl | sed 's/"id":"/&again/'; } >other.jsonl
    for j in 1 3; do
        rc "another order, $j threads" 0 "$KIJIL" classify -q -j$j -m edu --as edu other.jsonl \
            --device cuda -o other.$j.jsonl
        is "every text, $j threads" "$(wc -l <other.$j.jsonl)" 31
        is "the same bytes a text, $j threads" \
            "$(sed 's/"id":"again/"id":"/' other.$j.jsonl | sort -u | cmp - <(sort -u gpu.jsonl) && echo yes)" yes
    done
    # Vectors for a head come from there too.
    head -n 40 train.jsonl >some.jsonl
    for d in cpu cuda; do
        rc "train, $d" 0 "${M[@]}" train --encoder enc --pooling mean --device $d some.jsonl -o on_$d --head-epochs 20 \
            --head-lr 0.01
        [[ $d == cpu ]] || has "it says where" err 'kijil model: on the GPU, in bfloat16: '
        rc "test, $d" 0 "${M[@]}" test -q on_$d some.jsonl --device $d -o table.$d
    done
    is "nearly the same head" "$(paste <(awk '$1 == "r" { print $2 }' table.cpu) <(awk '$1 == "r" { print $2 }' table.cuda) |
        awk '{ d = $1 - $2; print (d < 0.02 && d > -0.02 && $1 > 0.3) }')" 1
    differ "not the same bits" on_cpu/head.safetensors on_cuda/head.safetensors
    KIJIL_CUDA_WINDOW=100 rc "a window too small" 2 "$KIJIL" classify -q -m edu --as edu few.jsonl --device cuda -o x.jsonl
    has "says how large" err 'KIJIL_CUDA_WINDOW: 256 to'
    # A GPU that is lost in the middle: one line, no half file; also where the GPU was chosen,
    # since scores of two devices in one file would differ in their last bits.
    KJ_EMU_FAIL=launch:0:0 rc "launches" 0 "$KIJIL" classify -q -j2 -m edu --as edu few.jsonl --device cuda -o gpu2.jsonl
    mid=$(($(sed -n 's/^launch: //p' err) / 2))
    for d in cuda auto; do
        for fault in "launch:$mid:700 illegal memory access" "launch:$mid:999 driver lost the GPU; dmesg" \
            "launch:1:719 unspecified launch failure"; do
            KJ_EMU_FAIL=${fault%% *} rc "$d: ${fault%% *}" 1 "$KIJIL" classify -q -j2 -m edu --as edu few.jsonl \
                --device $d -o lost.jsonl
            has "$d: why" err "^kijil classify: .*${fault#* }"
            is "$d: one line" "$(wc -l <err)" 1
            is "$d: no half file" "$(ls lost.jsonl* .lost* 2>/dev/null)" ""
        done
    done
    rc "scored again" 0 "$KIJIL" classify -q -m edu --as edu few.jsonl --device auto -o lost.jsonl
    same "the same scores" lost.jsonl gpu.jsonl
    # A GPU whose memory others have: chosen by itself, it is left before the first text; asked
    # for, it is an error. MB: for weights, for a pass, for one of two.
    for mb in 30 41 90 100; do
        KJ_EMU_USABLE=$mb rc "auto, $mb MB" 0 "$KIJIL" classify -m edu --as edu few.jsonl --device auto -o full.jsonl
        has "auto says why, $mb MB" err 'kijil classify: on the CPU: .*no GPU.* memory'
        same "the CPU's scores, $mb MB" full.jsonl cpu.jsonl
        KJ_EMU_USABLE=$mb rc "cuda, $mb MB" 2 "$KIJIL" classify -q -m edu --as edu few.jsonl --device cuda -o none.jsonl
        has "cuda says why, $mb MB" err 'no GPU.* memory'
        is "nothing was written, $mb MB" "$(ls none.jsonl 2>/dev/null)" ""
    done
    # In a pipeline: the same command goes on.
    mkdir site && awk -v dir=site -v n=20 -v seed=1 -f "$TOP/tests/cli/pages.awk"
    rc "pack" 0 "$KIJIL" pack site -o site.warc.gz --base-url https://a.example/ -q
    printf 'about: an encoder on a GPU\nsteps:\n  - extract: {format: text}\n  - classify: %s\n' \
        '{model: edu, as: edu, device: cuda}' >recipe.yaml
    pipe() { "$KIJIL" run recipe.yaml -i site.warc.gz -j1 -q -o "$1"; }
    KJ_EMU_FAIL=launch:0:0 rc "whole" 0 pipe whole
    KJ_EMU_FAIL=launch:$(($(sed -n 's/^launch: //p' err | head -n 1) * 3 / 4)):700 rc "lost" 1 pipe parts
    has "the run says it" err '^kijil run: classify: .*illegal memory access'
    rc "goes on" 0 pipe parts
    is "the same documents and scores" "$(zstd -dcq parts/*/part-*.zst | sha256sum)" \
        "$(zstd -dcq whole/*/part-*.zst | sha256sum)"
    unset KIJIL_CUDA_SO KIJIL_CUDA_WINDOW
else
    skip "no emulated GPU was built"
fi
KIJIL_CUDA_SO=/nowhere rc "no GPU" 2 "$KIJIL" classify -q -m edu --as edu held.jsonl --device cuda -o x.jsonl
has "no GPU is said" err 'no GPU: '
done_testing
