-- The key of the message's handle; '' for a message of an earlier version. See `OutgoingMessage`.
ALTER TABLE outbox ADD COLUMN key BLOB NOT NULL DEFAULT x'';

-- What is wanted besides the text, as JSON, and the content of the file that it sends.
ALTER TABLE outbox ADD COLUMN wanted BLOB NOT NULL DEFAULT x'';
ALTER TABLE outbox ADD COLUMN file BLOB NOT NULL DEFAULT x'';

-- The ids that networks have given to messages of the bot, by the network and key of the message's handle. `refs` is JSON with the
-- id and the thread of each part, and its room if that isn't `room`, the recipient.
CREATE TABLE sent_ids (
    network BLOB NOT NULL,
    key BLOB NOT NULL,
    room BLOB NOT NULL,
    refs TEXT NOT NULL,
    sent_at REAL NOT NULL,
    PRIMARY KEY (network, key)
) WITHOUT ROWID;

CREATE INDEX sent_times ON sent_ids (sent_at);
