"""The interface by which backends that were written for errbot reach the bot, if there is one."""

from __future__ import annotations

from typing import Any, Protocol

from errklein.chat import Card, Identifier, Message


class Surroundings(Protocol):
    """Everything outside of itself that `ErrBot` uses. Methods may be called in any thread.

    `ThreadedNetwork` implements it with a bot, `Alone` without one, for tests that create a backend themselves.
    """

    leaving: bool
    """Whether the network should end."""

    # Events

    def connected(self) -> None:
        """The network can be used now."""

    def disconnected(self) -> None:
        """The connection is closed."""

    def heard(self, message: Message) -> None:
        """Run the command in the message, if it is one."""

    def tell(self, event: str, *details: Any) -> None:
        """Report an event, a method of `ports.BackendEvents`."""

    def tell_plugins(self, callback: str, *details: Any) -> None:
        """Call that callback of all active plugins."""

    def said(self, message: Message) -> None:
        """Call callback_botmessage of all active plugins for a message that the network sends."""

    # Requests

    def send(self, identifier: Identifier, text: str, in_reply_to: Message | None, groupchat_nick_reply: bool) -> Any:
        """Send Markdown text to a person or room. Raises ValueError if `identifier` isn't an Identifier."""

    def reply(self, message: Message, text: str, private: bool, threaded: bool) -> Any:
        """Reply to a message of the network."""

    def send_card_as_text(self, card: Card) -> Any:
        """Send the card as a message, rendered by the template "card"."""

    def warn_admins(self, warning: str) -> None:
        """Send the text to the administrators."""

    def unknown_command(self, message: Message | None, text: str) -> str:
        """The reply to a command that doesn't exist."""

    def inject_commands_from(self, plugin: Any) -> None:
        """Register the plugin's commands."""

    def remove_commands_from(self, plugin: Any) -> None:
        """Unregister the plugin's commands."""

    def lookup(self, name: str) -> Any:
        """The bot's attribute of that name, for those that the backend doesn't have itself; raises AttributeError."""

    # Serving

    def failed(self) -> None:
        """Log the exception that is being handled."""

    def pause(self, seconds: float) -> None:
        """Wait before the next attempt to connect."""

    def shut_down(self) -> None:
        """Call the backend's `shutdown`, once."""
