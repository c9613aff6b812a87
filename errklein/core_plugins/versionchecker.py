"""Tells administrators when there is a newer errklein."""

from __future__ import annotations

import re
from typing import Any

from errklein._version import __version__
from errklein.core_plugins import CorePlugin

URL = "https://pypi.org/pypi/errklein/json"
"""Where the newest version is told, as JSON with info.version; see https://docs.pypi.org/api/json/."""

_SOON = 60.0
_DAY = 86_400.0
_WITHIN = 30.0
_LOCAL = ("dummy", "null", "test", "text")
_RELEASE = re.compile(r"\d{1,6}(\.\d{1,6}){0,5}")


class VersionChecker(CorePlugin):
    """Asks once a day whether there is a newer errklein, and tells administrators once of each.

    It is inactive while the bot is in no network but Text, Test, Null or Dummy.
    """

    def activate(self) -> None:
        """Begin to ask, if there are administrators elsewhere than on this terminal."""
        if all(backend.mode.lower() in _LOCAL for backend in self._bot.backends.values()):
            return
        super().activate()
        self.start_poller(_SOON, self.begin, times=1)

    async def begin(self) -> None:
        """Ask now, and then once a day."""
        self.start_poller(_DAY, self.check)
        await self.check()

    async def check(self) -> None:
        """Ask, and tell administrators; what goes wrong is a matter for the debug log."""
        try:
            newest = await self.newest()
            if _is_newer(newest, __version__) and self.get("told") != newest:
                self["told"] = newest
                self.warn_admins(f"errklein {newest} is out; this is {__version__}.")
        except Exception as error:
            self.log.debug("the newest version can't be found out: %s: %s", type(error).__name__, error)

    async def newest(self) -> str:
        """The newest version's number, as PyPI tells it."""
        response = await self.client().get(URL, headers={"Accept": ["application/json"]}, timeout=_WITHIN)
        if response.code != 200:
            raise ValueError(f"{URL} answers {response.code}")
        return str((await response.json())["info"]["version"])

    def client(self) -> Any:
        """What asks: a treq client."""
        # Both import the reactor.
        from treq.client import HTTPClient
        from twisted.web.client import Agent

        return HTTPClient(Agent(self._bot.reactor, connectTimeout=_WITHIN))


def _is_newer(version: str, than: str) -> bool:
    """Whether `version` is a later release; what isn't a plain number, as an alpha or beta, is none."""
    from packaging.version import Version

    own = _RELEASE.match(than)
    return _RELEASE.fullmatch(version) is not None and (own is None or Version(version) > Version(own[0]))
