"""Adapters for backends that were written for errbot. Nothing is exported, since `network` imports the reactor."""
