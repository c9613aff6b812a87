-- The delivery whose handler has caused the message; 0 for none.
ALTER TABLE outbox ADD COLUMN delivery INTEGER NOT NULL DEFAULT 0;

-- Messages that were sent, if they belong to a delivery, and those that were dropped or rejected, without their texts.
CREATE TABLE ended_messages (
    id INTEGER PRIMARY KEY,
    network BLOB NOT NULL,
    recipient BLOB NOT NULL,
    delivery INTEGER NOT NULL,
    -- 1 sent, 2 dropped, 3 rejected.
    state INTEGER NOT NULL,
    ended_at REAL NOT NULL,
    reason TEXT NOT NULL
);

CREATE INDEX messages_of_deliveries ON ended_messages (delivery) WHERE delivery > 0;
CREATE INDEX unsent_messages ON ended_messages (id) WHERE state > 1;
