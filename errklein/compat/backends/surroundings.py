"""What a network that was written for errbot reaches outside of itself: a bot, or nothing but its own test."""

from __future__ import annotations

from typing import Any, Protocol

from errklein.chat import Card, Identifier, Message


class Surroundings(Protocol):
    """Everything that `ErrBot` asks of others. May be used in any thread.

    `ThreadedNetwork` leads to a bot. `Alone` has none: the backend was made by a test of its own.
    """

    leaving: bool
    """Whether the network should end."""

    # Events

    def connected(self) -> None:
        """The network can be used now."""

    def disconnected(self) -> None:
        """The connection is gone."""

    def heard(self, message: Message) -> None:
        """Run the command in the message, if it is one."""

    def tell(self, event: str, *details: Any) -> None:
        """Report an event, a method of `ports.BackendEvents`."""

    def tell_plugins(self, callback: str, *details: Any) -> None:
        """Call that callback of all active plugins."""

    def said(self, message: Message) -> None:
        """Plugins get callback_botmessage for a message that the network sends."""

    # Requests

    def send(self, identifier: Identifier, text: str, in_reply_to: Message | None, groupchat_nick_reply: bool) -> Any:
        """Send Markdown text to somebody. Raises ValueError for what isn't an identifier."""

    def reply(self, message: Message, text: str, private: bool, threaded: bool) -> Any:
        """Reply to a message of the network."""

    def send_card_as_text(self, card: Card) -> Any:
        """Send what the card says, by the template "card"."""

    def warn_admins(self, warning: str) -> None:
        """Send the text to the administrators."""

    def unknown_command(self, message: Message | None, text: str) -> str:
        """The reply to a command that doesn't exist."""

    def inject_commands_from(self, plugin: Any) -> None:
        """Accept the plugin's commands from now on."""

    def remove_commands_from(self, plugin: Any) -> None:
        """Accept the plugin's commands no longer."""

    def lookup(self, name: str) -> Any:
        """The attribute of errbot's bot that the backend doesn't have itself; raises AttributeError."""

    # Serving

    def failed(self) -> None:
        """Log the exception that is being handled."""

    def pause(self, seconds: float) -> None:
        """Wait before the next attempt to connect."""

    def shut_down(self) -> None:
        """Call the backend's `shutdown`, once."""
