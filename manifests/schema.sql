-- schema.sql - the tables of a run's ledger (docs/formats/ledger.md says how to
-- ask them). Plain names, integer keys, declared references and ISO 8601 dates,
-- so that Datasette and any SQL shell show it well as it is.
PRAGMA application_id = 1802070636; -- "kijl"
PRAGMA user_version = 9;

-- One process that wrote here: a filter in a pipe, or a whole `kijil run`.
CREATE TABLE runs (
    run         INTEGER PRIMARY KEY,
    parent      INTEGER REFERENCES runs(run), -- whose output this one read
    name        TEXT NOT NULL,                -- "filter"
    version     TEXT,
    command     TEXT,                         -- as it was typed
    config_hash TEXT,
    shard       TEXT,
    partial     INTEGER NOT NULL DEFAULT 0,   -- 1: left some of its input unread on purpose
    started     TEXT,
    finished    TEXT,                         -- NULL: running, or cut off
    status      TEXT NOT NULL,                -- running ok damaged failed interrupted
    docs_in     INTEGER,
    docs_kept   INTEGER,
    bytes_in    INTEGER,                      -- stored bytes read
    text_in     INTEGER,                      -- bytes of text read
    wall        REAL,                         -- seconds
    cpu         REAL
);

-- Resolved configuration, as --dry-run prints it.
CREATE TABLE config (
    run    INTEGER NOT NULL REFERENCES runs(run),
    number INTEGER NOT NULL,                  -- stages.stage; 0 for the run itself
    stage  TEXT NOT NULL,                     -- its name, or ""
    key    TEXT NOT NULL,
    value  TEXT,
    PRIMARY KEY (run, number, key)
) WITHOUT ROWID;

-- What documents went through, in order within a run.
CREATE TABLE stages (
    stage      INTEGER PRIMARY KEY,
    run        INTEGER NOT NULL REFERENCES runs(run),
    phase      TEXT NOT NULL,                 -- "" for a filter
    ordinal    INTEGER NOT NULL,              -- within the phase; 0 is the input
    name       TEXT NOT NULL,
    docs_in    INTEGER NOT NULL DEFAULT 0,
    docs_kept  INTEGER NOT NULL DEFAULT 0,
    bytes_in   INTEGER NOT NULL DEFAULT 0,    -- of text
    bytes_kept INTEGER NOT NULL DEFAULT 0,
    sum_in     INTEGER NOT NULL DEFAULT 0,    -- order-free checksum over (id, text)
    sum_kept   INTEGER NOT NULL DEFAULT 0,
    UNIQUE (run, phase, ordinal)
);

-- Rules and measured values, by name.
CREATE TABLE rules (
    rule  INTEGER PRIMARY KEY,
    name  TEXT NOT NULL UNIQUE,               -- "gopher.min_words"
    unit  TEXT,
    about TEXT
);

-- The cut that a stage made with a rule: what is dropped.
CREATE TABLE thresholds (
    stage     INTEGER NOT NULL REFERENCES stages(stage),
    rule      INTEGER NOT NULL REFERENCES rules(rule),
    op        TEXT,                           -- < > <= >=
    threshold REAL,
    PRIMARY KEY (stage, rule)
) WITHOUT ROWID;

-- The same in full. A rule may stand in a stage more than once, with another
-- threshold for other documents; thresholds has the last of them.
CREATE TABLE cuts (
    cut       INTEGER PRIMARY KEY,
    stage     INTEGER NOT NULL REFERENCES stages(stage),
    ordinal   INTEGER NOT NULL,               -- order in which they are applied
    rule      INTEGER NOT NULL REFERENCES rules(rule),
    op        TEXT,                           -- "off": named, but not applied
    threshold REAL,
    failed    INTEGER NOT NULL DEFAULT 0,     -- documents beyond it
    alone     INTEGER NOT NULL DEFAULT 0,     -- of these, beyond no other of the stage
    about     TEXT,                           -- what is measured, "(where ...)": on which
    UNIQUE (stage, ordinal)
);

