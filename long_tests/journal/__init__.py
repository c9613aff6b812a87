"""Long tests of the journal and the outbox."""
