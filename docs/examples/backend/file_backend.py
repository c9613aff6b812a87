"""A backend that reads messages from a file, and prints the replies."""

from pathlib import Path

from errbot.backends.base import Person
from errbot.core import ErrBot


class Somebody(Person):
    def __init__(self, name):
        self.name = name

    person = client = nick = aclattr = fullname = property(lambda self: self.name)

    def __str__(self):
        return self.name


class FileBackend(ErrBot):
    mode = "file"

    def __init__(self, config):
        super().__init__(config)
        self.bot_identifier = Somebody("bot")

    def serve_once(self):
        self.connect_callback()
        with Path(self.bot_config.BOT_IDENTITY["path"]).open() as lines:
            for line in lines:
                message = self.build_message(line.strip())
                message.frm, message.to = Somebody("alice"), self.bot_identifier
                self.callback_message(message)
        self.disconnect_callback()
        return True

    def send_message(self, msg):
        super().send_message(msg)
        print(f"to {msg.to}: {msg.body}")

    def build_identifier(self, text_representation):
        return Somebody(text_representation)

    def build_reply(self, msg, text=None, private=False, threaded=False):
        reply = self.build_message(text)
        reply.frm, reply.to = self.bot_identifier, msg.frm
        return reply
