"""The XMPP network, as a client of a server. Its connection is that of slixmpp."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from errklein.config.networks import Network, NetworkFinding
from errklein.networks.xmpp.settings import SETTINGS

if TYPE_CHECKING:
    from errklein.networks.context import NetworkContext
    from errklein.ports.chat import Backend

__all__ = ["NETWORK"]

_IDENTIFIERS = "errklein.networks.xmpp.identifiers"


def _make(context: NetworkContext) -> Backend:
    from errklein.networks.xmpp._backend import XMPPBackend

    return XMPPBackend(context)


async def _check(context: NetworkContext) -> Sequence[NetworkFinding]:
    """Log in, beside a running bot, and find out what the server offers."""
    from errklein.networks.xmpp._client import UPLOAD, XMPPStream

    stream = XMPPStream(context, "errklein-check")
    try:
        await stream.connect()
        services = await stream.services()
    finally:
        await stream.close()
    rooms = ", ".join(name for name, features in services.items() if "{http://jabber.org/protocol/muc}" in features)
    has_files = any(UPLOAD in features for features in services.values())
    texts = [f"the server accepts the bot as {stream.jid}", f"rooms are at {rooms}" if rooms else "there are no rooms"]
    texts.append("the server takes files" if has_files else "the server takes no files (XEP-0363), only their texts")
    unmanaged = "the server doesn't acknowledge messages (XEP-0198), so pings confirm them"
    return [NetworkFinding(text) for text in [*texts, *([] if stream.is_managed else [unmanaged])]]


NETWORK = Network(
    "XMPP",
    "XMPP (Jabber), with a password",
    SETTINGS,
    _make,
    values=[f"{_IDENTIFIERS}:{name}" for name in ("XMPPPerson", "XMPPRoom", "XMPPRoomOccupant")],
    libraries=["slixmpp"],
    extra="errklein[xmpp]",
    admin="alice@example.org",
    mentions_all=False,
    check=_check,
)
