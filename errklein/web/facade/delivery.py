"""The delivery of a webhook, as its handler sees it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True)
class DeliveryInfo:
    """The delivery that is being handled, `flask.request.delivery`.

    ::

        @webhook("/invoices", ack="now", verify=stripe(secret="env:STRIPE_SECRET"))
        def invoice(self, payload):
            if request.delivery.once("mail"):
                send_mail(payload)
            self["paid"] = payload["id"]
    """

    id: int
    """The number by which `!delivery` finds it."""

    attempt: int
    """The number of the attempt: 1, and more if earlier attempts failed."""

    received_at: datetime
    """The time of the request, in UTC."""

    origin: str
    """`"test"` for a request of `!webhook test`, `"replay"` for a replayed delivery, and `""` for others."""

    _once: Callable[[str], Any] = field(repr=False)

    def once(self, key: str) -> Any:
        """Return True the first time it is called for this delivery and key, and False in later attempts.

        Use it for an effect that must not be repeated when a later step of the handler fails. The key is on disk when the call
        returns. On the reactor, in an `async def` handler, the call returns a Deferred: `await request.delivery.once("mail")`.

        :raises JournalError: The journal can't be written.
        """
        return self._once(key)
