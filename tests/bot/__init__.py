"""Tests of errklein.bot."""
