"""Tests of several processes on PostgreSQL that take minutes."""
