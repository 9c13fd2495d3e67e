"""tokenize_spm.py train FILE.jsonl... -o DIR: a BPE of 16,000 by sentencepiece, and the same as
tokenizer.json, as Hugging Face converts such models. tokenize_spm.py encode DIR FILE.jsonl IDS:
the first 5 MB, one line of ids a document; prints MB/s by CPU time."""
import json
import sys
import time

import sentencepiece


def texts(path, most):
    total = 0
    for line in open(path, encoding="utf-8"):
        if total > most:
            return
        text = json.loads(line)["text"]
        total += len(text.encode())
        yield text


def convert(sp, path):
    vocab = {sp.id_to_piece(i): i for i in range(sp.get_piece_size())}
    score = {sp.id_to_piece(i): sp.get_score(i) for i in range(sp.get_piece_size())}
    merges = []
    for piece in vocab:
        if sp.is_byte(vocab[piece]) or sp.is_control(vocab[piece]) or sp.is_unknown(vocab[piece]):
            continue
        pairs = [(piece[:k], piece[k:]) for k in range(1, len(piece))]
        pairs = [p for p in pairs if p[0] in vocab and p[1] in vocab]
        pairs.sort(key=lambda p: (vocab[p[0]], vocab[p[1]]))
        merges += [(score[piece], p) for p in pairs]
    merges.sort(key=lambda m: m[0], reverse=True)
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    special = [{"id": i, "content": c, **flags} for i, c in enumerate(["<unk>", "<s>", "</s>"])]
    steps = [{"type": "Prepend", "prepend": "\u2581"},
             {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}]
    with open(path, "w", encoding="utf-8") as out:
        json.dump({"version": "1.0", "truncation": None, "padding": None, "added_tokens": special,
                   "normalizer": {"type": "Sequence", "normalizers": steps}, "pre_tokenizer": None,
                   "post_processor": None, "decoder": None,
                   "model": {"type": "BPE", "unk_token": "<unk>", "fuse_unk": True, "byte_fallback": True,
                             "dropout": None, "continuing_subword_prefix": None,
                             "end_of_word_suffix": None, "ignore_merges": False,
                             "vocab": vocab, "merges": [list(m[1]) for m in merges]}}, out)


def main():
    if sys.argv[1] == "train":
        files, folder = sys.argv[2:-2], sys.argv[-1]
        with open(folder + "/spm.txt", "w", encoding="utf-8") as out:
            for f in files:
                for text in texts(f, 5e6):
                    out.write(text + "\n")
        sentencepiece.SentencePieceTrainer.train(
            input=folder + "/spm.txt", model_prefix=folder + "/spm", vocab_size=16000, model_type="bpe",
            normalization_rule_name="identity", remove_extra_whitespaces=False, byte_fallback=True,
            minloglevel=2, num_threads=1)
        sp = sentencepiece.SentencePieceProcessor(model_file=folder + "/spm.model")
        convert(sp, folder + "/spm.json")
        return
    sp = sentencepiece.SentencePieceProcessor(model_file=sys.argv[2] + "/spm.model")
    all_texts = list(texts(sys.argv[3], 5e6))
    start = time.process_time()
    ids = [sp.encode(t) for t in all_texts]
    took = time.process_time() - start
    print("%.1f" % (sum(len(t.encode()) for t in all_texts) / 1e6 / took))
    with open(sys.argv[4], "w", encoding="utf-8") as out:
        for v in ids:
            out.write(json.dumps(v, separators=(",", ":")) + "\n")


main()
