import asyncio
import json
from collections import deque
from pathlib import Path

from flask import Response, request
from twisted.web.static import Data

from errklein import BotPlugin, webhook

PAGE = Path(__file__).with_name("announcements.html").read_bytes()
KEEP_ALIVE = 15
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


class Announcements(BotPlugin):
    """Shows announcements in browsers."""

    def activate(self):
        super().activate()
        self.latest = deque(self.get("latest", ()), maxlen=100)
        self.arrived = asyncio.Event()
        self.readers = 0
        self.mount("/announcements.html", Data(PAGE, "text/html; charset=utf-8"))

    @webhook(methods=["POST"])
    async def announce(self, payload):
        self.latest.append((self.number() + 1, json.dumps(payload)))
        self["latest"] = list(self.latest)
        self.arrived.set()
        self.arrived = asyncio.Event()
        return f"readers: {self.readers}\n"

    @webhook(methods=["GET"])
    async def announcements(self, payload):
        last = request.headers.get("Last-Event-ID", self.number(), type=int)
        return Response(self.events(last), mimetype="text/event-stream", headers=HEADERS)

    def number(self):
        return self.latest[-1][0] if self.latest else 0

    async def events(self, last):
        self.readers += 1
        try:
            yield "retry: 2000\n\n"
            while True:
                arrived = self.arrived
                for number, data in list(self.latest):
                    if number > last:
                        last = number
                        yield f"id: {number}\ndata: {data}\n\n"
                try:
                    await asyncio.wait_for(arrived.wait(), KEEP_ALIVE)
                except TimeoutError:
                    yield ": keep-alive\n\n"
        finally:
            self.readers -= 1
