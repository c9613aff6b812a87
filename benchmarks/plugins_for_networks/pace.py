import time

from twisted.internet.task import LoopingCall

from errklein import BotPlugin, botcmd


class Pace(BotPlugin):
    """Sends to recipients in turn. Each message has the number of its recipient, and the time at which it was given to `send`."""

    @botcmd(split_args_with=None)
    async def pace(self, msg, args):
        """Send so many messages in a second, and so many altogether, to these recipients."""
        rate, count, *names = args
        recipients = [self.build_identifier(name) for name in names]
        numbers = iter(range(int(count)))

        def send():
            if (number := next(numbers, None)) is None:
                loop.stop()
                return
            which = number % len(recipients)
            self.send(recipients[which], f"{which} {time.monotonic():.6f}")

        loop = LoopingCall(send)
        loop.start(1 / float(rate))
