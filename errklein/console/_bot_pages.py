"""The pages of the bot: webhooks, networks and plugins, and what people have done."""
