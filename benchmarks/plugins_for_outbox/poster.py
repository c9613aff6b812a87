import time

from twisted.internet import reactor
from twisted.internet.task import deferLater

from errklein import BotPlugin, botcmd, webhook


class Poster(BotPlugin):
    """Webhooks that send a text to a room, and commands that send more."""

    def post(self, payload):
        self.send(self.build_identifier(payload["room"]), payload["text"])

    @webhook
    def post_1(self, payload):
        self.post(payload)

    @webhook
    def post_2(self, payload):
        self.post(payload)

    @webhook
    async def post_3(self, payload):
        self.post(payload)

    @webhook
    async def post_4(self, payload):
        self.post(payload)

    @webhook(ack="now", methods=["POST"])
    def post_now(self, payload):
        self.post(payload)

    @webhook(ack="now", methods=["POST"])
    async def post_now_async(self, payload):
        self.post(payload)

    @botcmd
    def lines(self, msg, args):
        """Reply with this number of lines."""
        return "\n".join(f"line {number} of {args}" for number in range(int(args)))

    @webhook
    async def post_many(self, payload):
        """Send texts, a few in each turn of the reactor, and return the CPU time in seconds that `send` takes here."""
        room = self.build_identifier(payload["room"])
        spent = 0.0
        for number in range(payload["count"]):
            began = time.thread_time()
            self.send(room, f"{payload['text']} {number}")
            spent += time.thread_time() - began
            if number % payload["at_once"] == 0:
                await deferLater(reactor, payload["pause"])
        return str(spent)