-- Sets of cuts that were applied to a document together: "12-25,27".
CREATE TABLE cutsets (
    cutset INTEGER PRIMARY KEY,
    cuts   TEXT NOT NULL UNIQUE
);

-- Documents dropped, by the first rule that dropped them.
CREATE TABLE reasons (
    stage   INTEGER NOT NULL REFERENCES stages(stage),
    rule    INTEGER NOT NULL REFERENCES rules(rule),
    docs    INTEGER NOT NULL,
    bytes   INTEGER NOT NULL,                 -- of text
    damaged INTEGER NOT NULL,                 -- 1: a fault of the input
    PRIMARY KEY (stage, rule)
) WITHOUT ROWID;

CREATE TABLE inputs (
    input INTEGER PRIMARY KEY,
    run   INTEGER NOT NULL REFERENCES runs(run),
    path  TEXT NOT NULL,                      -- "-" is standard input
    bytes INTEGER,
    pipe  INTEGER,                            -- inode, when it is a pipe
    UNIQUE (run, path)
);

-- Files written. A part of a restartable run is recorded in the transaction
-- that holds the rows of its documents.
CREATE TABLE outputs (
    output       INTEGER PRIMARY KEY,
    run          INTEGER NOT NULL REFERENCES runs(run),
    phase        TEXT NOT NULL,
    part         INTEGER,                     -- number within the phase
    path         TEXT NOT NULL,               -- "-" is standard output
    hash         TEXT,                        -- "xxh128:..." of the file
    bytes        INTEGER,                     -- stored
    docs         INTEGER,
    text_bytes   INTEGER,
    sum          INTEGER,                     -- order-free checksum of its documents
    file_start   INTEGER,                     -- inputs read for it: from here
    offset_start INTEGER,
    file_end     INTEGER,                     -- up to here
    offset_end   INTEGER,
    pipe         INTEGER,                     -- inode, when it is a pipe
    written      TEXT,
    UNIQUE (run, phase, path)
);

CREATE TABLE languages (
    language INTEGER PRIMARY KEY,
    code     TEXT NOT NULL UNIQUE
);
-- A document's source field, else the host of its URL, else its file.
CREATE TABLE sources (
    source INTEGER PRIMARY KEY,
    name   TEXT NOT NULL UNIQUE
);
CREATE TABLE archives (
    archive INTEGER PRIMARY KEY,
    name    TEXT NOT NULL UNIQUE
);

CREATE TABLE documents (
    doc      INTEGER PRIMARY KEY,
    id       TEXT NOT NULL,
    copy     INTEGER NOT NULL,                -- 0, or which further one of equal id
    url      TEXT,
    source   INTEGER REFERENCES sources(source),
    language INTEGER REFERENCES languages(language),
    bytes    INTEGER NOT NULL,                -- of text, when last seen
    chars    INTEGER NOT NULL,
    tokens   INTEGER,
    archive  INTEGER REFERENCES archives(archive),
    offset   INTEGER,                         -- stored offset of the record
    UNIQUE (id, copy)
);

-- For each document and flow of stages, the last stage that saw it: the one
-- that dropped it, or the last of all. Earlier stages of that flow kept it.
CREATE TABLE decisions (
    doc       INTEGER NOT NULL REFERENCES documents(doc),
    stage     INTEGER NOT NULL REFERENCES stages(stage),
    kept      INTEGER NOT NULL,
    rule      INTEGER REFERENCES rules(rule), -- first failing rule
    value     REAL,
    threshold REAL,
    cutset    INTEGER REFERENCES cutsets(cutset), -- cuts that applied to it
    PRIMARY KEY (doc, stage)
) WITHOUT ROWID;

-- Every value that a rule looked at, for kept and dropped documents.
CREATE TABLE signals (
    doc   INTEGER NOT NULL REFERENCES documents(doc),
    rule  INTEGER NOT NULL REFERENCES rules(rule),
    value REAL NOT NULL,
    PRIMARY KEY (doc, rule)
) WITHOUT ROWID;

