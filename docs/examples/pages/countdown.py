import asyncio

from flask import after_this_request

from errklein import BotPlugin, webhook


class Countdown(BotPlugin):
    """Counts down in an event stream."""

    @webhook(methods=["GET"])
    async def countdown(self, payload):
        after_this_request(self.as_events)
        for number in (3, 2, 1):
            yield f"data: {number}\n\n"
            await asyncio.sleep(1)

    def as_events(self, response):
        response.mimetype = "text/event-stream"
