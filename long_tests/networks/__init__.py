"""Tests of networks with real servers."""
