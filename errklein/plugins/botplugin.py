"""What plugins inherit from."""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from inspect import ismethod
from typing import Any, BinaryIO

from errklein.chat import ONLINE, Card, Identifier, Message, Presence, Reaction, Room, Stream
from errklein.commands import Command
from errklein.plugins._host import PluginHost
from errklein.plugins._pollers import Pollers
from errklein.plugins.configuration_check import recurse_check_structure
from errklein.plugins.names import plugin_name
from errklein.plugins.store_mixin import StoreMixin
from errklein.running import on_reactor_soon


class BotPlugin(StoreMixin):
    """A plugin: subclass it, and mark methods with `@botcmd` and `@webhook`.

    A plugin is also a mapping whose values survive restarts: `self["key"] = value`. Storage can be used from `activate`
    until `deactivate`. Every method that errklein calls may be plain, `async def`, or return a Deferred.
    """

    config: Any
    """The configuration from `configure`; as on errbot, the attribute is missing before its first call."""

    def __init__(self, bot: PluginHost[BotPlugin], name: str | None = None) -> None:
        super().__init__()
        self._bot = bot
        self._name = name or type(self).__name__
        self.is_activated = False
        self.dependencies: list[str] = []
        self.log = logging.getLogger(f"errbot.plugins.{self._name}")
        self.__pollers = Pollers(bot.reactor, bot.runner, bot.plugin_pool, self._name)
        self.__dynamic_plugins: dict[str, BotPlugin] = {}

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name.startswith("callback_") or name == "is_activated":
            self.__callback_changed()

    def __delattr__(self, name: str) -> None:
        super().__delattr__(name)
        if name.startswith("callback_"):
            self.__callback_changed()

    def __callback_changed(self) -> None:
        manager = getattr(vars(self).get("_bot"), "plugin_manager", None)
        if manager is not None:
            manager.callbacks_changed()

    @property
    def name(self) -> str:
        """The plugin's name, from its .plug file."""
        return self._name

    @property
    def mode(self) -> str:
        """The kind of network that the message being handled came from, such as "irc"."""
        return self._bot.mode

    @property
    def bot_config(self) -> Any:
        """The settings, by attribute."""
        return self._bot.bot_config

    @property
    def bot_identifier(self) -> Identifier | None:
        """The bot itself, on the network of the message being handled."""
        return self._bot.bot_identifier

    @property
    def plugin_dir(self) -> str:
        """The directory where installed repositories of plugins are."""
        return str(self._bot.plugins_directory)

    @property
    def current_pollers(self) -> list[tuple[Callable[..., Any], Iterable[Any], Mapping[str, Any]]]:
        """The methods that are being polled, each with its arguments."""
        return self.__pollers.running

    @property
    def current_timers(self) -> list[Any]:
        """Something for each method that is being polled; how many there are is all that can be told from it."""
        return [method for method, _, _ in self.__pollers.running]

    # What a plugin may override

    def get_configuration_template(self) -> Any:
        """An example of the plugin's configuration; None if there is nothing to configure."""
        return None

    def check_configuration(self, configuration: Any) -> Any:
        """Raise ValidationException if the configuration can't be used; by default it must be built as the template."""
        recurse_check_structure(self.get_configuration_template(), configuration)

    def configure(self, configuration: Any) -> Any:
        """Take the configuration, None if there is none. Called before each activation."""
        self.config = configuration

    def reconfigure(self, configuration: Any) -> Any:
        """Take another configuration while active, without a gap; NotImplemented asks for a new activation instead."""
        return NotImplemented

    def activate(self) -> Any:
        """Begin to work: storage opens, commands can be given. Overriding methods call this one."""
        # It is open still if a handler from before the last deactivation hasn't come to its end.
        if not StoreMixin.is_open_storage(self):
            self.init_storage()
        self._bot.inject_commands_from(self)
        self._bot.inject_command_filters_from(self)
        self.is_activated = True

    def init_storage(self) -> None:
        """Open the storage of what the plugin keeps, under its name; `activate` does."""
        self.open_storage(self._bot.storage, plugin_name(self))

    def deactivate(self) -> Any:
        """Stop working: pollers end, commands are gone. Overriding methods call this one.

        Storage closes after the last handler of this plugin that is still running.
        """
        self.__pollers.stop()
        for dynamic in self.__dynamic_plugins.values():
            self._bot.remove_commands_from(dynamic)
        self.__dynamic_plugins.clear()
        self._bot.remove_command_filters_from(self)
        self._bot.remove_commands_from(self)
        self.is_activated = False
        # Whoever asked goes on, and might ask again.
        on_reactor_soon(self._bot.reactor, self._bot.conversations.withdraw, self)

    def callback_connect(self) -> Any:
        """The plugin was activated, or a network was connected."""

    def callback_message(self, message: Message) -> Any:
        """Somebody said something, to the bot or in a room; commands included."""

    def callback_mention(self, message: Message, mentioned_people: Sequence[Identifier]) -> Any:
        """Somebody was spoken of."""

    def callback_presence(self, presence: Presence) -> Any:
        """Somebody came, went or changed status."""

    def callback_reaction(self, reaction: Reaction) -> Any:
        """Somebody has put a reaction on something, or taken it away."""

    def callback_stream(self, stream: Stream) -> Any:
        """Somebody offers a file: accept the stream and read it, or reject it. Without this method it is rejected."""
        stream.reject()

    def callback_botmessage(self, message: Message) -> Any:
        """The bot said something."""

    def callback_room_joined(self, room: Room, identifier: Identifier | None = None, invited_by: Any = None) -> Any:
        """Somebody, perhaps the bot, entered a room."""

    def callback_room_left(self, room: Room, identifier: Identifier | None = None, kicked_by: Any = None) -> Any:
        """Somebody, perhaps the bot, left a room."""

    def callback_room_topic(self, room: Room) -> Any:
        """A room has another topic."""

    # What a plugin may call

    def send(
        self,
        identifier: Identifier,
        text: str,
        in_reply_to: Message | None = None,
        groupchat_nick_reply: bool = False,
    ) -> Awaitable[None] | None:
        """Send Markdown text to a person or a room; it never waits for the network.

        On the reactor it returns an awaitable that may be ignored; in a thread it returns None once the network's
        outbox has the message. Raises ValueError if `identifier` isn't one (see `build_identifier`), and OutboxFull.
        """
        return self._bot.send(identifier, text, in_reply_to, groupchat_nick_reply)

    def send_templated(
        self,
        identifier: Identifier,
        template_name: str,
        template_parameters: Mapping[str, Any],
        in_reply_to: Message | None = None,
        groupchat_nick_reply: bool = False,
    ) -> Awaitable[None] | None:
        """Send a template, `templates/<template_name>.md` beside the .plug file, filled in with the parameters.

        A shared template of that name is used if the plugin has none that works. Otherwise as `send`; raises
        jinja2.TemplateError, whose text is one line, if there is no template that can be rendered.
        """
        return self._bot.send_templated(
            identifier, template_name, template_parameters, in_reply_to, groupchat_nick_reply, plugin_name(self)
        )

    def send_card(
        self,
        body: str = "",
        to: Identifier | None = None,
        in_reply_to: Message | None = None,
        summary: str | None = None,
        title: str = "",
        link: str | None = None,
        image: str | None = None,
        thumbnail: str | None = None,
        color: str = "green",
        fields: Sequence[tuple[str, str]] | None = (),
    ) -> Awaitable[None] | None:
        """Send a card, which a network that has none shows as text; see `errklein.chat.Card`.

        It goes to `to`, or to whom `in_reply_to` is from. Raises ValueError if both are missing. Otherwise as `send`.
        """
        frm = self._bot.bot_identifier
        if in_reply_to is not None:
            frm = in_reply_to.to
            to = to or in_reply_to.frm
        if to is None:
            raise ValueError("send_card() needs to know where to: `to` or `in_reply_to`")
        if not isinstance(to, Identifier):
            raise ValueError(f"send_card() needs what build_identifier() makes of text, not {type(to).__name__}")
        card = Card(body, frm, to, in_reply_to, summary, title, link, image, thumbnail, color, fields)
        return self._bot.send_card(card)

    def send_stream_request(
        self,
        user: Identifier,
        fsource: BinaryIO,
        name: str | None = None,
        size: int | None = None,
        stream_type: str | None = None,
    ) -> Stream | None:
        """Offer somebody what a file, opened to read bytes, holds; the stream that is returned tells how that goes.

        Raises NotImplementedError if the network can't carry files.
        """
        return self._bot.send_stream_request(user, fsource, name, size, stream_type)

    def add_reaction(self, msg: Message, reaction: str) -> None:
        """Put a reaction, such as "thumbsup", on a message. Raises NotImplementedError if the network has none."""
        self._bot.reacting(msg).add_reaction(msg, reaction)

    def remove_reaction(self, msg: Message, reaction: str) -> None:
        """Take a reaction away that `add_reaction` has put on a message."""
        self._bot.reacting(msg).remove_reaction(msg, reaction)

    def build_identifier(self, txt: str | tuple[str, str]) -> Identifier:
        """Who or what `txt` names: "network:name", or a name on the network of the message being handled, else the first."""
        return self._bot.build_identifier(txt)

    def warn_admins(self, warning: str) -> None:
        """Tell every admin, and the log."""
        self._bot.warn_admins(warning)

    def change_presence(self, status: str = ONLINE, message: str = "") -> None:
        """Show on every network that the bot is `status`."""
        self._bot.change_presence(status, message)

    def rooms(self) -> list[Room]:
        """The rooms that the bot is in, on all networks."""
        return self._bot.rooms()

    def query_room(self, room: str) -> Room:
        """The room of that name; see `build_identifier` for the network. Raises RoomDoesNotExistError."""
        return self._bot.query_room(room)

    def start_poller(
        self,
        interval: float,
        method: Callable[..., Any],
        times: int | None = None,
        args: Iterable[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        """Call `method` each `interval` seconds, the first time after one interval; calls never overlap.

        Invalid arguments, such as `args=(90)`, which is not a tuple, are logged as an error at each tick.
        """
        self.__pollers.start(interval, method, times, args, kwargs)

    def stop_poller(
        self,
        method: Callable[..., Any] | None = None,
        args: Iterable[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        """Stop what `start_poller` started with the same method and arguments; without a method, all pollers."""
        self.__pollers.stop(method, args, kwargs)

    def ask(self, msg: Message, question: str, timeout: float | None = 60.0) -> Any:
        """Ask whoever sent `msg`, where the command's answers go, and get the next thing that the same person says there.

        `reply = await self.ask(msg, "Which branch?")` in what runs on the reactor; a plain handler, in its thread, needs
        no `await`. The reply is a string without white space around it; `reply.message` is the message. Commands, which
        begin with a prefix, aren't taken for the reply, and run meanwhile; the reply itself isn't run. Of two questions
        to the same person in the same place the second is sent after the reply to the first. Raises TimeoutError if there
        is no reply in `timeout` seconds, None being for ever, and CommandError if the plugin is deactivated or the bot
        stops; a command that catches neither answers with a sentence about it.
        """
        return self._bot.waits.result_of(self._bot.conversations.ask, self, msg, question, timeout)

    def create_dynamic_plugin(self, name: str, commands: Iterable[Command], doc: str | None = None) -> None:
        """Have a plugin of that name with these commands, which can be given at once, until this one is deactivated.

        Raises ValueError if there is such a dynamic plugin already.
        """
        if name in self.__dynamic_plugins:
            raise ValueError(f"{plugin_name(self)} has a dynamic plugin {name} already")
        methods = {command.name: command.definition for command in commands}
        described = {"__doc__": doc, "__errdoc__": doc or ""}
        plugin: BotPlugin = type(re.sub(r"\W", "_", name), (BotPlugin,), {**methods, **described})(self._bot, name)
        self.__dynamic_plugins[name] = plugin
        self._bot.inject_commands_from(plugin)

    def destroy_dynamic_plugin(self, name: str) -> None:
        """Let the plugin that was made with `create_dynamic_plugin` be no more; raises ValueError if there is none."""
        plugin = self.__dynamic_plugins.pop(name, None)
        if plugin is None:
            raise ValueError(f"{plugin_name(self)} has no dynamic plugin {name}")
        self._bot.remove_commands_from(plugin)

    def get_plugin(self, name: str) -> BotPlugin:
        """Another plugin, which has to be named in DependsOn; raises RuntimeError if it isn't, or not activated yet."""
        if not self.is_activated:
            raise RuntimeError(f"{plugin_name(self)} can ask for {name} only while it is activated")
        if name not in self.dependencies:
            raise RuntimeError(f"{plugin_name(self)} has to name {name} in DependsOn of its .plug file to use it")
        return self._bot.plugin_manager.instance(name)


def handlers(plugin: BotPlugin) -> Iterator[tuple[str, Callable[..., Any]]]:
    """The methods that the plugin, or its instance, adds to BotPlugin, with their names, in alphabetical order."""
    static: dict[str, Any] = {}
    for cls in reversed(type(plugin).__mro__):
        if cls not in BotPlugin.__mro__:
            static.update(vars(cls))
    static.update(vars(plugin))
    for name in sorted(static):
        if not name.startswith("__") and callable(static[name]) and ismethod(method := getattr(plugin, name)):
            yield name, method


def handlers_once_active(plugin: BotPlugin) -> Iterator[tuple[str, Callable[..., Any]]]:
    """As `handlers`, for a plugin that isn't active yet: without methods that attributes set by `configure` and `activate` hide."""
    return ((name, handler) for name, handler in handlers(plugin) if name not in ("config", "namespace"))


def overrides(plugin: BotPlugin, callback: str) -> bool:
    """Whether the plugin has a `callback` of its own, so that calling it does something."""
    return getattr(type(plugin), callback) is not getattr(BotPlugin, callback)
