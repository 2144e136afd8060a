-- Every statement of the SQLite event log. A statement belongs to the name above it; `sqlite.py`
-- reads this file once per process. Migrations run in order, each once, in one transaction.

-- name: settings_of_connection
-- WAL lets readers go on while one process writes. A WAL that grew during a burst shrinks again.
PRAGMA journal_size_limit = 67108864;
PRAGMA temp_store = MEMORY;
PRAGMA trusted_schema = OFF;

-- name: journal
PRAGMA journal_mode = WAL;

-- name: has_version
SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'coppice_schema';

-- name: is_foreign
-- Tables in a file without our version table are somebody else's.
SELECT 1 FROM sqlite_master LIMIT 1;

-- name: version
SELECT max(version) FROM coppice_schema;

-- name: record_version
INSERT INTO coppice_schema (version) VALUES (?);

-- name: migration_1
-- AUTOINCREMENT: a position is never given out twice, even after old events were removed.
-- Both indexes end in the row's seq by themselves, so they also serve the order.
CREATE TABLE coppice_schema (version INTEGER PRIMARY KEY) STRICT;
CREATE TABLE events (
    seq     INTEGER PRIMARY KEY AUTOINCREMENT,
    id      TEXT NOT NULL UNIQUE,
    type    TEXT NOT NULL,
    source  TEXT NOT NULL,
    time    REAL NOT NULL,
    subject TEXT NOT NULL,
    model   TEXT NOT NULL,
    data    BLOB NOT NULL
) STRICT;
CREATE INDEX events_by_subject ON events (subject, type);
CREATE INDEX events_by_model ON events (model, type);

-- name: migration_2
-- How far each reader has read, so that retention removes nothing that somebody still needs.
CREATE TABLE readers (name TEXT PRIMARY KEY, seq INTEGER NOT NULL) STRICT;

-- name: migration_3
-- Where Kafka joins the logs of several machines: what came from there is not sent there again, and
-- how far it was read is committed together with what was read. The new column costs a local event
-- nothing: its default is a constant that takes no room in the row's body.
ALTER TABLE events ADD COLUMN from_kafka INTEGER NOT NULL DEFAULT 0;
CREATE TABLE consumed (
    topic     TEXT NOT NULL,
    part      INTEGER NOT NULL,
    next      INTEGER NOT NULL,
    PRIMARY KEY (topic, part)
) STRICT, WITHOUT ROWID;

-- name: append
-- An id that is stored already is passed over; any other violation must be an error. The row of
-- VALUES is repeated for each event.
INSERT INTO events (id, type, source, time, subject, model, data) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO NOTHING;

-- name: receive
INSERT INTO events (id, type, source, time, subject, model, data, from_kafka)
VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING;

-- name: consume
INSERT INTO consumed (topic, part, next) VALUES (?, ?, ?)
ON CONFLICT (topic, part) DO UPDATE SET next = excluded.next;

-- name: consumed
SELECT topic, part, next FROM consumed ORDER BY topic, part;

-- name: read_local
SELECT id, type, source, time, subject, model, data, seq FROM events
WHERE seq > ? AND from_kafka = 0 ORDER BY seq LIMIT ?;

-- name: read_one_local
SELECT id, type, source, time, subject, model, data, seq FROM events
WHERE seq = ? AND from_kafka = 0;

-- name: backlog
SELECT count(*), coalesce(sum(length(data)), 0), min(time) FROM events
WHERE seq > ? AND from_kafka = 0;

-- name: read
SELECT id, type, source, time, subject, model, data, seq FROM events
WHERE seq > ? ORDER BY seq LIMIT ?;

-- name: read_one
SELECT id, type, source, time, subject, model, data, seq FROM events WHERE seq = ?;

-- name: end
SELECT max(seq) FROM events;

-- name: find
SELECT id, type, source, time, subject, model, data, seq FROM events
WHERE subject = ? AND type = ? ORDER BY seq;

-- name: latest
SELECT id, type, source, time, subject, model, data, seq FROM events
WHERE model = ? AND type = ? ORDER BY seq DESC LIMIT 1;

-- name: integrity
PRAGMA integrity_check(20);

-- name: unknown_types
SELECT type, count(*) FROM events GROUP BY type;

-- name: newest
SELECT id, type, source, time, subject, model, data, seq FROM events ORDER BY seq DESC LIMIT ?;

-- name: newest_of_type
SELECT id, type, source, time, subject, model, data, seq FROM events
WHERE type = ? ORDER BY seq DESC LIMIT ?;

-- name: mark
INSERT INTO readers (name, seq) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET seq = excluded.seq;

-- name: readers
SELECT name, seq FROM readers ORDER BY name;

-- name: forget
DELETE FROM readers WHERE name = ?;

-- name: used_bytes
SELECT (page_count - freelist_count) * page_size
FROM pragma_page_count, pragma_freelist_count, pragma_page_size;

-- name: ages
-- Decisions are few and are kept for ever; so is the first event, by which the log is known.
SELECT seq, time FROM events
WHERE seq > max(?, (SELECT min(seq) FROM events)) AND type IN (
    'coppice.prediction.v1', 'coppice.feedback.v1', 'coppice.shadow.v1', 'coppice.measurement.v1'
) ORDER BY seq LIMIT ?;

-- name: remove
DELETE FROM events
WHERE seq > max(?, (SELECT min(seq) FROM events)) AND seq <= ? AND type IN (
    'coppice.prediction.v1', 'coppice.feedback.v1', 'coppice.shadow.v1', 'coppice.measurement.v1'
);
