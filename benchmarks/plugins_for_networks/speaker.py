"""A plugin for networks.py with different kinds of messages; runs on errbot and on errklein."""

from errbot import BotPlugin, arg_botcmd, botcmd


class Speaker(BotPlugin):
    """Sends different kinds of messages."""

    @botcmd
    def shout(self, msg, args):
        """Return the text in Markdown."""
        return f"**{args}**, *{args}*, `{args}`"

    @botcmd
    def sender(self, msg, args):
        """Return the sender and the place of the message."""
        return f"from {msg.frm}, {msg.frm.nick}, {'alone' if msg.is_direct else 'with others'}"

    @botcmd
    def count(self, msg, args):
        """Yield several messages."""
        yield from ("one", "two", "three")

    @botcmd
    def essay(self, msg, args):
        """Return a text that is longer than a message on any network."""
        return "\n\n".join(f"Paragraph {number}:" + " words" * 20 for number in range(int(args)))

    @arg_botcmd("to")
    @arg_botcmd("--text", default="hello")
    def tell(self, msg, to, text):
        """Send a message to a person."""
        self.send(self.build_identifier(to), text)
        return "told"
