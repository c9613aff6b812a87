"""Long tests of the status pages."""
