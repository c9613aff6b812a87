"""Tests of the Telegram network."""