CREATE TABLE clusters (
    doc        INTEGER PRIMARY KEY REFERENCES documents(doc),
    cluster    TEXT,
    size       INTEGER,
    keeper     TEXT,                          -- id of the document that stays
    similarity REAL
);

-- Passages that were cut out of a document, in its order; places are bytes of
-- the text as it was.
CREATE TABLE passages (
    doc        INTEGER NOT NULL REFERENCES documents(doc),
    ordinal    INTEGER NOT NULL,
    at         INTEGER NOT NULL,
    bytes      INTEGER NOT NULL,
    keeper     TEXT,                          -- id of the document that has the copy
    offset     INTEGER,                       -- there; words where words are compared
    PRIMARY KEY (doc, ordinal)
) WITHOUT ROWID;

-- Texts of the largest clusters and of some more: the keeper, and the members
-- least similar to it.
CREATE TABLE copies (
    cluster    TEXT NOT NULL,
    hash       INTEGER NOT NULL,              -- of the cluster's id: breaks ties
    size       INTEGER NOT NULL,
    id         TEXT NOT NULL,
    url        TEXT,
    kept       INTEGER NOT NULL,
    similarity REAL,
    member     INTEGER NOT NULL,              -- hash of id and text
    text       TEXT,                          -- at most 6,000 bytes
    UNIQUE (cluster, kept, member)
);

-- Distribution of the values that a cut was made with (0: none): 64 buckets per
-- power of two.
CREATE TABLE histograms (
    rule    INTEGER NOT NULL REFERENCES rules(rule),
    cut     INTEGER NOT NULL,
    bucket  INTEGER NOT NULL,                 -- ordered as the values are
    lo      REAL NOT NULL,
    hi      REAL NOT NULL,
    docs    INTEGER NOT NULL,
    dropped INTEGER NOT NULL,                 -- by this rule, as the first
    PRIMARY KEY (rule, cut, bucket)
) WITHOUT ROWID;

-- Examples nearest the cut of a rule, on both sides.
CREATE TABLE samples (
    sample   INTEGER PRIMARY KEY,
    rule     INTEGER REFERENCES rules(rule),
    cut      INTEGER NOT NULL DEFAULT 0,
    kept     INTEGER NOT NULL,
    far      INTEGER NOT NULL DEFAULT 0,      -- 1: farthest beyond it
    rank     REAL NOT NULL,                   -- distance from the cut; far: negative
    hash     INTEGER NOT NULL,                -- of the id: breaks ties
    id       TEXT,
    url      TEXT,
    language TEXT,
    value    REAL,
    excerpt  TEXT                             -- at most 400 characters
);
CREATE UNIQUE INDEX samples_hash ON samples (rule, kept, hash);

-- Cuts that a stage found in the order of a score: "the best 10 %", and the lower
-- edges of bands.
CREATE TABLE quantiles (
    stage      INTEGER NOT NULL REFERENCES stages(stage),
    score      TEXT NOT NULL,                 -- the field: "dclm_score"
    language   TEXT NOT NULL,                 -- of these documents; "": of all
    band       INTEGER NOT NULL,              -- -1: there are none
    share      REAL,                          -- of the documents that is to be above it
    cut        REAL,                          -- the lowest score above it
    low        REAL,                          -- of a sample: where the exact cut lies,
    high       REAL,                          -- with a confidence of 95 %
    share_low  REAL,                          -- and the share that is above this one
    share_high REAL,
    docs       INTEGER NOT NULL,              -- documents in question
    seen       INTEGER NOT NULL,              -- of these, looked at
    PRIMARY KEY (stage, score, language, band)
) WITHOUT ROWID;

-- Documents and text by band; band -1: of documents without a score.
CREATE TABLE bands (
    stage      INTEGER NOT NULL REFERENCES stages(stage),
    language   INTEGER NOT NULL,              -- of languages; 0: none
    band       INTEGER NOT NULL,
    docs       INTEGER NOT NULL,
    bytes      INTEGER NOT NULL,              -- of text
    docs_kept  INTEGER NOT NULL,              -- by the stage
    bytes_kept INTEGER NOT NULL,
    PRIMARY KEY (stage, language, band)
) WITHOUT ROWID;

