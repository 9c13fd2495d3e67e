/* html5_oracle.js - trees of bench_tree against those of parse5.
 *
 * usage: bench_tree < NAMES | node html5_oracle.js extract/tags.h [--worst N]
 *
 * Prints on how many pages the trees are the same node for node, on how many the
 * same text stands in the same blocks (elements but those of phrasing), and how
 * much text stands elsewhere. What bench_tree leaves out on purpose is left out
 * here as well. Needs the npm package parse5 (where NODE_PATH says). */
'use strict';
const fs = require('fs');
const { parse } = require('parse5');

const known = new Set([...fs.readFileSync(process.argv[2], 'utf8')
    .matchAll(/X\((\w+)\)/g)].map(m => m[1].replace('_', '-')));
const dropped = new Set(['script', 'style', 'textarea', 'iframe', 'noembed', 'noframes',
    'template', 'select', 'frameset']);
const phrasing = new Set(('a abbr acronym b bdi bdo big cite code data del dfn em font i ' +
    'img ins kbd label mark nobr q s samp small span strike strong sub sup time tt u var ' +
    'wbr ?').split(' '));

function lines(html) {
    const doc = parse(html, { scriptingEnabled: false }), out = [];
    let text = '', depth = 0;
    const flush = () => {
        text = text.replace(/\0/g, '');
        if (text)
            out.push(`${depth} "${text.replace(/\n/g, '\\n')}"`);
        text = '';
    };
    const walk = (node, d) => {
        for (const c of node.childNodes) {
            if (c.nodeName === '#text') {
                depth = d;
                text += c.value;
                continue;
            }
            const ns = c.namespaceURI || '', html = ns.endsWith('xhtml');
            const shadow = html && c.tagName === 'template' &&
                c.attrs.some(a => a.name === 'shadowrootmode');
            if (!ns || ns.endsWith('svg') || (html && dropped.has(c.tagName) && !shadow))
                continue;
            flush();
            const name = c.tagName.toLowerCase();
            out.push(`${d} ${known.has(name) && !shadow ? name.replace('-', '_') : '?'}`);
            walk(shadow ? c.content : c, d + 1);
            flush();
        }
    };
    walk(doc, 1);
    flush();
    return out;
}

/* [path of blocks, text without blanks], in order */
function blocks(rows) {
    const path = [], out = [];
    for (const r of rows) {
        const d = parseInt(r, 10), x = r.slice(r.indexOf(' ') + 1);
        while (path.length && path[path.length - 1].d >= d)
            path.pop();
        if (x[0] !== '"') {
            path.push({ d, x });
            continue;
        }
        const t = x.slice(1, -1).replace(/\\n|\s/g, '');
        const key = path.map(p => p.x).filter(p => !phrasing.has(p)).join('/');
        if (t && out.length && out[out.length - 1][0] === key)
            out[out.length - 1][1] += t;
        else if (t)
            out.push([key, t]);
    }
    return out.map(b => b.join(' '));
}

const sum = { pages: 0, same: 0, blocks: 0, text: 0, elsewhere: 0 }, worst = [];
for (const part of fs.readFileSync(0, 'utf8').split(/^=== /m).slice(1)) {
    const name = part.slice(0, part.indexOf('\n'));
    const ours = part.slice(name.length + 1).split('\n').slice(0, -1);
    const theirs = lines(fs.readFileSync(name, 'utf8').replace(/^\uFEFF/, ''));
    const same = ours.length === theirs.length && ours.every((l, i) => l === theirs[i]);
    const a = blocks(ours), b = blocks(theirs), left = new Map();
    a.forEach(x => left.set(x, (left.get(x) || 0) + 1));
    let elsewhere = 0;
    for (const x of b) {
        const n = x.length - x.indexOf(' ') - 1, k = left.get(x) || 0;
        sum.text += n;
        elsewhere += k ? 0 : n;
        left.set(x, k - 1);
    }
    sum.pages++;
    sum.same += same;
    sum.blocks += a.length === b.length && a.every((x, i) => x === b[i]);
    sum.elsewhere += elsewhere;
    if (!same)
        worst.push([elsewhere, name]);
}
const share = n => `${(100 * n / sum.pages).toFixed(2)} %`;
console.log(`${sum.pages} pages, same nodes ${share(sum.same)}, same text in the same ` +
    `blocks ${share(sum.blocks)}, text elsewhere ` +
    `${(100 * sum.elsewhere / (sum.text || 1)).toFixed(3)} %`);
const n = process.argv[3] === '--worst' ? Number(process.argv[4]) : 0;
worst.sort((x, y) => y[0] - x[0]).slice(0, n).forEach(x => console.log(x.join(' ')));
