"""Support for backends without a bot. A test of a backend creates one as `SomeBackend(config)`."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from errklein.chat import Card, Identifier, Message, RoomOccupant
from errklein.commands import History, unknown_command
from errklein.dispatch import process_template

if TYPE_CHECKING:
    from errklein.compat.backends.errbot import ErrBot

log = logging.getLogger("errbot.core")


class Alone:
    """The methods of `ThreadedNetwork` that `ErrBot` calls, for a backend without a bot.

    Messages are passed to the backend's own `send_message`, in the caller's thread. Callbacks go to the plugins of the
    `plugin_manager` that the test attaches, if any, also in the caller's thread. Commands aren't run.
    """

    leaving = False

    def __init__(self, backend: ErrBot) -> None:
        self._backend = backend
        self._of_bot: dict[str, Any] = {
            "all_commands": {},
            "cmd_history": History(),
            "command_filters": [],
            "commands": {},
            "process_template": process_template,
            "re_commands": {},
            "send_templated": self.send_templated,
            "startup_time": datetime.now(),
        }

    # Events of the backend

    def connected(self) -> None:
        """Activate the plugins and call their `callback_connect`."""
        if self._backend.plugin_manager is not None:
            self._backend.plugin_manager.activate_non_started_plugins()
        self.report_event("callback_connect")

    def disconnected(self) -> None:
        """Deactivate the plugins."""
        if self._backend.plugin_manager is not None:
            self._backend.plugin_manager.deactivate_all_plugins()

    def run_command(self, message: Message) -> None:
        """Do nothing, since there is no bot to run a command."""

    def report_event(self, callback: str, *details: Any) -> None:
        """Call the callback through the backend, which may override the dispatch."""
        self._backend._dispatch_to_plugins(callback, *details)

    def call_plugins(self, callback: str, *details: Any) -> None:
        """Call the callback of all active plugins. An exception in one is logged."""
        manager = self._backend.plugin_manager
        for plugin in () if manager is None else manager.get_all_active_plugins():
            try:
                getattr(plugin, callback)(*details)
            except Exception:
                log.exception("%s failed", callback)

    def message_sent(self, message: Message) -> None:
        """Call `callback_botmessage` of the plugins."""
        self.call_plugins("callback_botmessage", message)

    # Requests of the backend

    def send(
        self,
        identifier: Identifier,
        text: str,
        in_reply_to: Message | None = None,
        groupchat_nick_reply: bool = False,
    ) -> None:
        """Send a message, in several parts if it is too long.

        Raises ValueError if `identifier` is not an Identifier.
        """
        if not isinstance(identifier, Identifier):
            raise ValueError(f"send() needs an Identifier, not {type(identifier).__name__}")
        message = self._backend.build_message(text)
        message.frm, message.to, message.parent = self._backend.bot_identifier, identifier, in_reply_to
        if groupchat_nick_reply and in_reply_to is not None and isinstance(in_reply_to.frm, RoomOccupant):
            self._backend.prefix_groupchat_reply(message, in_reply_to.frm)
        self._backend.split_and_send_message(message)

    def reply(self, message: Message, text: str, private: bool, threaded: bool) -> None:
        """Send the backend's reply, in several parts if it is too long."""
        self._backend.split_and_send_message(
            self._backend.build_reply(message, text, private=private, threaded=threaded)
        )

    def send_templated(
        self,
        identifier: Identifier,
        template_name: str,
        template_parameters: Mapping[str, Any],
        in_reply_to: Message | None = None,
        groupchat_nick_reply: bool = False,
        plugin_name: str | None = None,
    ) -> None:
        """Send the template rendered with the parameters."""
        text = process_template(template_name, template_parameters, plugin_name)
        self._backend.send(identifier, text, in_reply_to, groupchat_nick_reply)

    def send_card_as_text(self, card: Card) -> None:
        """Send the card as a message, rendered by the template "card"."""
        to: Any = card.to
        self._backend.send(to, process_template("card", {"card": card}), card.parent)

    def warn_admins(self, warning: str) -> None:
        """Send the text to each recipient in BOT_ADMINS_NOTIFICATIONS."""
        for admin in self._backend.bot_config.BOT_ADMINS_NOTIFICATIONS:
            self._backend.send(self._backend.build_identifier(admin), warning)

    def unknown_command(self, message: Message | None, text: str) -> str:
        """Return the reply to an unknown command, without suggestions."""
        return unknown_command(text, (), self._backend.prefix)

    def inject_commands_from(self, plugin: Any) -> None:
        """Raise RuntimeError, since there is no bot to run commands."""
        raise RuntimeError(
            f"{type(self._backend).__name__} can't run commands without a bot; test plugins with the testbot fixture"
        )

    remove_commands_from = inject_commands_from

    def lookup(self, name: str) -> Any:
        """Return an attribute of a bot without plugins; raises AttributeError."""
        if name not in self._of_bot:
            error = f"{type(self._backend).__name__} has no attribute {name!r}, and there is no bot to provide it"
            raise AttributeError(error, name=name, obj=self._backend)
        return self._of_bot[name]

    # Helpers of serve_forever

    def failed(self) -> None:
        """Log the exception that is being handled."""
        log.exception("Connection failed")

    def pause(self, seconds: float) -> None:
        """Block for `seconds`."""
        time.sleep(seconds)

    def shut_down(self) -> None:
        """Call the backend's `shutdown`."""
        self._backend.shutdown()
