CREATE TABLE routes (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    paused INTEGER NOT NULL DEFAULT 0
);

-- The states are numbers: 0 received, 1 running, 2 retry; 3 done, 4 dead, 5 failed, 6 duplicate, 7 refused.
CREATE TABLE deliveries (
    id INTEGER PRIMARY KEY,
    route INTEGER NOT NULL REFERENCES routes,
    state INTEGER NOT NULL,
    received_at REAL NOT NULL,
    request_id TEXT NOT NULL,
    -- 1 if the sender has the promise of another attempt: ack="now".
    durable INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    -- NULL while a delivery without that promise runs: its lease doesn't end.
    due_at REAL,
    origin TEXT NOT NULL,
    key TEXT NOT NULL,
    began_at REAL NOT NULL,
    -- The last outcome; NULL before the first one.
    status INTEGER,
    reason TEXT,
    seconds REAL,
    -- The approximate number of bytes of the row and of the logged request.
    size INTEGER NOT NULL
);

-- Each row is in one of these two, so an attempt changes few pages. Lists by state use them, too, for each route.
CREATE INDEX unfinished ON deliveries (route, id, due_at, state) WHERE state < 3;
CREATE INDEX finished ON deliveries (route, state) WHERE state >= 3;
CREATE INDEX refused ON deliveries (id, size) WHERE state = 7;

-- The request as it is logged, apart from the delivery, whose changes would write it again. `head` has lines: the fields of a
-- StoredRequest, then name and value of each header.
CREATE TABLE contents (
    id INTEGER PRIMARY KEY,
    head BLOB NOT NULL,
    body BLOB
);

-- The complete request of a delivery with ack="now", if it differs. A body that is logged isn't repeated.
CREATE TABLE private (
    id INTEGER PRIMARY KEY,
    head BLOB NOT NULL,
    body BLOB
);

CREATE TABLE attempts (
    id INTEGER NOT NULL,
    number INTEGER NOT NULL,
    began_at REAL NOT NULL,
    status INTEGER NOT NULL,
    reason TEXT NOT NULL,
    seconds REAL NOT NULL,
    PRIMARY KEY (id, number)
) WITHOUT ROWID;

CREATE TABLE dedupe (
    route INTEGER NOT NULL,
    key TEXT NOT NULL,
    id INTEGER NOT NULL,
    expires REAL NOT NULL,
    PRIMARY KEY (route, key)
) WITHOUT ROWID;

CREATE INDEX expiring ON dedupe (expires);

CREATE TABLE once (
    id INTEGER NOT NULL,
    key TEXT NOT NULL,
    PRIMARY KEY (id, key)
) WITHOUT ROWID;

-- The highest id of a delivery that was removed. Ids are never used again, since keys are remembered with them.
CREATE TABLE removed_ids (
    last INTEGER NOT NULL
);

INSERT INTO removed_ids VALUES (0);

-- Deliveries that another process wants to run again.
CREATE TABLE replays (
    id INTEGER PRIMARY KEY
);

CREATE TRIGGER attempt_begun AFTER UPDATE OF attempt ON deliveries
WHEN NEW.attempt > OLD.attempt AND OLD.status IS NOT NULL
BEGIN
    INSERT OR IGNORE INTO attempts VALUES (OLD.id, OLD.attempt, OLD.began_at, OLD.status, OLD.reason, OLD.seconds);
END;

CREATE TRIGGER finished AFTER UPDATE OF state ON deliveries
WHEN NEW.state IN (3, 5)
BEGIN
    DELETE FROM private WHERE id = NEW.id;
END;

CREATE TRIGGER removed AFTER DELETE ON deliveries
BEGIN
    DELETE FROM contents WHERE id = OLD.id;
    DELETE FROM private WHERE id = OLD.id;
    DELETE FROM attempts WHERE id = OLD.id;
    DELETE FROM once WHERE id = OLD.id;
    UPDATE removed_ids SET last = OLD.id WHERE last < OLD.id;
    DELETE FROM dedupe WHERE route = OLD.route AND key = OLD.key AND id = OLD.id AND OLD.state IN (4, 5);
END;
