"""The network of the message that is being handled, for code that isn't given the message."""

from __future__ import annotations

from contextvars import ContextVar

from errklein.ports import Backend

_network: ContextVar[str] = ContextVar("errklein.network", default="")


def network_of_handled_message() -> str:
    """The network of the message whose command or callback is running, in whichever thread; "" if none is running."""
    return _network.get()


class handling:  # noqa: N801 - used as a function
    """What is started meanwhile, in a `with` block, handles a message of that network."""

    # Each message comes through here several times, which a generator would make slow.
    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def __enter__(self) -> None:
        self._token = _network.set(self._backend.network)

    def __exit__(self, *raised: object) -> None:
        _network.reset(self._token)
