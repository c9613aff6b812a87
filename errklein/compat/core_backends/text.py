"""The module of text.plug."""

from errklein.networks.text import TextBackend as TextBackend
