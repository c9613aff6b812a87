"""Tests of errklein.answering."""
