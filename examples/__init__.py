"""Plugins to learn from, each with its tests: `trial examples` runs them."""
