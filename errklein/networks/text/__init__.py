"""The Text network: a conversation with the bot on this terminal, or through standard input and output."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from errklein.config.networks import Network
from errklein.networks.base import LOCAL_SETTINGS
from errklein.networks.text.identifiers import TextOccupant, TextPerson, TextRoom

if TYPE_CHECKING:
    from errklein.networks.context import NetworkContext
    from errklein.networks.text._backend import TextBackend

__all__ = ["TextBackend", "TextOccupant", "TextPerson", "TextRoom"]

_IDENTIFIERS = "errklein.networks.text.identifiers"


def __getattr__(name: str) -> Any:
    # Imported on first use: whoever reads a configuration needs only the descriptor.
    if name == "TextBackend":
        from errklein.networks.text._backend import TextBackend

        return TextBackend
    raise AttributeError(f"module 'errklein.networks.text' has no attribute {name!r}")


def _make(context: NetworkContext) -> TextBackend:
    from errklein.networks.text._backend import TextBackend

    return TextBackend(context.reactor, context.config)


NETWORK = Network(
    "Text",
    "the terminal on which the bot runs",
    LOCAL_SETTINGS,
    _make,
    values=[f"{_IDENTIFIERS}:{name}" for name in ("TextOccupant", "TextPerson", "TextRoom")],
    is_local=True,
    mentions_all=False,
    needs_terminal=True,
)
