from errklein import BotPlugin, arg_botcmd


class Scale(BotPlugin):
    """Starts more instances of a service, or fewer."""

    @arg_botcmd("service", help="the service's name")
    @arg_botcmd("--count", type=int, default=2, help="number of instances")
    def scale(self, message, service, count):
        """Set the number of instances of a service."""
        return f"{service} runs {count} instances."
