"""Tests of the sources of webhooks."""
