"""The chat commands that come with the bot, each a plugin like any other."""
