-- The process that sends the message and alone changes it: its first id of `outbox_ids`. 0 for a process of an earlier version.
ALTER TABLE outbox ADD COLUMN owner INTEGER NOT NULL DEFAULT 0;

-- The processes that own messages, and until when (Unix time) unless they renew it. Others may take the messages afterwards.
CREATE TABLE outbox_owners (
    id INTEGER PRIMARY KEY,
    expires REAL NOT NULL
);
