-- 0 if anybody could have sent the request. Earlier deliveries count as verified.
ALTER TABLE deliveries ADD COLUMN verified INTEGER NOT NULL DEFAULT 1;

-- A later delivery with which the sender has repeated this one after it had been given up or refused; 0 if there is none.
ALTER TABLE deliveries ADD COLUMN superseded_by INTEGER NOT NULL DEFAULT 0;

CREATE INDEX unverified ON deliveries (state, id, size) WHERE verified = 0 AND state < 7;
CREATE INDEX ended ON deliveries (state, id) WHERE verified = 1 AND state >= 3;
CREATE INDEX given_up ON deliveries (route, key) WHERE state IN (4, 5, 7) AND key <> '' AND superseded_by = 0;

-- Of refused requests, those of the webhook and reason with most bytes are removed.
DROP INDEX refused;

CREATE INDEX refused ON deliveries (route, reason, id, size) WHERE state = 7;

-- The numbers of deliveries that were only counted, by the minute of their end (Unix time / 60).
CREATE TABLE counted (
    minute INTEGER NOT NULL,
    route INTEGER NOT NULL,
    number INTEGER NOT NULL,
    PRIMARY KEY (minute, route)
) WITHOUT ROWID;

-- Whether superseded deliveries run, too, and who has requested the replay.
ALTER TABLE replays ADD COLUMN forced INTEGER NOT NULL DEFAULT 0;
ALTER TABLE replays ADD COLUMN requested_by TEXT NOT NULL DEFAULT '';

-- The size of an unverified delivery includes its private request.
DROP TRIGGER finished;

CREATE TRIGGER finished AFTER UPDATE OF state ON deliveries
WHEN NEW.state IN (3, 5)
BEGIN
    UPDATE deliveries SET size = size - (SELECT total(length(head) + coalesce(length(body), 0)) FROM private WHERE id = NEW.id)
    WHERE id = NEW.id AND verified = 0;
    DELETE FROM private WHERE id = NEW.id;
END;
