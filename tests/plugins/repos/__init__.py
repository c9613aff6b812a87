"""Tests for repositories of plugins."""
