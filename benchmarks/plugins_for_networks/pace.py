import os
import time
from pathlib import Path

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
            turn, which = divmod(number, len(recipients))
            if turn % 10 and names[which].startswith("slack:"):
                # Slack takes one message a second in a room.
                return
            self.send(recipients[which], f"{which} {time.monotonic():.6f}")

        loop = LoopingCall(send)
        loop.start(1 / float(rate))

    def callback_message(self, message):
        """Write a message of a busy room into a file, with the time."""
        if message.body.startswith("busy "):
            with Path(os.environ["RECEIVED"]).open("a", encoding="ascii") as file:
                file.write(f"{message.body} {time.monotonic():.6f}\n")
