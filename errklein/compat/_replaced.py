"""Values that plugins assign to `self._bot`. errbot's bot calls its own methods, so they change what it does."""

from __future__ import annotations

from collections import UserDict
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from twisted.logger import Logger
from twisted.python.failure import Failure

from errklein.bot import Sending
from errklein.chat import Card, Message
from errklein.compat.core import EVENTS, own_object, part_of
from errklein.dispatch import Networks
from errklein.ports.chat import Backend, SendsCards
from errklein.running import in_reactor_thread
from errklein.running.context import assigned, handled_network
from errklein.text import split_message

if TYPE_CHECKING:
    from errklein.compat.bot import ErrbotBot

CALLBACKS: Mapping[str, str] = {
    "message_received": "callback_message",
    "backend_connected": "connect_callback",
    "backend_disconnected": "disconnect_callback",
    **{event: callback for callback, event in EVENTS.items()},
}
"""The bot's method for each method of `ports.chat.BackendEvents`."""


class Replaced:
    """The names to which plugins have assigned something, and the calls of what they have assigned."""

    log = Logger()

    def __init__(self, bot: ErrbotBot) -> None:
        self._bot = bot
        self.names: set[str] = set()

    def __contains__(self, name: str) -> bool:
        # `callback_message` calls `process_message`.
        return name in self.names or (name == "callback_message" and "process_message" in self.names)

    def call(self, name: str, backend: Backend, *args: Any) -> Awaitable[Any] | None:
        """Call the bot's method for an event or message of the network.

        A thread calls it at once. On the reactor, it is called in a thread after earlier ones, and errors are logged.
        """
        bot, method = self._bot, getattr(self._bot, name)
        with assigned(handled_network, backend.network):
            if not in_reactor_thread(bot.reactor):
                result = method(*args)
                return result if isinstance(result, Awaitable) else None
            work = partial(bot.runner.run, method, *args, pool=bot.plugin_pool)
            queued = bot.queues.run(("replaced", name in CALLBACKS.values(), backend.network), work)
        return queued.result.addErrback(self._failed, name)

    def _failed(self, failure: Failure, name: str) -> None:
        self.log.failure("{name}, which a plugin has assigned to the bot, failed", failure, name=name)


class IncomingEvents:
    """The events of a network in this process. Those whose method a plugin has replaced go there, the others to the bot."""

    def __init__(self, bot: ErrbotBot) -> None:
        self._bot = bot

    def __getattr__(self, event: str) -> Any:
        callback = CALLBACKS.get(event) if self._bot.replaced.names else None
        if callback is not None and callback in self._bot.replaced:
            return partial(self._call, event, callback)
        # The next time, it is found without this method.
        method = vars(self)[event] = getattr(self._bot.events, event)
        return method

    def forget(self) -> None:
        """Look at what is replaced again, since that has changed."""
        bot = self._bot
        vars(self).clear()
        self._bot = bot

    def _call(self, event: str, callback: str, backend: Backend, *details: Any) -> None:
        if event == "message_received" and details[0].delayed:
            # errbot drops such messages.
            self._bot.events.message_received(backend, details[0])
        else:
            # The reason of a lost connection is no argument.
            self._bot.replaced.call(callback, backend, *(() if event.startswith("backend") else details))


class SendingByBot(Sending):
    """Sends with the bot's methods, which plugins may replace."""

    def __init__(self, bot: ErrbotBot, networks: Networks) -> None:
        super().__init__(networks, bot.callbacks, bot.journal.outbox, bot.now)
        self._bot = bot

    def deliver(self, backend: Backend, message: Message) -> Awaitable[None] | None:
        """Send a message with the bot's `split_and_send_message`."""
        if not self._bot.replaced.names:
            return super().deliver(backend, message)
        if "split_and_send_message" in self._bot.replaced:
            return self._bot.replaced.call("split_and_send_message", backend, message)
        return self.deliver_parts(backend, message)

    def deliver_parts(self, backend: Backend, message: Message) -> Awaitable[None] | None:
        """Send a message with the bot's `send_message`: a plugin's gets parts that the network accepts."""
        if "send_message" not in self._bot.replaced:
            return super().deliver(backend, message)
        accepted = None
        for text in split_message(message.body, backend.message_size_limit):
            accepted = self._bot.replaced.call("send_message", backend, part_of(message, text))
        return accepted

    def deliver_notice(self, backend: Backend, message: Message) -> Awaitable[None] | None:
        """Send a notice to an administrator with the bot's `send`."""
        if "send" in self._bot.replaced:
            return self._bot.replaced.call("send", backend, message.to, message.body)
        return self.deliver(backend, message)

    def build_message(self, backend: Backend, text: str) -> Message:
        """Return a message that the network, or what a plugin has put in its place, creates."""
        message: Message = getattr(own_object(backend), "build_message", Message)(text)
        return message

    def send_card(self, card: Card) -> Awaitable[None] | None:
        """Send a card; as text, with the bot's `send_templated`."""
        backend = self._networks.of(card)
        if "send_templated" in self._bot.replaced and not isinstance(backend, SendsCards):
            return self._bot.replaced.call("send_templated", backend, card.to, "card", {"card": card}, card.parent)
        return super().send_card(card)


class UnreplacedMethods:
    """The methods that `ErrBot` uses, for a plugin that calls its methods with the bot. They don't call what is assigned."""

    def __init__(self, bot: ErrbotBot) -> None:
        self._report = bot._report
        self.run_command = partial(self._report, "command_received")
        self.call_plugins = partial(self._report, "callback_requested")
        self.message_sent = partial(self.call_plugins, "callback_botmessage")
        self.reply, self.send = bot.sending.send_simple_reply, partial(Sending.send, bot.sending)
        self.warn_admins = bot.notices.warn_admins
        self.unknown_command = partial(bot.dispatcher.permissions.suggestions, bot.backend)

    def report_event(self, callback: str, *details: Any) -> None:
        """Report the event that belongs to the callback."""
        self._report(EVENTS[callback], *details)


class Handlers(UserDict[str, Callable[..., Any]]):
    """Handlers by name; `assign` is called with each name and handler that is set, or None for one that is deleted."""

    def __init__(
        self, handlers: dict[str, Callable[..., Any]], assign: Callable[[str, Callable[..., Any] | None], None]
    ) -> None:
        super().__init__()
        self.data, self._assign = handlers, assign

    def __setitem__(self, name: str, handler: Callable[..., Any]) -> None:
        self._assign(name, handler)
        self.data[name] = handler

    def __delitem__(self, name: str) -> None:
        del self.data[name]
        self._assign(name, None)

    def become(self, handlers: Mapping[str, Callable[..., Any]]) -> None:
        """Delete the handlers that `handlers` lacks, and set those that differ."""
        for name in self.keys() - handlers.keys():
            del self[name]
        self.update({name: handler for name, handler in handlers.items() if self.get(name) != handler})
