"""Long tests of the process of the bot."""
