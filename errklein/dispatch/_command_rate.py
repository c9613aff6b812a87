"""The limit of each person's commands."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial

from twisted.logger import Logger

from errklein.chat import Message
from errklein.commands import Caller
from errklein.dispatch._networks import Networks
from errklein.dispatch.replies import Replies
from errklein.ports import Backend
from errklein.running import TokenBuckets
from errklein.running.context import person_origin
from errklein.running.rate_limit import RateLimit
from errklein.webhooks.rates import Rate


class CommandRate:
    """Limits the commands of each person to COMMAND_RATE of the network, except those of administrators.

    Two bots that reply to each other with commands get to the limit, and stop.

    :param seconds: Returns the current time in seconds.
    """

    log = Logger()

    def __init__(self, seconds: Callable[[], float], networks: Networks, replies: Replies) -> None:
        self._networks = networks
        self._replies = replies
        self._notices = RateLimit(seconds)
        self._buckets = lru_cache(maxsize=16)(partial(_buckets, seconds))

    def exceeded(self, backend: Backend, message: Message) -> bool:
        """Count a command, and return whether it must not run. The sender gets at most one reply a minute."""
        rate = self._networks.settings(backend).COMMAND_RATE
        sender = person_origin(backend.network, message.frm)
        if rate is None or not (wait := self._buckets(rate).bucket(sender).take()):
            return False
        if Caller.from_message(message, self._networks.config(backend)).is_admin:
            return False
        if self._notices.allows(sender):
            self.log.warn("Commands of {sender} are ignored: more than {rate}", sender=str(message.frm), rate=rate)
            text = f"You have given too many commands; the next may follow in {max(1, round(wait))} s."
            reply = self._replies.addressed(backend, message, text)
            # On IRC, no bot replies to a notice.
            reply.extras["notice"] = True
            self._replies.deliver(backend, reply)
        return True


def _buckets(seconds: Callable[[], float], rate: str) -> TokenBuckets:
    limit = Rate.of(rate)
    return TokenBuckets(seconds, limit.interval, limit.count)
