"""The bot with all attributes that errbot's plugins use on `self._bot`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextvars import copy_context
from functools import cached_property, partial
from inspect import ismethod
from multiprocessing.pool import ThreadPool
from typing import Any, cast

from errklein.bot import Bot, Sending
from errklein.chat import Identifier, Message
from errklein.commands import History
from errklein.compat._replaced import CALLBACKS, Handlers, IncomingEvents, Replaced, SendingByBot, UnreplacedMethods
from errklein.compat._running_bots import running_bots
from errklein.compat.core import EVENTS, ErrBot, RunsErrBot, own_object
from errklein.compat.plugin_manager import BotPluginManager
from errklein.dispatch.replies import HasOwnReplies
from errklein.plugins.store_mixin import StoreMixin
from errklein.ports.chat import Backend, BackendEvents
from errklein.running import on_reactor_soon

_ASSIGNED = (
    *("process_message", "process_template", "send", "send_message", "send_simple_reply", "send_templated"),
    *("split_and_send_message", "warn_admins"),
)
"""Further methods that the bot calls and plugins may assign."""


class _Assignable:
    """An attribute that is computed unless a plugin has assigned it."""

    def __init__(self, compute: Callable[[ErrbotBot], Any]) -> None:
        self._compute = compute

    def __get__(self, bot: ErrbotBot, owner: type) -> Any:
        return self._compute(bot)


class ErrbotBot(Bot):
    """The bot as plugins see it on `self._bot`.

    It has errbot's names, and is a mapping of stored values. An attribute that it lacks is looked up on the network of
    the message being handled, else on the first network. The stored values are those of the same network; see `kept`.
    """

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
        own_object(self.backend).bot_identifier = identifier

    def __getattr__(self, name: str) -> Any:
        # errbot's bot is the backend itself, so plugins use the backend's attributes, such as `conn`.
        if name.startswith("__") or "_opened_values" not in vars(self):
            raise AttributeError(f"the bot has no attribute {name!r}", name=name, obj=self)
        if (owner := self._owner(name)) is not None:
            return getattr(owner, name)
        if hasattr(StoreMixin, name):
            return getattr(self.kept, name)
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
            return backend if hasattr(backend, name) else None
        # Its code calls `is_from_self`, the bot calls the other methods that both have.
        owners = (backend.legacy,) if name == "is_from_self" else (backend, backend.legacy)
        return next((owner for owner in owners if hasattr(owner, name)), None)

    def _note(self, name: str) -> None:
        """Make the parts of the bot use what the name has been assigned, or the original again."""
        if name not in vars(self).get("_originals", ()):
            return
        value = getattr(self, name)
        is_replaced = value != self._originals[name]
        (self.replaced.names.add if is_replaced else self.replaced.names.discard)(name)
        self.incoming.forget()
        call = partial(self.replaced.call, name)
        instead: list[tuple[Any, str, Any]] = []
        if name in (*CALLBACKS.values(), "process_message"):
            # Third-party backends call them in their own threads.
            networks = [one for one in self.backends.values() if isinstance(one, RunsErrBot)]
            instead = [(network.legacy, name, partial(call, network)) for network in networks]
        elif name == "process_template":
            instead = [(self.dispatcher.replies, name, value), (self.sending, name, value)]
        elif name == "send":
            # errbot has no options such as `priority`.
            instead = [(self.sending, name, lambda to, *args, **_: call(self.networks.of(to), to, *args))]
        elif name == "send_simple_reply":
            instead = [(self.dispatcher.replies, "simple_reply", call)]
        elif name == "warn_admins":
            # Without the text of an exception, since rooms may get it, too.
            instead = [(self.notices, "pass_on", lambda notice: call(self.backend, notice.summary or notice.markdown))]
        for part, attribute, function in instead:
            vars(part).pop(attribute, None)
            if is_replaced:
                setattr(part, attribute, function)

    async def start(self) -> None:
        """Start the bot, as `Bot.start` does, and serve the routes of `flask_app`."""
        running_bots.add_bot(self)
        await super().start()

    async def stop(self, grace: float) -> None:
        """Stop the bot, as `Bot.stop` does, and its thread pool."""
        await super().stop(grace)
        running_bots.remove_bot(self)
        if "thread_pool" in vars(self):
            self.thread_pool.close()

    @property
    def kept(self) -> StoreMixin:
        """The stored values of the network of the message being handled, else of the first network.

        Their namespace is "<mode>_backend", where the network itself stores values, too. It is opened at the first use.
        """
        if isinstance(self.backend, RunsErrBot):
            return self.backend.legacy
        namespace = f"{self.mode}_backend"
        if namespace not in self._opened_values:
            values = StoreMixin()
            values.open_storage(self.storage, namespace)
            self._opened_values.setdefault(namespace, values)
        return self._opened_values[namespace]

    def callback_message(self, msg: Message) -> None:
        """Run the command in the message, if there is one, and call `callback_message` of the plugins.

        A delayed message is ignored.
        """
        backend = self.backend
        if isinstance(backend, RunsErrBot):
            type(backend.legacy).callback_message(backend.legacy, msg)
        elif "process_message" in self.replaced.names:
            ErrBot.callback_message(cast(ErrBot, self), msg)
        elif not msg.delayed:
            self._report("message_received", msg)

    def process_message(self, msg: Message) -> bool:
        """Run the command in the message, if there is one, without callbacks.

        :returns: False if the message is delayed or from the bot itself, else True.
        """
        if msg.delayed or self.backend.is_from_self(msg):
            return False
        self._here.run_command(msg)
        return True

    @property
    def _here(self) -> Any:
        """What ErrBot's methods use, since plugins call them with the bot, as in `ErrBot.send_simple_reply(bot, …)`."""
        return self.backend if isinstance(self.backend, RunsErrBot) else UnreplacedMethods(self)

    def _dispatch_to_plugins(self, method: str | Callable[..., Any], *args: Any) -> None:
        self._here.call_plugins(method if isinstance(method, str) else method.__name__, *args)

    def send_message(self, message: Message) -> Awaitable[None] | None:
        """Send a message, and call `callback_botmessage`. The bot sends every part of its messages with this method."""
        return Sending.deliver(self.sending, self.networks.of(message), message)

    def split_and_send_message(self, message: Message) -> Awaitable[None] | None:
        """Send a message, in parts that the network accepts."""
        return self.sending.deliver_parts(self.networks.of(message), message)

    def make_sending(self) -> SendingByBot:
        """Create the part that sends messages, with the methods of the bot."""
        self.replaced, self.incoming = Replaced(self), IncomingEvents(self)
        self.sending = SendingByBot(self, self.networks)
        return self.sending

    def events_of(self, backend: Backend) -> BackendEvents:
        """Return the part that gets the backend's events. Third-party backends call the bot's methods themselves."""
        return self.events if isinstance(backend, RunsErrBot) else cast(BackendEvents, self.incoming)

    def _report(self, event: str, *details: Any) -> None:
        """Report an event in the name of the network of the message being handled, else of the first one.

        For any thread.
        """
        on_reactor_soon(self.reactor, copy_context().run, getattr(self.events, event), self.backend, *details)

    @cached_property
    def thread_pool(self) -> ThreadPool:
        """A pool of BOT_ASYNC_POOLSIZE threads for plugins."""
        return ThreadPool(self.bot_config.BOT_ASYNC_POOLSIZE)

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
        """The handlers of all commands, by name."""
        return {**self.re_commands, **self.commands}

    @property
    def command_filters(self) -> list[Callable[..., Any]]:
        """The command filters, in the order of their calls."""
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
        """Yield the classes of the active plugins that have commands, each once."""
        yield from {type(command.handler.__self__): None for command in self.registry if ismethod(command.handler)}

    def __getitem__(self, key: str) -> Any:
        return self.kept[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self.kept[key] = value

    def __delitem__(self, key: str) -> None:
        del self.kept[key]

    def __contains__(self, key: object) -> bool:
        return key in self.kept

    def __iter__(self) -> Iterator[str]:
        return iter(self.kept)


# Plugins use isinstance() with these classes, and the bot has all their methods. Those of a mapping are delegated to
# `kept`.
ErrBot.register(ErrbotBot)
StoreMixin.register(ErrbotBot)
