"""The bot with all attributes that errbot's plugins use on `self._bot`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextvars import copy_context
from functools import cached_property, partial
from inspect import ismethod
from multiprocessing.pool import ThreadPool
from typing import Any

from errklein.bot import Bot
from errklein.chat import Message
from errklein.commands import History, documentation, with_prefix
from errklein.compat._running_bots import running_bots
from errklein.compat.backends.errbot import EVENTS, ErrBot
from errklein.compat.backends.network import ThreadedNetwork
from errklein.compat.plugin_manager import BotPluginManager
from errklein.plugins.store_mixin import StoreMixin
from errklein.running import on_reactor_soon


class ErrbotBot(Bot):
    """The bot as plugins see it on `self._bot`.

    It has errbot's names, and is a mapping of stored values. An attribute that it lacks is looked up on the network of
    the message being handled, else on the first network. The stored values are those of the same network; see `kept`.
    """

    plugin_manager: BotPluginManager

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.storage_plugin = self.storage
        self._opened_values: dict[str, StoreMixin] = {}
        for callback, event in EVENTS.items():
            setattr(self, callback, partial(self._report, event))
        self.send_simple_reply = self.sending.send_simple_reply
        self.split_and_send_message = self.sending.split_and_send_message
        for backend in self.backends.values():
            if isinstance(backend, ThreadedNetwork):
                backend.attach(self)

    def __getattr__(self, name: str) -> Any:
        # errbot's bot is the backend itself, so plugins use the backend's attributes, such as `conn`.
        if name.startswith("__") or "_opened_values" not in vars(self):
            raise AttributeError(f"the bot has no attribute {name!r}", name=name, obj=self)
        backend = self.backend
        owners = (backend, backend.legacy) if isinstance(backend, ThreadedNetwork) else (backend,)
        for owner in owners:
            if hasattr(owner, name):
                return getattr(owner, name)
        if hasattr(StoreMixin, name):
            return getattr(self.kept, name)
        error = f"neither the bot nor its network {backend.network} has an attribute {name!r}"
        raise AttributeError(error, name=name, obj=self)

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
        if isinstance(self.backend, ThreadedNetwork):
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
        if not msg.delayed:
            self._report("message_received", msg)

    def process_message(self, msg: Message) -> bool:
        """Run the command in the message, if there is one, without callbacks.

        :returns: False if the message is delayed or from the bot itself, else True.
        """
        if msg.delayed or self.backend.is_from_self(msg):
            return False
        self._report("command_received", msg)
        return True

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
    def bot_alt_prefixes(self) -> tuple[str, ...]:
        """BOT_ALT_PREFIXES of the network of the message being handled."""
        return tuple(self.networks.config(self.backend).BOT_ALT_PREFIXES)

    @property
    def commands(self) -> dict[str, Callable[..., Any]]:
        """The handlers of named commands, by name."""
        return {name: command.handler for name, command in self.registry.named.items()}

    @property
    def re_commands(self) -> dict[str, Callable[..., Any]]:
        """The handlers of pattern commands, by the commands' names."""
        return {command.name: command.handler for command in self.registry.by_pattern}

    @property
    def all_commands(self) -> dict[str, Callable[..., Any]]:
        """The handlers of all commands, by name."""
        return {**self.re_commands, **self.commands}

    @property
    def command_filters(self) -> list[Callable[..., Any]]:
        """The command filters, in the order of their calls."""
        return [one.handler for one in self.filters.all]

    @property
    def cmd_history(self) -> History:
        """The latest commands of each person on the network of the message being handled."""
        return self.dispatcher.histories[self.backend.network]

    def get_doc(self, command: Callable[..., Any]) -> str:
        """Return the docstring of a command, with the bot's prefix in place of "!"."""
        return with_prefix(documentation(command), self.prefix) or "(undocumented)"

    def get_command_classes(self) -> Iterator[type[Any]]:
        """Yield the classes of the active plugins that have commands, each once."""
        yield from {type(command.handler.__self__): None for command in self.registry if ismethod(command.handler)}

    def build_message(self, text: str) -> Message:
        """Return a message of the current network with that text, without sender and recipient."""
        backend = self.backend
        return backend.legacy.build_message(text) if isinstance(backend, ThreadedNetwork) else Message(text)

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
