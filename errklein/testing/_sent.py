"""A message of a bot under test."""

from __future__ import annotations


class Sent(str):
    """A message that the bot sent: its text as a reader sees it, without Markdown, with the recipient and the network.

    It equals its text, and another message with the same text, recipient and network::

        self.assertEqual(self.bot.messages, ["build 7 is running"])
        self.assertEqual(self.bot.messages, [Sent("@admin", "build 7 is running")])

    :param to: The recipient: a person such as "@admin", or a room such as "#builds".
    :param is_notice: Whether it is a notice to administrators, such as about a webhook that has failed.
    """

    __slots__ = ("is_notice", "network", "to")

    to: str
    network: str
    is_notice: bool

    def __new__(cls, to: str, text: str, network: str = "test", is_notice: bool = False) -> Sent:
        """Create a message."""
        sent = super().__new__(cls, text)
        sent.to, sent.network, sent.is_notice = to, network, is_notice
        return sent

    @property
    def text(self) -> str:
        """The text without recipient and network."""
        return str(self)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Sent) and (self.to, self.network) != (other.to, other.network):
            return False
        return str.__eq__(self, other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = str.__hash__

    def __repr__(self) -> str:
        network = "" if self.network == "test" else f", {self.network!r}"
        return f"Sent({self.to!r}, {self.text!r}{network})"
