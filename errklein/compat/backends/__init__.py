"""Adapters for backends that were written for errbot. Nothing is exported, since `finding` imports the reactor."""
