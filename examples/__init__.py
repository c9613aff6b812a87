"""Example plugins with their tests, which `trial examples` runs."""
