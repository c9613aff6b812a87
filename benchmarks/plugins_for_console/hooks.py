import time

from twisted.internet import reactor

from errklein import BotPlugin, webhook


def recorded(number):
    @webhook(f"/hook{number}", ack="now")
    async def hook(self, payload):
        return "OK"

    return hook


class Hooks(BotPlugin):
    """Ten webhooks, and one that measures pauses of the reactor between two requests."""

    hook0, hook1, hook2, hook3, hook4 = map(recorded, range(5))
    hook5, hook6, hook7, hook8, hook9 = map(recorded, range(5, 10))
    pauses = None

    @webhook
    async def pause(self, payload):
        if self.pauses is None:
            self.pauses = []
            self.again(time.perf_counter())
            return "[]"
        self.call.cancel()
        found, self.pauses = sorted(self.pauses)[-10:], None
        return repr([round(pause * 1000, 1) for pause in found])

    def again(self, last):
        now = time.perf_counter()
        self.pauses.append(now - last)
        self.call = reactor.callLater(0.001, self.again, now)
