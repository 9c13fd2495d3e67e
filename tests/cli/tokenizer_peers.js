// tokenizer_peers.js - Hugging Face's tokenizers (npm `tokenizers`) and tiktoken on
// strings made here; driven by tokenizer-peers.sh.
//   models DIR            small tokenizer.json files of the kinds that need no training
//   ranks DIR             tiktoken's vocabularies as files of ranks
//   strings N SEED ROUND ROUNDS [FILE...]
//                         N documents, one JSON object a line; FILEs are JSONL of texts;
//                         of five rounds or more each has its share of Unicode
//   encode TOKENIZER      documents on standard input to lines of ids
//   tiktoken NAME         the same
//   decode TOKENIZER SKIP lines of ids to lines of JSON strings
'use strict'
const fs = require('fs')
const [mode, ...args] = process.argv.slice(2)

let state = 1
function rnd(n) { // mulberry32
    state = (state + 0x6D2B79F5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return Math.floor(((t ^ (t >>> 14)) >>> 0) / 4294967296 * n)
}
const pick = v => v[rnd(v.length)]
const cp = c => c >= 0xD800 && c <= 0xDFFF ? 'x' : String.fromCodePoint(c)
const many = (n, f) => { let s = ''; while (n-- > 0) s += f(); return s }

// ---- strings ----

const specials = ['<|end_of_text|>', '<|endoftext|>', '<|im_start|>', '<|', '|>', '[UNK]', '[X]',
    '<s>', '</s>', '<unk>', '<0x41>', '<mask>', ' <mask> ']
const spaces = [' ', '  ', '\n', '\r\n', '\t', '\r', ' \n', '\n ', '\u00a0', '\u3000', '\u0085',
    '\u2028', '\u200b', '\ufeff', '\v', '\f', '\u2581', '\u180e']
const words = ['the', 'The', 'iPhone', 'HTTPServer', "don't", "I'LL", "they'Re", 'naïve', 'straße',
    'ǅungla', 'İstanbul', 'ΟΔΟΣ', 'Дом', '하는', '입니다', '한국어', 'ABC한글', '學校', 'カタカナ', 'हिन्दी',
    'ไทย', 'العربية', '👩‍👩‍👧', '🇰🇷', '❤️', '1234567', '３．１４', 'Ⅳ', '½', 'ﬁ', 'Å', '℡', '#!/bin/sh',
    'http://a.b/c?d=e', '://', '...\n//', '!\n/!', 'do not', "n't", ' .']
const one = [() => pick(spaces), () => pick(spaces), () => pick(words), () => pick(words) + ' ',
    () => pick(specials), () => "'" + pick(['s', 'S', 'll', 'LL', 'ſ', 'vE', 'd', 'x', '']),
    () => cp(0x41 + rnd(26)), () => cp(0x61 + rnd(26)), () => cp(0x61 + rnd(26)),
    () => cp(0x30 + rnd(10)), () => cp(0x21 + rnd(94)), () => cp(0xAC00 + rnd(11172)),
    () => cp(0xAC00 + rnd(11172)), () => cp(0x1100 + rnd(256)), () => cp(0x3130 + rnd(96)),
    () => cp(0x300 + rnd(112)), () => cp(rnd(0x3000)), () => cp(0x2000 + rnd(0x70)),
    () => cp(0x4E00 + rnd(20000)), () => cp(0x1F300 + rnd(700)), () => cp(rnd(0x10000)),
    () => cp(rnd(0x110000))]
const contexts = [x => 'a' + x + 'b' + x + x + ' 1' + x + '2 ' + x + '.' + x + '\n' + x,
    x => x, x => ' ' + x + "'s" + x + ' ' + x + '한' + x, x => 'A' + x + 'Ab' + x + '!' + x + '/\n']
let texts = [], character = 0

// Eight characters a string, one after the other.
function next_characters() {
    let s = ''
    for (let k = 0; k < 8 && character < 0x110000; character++)
        if (character < 0xD800 || character > 0xDFFF) {
            s += pick(contexts)(cp(character))
            k++
        }
    return s
}
function from_texts() {
    const t = pick(texts), at = rnd(t.length), s = Array.from(t.slice(at, at + 1 + rnd(120)))
    for (let k = rnd(4); k > 0; k--) { // a character goes, doubles, or turns into another
        const i = rnd(s.length), what = rnd(3)
        s.splice(i, what ? 1 : 0, what === 1 ? '' : pick(one)())
    }
    const out = s.join('').toWellFormed()
    return rnd(6) ? out : out.normalize(pick(['NFC', 'NFD', 'NFKC', 'NFKD']))
}
const kinds = [() => many(1 + rnd(24), () => pick(one)()), () => many(1 + rnd(24), () => pick(one)()),
    () => many(1 + rnd(12), () => cp(rnd(0x110000))), () => many(1 + rnd(16), () => pick(spaces)),
    () => many(2 + rnd(8), () => pick(words) + pick(['', ' ', ' ', "'"])),
    () => many(1 + rnd(6), () => pick(specials) + pick(['', ' ', 'a', '한'])),
    () => { const c = pick(one)(); return many(1 + rnd(300), () => c) },
    () => { const v = [pick(one)(), pick(one)(), pick(one)()]; return many(rnd(60), () => pick(v)) },
    () => many(1 + rnd(20), () => cp(pick([0x1100, 0x1161, 0x11A7]) + rnd(28))),
    () => texts.length ? from_texts() : many(9, () => pick(one)()),
    () => texts.length ? from_texts() : many(9, () => pick(one)())]

function strings(n, seed, round, rounds, files) {
    state = Math.imul(seed, 1000003) + round
    for (const f of files) {
        const all = fs.readFileSync(f, 'utf8').split('\n').filter(x => x)
        for (let i = 0; i < 400; i++)
            texts.push(JSON.parse(pick(all)).text)
    }
    const whole = rounds >= 5, end = Math.ceil(0x110000 * (round + 1) / rounds)
    character = Math.floor(0x110000 * round / rounds)
    let out = []
    for (let i = 0; i < n; i++) {
        let s
        if (whole ? i % 4 === 0 && character < end : i % 8 === 0) {
            if (!whole) // few strings take the characters from anywhere
                character = rnd(rnd(4) ? 0x20000 : 0x110000)
            s = next_characters()
        } else {
            s = pick(kinds)()
        }
        out.push(JSON.stringify({text: s.isWellFormed() ? s : 'x'}))
        if (out.length === 1000 || i + 1 === n) {
            fs.writeSync(1, out.join('\n') + '\n')
            out = []
        }
    }
    if (whole && character < end)
        throw new Error('not all of Unicode')
}

// ---- models ----

const sample = () => { // characters and words that texts are likely to have
    const v = new Set()
    for (let c = 0x20; c < 0x7F; c++) v.add(cp(c))
    for (let i = 0; i < 700; i++) v.add(cp(0xAC00 + rnd(11172)))
    for (let i = 0; i < 300; i++) v.add(cp(0xA0 + rnd(0x2000)))
    return v
}
function pieces(n, alphabet) {
    const v = new Set(), all = words.join(' ')
    for (const w of words) v.add(w)
    while (v.size < n) {
        const at = rnd(all.length)
        const s = rnd(3) ? all.slice(at, at + 1 + rnd(4)) : many(1 + rnd(3), () => pick(alphabet))
        if (s && !/[\ud800-\udfff\s]/.test(s)) v.add(s)
    }
    return v
}
const added = (list, more) => list.map(([id, content, o]) => Object.assign({id, content,
    single_word: false, lstrip: false, rstrip: false, normalized: false, special: true}, o, more))
const file = o => JSON.stringify(Object.assign({version: '1.0', truncation: null, padding: null,
    added_tokens: [], normalizer: null, pre_tokenizer: null, post_processor: null, decoder: null}, o))
const bytes = [...Array(256).keys()].map(b => '<0x' + b.toString(16).toUpperCase().padStart(2, '0') + '>')

function models(dir) {
    const put = (name, o) => fs.writeFileSync(dir + '/' + name + '.json', file(o))
    state = 7
    const alphabet = [...sample()]
    const list = [...new Set([...alphabet, ...pieces(3000, alphabet)])]

    // WordPiece: as BERT's, and bare.
    const wp = {'[UNK]': 0, '[X]': 1}
    for (const p of list) {
        wp[p] = wp[p] ?? Object.keys(wp).length
        if (rnd(2) || [...p].length === 1) wp['##' + p] = wp['##' + p] ?? Object.keys(wp).length
    }
    const word = {type: 'WordPiece', unk_token: '[UNK]', continuing_subword_prefix: '##',
        max_input_chars_per_word: 100, vocab: wp}
    const two = added([[0, '[UNK]'], [1, '[X]', {lstrip: true}]])
    put('wordpiece-bert', {added_tokens: two, normalizer: {type: 'BertNormalizer', clean_text: true,
        handle_chinese_chars: true, strip_accents: null, lowercase: true},
        pre_tokenizer: {type: 'BertPreTokenizer'}, model: word,
        decoder: {type: 'WordPiece', prefix: '##', cleanup: true}})
    put('wordpiece-bare', {added_tokens: two, pre_tokenizer: {type: 'Whitespace'}, model: word,
        decoder: {type: 'WordPiece', prefix: '##', cleanup: false}})

    // Unigram: scores with ties.
    const mark = list.map(p => rnd(2) ? '\u2581' + p : p)
    const uni = [['<unk>', 0], ['<s>', 0], ['\u2581', -3]]
    for (const p of new Set([...mark, ...alphabet]))
        if (p !== '\u2581') uni.push([p, -Math.round(2 + 4 * rnd(40)) / 4])
    const meta = (scheme, split) => ({type: 'Metaspace', replacement: '\u2581', prepend_scheme: scheme, split})
    put('unigram', {added_tokens: added([[0, '<unk>'], [1, '<s>', {rstrip: true}]]),
        normalizer: {type: 'Sequence', normalizers: [{type: 'Nmt'}, {type: 'NFKC'},
            {type: 'Replace', pattern: {Regex: ' {2,}'}, content: ' '}]},
        pre_tokenizer: meta('always', true), decoder: meta('always', true),
        model: {type: 'Unigram', unk_id: 0, vocab: uni}})
    put('unigram-bytes', {added_tokens: added([[0, '<unk>']]), pre_tokenizer: meta('first', false),
        decoder: {type: 'Sequence', decoders: [{type: 'Replace', pattern: {String: '\u2581'}, content: ' '},
            {type: 'ByteFallback'}, {type: 'Fuse'}, {type: 'Strip', content: ' ', start: 1, stop: 0}]},
        model: {type: 'Unigram', unk_id: 0, byte_fallback: true, vocab: uni.concat(bytes.map(b => [b, -25]))}})

    // BPE over characters, as SentencePiece's models are converted.
    const vocab = {}, merges = [], id = t => vocab[t] = vocab[t] ?? Object.keys(vocab).length
    for (const t of ['<unk>', '<s>', '</s>']) id(t)
    const chars = [...new Set(['\u2581', ...alphabet.filter(c => c !== ' ')])]
    chars.forEach(id)
    let made = [...chars]
    while (merges.length < 4000) {
        const a = pick(made), b = rnd(2) ? pick(chars) : pick(made), both = a + b
        if (both.length > 12 || /.\u2581(?!\u2581)/.test(both) && rnd(20)) continue
        if (!(both in vocab)) made.push(both)
        merges.push([a, b])
        id(both)
    }
    for (const w of words) { // and such as words are made of
        let s = '\u2581'
        for (const c of w) {
            if (!(c in vocab)) break
            merges.push([s, c])
            id(s += c)
        }
    }
    const plain = {type: 'BPE', dropout: null, unk_token: '<unk>', continuing_subword_prefix: null,
        end_of_word_suffix: null, ignore_merges: false}
    const three = added([[0, '<unk>'], [1, '<s>'], [2, '</s>']])
    const fall = Object.assign({}, vocab)
    bytes.forEach(b => fall[b] = Object.keys(fall).length)
    const llama = {type: 'Sequence', decoders: [{type: 'Replace', pattern: {String: '\u2581'}, content: ' '},
        {type: 'ByteFallback'}, {type: 'Fuse'}, {type: 'Strip', content: ' ', start: 1, stop: 0}]}
    put('bpe-llama2', {added_tokens: three, normalizer: {type: 'Sequence', normalizers: [
        {type: 'Prepend', prepend: '\u2581'}, {type: 'Replace', pattern: {String: ' '}, content: '\u2581'}]},
        decoder: llama, model: Object.assign({}, plain, {fuse_unk: true, byte_fallback: true, vocab: fall, merges})})
    put('bpe-gemma', {added_tokens: three, normalizer: {type: 'Replace', pattern: {String: ' '}, content: '\u2581'},
        pre_tokenizer: {type: 'Split', pattern: {String: ' '}, behavior: 'MergedWithPrevious', invert: false},
        decoder: {type: 'Sequence', decoders: llama.decoders.slice(0, 3)},
        model: Object.assign({}, plain, {fuse_unk: true, byte_fallback: true, vocab: fall,
            merges: merges.map(m => m.join(' '))})})
    put('bpe-mistral', {added_tokens: three, pre_tokenizer: meta('first', false), decoder: llama,
        model: Object.assign({}, plain, {fuse_unk: false, byte_fallback: true, ignore_merges: true, vocab: fall, merges})})
    const some = Object.assign({}, vocab)
    bytes.forEach((b, i) => { if (i % 3) some[b] = Object.keys(some).length })
    for (const fuse_unk of [true, false])
        put('bpe-unk-' + (fuse_unk ? 'fused' : 'apart'), {added_tokens: three, pre_tokenizer: meta('always', true),
            decoder: meta('always', true),
            model: Object.assign({}, plain, {fuse_unk, byte_fallback: !fuse_unk, vocab: some, merges})})
    put('bpe-dropped', {pre_tokenizer: {type: 'Whitespace'},
        model: Object.assign({}, plain, {unk_token: null, fuse_unk: false, byte_fallback: false, vocab, merges})})
}

// ---- the reference ----

const lines = () => fs.readFileSync(0, 'utf8').split('\n').slice(0, -1)
async function encode(path) {
    const t = require('tokenizers').Tokenizer.fromFile(path), all = lines()
    for (let i = 0; i < all.length; i += 1000) {
        const part = all.slice(i, i + 1000).map(x => JSON.parse(x).text)
        const done = await t.encodeBatch(part, {addSpecialTokens: false})
        fs.writeSync(1, done.map(e => JSON.stringify(e.getIds()) + '\n').join(''))
    }
}
function tiktoken(name) {
    const t = require('tiktoken').get_encoding(name)
    for (const x of lines())
        fs.writeSync(1, '[' + t.encode(JSON.parse(x).text, 'all').join(',') + ']\n')
}
function ranks(dir) {
    const path = require('path').dirname(require.resolve('tiktoken'))
    for (const name of ['gpt2', 'cl100k_base', 'o200k_base']) {
        const j = JSON.parse(fs.readFileSync(path + '/encoders/' + name + '.json', 'utf8')), out = []
        for (const line of j.bpe_ranks.split('\n').filter(x => x)) {
            const [, first, ...tokens] = line.split(' ')
            tokens.forEach((t, i) => out.push(t + ' ' + (+first + i) + '\n'))
        }
        fs.writeFileSync(dir + '/' + name + '.tiktoken', out.join(''))
    }
}
async function decode(path, skip) {
    const t = require('tokenizers').Tokenizer.fromFile(path), all = lines()
    for (let i = 0; i < all.length; i += 1000) {
        const done = await t.decodeBatch(all.slice(i, i + 1000).map(x => JSON.parse(x)), skip === '1')
        fs.writeSync(1, done.map(s => JSON.stringify(s) + '\n').join(''))
    }
}

if (mode === 'strings') strings(...args.slice(0, 4).map(Number), args.slice(4))
else if (mode === 'ranks') ranks(args[0])
else if (mode === 'tiktoken') tiktoken(args[0])
else if (mode === 'models') models(args[0])
else if (mode === 'encode') encode(args[0])
else if (mode === 'decode') decode(args[0], args[1])
else process.exit(2)
