"""Tests of the Matrix network."""
