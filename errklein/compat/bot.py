"""The bot with all attributes that errbot's plugins use on `self._bot`, and the calls of those that they replace."""

from __future__ import annotations

from collections import UserDict
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextvars import copy_context
from functools import partial
from inspect import ismethod
from typing import Any, cast

from twisted.logger import Logger
from twisted.python.failure import Failure

from errklein.bot import Bot, Sending
from errklein.chat import Card, Identifier, Message
from errklein.chat.operations import Kind
from errklein.compat._running_bots import running_bots
from errklein.compat.core import EVENTS, ErrBot, RunsErrBot, part_of
from errklein.compat.plugin_manager import BotPluginManager
from errklein.dispatch import History, Networks
from errklein.dispatch.replies import HasOwnReplies
from errklein.networks.base import NetworkBase
from errklein.networks.outbox import Transport
from errklein.plugins.store_mixin import StoreMixin
from errklein.ports.chat import Backend, BackendEvents
from errklein.ports.receipts import Receipt
from errklein.running import in_reactor_thread, on_reactor_soon
from errklein.running.context import assigned, handled_network
from errklein.text import split_message

CALLBACKS: Mapping[str, str] = {
    "message_received": "callback_message",
    "backend_connected": "connect_callback",
    "backend_disconnected": "disconnect_callback",
    **{event: callback for callback, event in EVENTS.items()},
}
"""The bot's method for each method of `ports.chat.BackendEvents`."""

_OF_OUTBOX = frozenset({"outbox", *(name for name in vars(Transport) if not name.startswith("_"))})
"""The attributes of backends that only their outbox uses. Plugins don't know them, and may have the same names."""

_REACTIONS = {"add_reaction": Kind.REACT, "remove_reaction": Kind.UNREACT}


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
        """Call the bot's method for an event or message: from the reactor in a thread after earlier ones, with errors logged."""
        bot, method = self._bot, getattr(self._bot, name)
        with assigned(handled_network, backend.network):
            if not in_reactor_thread(bot.reactor):
                result = method(*args)
                return result if isinstance(result, Awaitable) else None
            work = partial(bot.runner.run, method, *args)
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
        super().__init__(networks, bot.callbacks, bot.waits.result_of, bot.message_changed)
        self._bot = bot

    def deliver(self, backend: Backend, message: Message) -> Any:
        if not self._bot.replaced.names:
            return super().deliver(backend, message)
        if "split_and_send_message" in self._bot.replaced:
            return self._bot.replaced.call("split_and_send_message", backend, message)
        return self.deliver_parts(backend, message)

    def deliver_parts(self, backend: Backend, message: Message) -> Any:
        """Send a message with the bot's `send_message`: a plugin's gets parts that the network accepts."""
        if "send_message" not in self._bot.replaced:
            return super().deliver(backend, message)
        accepted = None
        for text in split_message(message.body, backend.message_size_limit):
            accepted = self._bot.replaced.call("send_message", backend, part_of(message, text))
        return accepted

    def deliver_notice(self, backend: Backend, message: Message) -> Any:
        if "send" in self._bot.replaced:
            return self._bot.replaced.call("send", backend, message.to, message.body)
        return self.deliver(backend, message)

    def send_card(self, card: Card) -> Any:
        backend = self._networks.of(card)
        if "send_templated" in self._bot.replaced and not hasattr(backend, "send_card"):
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


_ASSIGNED = (
    *("process_message", "process_template", "send", "send_message", "send_simple_reply", "send_templated"),
    *("split_and_send_message", "warn_admins"),
)
"""Further methods that the bot calls and plugins may assign."""


Place = tuple[Any, str, Any]  # a part of the bot, its attribute, and what to assign to it in place of a method


def _places(bot: ErrbotBot, name: str, value: Any) -> list[Place]:
    """Return where the parts of the bot look up what a plugin has assigned to a method. `SendingByBot` looks up others."""
    call = bot.replaced.call
    if name == "process_template":
        return [(part, name, value) for part in (bot.dispatcher.replies, bot.sending)]
    if name == "send":
        # errbot has no options such as `priority`.
        return [(bot.sending, name, lambda to, *args, **_: call(name, bot.networks.of(to), to, *args))]
    if name == "send_simple_reply":
        return [(bot.dispatcher.replies, "simple_reply", partial(call, name))]
    if name == "warn_admins":
        # Without the text of an exception, since rooms may get it, too.
        return [(bot.notices, "pass_on", lambda notice: call(name, bot.backend, notice.summary or notice.markdown))]
    if name in (*CALLBACKS.values(), "process_message"):
        # Third-party backends call them in their own threads.
        networks = [one for one in bot.backends.values() if isinstance(one, RunsErrBot)]
        return [(one.legacy, name, partial(call, name, one)) for one in networks]
    return []


class _Assignable:
    """An attribute that is computed unless a plugin has assigned it."""

    def __init__(self, compute: Callable[[ErrbotBot], Any]) -> None:
        self._compute = compute

    def __get__(self, bot: ErrbotBot, owner: type) -> Any:
        return self._compute(bot)


