-- One process at a time uses the file, so that a message of another owner is always that of an earlier process.
DROP TABLE outbox_owners;

-- Replays that were requested of a bot: it is asked now, and without one, the state is set.
UPDATE deliveries SET state = 0, due_at = 0, origin = 'replay' WHERE state >= 2 AND id IN (SELECT id FROM replays);
DROP TABLE replays;
