CREATE TABLE source (
    digest BLOB PRIMARY KEY,
    component TEXT NOT NULL,
    config TEXT NOT NULL,
    document TEXT
) STRICT, WITHOUT ROWID;

CREATE TABLE component (
    digest TEXT PRIMARY KEY,
    -- When a process last said that it has tools made of it.
    seen INTEGER NOT NULL,
    bytes BLOB NOT NULL
) STRICT;

CREATE TABLE run (
    id BLOB PRIMARY KEY,
    root BLOB NOT NULL,
    parent BLOB,
    parent_call INTEGER,
    tool TEXT NOT NULL,
    owner BLOB NOT NULL,
    source BLOB NOT NULL,
    arguments TEXT NOT NULL,
    client TEXT NOT NULL,
    session TEXT,
    stream INTEGER,
    request TEXT,
    began INTEGER NOT NULL,
    changed INTEGER NOT NULL,
    state TEXT NOT NULL,
    wake INTEGER,
    holder TEXT,
    cancel INTEGER NOT NULL DEFAULT 0,
    result TEXT
) STRICT, WITHOUT ROWID;

CREATE INDEX run_open ON run (state, root) WHERE state IN ('running', 'waiting');
CREATE INDEX run_root ON run (root);
CREATE INDEX run_parent ON run (parent, parent_call) WHERE parent IS NOT NULL;
CREATE INDEX run_session ON run (session) WHERE session IS NOT NULL;
CREATE INDEX run_changed ON run (changed);

CREATE TABLE event (
    run BLOB NOT NULL,
    number INTEGER NOT NULL,
    at INTEGER NOT NULL,
    event TEXT NOT NULL,
    PRIMARY KEY (run, number)
) STRICT, WITHOUT ROWID;
