"""Tests with IRC servers that few networks use."""
