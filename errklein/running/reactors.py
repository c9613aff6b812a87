"""Installation of the asyncio reactor."""

from __future__ import annotations

import asyncio
import sys


def install_asyncio_reactor() -> None:
    """Install the asyncio reactor, unless the process has a reactor already."""
    if "twisted.internet.reactor" in sys.modules:
        return
    from twisted.internet import asyncioreactor

    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    asyncioreactor.install(loop)