def _of_kept(name: str) -> Callable[..., Any]:
    """Return the method of that name, which calls that of the stored values."""
    return lambda bot, *args: getattr(bot.kept, name)(*args)


class ErrbotBot(Bot):
    """The bot as plugins see it on `self._bot`, with errbot's names. The network of the message being handled, else the
    first one, has the attributes that it lacks, and its stored values; see `kept`."""

    plugin_manager: BotPluginManager
    sending: SendingByBot
    prefix = _Assignable(lambda bot: bot.networks.prefix)
    bot_alt_prefixes = _Assignable(lambda bot: tuple(bot.networks.config(bot.backend).BOT_ALT_PREFIXES))

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.storage_plugin = self.storage
        self._opened_values: dict[str, StoreMixin] = {}
        for callback, event in EVENTS.items():
            setattr(self, callback, partial(self._report, event))
        self.connect_callback = partial(self._report, "backend_connected")
        self.disconnect_callback = partial(self._report, "backend_disconnected", "as a plugin reports")
        self.attach_plugin_manager = partial(setattr, self, "plugin_manager")
        self.attach_repo_manager = partial(setattr, self, "repo_manager")
        self.attach_storage_plugin = partial(setattr, self, "storage_plugin")
        self.send_simple_reply = self.sending.send_simple_reply
        for backend in self.backends.values():
            view = self.bot_config.networks[backend.network]
            if view.MESSAGE_SIZE_LIMIT is None:
                # Plugins read the limit of the network there.
                view.MESSAGE_SIZE_LIMIT = backend.message_size_limit
            if isinstance(backend, RunsErrBot):
                backend.attach(self)
        self._originals = {name: getattr(self, name) for name in (*CALLBACKS.values(), *_ASSIGNED)}

    @property
    def bot_identifier(self) -> Identifier | None:
        """The bot's identifier on the network of the message being handled, else of the first one. It may be assigned."""
        return super().bot_identifier

    @bot_identifier.setter
    def bot_identifier(self, identifier: Identifier) -> None:
        backend = self.backend
        own: Any = backend.legacy if isinstance(backend, RunsErrBot) else backend
        own.bot_identifier = identifier

    def __getattr__(self, name: str) -> Any:
        # errbot's bot is the backend itself, so plugins use the backend's attributes, such as `conn`.
        if name.startswith("__") or "_opened_values" not in vars(self):
            raise AttributeError(f"the bot has no attribute {name!r}", name=name, obj=self)
        if (owner := self._owner(name)) is not None:
            return getattr(owner, name)
        if hasattr(StoreMixin, name):
            return getattr(self.kept, name)
        if (kind := _REACTIONS.get(name)) is not None:
            return lambda message, reaction: self.sending.change_reaction(message, kind, reaction)
        error = f"neither the bot nor its network {self.backend.network} has an attribute {name!r}"
        raise AttributeError(error, name=name, obj=self)

    def __setattr__(self, name: str, value: Any) -> None:
        if "_originals" not in vars(self) or name in vars(self) or hasattr(type(self), name) or name.startswith("_"):
            super().__setattr__(name, value)
            self._note(name)
            return
        owner = self._owner(name)
        object.__setattr__(self if owner is None else owner, name, value)

    def __delattr__(self, name: str) -> None:
        super().__delattr__(name)
        self._note(name)

    def _owner(self, name: str) -> Any:
        """Return what has an attribute that the bot lacks: the current backend, a third-party one's own object, or None."""
        backend = self.backend
        if not isinstance(backend, RunsErrBot):
            return backend if name not in _OF_OUTBOX and hasattr(backend, name) else None
        # Its code calls these, the bot calls the other methods that both have.
        is_its_own = name in ("build_message", "is_from_self") or name in _OF_OUTBOX
        owners: tuple[Any, ...] = (backend.legacy,) if is_its_own else (backend, backend.legacy)
        if getattr(type(backend), name, backend) is getattr(NetworkBase, name, None):
            # What is only a default for networks doesn't hide what the backend has.
            owners = (backend.legacy, backend)
        return next((owner for owner in owners if hasattr(owner, name)), None)

    def _note(self, name: str) -> None:
        """Make the parts of the bot use what the name has been assigned, or the original again."""
        if name not in vars(self).get("_originals", ()):
            return
        value = getattr(self, name)
        is_replaced = value != self._originals[name]
        (self.replaced.names.add if is_replaced else self.replaced.names.discard)(name)
        self.incoming.forget()
        for part, attribute, function in _places(self, name, value):
            part.__dict__.pop(attribute, None)
            if is_replaced:
                setattr(part, attribute, function)

    async def start(self) -> None:
        running_bots.add_bot(self)
        await super().start()

    async def stop(self, grace: float) -> None:
        await super().stop(grace)
        running_bots.remove_bot(self)
        if pool := vars(self).get("thread_pool"):
            pool.close()

    @property
    def kept(self) -> StoreMixin:
        """The stored values of the current network, in the namespace "<mode>_backend", where it stores values itself, too."""
        if isinstance(self.backend, RunsErrBot):
            return self.backend.legacy
        namespace = f"{self.mode}_backend"
        if namespace not in self._opened_values:
            values = StoreMixin()
            values.open_storage(self.storage, namespace)
            self._opened_values.setdefault(namespace, values)
        return self._opened_values[namespace]

    # They use `_here`, as those of backends do.
    _dispatch_to_plugins, thread_pool = ErrBot._dispatch_to_plugins, ErrBot.thread_pool

    def process_message(self, msg: Message) -> bool:
        # The backend's own: that of a third-party network may raise an exception, which its wrapper logs.
        if msg.delayed or self.backend.is_from_self(msg):
            return False
        self._here.run_command(msg)
        return True

    def callback_message(self, msg: Message) -> None:
        """Run the command in the message, and call `callback_message` of the plugins, unless the message is delayed."""
        backend = self.backend
        if isinstance(backend, RunsErrBot):
            type(backend.legacy).callback_message(backend.legacy, msg)
        elif "process_message" in self.replaced.names:
            ErrBot.callback_message(cast(ErrBot, self), msg)
        elif not msg.delayed:
            self._report("message_received", msg)

    @property
    def _here(self) -> Any:
        """What ErrBot's methods use, since plugins call them with the bot, as in `ErrBot.send_simple_reply(bot, …)`."""
        return self.backend if isinstance(self.backend, RunsErrBot) else UnreplacedMethods(self)

    def send_message(self, message: Message) -> Receipt:
        """Send a message, and call `callback_botmessage`. The bot sends every part of its messages with this method."""
        return Sending.deliver(self.sending, self.networks.of(message), message)

    def split_and_send_message(self, message: Message) -> Any:
        return self.sending.deliver_parts(self.networks.of(message), message)

    def make_sending(self) -> SendingByBot:
        self.replaced, self.incoming = Replaced(self), IncomingEvents(self)
        self.sending = SendingByBot(self, self.networks)
        return self.sending

    def events_of(self, backend: Backend) -> BackendEvents:
        """Return the part that gets the backend's events. Third-party backends call the bot's methods themselves."""
        return self.events if isinstance(backend, RunsErrBot) else cast(BackendEvents, self.incoming)

    def _report(self, event: str, *details: Any) -> None:
        """Report an event in the name of the network of the message being handled, else of the first one. For any thread."""
        on_reactor_soon(self.reactor, copy_context().run, getattr(self.events, event), self.backend, *details)

    @property
    def MSG_ERROR_OCCURRED(self) -> str:  # noqa: N802 - the name on errbot
        """The first line of the reply to a command that raised an exception. It may be assigned."""
        backend = self.backend
        return backend.error_reply if isinstance(backend, HasOwnReplies) else self.dispatcher.replies.error_reply

    @MSG_ERROR_OCCURRED.setter
    def MSG_ERROR_OCCURRED(self, text: str) -> None:  # noqa: N802
        backend = self.backend
        if isinstance(backend, RunsErrBot):
            backend.legacy.MSG_ERROR_OCCURRED = text
        else:
            self.dispatcher.replies.error_reply = text

    @property
    def commands(self) -> Handlers:
        """The handlers of named commands, by name. Assignments to it and in it change the commands."""
        found = {name: command.handler for name, command in self.registry.named.items()}
        return Handlers(found, partial(self.registry.assign, by_pattern=False))

    @commands.setter
    def commands(self, handlers: Mapping[str, Callable[..., Any]]) -> None:
        self.commands.become(handlers)

    @property
    def re_commands(self) -> Handlers:
        """The handlers of pattern commands, by the commands' names. Assignments to it and in it change the commands."""
        found = {command.name: command.handler for command in self.registry.by_pattern}
        return Handlers(found, partial(self.registry.assign, by_pattern=True))

    @re_commands.setter
    def re_commands(self, handlers: Mapping[str, Callable[..., Any]]) -> None:
        self.re_commands.become(handlers)

    @property
    def all_commands(self) -> dict[str, Callable[..., Any]]:
        return {**self.re_commands, **self.commands}

    @property
    def command_filters(self) -> list[Callable[..., Any]]:
        return [one.handler for one in self.filters.all]

    @command_filters.setter
    def command_filters(self, handlers: Iterable[Callable[..., Any]]) -> None:
        self.filters.assign(list(handlers))

    @property
    def cmd_history(self) -> History:
        """The latest commands of each person on the network of the message being handled."""
        return self.dispatcher.histories[self.backend.network]

    @cmd_history.setter
    def cmd_history(self, histories: Mapping[str, Any]) -> None:
        history = self.cmd_history
        history.make = getattr(histories, "default_factory", None) or history.make
        history.clear()
        history.update(histories)

    def get_command_classes(self) -> Iterator[type[Any]]:
        yield from {type(command.handler.__self__): None for command in self.registry if ismethod(command.handler)}

    __getitem__, __setitem__, __delitem__ = map(_of_kept, ("__getitem__", "__setitem__", "__delitem__"))
    __contains__, __iter__ = map(_of_kept, ("__contains__", "__iter__"))


# Plugins use isinstance() with these classes, and the bot has all their methods; `kept` has those of a mapping.
ErrBot.register(ErrbotBot)
StoreMixin.register(ErrbotBot)
