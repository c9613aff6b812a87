"""Notices that administrators have missed, kept until they return."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping, Sequence
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from errklein.running import PoolStopped, WorkerPool
from errklein.text import truncated

MOST = 20
"""Maximum number of notices that are kept for each recipient; the latest ones are."""

LIFETIME = 7 * 86400.0
"""Seconds for which a notice is kept."""

LONGEST = 1000
"""Maximum number of characters of a kept notice."""

_KEY = "missed_notices"

Notice = tuple[float, str]
"""The Unix time of a notice, and its text in Markdown."""


class MissedNotices:
    """The missed notices of each recipient, stored across restarts. Used in the reactor's thread.

    :param store: The bot's own values.
    :param pool: The threads in which they are stored.
    :param now: Returns the Unix time.
    """

    log = Logger()

    def __init__(self, store: MutableMapping[str, Any], pool: WorkerPool, now: Callable[[], float]) -> None:
        self._store = store
        self._pool = pool
        self._now = now
        self._kept: dict[tuple[str, str], list[Notice]] = dict(store.get(_KEY, {}))
        self._saved = True
        self._saving = False

    def add(self, network: str, admin: str, text: str) -> None:
        """Keep a notice in Markdown for the recipient of that name."""
        self.keep(network, admin, [(self._now(), truncated(text, LONGEST))])

    def keep(self, network: str, admin: str, notices: Sequence[Notice]) -> None:
        """Keep notices, those that `take` has returned included, and remove old ones."""
        oldest = self._now() - LIFETIME
        self._kept[network, admin] = sorted([*self._kept.get((network, admin), ()), *notices])[-MOST:]
        current = {who: [one for one in kept if one[0] > oldest] for who, kept in self._kept.items()}
        self._kept = {who: kept for who, kept in current.items() if kept}
        self.changed()

    def recipients(self, network: str) -> list[str]:
        """Return the recipients on the network who have missed notices."""
        return [admin for where, admin in self._kept if where == network]

    def take(self, network: str, admin: str) -> list[Notice]:
        """Return the notices of a recipient, who has none then. Call `changed` or `keep` when it is known whether they arrived."""
        return [one for one in self._kept.pop((network, admin), ()) if one[0] > self._now() - LIFETIME]

    def changed(self) -> None:
        """Store the notices soon. Errors are logged."""
        self._saved = False
        if not self._saving:
            self._saving = True
            Deferred.fromCoroutine(self._save())

    def stop(self) -> None:
        """Store the notices now unless they are stored. Errors are logged."""
        if not self._saved:
            try:
                self._prepare()()
            except Exception:
                self.log.failure("Missed notices could not be stored")

    def _prepare(self) -> Callable[[], None]:
        self._saved = True
        return partial(self._store.__setitem__, _KEY, dict(self._kept))

    async def _save(self) -> None:
        try:
            while not self._saved:
                await self._pool.run(self._prepare)
        except Exception as error:
            # `stop`, or the next change, stores the notices.
            self._saved = False
            if not isinstance(error, PoolStopped):
                self.log.failure("Missed notices could not be stored")
        self._saving = False
