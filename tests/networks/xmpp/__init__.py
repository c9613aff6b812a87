"""Tests of the XMPP network."""
