-- NULL if the bot has stored the value itself. Otherwise the value is from a backup or a shelf, and this is a JSON array of the
-- additional names that the operator has trusted.
ALTER TABLE stored ADD COLUMN trusted TEXT;
