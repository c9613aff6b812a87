import time

from errklein import BotPlugin, webhook


class Blocking(BotPlugin):
    """A handler that blocks its thread for some seconds."""

    @webhook("/block/<int:seconds>")
    def block(self, payload, seconds):
        time.sleep(seconds)
