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
            self.again(time.perf_counter(), time.process_time())
            return "[]"
        self.call.cancel()
        found, self.pauses = self.pauses, None
        return repr([sorted(round(one[kind] * 1000, 1) for one in found)[-5:] for kind in (0, 1)])

    def again(self, last, last_used):
        now, used = time.perf_counter(), time.process_time()
        # The second one has no time in which only other processes ran.
        self.pauses.append((now - last, min(now - last, used - last_used)))
        self.call = reactor.callLater(0.001, self.again, now, used)
