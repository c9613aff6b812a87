-- One process at a time uses the file, so that a message of another owner is always that of an earlier process.
DROP TABLE outbox_owners;
