"""The VersionChecker plugin, which notifies administrators of new versions of errklein."""

from __future__ import annotations

import re

from errklein._version import __version__
from errklein.core_plugins import CorePlugin

URL = "https://pypi.org/pypi/errklein/json"  # see https://docs.pypi.org/api/json/
_SOON = 60.0
_DAY = 86_400.0
_LOCAL = ("dummy", "null", "test", "text")
_RELEASE = re.compile(r"\d{1,6}(\.\d{1,6}){0,5}")


class VersionChecker(CorePlugin):
    """Notify administrators of new versions of errklein.

    The plugin requests the newest version from PyPI once a day, and reports each version once. It is inactive if the bot has
    only Text, Test, Null and Dummy networks."""

    def activate(self) -> None:
        if all(backend.mode.lower() in _LOCAL for backend in self.host.networks.backends.values()):
            return
        super().activate()
        self.start_poller(_SOON, self.begin, times=1)

    async def begin(self) -> None:
        self.start_poller(_DAY, self.check)
        await self.check()

    async def check(self) -> None:
        """Check the version and notify administrators of a new one. Errors are logged at the level DEBUG."""
        try:
            newest = await self.newest()
            if _is_newer(newest, __version__) and self.get("told") != newest:
                self["told"] = newest
                self.warn_admins(f"errklein {newest} is available; the running version is {__version__}.")
        except Exception as error:
            self.log.debug("The newest version could not be determined: %s: %s", type(error).__name__, error)

    async def newest(self) -> str:
        response = await self.http.get(URL)
        if response.code != 200:
            raise ValueError(f"{URL} responded with status {response.code}")
        return str((await response.json())["info"]["version"])


def _is_newer(version: str, than: str) -> bool:
    """Return whether `version` is a release newer than `than`. Alphas, betas and the like aren't releases."""
    from packaging.version import Version

    own = _RELEASE.match(than)
    return _RELEASE.fullmatch(version) is not None and (own is None or Version(version) > Version(own[0]))
