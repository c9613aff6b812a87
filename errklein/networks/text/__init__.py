"""The Text backend: a conversation with the bot on this terminal, or through standard input and output."""

from errklein.networks.text._backend import TextBackend
from errklein.networks.text.identifiers import TextOccupant, TextPerson, TextRoom

__all__ = ["TextBackend", "TextOccupant", "TextPerson", "TextRoom"]