-- Training curve.
CREATE TABLE metrics (
    series       TEXT NOT NULL,               -- the run's folder, as it was given
    step         INTEGER NOT NULL,
    loss         REAL,
    lr           REAL,
    tokens       INTEGER,                     -- trained on so far
    tokens_per_s REAL,
    grad_norm    REAL,                        -- before clipping
    kl           REAL,                        -- from the teacher
    epoch        INTEGER,
    stage        TEXT,
    skipped      INTEGER NOT NULL DEFAULT 0,  -- 1: its update was left out
    seconds      REAL,                        -- since its process started
    PRIMARY KEY (series, step)
) WITHOUT ROWID;

-- Tokens that a source had so far of a step's stage.
CREATE TABLE metric_sources (
    series TEXT NOT NULL,
    step   INTEGER NOT NULL,
    source TEXT NOT NULL,
    tokens INTEGER NOT NULL,
    PRIMARY KEY (series, source, step)
) WITHOUT ROWID;

-- Loss on held-out texts, behind a step.
CREATE TABLE metric_validation (
    series TEXT NOT NULL,
    step   INTEGER NOT NULL,
    source TEXT NOT NULL,                     -- '': over all of them
    loss   REAL,
    PRIMARY KEY (series, source, step)
) WITHOUT ROWID;

-- What a model wrote on the way.
CREATE TABLE generations (
    series TEXT NOT NULL,
    step   INTEGER NOT NULL,
    number INTEGER NOT NULL,                  -- of the prompt
    prompt TEXT NOT NULL,
    text   TEXT NOT NULL,
    PRIMARY KEY (series, step, number)
) WITHOUT ROWID;

-- One process of kijil eval.
CREATE TABLE evaluations (
    evaluation INTEGER PRIMARY KEY,
    model      TEXT NOT NULL,                 -- as it was named
    tokenizer  TEXT,                          -- hash of its file
    version    TEXT,
    command    TEXT,
    at         TEXT
);

-- What it found: of a source, a subset, a group of subsets, or a whole task.
CREATE TABLE scores (
    evaluation INTEGER NOT NULL REFERENCES evaluations(evaluation),
    task       TEXT NOT NULL,
    kind       TEXT NOT NULL,                 -- source subset group task
    part       TEXT NOT NULL,                 -- its name; "" for a task
    metric     TEXT NOT NULL,
    value      REAL,
    stderr     REAL,
    n          INTEGER NOT NULL,              -- questions or documents
    shots      INTEGER,
    PRIMARY KEY (evaluation, task, kind, part, metric)
) WITHOUT ROWID;

-- Runs in the order of the stream: each behind the one whose output it read.
CREATE VIEW run_order AS
WITH RECURSIVE chain(run, first, depth) AS (
    SELECT run, run, 0 FROM runs WHERE parent IS NULL
    UNION ALL
    SELECT r.run, c.first, c.depth + 1 FROM runs r JOIN chain c ON r.parent = c.run
)
SELECT run, first, depth FROM chain;

-- What is left behind each stage, in order.
CREATE VIEW waterfall AS
SELECT o.first AS chain, s.run, r.name AS command, s.phase, s.stage, s.name,
       s.docs_in, s.docs_kept, s.docs_in - s.docs_kept AS docs_dropped,
       round(100.0 * s.docs_kept / nullif(s.docs_in, 0), 2) AS kept_percent,
       s.bytes_in, s.bytes_kept
FROM stages s JOIN runs r USING (run) JOIN run_order o USING (run)
ORDER BY o.first, o.depth, s.stage;

-- Every reason with its name.
CREATE VIEW drops AS
SELECT s.run, s.name AS stage, u.name AS rule, t.op, t.threshold, u.unit,
       x.docs, x.bytes, x.damaged,
       round(100.0 * x.docs / nullif(s.docs_in, 0), 2) AS percent_of_stage
