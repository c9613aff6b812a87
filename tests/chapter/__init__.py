"""errbot's chapter on webhooks, sentence by sentence."""
