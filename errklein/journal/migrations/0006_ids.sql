-- The key of the message's handle; '' for a message of an earlier version. See `OutgoingMessage`.
ALTER TABLE outbox ADD COLUMN key BLOB NOT NULL DEFAULT x'';

-- What is wanted besides the text, as JSON, and the content of the file that it sends.
ALTER TABLE outbox ADD COLUMN wanted BLOB NOT NULL DEFAULT x'';
ALTER TABLE outbox ADD COLUMN file BLOB NOT NULL DEFAULT x'';

-- The ids that networks have given to messages of the bot. `refs` is JSON with the id and thread of each part.
CREATE TABLE sent_ids (
    id INTEGER PRIMARY KEY,
    network BLOB NOT NULL,
    key BLOB NOT NULL,
    room BLOB NOT NULL,
    refs TEXT NOT NULL,
    sent_at REAL NOT NULL
);

CREATE INDEX sent_keys ON sent_ids (network, key);
CREATE INDEX sent_times ON sent_ids (sent_at);