FROM reasons x JOIN stages s USING (stage) JOIN rules u USING (rule)
     LEFT JOIN thresholds t ON t.stage = x.stage AND t.rule = x.rule
ORDER BY x.docs DESC;

-- Why a document is out, or how far it came.
CREATE VIEW why AS
SELECT d.id, d.copy, d.url, r.name AS command, s.name AS stage, x.kept,
       u.name AS rule, x.value, t.op, x.threshold, u.unit, u.about,
       c.cluster, c.keeper, c.similarity, x.doc
FROM documents d JOIN decisions x USING (doc)
     JOIN stages s USING (stage) JOIN runs r USING (run)
     LEFT JOIN rules u USING (rule)
     LEFT JOIN thresholds t ON t.stage = x.stage AND t.rule = x.rule
     LEFT JOIN clusters c ON c.doc = x.doc AND x.kept = 0;

-- The measured values of a document, with their names.
CREATE VIEW values_of AS
SELECT d.id, d.copy, u.name AS rule, g.value, u.unit, g.doc
FROM documents d JOIN signals g USING (doc) JOIN rules u USING (rule);

-- Documents and bytes by language and by source: all, and those that no rule
-- took out.
CREATE VIEW language_counts AS
SELECT coalesce(l.code, '') AS language, count(*) AS docs,
       sum(out.doc IS NULL) AS docs_kept, sum(d.bytes) AS bytes,
       sum(CASE WHEN out.doc IS NULL THEN d.bytes ELSE 0 END) AS bytes_kept,
       sum(CASE WHEN out.doc IS NULL THEN d.tokens END) AS tokens_kept
FROM documents d LEFT JOIN languages l USING (language)
     LEFT JOIN (SELECT DISTINCT doc FROM decisions WHERE kept = 0) out ON out.doc = d.doc
GROUP BY d.language ORDER BY docs DESC;

CREATE VIEW source_counts AS
SELECT coalesce(n.name, '') AS source, count(*) AS docs,
       sum(out.doc IS NULL) AS docs_kept, sum(d.bytes) AS bytes,
       sum(CASE WHEN out.doc IS NULL THEN d.bytes ELSE 0 END) AS bytes_kept,
       sum(CASE WHEN out.doc IS NULL THEN d.tokens END) AS tokens_kept
FROM documents d LEFT JOIN sources n USING (source)
     LEFT JOIN (SELECT DISTINCT doc FROM decisions WHERE kept = 0) out ON out.doc = d.doc
GROUP BY d.source ORDER BY docs DESC;

-- What deduplication took from each source; alarm: more than its option allows,
-- of 50 documents or more.
CREATE VIEW dedup_sources AS
WITH seen AS (
    SELECT d.run, x.doc, max(x.stage = d.stage AND NOT x.kept) AS gone
    FROM stages d JOIN stages s
         ON s.run = d.run AND s.phase = d.phase AND s.ordinal >= d.ordinal
         JOIN decisions x ON x.stage = s.stage
    WHERE d.name = 'dedup' GROUP BY d.run, x.doc)
SELECT z.run, coalesce(n.name, '') AS source, count(*) AS docs, sum(gone) AS removed,
       round(100.0 * sum(gone) / count(*), 2) AS removed_percent,
       count(*) >= 50 AND sum(gone) > count(*) * coalesce((SELECT
           max(CAST(c.value AS REAL)) FROM config c
           WHERE c.run = z.run AND c.key = 'alarm'), 0.5) AS alarm
FROM seen z JOIN documents USING (doc) LEFT JOIN sources n USING (source)
GROUP BY z.run, source;

-- Documents and text by band and language, with names.
CREATE VIEW band_counts AS
SELECT s.run, b.stage, coalesce(l.code, '') AS language, b.band, b.docs, b.bytes,
       b.docs_kept, b.bytes_kept
FROM bands b JOIN stages s USING (stage) LEFT JOIN languages l USING (language)
ORDER BY b.stage, language, b.band;
