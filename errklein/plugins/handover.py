"""Requests and unknown commands wait while a new instance of a plugin replaces the old one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred

from errklein.plugins.plugin import Plugin
from errklein.running.in_flight import InFlightCounter

if TYPE_CHECKING:
    from errklein.bot import Bot


class Handovers:
    """The plugins that are between two instances."""

    def __init__(self, bot: Bot) -> None:
        self._bot = bot
        self._under_way = InFlightCounter()

    def when_settled(self) -> Deferred[None] | None:
        """Fires when the plugins between two instances have their commands again; None if there is no such plugin."""
        return self._under_way.when_none() if self._under_way.count() else None

    @contextmanager
    def between(self, plugin: Plugin) -> Iterator[None]:
        """Requests for the plugin and unknown commands wait, from its old instance's end until its new one works."""
        routes = self._bot.web.routes
        routes.hold(plugin.name)
        self._under_way.enter()
        try:
            yield
        except BaseException:
            if not plugin.active:
                routes.remove(plugin.name)
            raise
        finally:
            routes.release(plugin.name)
            self._under_way.leave()
