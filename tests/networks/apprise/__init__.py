"""Tests of the Apprise network."""
