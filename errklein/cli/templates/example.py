"""An example of a plugin. With `errklein run --watch`, changes to this file take effect at once."""

from errklein import BotPlugin, Message, botcmd, webhook


class Example(BotPlugin):
    """A command that greets, and a webhook that forwards text to the rooms."""

    @botcmd
    def hello(self, message: Message, args: str) -> str:
        """Say hello to you, or to the name given: !hello, !hello Alice"""
        return f"Hello, {args or message.frm.person}!"

    @webhook(methods=["POST"], form_param="text")
    def example(self, text: str) -> str:
        """Send the text to every room: curl -d text=hello http://127.0.0.1:3141/example"""
        for room in self.bot_config.CHATROOM_PRESENCE:
            self.send(self.build_identifier(room), f"Received `{text}`")
        return "OK\n"
