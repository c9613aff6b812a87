"""A plugin that asks another service, and waits for the answer without a thread."""
