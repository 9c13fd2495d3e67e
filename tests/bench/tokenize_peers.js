// tokenize_peers.js TOOL VOCABULARY FILE.jsonl IDS - encodes the first 5 MB of a file
// by npm `tokenizers` (hf, a tokenizer.json) or `tiktoken` (a name), one line of ids a
// document; prints MB/s by CPU time.
// tokenize_peers.js train TOKENIZER TEXT - trains on a text as tokenizers does.
'use strict'
const fs = require('fs')
const [tool, vocabulary, file, out] = process.argv.slice(2)
const cpu = () => { const u = process.cpuUsage(); return (u.user + u.system) / 1e6 }

async function run() {
    if (tool === 'train') {
        const T = require('tokenizers'), j = JSON.parse(fs.readFileSync(vocabulary, 'utf8'))
        j.added_tokens = []
        j.model.vocab = {}
        j.model.merges = []
        const t = T.Tokenizer.fromString(JSON.stringify(j)), wall = Date.now(), start = cpu()
        t.train([file])
        console.log(((Date.now() - wall) / 1e3).toFixed(1) + ' s wall, ' + (cpu() - start).toFixed(1) + ' s CPU')
        return
    }
    const texts = []
    let bytes = 0
    for (const line of fs.readFileSync(file, 'utf8').split('\n')) {
        if (!line || bytes > 5e6) break
        texts.push(JSON.parse(line).text)
        bytes += Buffer.byteLength(texts[texts.length - 1])
    }
    const t = tool === 'hf' ? require('tokenizers').Tokenizer.fromFile(vocabulary)
        : require('tiktoken').get_encoding(vocabulary)
    const ids = [], start = cpu()
    for (const text of texts)
        ids.push(tool === 'hf' ? (await t.encode(text, null, {addSpecialTokens: false})).getIds()
            : Array.from(t.encode(text, 'all')))
    console.log((bytes / 1e6 / (cpu() - start)).toFixed(1))
    fs.writeFileSync(out, ids.map(x => JSON.stringify(x) + '\n').join(''))
}
run()
