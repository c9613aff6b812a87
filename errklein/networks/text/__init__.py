"""The Text network: a conversation with the bot on this terminal, or through standard input and output."""

from errklein.config.networks import Network
from errklein.networks.base import LOCAL_SETTINGS
from errklein.networks.text._backend import TextBackend
from errklein.networks.text.identifiers import TextOccupant, TextPerson, TextRoom

__all__ = ["TextBackend", "TextOccupant", "TextPerson", "TextRoom"]
_IDENTIFIERS = "errklein.networks.text.identifiers"

NETWORK = Network(
    "Text",
    "the terminal on which the bot runs",
    LOCAL_SETTINGS,
    lambda context: TextBackend(context.reactor, context.config),
    values=[f"{_IDENTIFIERS}:{name}" for name in ("TextOccupant", "TextPerson", "TextRoom")],
    is_local=True,
    mentions_all=False,
    needs_terminal=True,
)
