import os
import time

from errklein import BotPlugin, botcmd, webhook

RUNS = os.environ["RUNS"]


def note(what, payload):
    """Append a line to the file that all processes share."""
    file = os.open(RUNS, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, f"{what} {payload['kind']} {payload['number']} {os.getpid()} {time.time()}\n".encode())
    os.close(file)


class Counter(BotPlugin):
    """Webhooks that record their runs and send a message: in the owner, anywhere, and in order."""

    @botcmd
    def repeat(self, message, args):
        return args

    def run(self, payload):
        note("begin", payload)
        time.sleep(payload.get("seconds", 0.002))
        if payload.get("room"):
            self.send(self.build_identifier(payload["room"]), f"{payload['kind']} {payload['number']}")
        note("end", payload)

    @webhook("/owner", ack="now", dedupe="header:X-Id")
    def owner(self, payload):
        self.run(payload)

    @webhook("/anywhere", ack="now", dedupe="header:X-Id", anywhere=True)
    def anywhere(self, payload):
        self.run(payload)

    @webhook("/ordered", ack="now", dedupe="header:X-Id", ordered=True)
    def ordered(self, payload):
        self.run(payload)

    @webhook("/compute", ack="now", anywhere=True)
    def compute(self, payload):
        """Use so much processor time."""
        end = time.thread_time() + payload["seconds"]
        while time.thread_time() < end:
            pass
        note("end", payload)

    @webhook("/alive")
    async def alive(self, payload):
        return str(os.getpid())
