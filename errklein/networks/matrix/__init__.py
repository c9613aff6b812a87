"""The Matrix network, over its client-server API."""
