"""Long tests of plugins and their packages."""
