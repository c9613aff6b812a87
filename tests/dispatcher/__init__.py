"""Tests for ways that messages take through the dispatcher."""
