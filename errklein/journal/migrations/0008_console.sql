-- The status that the source was sent; 0 if it isn't known.
ALTER TABLE deliveries ADD COLUMN answered INTEGER NOT NULL DEFAULT 0;

-- The end of the traceback of an attempt, with masked secrets; NULL without one.
ALTER TABLE deliveries ADD COLUMN traceback TEXT;
ALTER TABLE attempts ADD COLUMN traceback TEXT;

-- As `size` counts it: whole pages, and an equal part of the page that has the rest and others.
DROP TRIGGER finished;

CREATE TRIGGER finished AFTER UPDATE OF state ON deliveries
WHEN NEW.state IN (3, 5)
BEGIN
    UPDATE deliveries SET size = size - (
        SELECT total(4096 * pages + 4096 / max(1, 4088 / (max(489 * (pages > 0), size - 4092 * pages) + 10)))
        FROM (
            SELECT size, (size + 30) / 4092 AS pages
            FROM (SELECT length(head) + coalesce(length(body), 0) AS size FROM private WHERE id = NEW.id)
        )
    )
    WHERE id = NEW.id AND verified = 0;
    DELETE FROM private WHERE id = NEW.id;
END;

DROP TRIGGER attempt_begun;

CREATE TRIGGER attempt_begun AFTER UPDATE OF attempt ON deliveries
WHEN NEW.attempt > OLD.attempt AND OLD.status IS NOT NULL
BEGIN
    INSERT OR IGNORE INTO attempts
    VALUES (OLD.id, OLD.attempt, OLD.began_at, OLD.status, OLD.reason, OLD.seconds, OLD.traceback);
END;

-- The numbers of deliveries by the minute of their receipt, later by the hour: `at` is its beginning, as Unix time.
CREATE TABLE totals (
    at INTEGER NOT NULL,
    route INTEGER NOT NULL,
    -- Those with a row in one of the states 0 to 5, whether it has been removed or not.
    accepted INTEGER NOT NULL DEFAULT 0,
    refused INTEGER NOT NULL DEFAULT 0,
    repeated INTEGER NOT NULL DEFAULT 0,
    -- Those that were accepted, too, and never had a row.
    counted INTEGER NOT NULL DEFAULT 0,
    -- Accepted ones that were removed for their age, or since there were too many.
    aged INTEGER NOT NULL DEFAULT 0,
    evicted INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (at, route)
) WITHOUT ROWID;

INSERT INTO totals (at, route, accepted, refused, repeated)
SELECT CAST(received_at / 3600 AS INTEGER) * 3600, route, sum(state < 6), sum(state = 7), sum(state = 6)
FROM deliveries GROUP BY 1, 2;

INSERT INTO totals (at, route, counted)
SELECT CAST(minute / 60 AS INTEGER) * 3600, route, sum(number) FROM counted WHERE true GROUP BY 1, 2
ON CONFLICT DO UPDATE SET counted = excluded.counted;

DROP TABLE counted;

-- The ids that must have a row in `deliveries`, and in `outbox`. What removes a row in order removes its id here; no trigger does.
CREATE TABLE ledger (id INTEGER PRIMARY KEY);
INSERT INTO ledger SELECT id FROM deliveries;

CREATE TABLE message_ledger (id INTEGER PRIMARY KEY);
INSERT INTO message_ledger SELECT id FROM outbox;

-- The numbers of messages by the hour in which they were accepted.
CREATE TABLE message_totals (
    at INTEGER PRIMARY KEY,
    accepted INTEGER NOT NULL DEFAULT 0,
    sent INTEGER NOT NULL DEFAULT 0,
    dropped INTEGER NOT NULL DEFAULT 0,
    rejected INTEGER NOT NULL DEFAULT 0
);

INSERT INTO message_totals (at, accepted)
SELECT CAST(accepted_at / 3600 AS INTEGER) * 3600, count(*) FROM outbox GROUP BY 1;

-- The processes that have used the file. `ended` is NULL for the present one, and for one that was killed: its last second of
-- deliveries that were only counted is lost.
CREATE TABLE runs (
    id INTEGER PRIMARY KEY,
    began REAL NOT NULL,
    ended REAL
);

-- What people have done. Rows are only added, and removed after 90 days.
CREATE TABLE actions (
    id INTEGER PRIMARY KEY,
    at REAL NOT NULL,
    who TEXT NOT NULL,
    way TEXT NOT NULL,
    operation TEXT NOT NULL,
    arguments TEXT NOT NULL
);

CREATE TRIGGER actions_kept BEFORE DELETE ON actions
WHEN OLD.at > CAST(strftime('%s', 'now') AS INTEGER) - 90 * 86400
BEGIN
    SELECT RAISE(ABORT, 'actions are kept for 90 days');
END;

CREATE TRIGGER actions_fixed BEFORE UPDATE ON actions
BEGIN
    SELECT RAISE(ABORT, 'actions are not changed');
END;

-- The groups of failures are read from it alone. Only deliveries that fail are in it.
CREATE INDEX failures ON deliveries (state, route, status, reason, superseded_by, received_at) WHERE state IN (4, 5);
