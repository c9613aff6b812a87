"""Says things in different ways, for networks.py; runs on errbot and on errklein."""

from errbot import BotPlugin, arg_botcmd, botcmd


class Speaker(BotPlugin):
    """Says things."""

    @botcmd
    def shout(self, msg, args):
        """The same, in Markdown."""
        return f"**{args}**, *{args}*, `{args}`"

    @botcmd
    def sender(self, msg, args):
        """Who says that, and where."""
        return f"from {msg.frm}, {msg.frm.nick}, {'alone' if msg.is_direct else 'with others'}"

    @botcmd
    def count(self, msg, args):
        """One message after the other."""
        yield from ("one", "two", "three")

    @botcmd
    def essay(self, msg, args):
        """More than a message holds on any network."""
        return "\n\n".join(f"Paragraph {number}:" + " words" * 20 for number in range(int(args)))

    @arg_botcmd("to")
    @arg_botcmd("--text", default="hello")
    def tell(self, msg, to, text):
        """Says something to somebody."""
        self.send(self.build_identifier(to), text)
        return "told"
