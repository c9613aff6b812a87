"""The Matrix network, over the client-server API of a homeserver."""

from __future__ import annotations

from typing import TYPE_CHECKING

from errklein.config.networks import Network, NetworkFinding
from errklein.networks.matrix.settings import SETTINGS

if TYPE_CHECKING:
    from errklein.networks.context import NetworkContext
    from errklein.ports.chat import Backend

__all__ = ["NETWORK"]

_IDENTIFIERS = "errklein.networks.matrix.identifiers"


def _make(context: NetworkContext) -> Backend:
    from errklein.networks.matrix._backend import MatrixBackend

    return MatrixBackend(context)


async def _check(context: NetworkContext) -> list[NetworkFinding]:
    from errklein.networks.matrix._client import MatrixClient
    from errklein.networks.matrix.settings import MatrixSettings

    return [NetworkFinding(await MatrixClient(context, MatrixSettings.read(context.config)).check())]


NETWORK = Network(
    "Matrix",
    "Matrix, with a password or an access token",
    SETTINGS,
    _make,
    values=[f"{_IDENTIFIERS}:{name}" for name in ("MatrixOccupant", "MatrixPerson", "MatrixRoom")],
    admin="@alice:example.org",
    check=_check,
)
