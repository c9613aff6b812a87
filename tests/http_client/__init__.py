"""Tests for the HTTP client of plugins."""
