"""errklein: chat commands and webhooks on one Twisted reactor. Plugin authors import from here."""
