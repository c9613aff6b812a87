"""Tests for each sentence and example of errbot's chapter on webhooks."""
