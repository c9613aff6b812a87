from errbot import BotPlugin, arg_botcmd


class Greetings(BotPlugin):
    """Greets people."""

    @arg_botcmd("name", default="you", nargs="?")
    def greet(self, msg, name):
        """Greet somebody."""
        return f"Hello {name}"
