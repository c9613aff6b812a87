import os
import time

from twisted.internet import reactor
from twisted.internet.task import deferLater

from errklein import BotPlugin, webhook
from errklein.verify import github

OPTIONS = {"methods": ["POST"], "verify": github(secret="env:INTAKE_SECRET"), "ack": "now", "dedupe": "id"}
SLOW = 0.2
RUNS = os.environ.get("INTAKE_RUNS", os.devnull)


class Jobs(BotPlugin):
    """Handlers that append a line to a file when they begin and end."""

    def activate(self):
        super().activate()
        self.runs = os.open(RUNS, os.O_WRONLY | os.O_APPEND)

    def note(self, event, payload):
        # The lines have the same length, so the size of the file is the number of lines.
        os.write(self.runs, f"{event} {payload['id']:8} {os.getpid():8}\n".encode())

    @webhook(raw=True, **OPTIONS)
    def job(self, request):
        payload = request.get_json()
        self.note("began ", payload)
        if payload["kind"] == "slow":
            time.sleep(SLOW)
        self.end(request, payload)

    @webhook(raw=True, **OPTIONS)
    async def job_async(self, request):
        payload = request.get_json()
        self.note("began ", payload)
        if payload["kind"] == "slow":
            await deferLater(reactor, SLOW)
        self.end(request, payload)

    def end(self, request, payload):
        if payload["kind"] == "raises" and request.delivery.attempt == 1:
            self.note("raised", payload)
            raise RuntimeError("the first attempt fails")
        self.note("ended ", payload)
