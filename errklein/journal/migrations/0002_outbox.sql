-- Messages that wait to be sent. The texts are UTF-8 in which lone surrogates are allowed, as Python's strings allow them.
CREATE TABLE outbox (
    id INTEGER PRIMARY KEY,
    network BLOB NOT NULL,
    recipient BLOB NOT NULL,
    body BLOB NOT NULL,
    origin BLOB NOT NULL,
    priority INTEGER NOT NULL,
    accepted_at REAL NOT NULL,
    -- The share of the parts that the network has confirmed, from 0.0 to 1.0.
    sent REAL NOT NULL,
    details BLOB NOT NULL
);

-- The first id of the next process. Most messages are never written, so the highest id in use isn't known from their rows.
CREATE TABLE outbox_ids (
    next INTEGER NOT NULL
);

INSERT INTO outbox_ids VALUES (1);
