"""Networks that were written for errbot: found, loaded, and run in threads of their own."""
