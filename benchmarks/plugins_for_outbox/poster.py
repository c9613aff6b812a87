import time

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
        """Send a text this many times, and return the seconds of CPU time that the process has used until now."""
        room = self.build_identifier(payload["room"])
        for number in range(payload["count"]):
            self.send(room, f"{payload['text']} {number}")
        return str(time.process_time())
