from errklein import BotPlugin, CommandError, botcmd


class Greeter(BotPlugin):
    """Greets people."""

    @botcmd
    def hello(self, message, args):
        """Greet somebody: !hello Ada"""
        return f"Hello, {args or message.frm.person}!"

    @botcmd(split_args_with=None)
    def hello_all(self, message, args):
        """Greet several people: !hello all Ada Grace"""
        if not args:
            raise CommandError("Name the people to greet: `!hello all Ada Grace`")
        for name in args:
            yield f"Hello, {name}!"

    @botcmd(name="goodbye", aliases=("bye", "see you"), admin_only=True)
    def say_goodbye(self, message, args):
        """Say goodbye."""
        return "Goodbye!"
