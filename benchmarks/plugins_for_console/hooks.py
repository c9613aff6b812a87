import time
from pathlib import Path

from twisted.internet import reactor

from errklein import BotPlugin, webhook


def recorded(number):
    @webhook(f"/hook{number}", ack="now")
    async def hook(self, payload):
        return "OK"

    return hook


def waited():
    """Return for how long the reactor's thread has waited for a processor, since others ran."""
    return int(Path("/proc/thread-self/schedstat").read_text(encoding="ascii").split()[1]) / 1e9


class Hooks(BotPlugin):
    """Ten webhooks, and one that measures pauses of the reactor between two requests."""

    hook0, hook1, hook2, hook3, hook4 = map(recorded, range(5))
    hook5, hook6, hook7, hook8, hook9 = map(recorded, range(5, 10))
    pauses = None

    @webhook
    async def pause(self, payload):
        if self.pauses is None:
            self.pauses = []
            self.again(time.perf_counter(), waited())
            return "[]"
        self.call.cancel()
        found, self.pauses = self.pauses, None
        return repr([sorted(round(one[kind] * 1000, 1) for one in found)[-5:] for kind in (0, 1)])

    def again(self, last, last_waited):
        now, has_waited = time.perf_counter(), waited()
        self.pauses.append((now - last, now - last - (has_waited - last_waited)))
        self.call = reactor.callLater(0.001, self.again, now, has_waited)
