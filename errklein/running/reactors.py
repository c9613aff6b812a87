"""Which reactor the process has."""

from __future__ import annotations

import asyncio
import sys


def install_asyncio_reactor() -> None:
    """Make the asyncio reactor the process's, unless it has one already."""
    if "twisted.internet.reactor" in sys.modules:
        return
    from twisted.internet import asyncioreactor

    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    asyncioreactor.install(loop)
