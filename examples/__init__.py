"""Example plugins with their tests."""
