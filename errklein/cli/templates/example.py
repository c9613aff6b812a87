"""A first plugin: change it, and `errklein run --reload` takes the change at once."""

from errklein import BotPlugin, Message, botcmd, webhook


class Example(BotPlugin):
    """Greets whoever asks, and whatever posts."""

    @botcmd
    def hello(self, message: Message, args: str) -> str:
        """Greet: !hello, or !hello somebody."""
        return f"Hello, {args or message.frm.person}!"

    @webhook(methods=["POST"], form_param="text")
    def example(self, text: str) -> str:
        """Say in every room what was posted: curl -d text=hello http://127.0.0.1:3141/example"""
        for room in self.bot_config.CHATROOM_PRESENCE:
            self.send(self.build_identifier(room), f"Somebody posted `{text}`")
        return "OK\n"
