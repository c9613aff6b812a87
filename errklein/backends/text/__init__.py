"""A conversation with the bot on this terminal, or through pipes."""

from errklein.backends.text._backend import TextBackend
from errklein.backends.text.identifiers import TextOccupant, TextPerson, TextRoom

__all__ = ["TextBackend", "TextOccupant", "TextPerson", "TextRoom"]
