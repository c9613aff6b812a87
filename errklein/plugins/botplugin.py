"""BotPlugin and BotFlow, the base classes of plugins and of collections of flows."""

from __future__ import annotations

import inspect
import logging
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from twisted.web.resource import IResource

from errklein.chat import Identifier, Message, Person, Presence, Reaction, Room, Stream
from errklein.chat.handles import MessageRef
from errklein.commands import Command, FlowRoot, RegisteredCommand
from errklein.plugins._base import DefaultMethod, DefaultProperty, PluginHost, PluginMessages, Pollers
from errklein.plugins.plug_file import plugin_name
from errklein.plugins.store_mixin import StoredValues, StoreMixin
from errklein.running import on_reactor_soon
from errklein.running.context import check_in_owner
from errklein.webhooks.declaration import normalise_rule

if TYPE_CHECKING:
    from errklein.http_client import PluginHTTPClient


class ValidationException(Exception):
    """Raised by `BotPlugin.check_configuration` if a configuration is invalid.

    The text is shown to the administrator who configures the plugin::

        def check_configuration(self, configuration):
            super().check_configuration(configuration)
            if not configuration["URL"].startswith("https://"):
                raise ValidationException("URL must begin with https://")
    """


def recurse_check_structure(sample: Any, to_check: Any, where: str = "the configuration") -> None:
    """Raise ValidationException if a configuration doesn't have the structure of a template. For example::

        >>> recurse_check_structure({"URL": "", "PORTS": [80]}, {"URL": "https://example.org", "PORTS": [80, "x"]})
        Traceback (most recent call last):
        ...
        ValidationException: the configuration['PORTS'][1] must be int, as in 80, but is str

    The rules are applied recursively:

    - None in the sample matches any value.
    - Otherwise the types must be equal; a subclass doesn't match.
    - Dictionaries must have the same keys.
    - Each item of a list or tuple must match the first item of the sample. An empty sample matches any items.

    :param where: The name of the configuration in error messages.
    :raises ValidationException: With the key and the expected type or key."""
    if sample is None:
        return
    if type(sample) is not type(to_check):
        expected, given = type(sample).__name__, type(to_check).__name__
        raise ValidationException(f"{where} must be {expected}, as in {sample!r}, but is {given}")
    if isinstance(sample, (list, tuple)):
        for index, item in enumerate(to_check):
            if sample:
                recurse_check_structure(sample[0], item, f"{where}[{index}]")
    elif isinstance(sample, dict):
        if missing := [key for key in sample if key not in to_check]:
            raise ValidationException(f"{where} lacks the key {missing[0]!r}")
        if unknown := [key for key in to_check if key not in sample]:
            raise ValidationException(f"{where} contains the unknown key {unknown[0]!r}")
        for key, value in sample.items():
            recurse_check_structure(value, to_check[key], f"{where}[{key!r}]")


class BotPlugin(PluginMessages, StoreMixin):
    """The base class of plugins, whose methods with decorators are chat commands and webhooks. For example::

        from errklein import BotPlugin, botcmd, webhook

        class Builds(BotPlugin):
            @botcmd
            def last(self, message, args):
                "Show the last build: !last"
                return self.get("last", "There was no build yet.")

            @webhook("/builds/<project>", methods=["POST"])
            def finished(self, payload, project):
                self["last"] = f"{project}: {payload['status']}"
                self.send(self.build_identifier("#builds"), self["last"])

    After a request `POST /builds/shop` with the JSON `{"status": "passed"}`, the room #builds gets "shop: passed", and so does
    whoever types `!last`. The module needs a `.plug` file beside it; `errklein new-plugin builds` writes both, and tests.

    A plugin gets from this class:

    - a store: `self["key"] = value` is on disk when the statement has ended, see `StoreMixin`; in coroutines,
      `await self.store.set("key", value)` doesn't block the reactor, see `StoredValues`
    - messages: `send`, `send_card`, `send_file`, `edit`, `delete`, `react`, and `ask`, which waits for an answer
    - calls at intervals: `start_poller`
    - requests to other services: `http`
    - a configuration that administrators set in the chat: `get_configuration_template` and `config`
    - a logger: `log`
    - events: overrides of the methods `callback_…`

    errklein creates one instance when it loads the plugin, and calls `configure`, `activate` and `callback_connect` in this
    order. `deactivate` is called when the plugin is deactivated or reloaded, and when the bot stops. The store is open from
    `activate` to `deactivate`.

    Every method that errklein calls may be a plain function, `async def`, or return a Deferred. Blocking code runs in a
    thread, asynchronous code on the reactor; `errklein check` prints where each handler runs. The methods of this class
    may be called from both.

    A constructor of a subclass must accept the parameters of this one, and call `super().__init__(bot, name)`.

    :param bot: The bot, available as `self._bot`.
    :param name: The plugin's name, from its `.plug` file; by default the name of the class."""

    config: Any
    """The configuration that `configure` stored. As on errbot, the attribute is missing until `configure` is called."""

    def __init__(self, bot: PluginHost, name: str | None = None) -> None:
        super().__init__()
        self._bot = bot
        self._name = name or type(self).__name__
        self.is_activated = False
        self.dependencies: list[str] = []
        self.log = logging.getLogger(f"errbot.plugins.{self._name}")
        self.__pollers = Pollers(bot.reactor, bot.runner, self._name)
        self.__dynamic_plugins: dict[str, BotPlugin] = {}
        self._errklein_mounts: dict[str, IResource] = {}

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name.startswith("callback_") or name == "is_activated":
            self.__callback_changed()

    def __delattr__(self, name: str) -> None:
        super().__delattr__(name)
        if name.startswith("callback_"):
            self.__callback_changed()

    def __callback_changed(self) -> None:
        if (manager := getattr(vars(self).get("_bot"), "plugin_manager", None)) is not None:
            manager.callbacks_changed()

    @property
    def mode(self) -> str:
        """The kind of the current network, such as "irc" or "text". The current network is the one whose message or event
        is being handled. Outside of such a handler, as in a webhook, it is the first one in the configuration."""
        return self._bot.mode

    @property
    def bot_config(self) -> Any:
        """The settings of `config.py` as attributes, such as `self.bot_config.BOT_ADMINS`."""
        return self._bot.bot_config

    @property
    def bot_identifier(self) -> Identifier | None:
        """The bot's identifier on the current network (see `mode`); None before the network is connected."""
        return self._bot.bot_identifier

    @property
    def plugin_dir(self) -> str:
        """The directory that contains installed repositories of plugins."""
        return str(self._bot.plugins_directory)

    @partial(DefaultProperty, library="treq.client.HTTPClient")
    def http(self) -> PluginHTTPClient:
        """A treq client for requests to other services, see `PluginHTTPClient`. It works only on the reactor. A plugin's
        own attribute or method of this name takes precedence. :doc:`/guides/background-work` has examples."""
        return self._bot.http_clients.client()

    @DefaultProperty
    def store(self) -> StoredValues:
        """The plugin's values for coroutines, see `StoredValues`. A plugin's own attribute of this name takes precedence."""
        return StoredValues(self, self._bot.storage, self._bot.reactor)

    @DefaultMethod
    def mount(self, path: str, resource: IResource) -> None:
        """Serve a Twisted resource, or the resource of a Klein application, below a path of the web server. Call it in
        `activate`; :doc:`/guides/pages` has examples.

        The resource gets the requests for this path, and for all paths below it, that no `@webhook` handles. It runs on the
        reactor, and must not block. A request's head and body are within the limits of webhooks, and a response must begin
        within WEBHOOK_TIMEOUT. The mount ends when the plugin is deactivated.

        A plugin's own attribute or method of this name takes precedence.

        :param path: The path, such as "/board". A second call with the same path replaces the resource.
        :raises TypeError: The resource isn't one. A Klein application has one: `app.resource()`."""
        if not IResource.providedBy(resource):
            raise TypeError(
                f"mount: {path!r} needs a Twisted resource, not {type(resource).__name__}; "
                "a Klein application's resource is `app.resource()`"
            )
        self._errklein_mounts[normalise_rule(path)] = resource
        if self.is_activated:
            on_reactor_soon(self._bot.reactor, self._bot.plugin_manager.mounts_changed, self)

    @DefaultMethod
    def webhook_url(self, method: str, **values: Any) -> str:
        """Return the full URL of a webhook, for links in messages and for other services. It begins with PUBLIC_URL and
        WEBHOOK_BASE_PATH. A plugin's own attribute or method of this name takes precedence.

        :param method: The name of a method of this plugin, or `"Plugin:method"` for one of another plugin.
        :param values: Values for the variables of the rule. Others are added as a query.
        :raises LookupError: If no active plugin has such a webhook.
        :raises RuntimeError: If PUBLIC_URL isn't set."""
        url: str = self._bot.web.url_for(self.name, method, values)
        return url

    @property
    def current_pollers(self) -> list[tuple[Callable[..., Any], Iterable[Any], Mapping[str, Any]]]:
        """The running pollers of this plugin, each as a tuple of method, arguments and keyword arguments."""
        return self.__pollers.running

    @property
    def current_timers(self) -> list[Any]:
        """A list with one item for each running poller, for code written for errbot. Only its length is meaningful."""
        return [method for method, _, _ in self.__pollers.running]

    # Methods to override

    def get_configuration_template(self) -> Any:
        """Return an example of the plugin's configuration. Override this method to make the plugin configurable: with a value
        of literals, such as `{"URL": "https://ci.example.org", "TIMEOUT": 10}`; see :doc:`/guides/storage`. None, as by default,
        is for none. `!plugin config NAME` shows the template, and `check_configuration` compares with it."""
        return None

    def check_configuration(self, configuration: Any) -> Any:
        """Check a new configuration. The default requires the same structure as the template. It is called before a
        configuration is used, unless the configuration or the template is None. Override it to check more::

            def check_configuration(self, configuration):
                super().check_configuration(configuration)
                if configuration["TIMEOUT"] <= 0:
                    raise ValidationException("TIMEOUT must be positive")

        :raises ValidationException: If the configuration is invalid. The text is shown to the administrator, and the
            previous configuration stays in use."""
        recurse_check_structure(self.get_configuration_template(), configuration)

    def configure(self, configuration: Any) -> Any:
        """Store the configuration in `self.config`. Called before each activation, with None if the plugin isn't configured.
        Override it to add default values, and call the inherited method with the result."""
        self.config = configuration

    def reconfigure(self, configuration: Any) -> Any:
        """Apply a new configuration, which is checked already, to the active plugin, without an interruption. An override
        applies the new values and assigns `self.config`. By default, it returns NotImplemented, and the plugin is
        deactivated and activated again."""
        return NotImplemented

    def activate(self) -> Any:
        """Start the plugin: open its store, and register its commands, filters and flows. Override it to start pollers or
        to open connections. The override must call the inherited method, `super().activate()`; without that call the plugin
        stays inactive. After the call the store is open.

        If it raises an exception, the plugin is deactivated and administrators get the error with file and line. An
        activation that takes longer than 60 seconds continues in the background."""
        # The store is still open if a handler from before the last deactivation is running.
        if not StoreMixin.is_open_storage(self):
            self.init_storage()
        self._bot.inject_commands_from(self)
        self._bot.inject_command_filters_from(self)
        self._bot.inject_flows_from(self)
        self.is_activated = True

    def init_storage(self) -> None:
        """Open the plugin's store, in a namespace with the plugin's name. `activate` calls this method."""
        self.open_storage(self._bot.storage, plugin_name(self))

    def deactivate(self) -> Any:
        """Stop the plugin: its pollers end, and its commands, filters and flows are removed. Override it to release
        resources, and call the inherited method. Handlers that are running may finish; then the store is closed."""
        self.__pollers.stop()
        for dynamic in self.__dynamic_plugins.values():
            self._bot.remove_commands_from(dynamic)
        self.__dynamic_plugins.clear()
        self._errklein_mounts.clear()
        self._bot.remove_flows_from(self)
        self._bot.remove_command_filters_from(self)
        self._bot.remove_commands_from(self)
        self.is_activated = False
        # Last, since a handler whose question is withdrawn continues and might ask another one.
        on_reactor_soon(self._bot.reactor, self._bot.conversations.withdraw, self)

    def callback_connect(self) -> Any:
        """Called after each activation of the plugin, and whenever a network has connected."""

    def callback_message(self, message: Message) -> Any:
        """Called for each message that the bot receives in a room or in private, including commands. `message.delayed` is
        True if the network replays it from before the bot connected. The bot's own messages are left out; see
        `callback_botmessage`. The return value is ignored. :doc:`/guides/messages` has an example."""

    def callback_message_edited(self, message: Message) -> Any:
        """Called when the sender of a message has edited it. It has the new text, and runs no command and answers no
        question. `message.ref` is that of the original, and `message.edited` is True."""

    def callback_message_deleted(self, ref: MessageRef, by: Identifier | None) -> Any:
        """Called when a message was deleted. `ref` is its `message.ref`, and `by` is None if the network doesn't say who."""

    def callback_mention(self, message: Message, mentioned_people: Sequence[Identifier]) -> Any:
        """Called for each message that mentions people. The bot's own identifier is `self.bot_identifier`."""

    def callback_presence(self, presence: Presence) -> Any:
        """Called when a person comes online, goes offline or changes the status."""

    def callback_reaction(self, reaction: Reaction) -> Any:
        """Called when a reaction is added to a message or removed from it."""

    def callback_stream(self, stream: Stream) -> Any:
        """Called when a person sends a file. Each plugin that overrides this method gets a copy of the file, with the
        status "pending", in a separate thread, and accepts or rejects it. A file that is neither accepted nor rejected is
        rejected, as by default. :doc:`/guides/edit-and-react` has an example."""
        stream.reject()

    def callback_botmessage(self, message: Message) -> Any:
        """Called for each message that the bot sends to `message.to`, including cards and replies to commands."""

    def callback_room_joined(self, room: Room, identifier: Identifier | None = None, invited_by: Any = None) -> Any:
        """Called when a person or the bot joins a room. `identifier` is the bot's own if the bot joined, and `invited_by`
        None if unknown."""

    def callback_room_left(self, room: Room, identifier: Identifier | None = None, kicked_by: Any = None) -> Any:
        """Called when a person or the bot leaves a room. `identifier` is the bot's own if the bot left, and `kicked_by`
        None if they left by themselves, or if it is unknown."""

    def callback_room_topic(self, room: Room) -> Any:
        """Called when the topic of a room changes; `room.topic` is the new one."""

    def callback_forget_person(self, person: Person) -> Any:
        """Called by `!person forget`: remove the values that the plugin has stored of a person. Return a sentence for the
        administrator about what was removed or stays, or None. :doc:`/guides/forget-a-person` has an example."""

    # Methods to call

    def start_poller(
        self,
        interval: float,
        method: Callable[..., Any],
        times: int | None = None,
        args: Iterable[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        """Call a method periodically, until `stop_poller` is called or the plugin is deactivated. Call it in `activate`;
        :doc:`/guides/background-work` has examples.

        The first call is made after one interval. Calls don't overlap: a call that takes longer than the interval skips
        the calls that it missed. An exception is logged, and the poller continues; so are an invalid interval, and
        arguments such as `args=(90)` instead of `args=(90,)`. A second poller with the same method and arguments replaces
        the first.

        :param interval: The time between two calls, in seconds.
        :param method: It may be plain, `async def`, or return a Deferred.
        :param times: The number of calls; by default unlimited.
        :raises TypeError: If `method` isn't callable."""
        check_in_owner("start a poller", "start it in activate(), or remove the option")
        self.__pollers.start(interval, times, (method, args or (), kwargs or {}))

    def stop_poller(
        self,
        method: Callable[..., Any] | None = None,
        args: Iterable[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        """Stop the poller that has this method and these arguments; without a method, all pollers of this plugin. Raises
        ValueError if no poller has them."""
        self.__pollers.stop(None if method is None else (method, args or (), kwargs or {}))

    def ask(self, msg: Message, question: str, timeout: float | None = 60.0) -> Any:
        """Ask the sender of a message a question, and wait for the reply. In a coroutine, it is awaited:
        `branch = await self.ask(msg, "Which branch?", timeout=30)`. A plain method, which runs in a thread, calls it without
        `await`. :doc:`/guides/commands` has examples.

        The question is sent to where the replies of the command go. The reply is the next message of the same person in the
        same place and thread; it isn't run as a command. Messages with a command prefix are run as usual, and the question
        stays open. A second question to the same person in the same place is sent after the reply to the first. A person can
        have five open questions.

        :param timeout: The time to wait for the reply, in seconds; None to wait without a limit.
        :returns: The text of the reply without surrounding white space, a `str` whose attribute `message` is the message.
        :raises TimeoutError: If there is no reply in time. A command that doesn't catch it replies with a sentence about it.
        :raises CommandError: If the plugin is deactivated, the bot stops, or the person has too many open questions."""
        check_in_owner("ask a question")
        return self._bot.waits.result_of(self._bot.conversations.ask, self, msg, question, timeout)

    def create_dynamic_plugin(self, name: str, commands: Iterable[Command], doc: str | None = None) -> None:
        """Create a plugin with commands at run time, and a description for `!help`. The commands are available at once, until
        this plugin is deactivated or `destroy_dynamic_plugin` is called. Raises ValueError if this plugin has a dynamic plugin
        of that name. :doc:`/guides/commands` has an example."""
        if name in self.__dynamic_plugins:
            raise ValueError(f"{plugin_name(self)} already has a dynamic plugin named {name}")
        methods = {command.name: command.definition for command in commands}
        described = {"__doc__": doc, "__errdoc__": doc or ""}
        plugin: BotPlugin = type(re.sub(r"\W", "_", name), (BotPlugin,), {**methods, **described})(self._bot, name)
        self.__dynamic_plugins[name] = plugin
        self._bot.inject_commands_from(plugin)

    def destroy_dynamic_plugin(self, name: str) -> None:
        """Remove a plugin that `create_dynamic_plugin` created, and its commands. Raises ValueError if there is none."""
        if (plugin := self.__dynamic_plugins.pop(name, None)) is None:
            raise ValueError(f"{plugin_name(self)} has no dynamic plugin named {name}")
        self._bot.remove_commands_from(plugin)

    def get_plugin(self, name: str) -> BotPlugin:
        """Return another plugin, to call its methods. This plugin's `.plug` file must list the other one in `DependsOn`,
        which also activates it first.

        :raises RuntimeError: If this plugin isn't active, or if `DependsOn` doesn't list the other one."""
        if not self.is_activated:
            raise RuntimeError(f"{plugin_name(self)} must be active to get the plugin {name}")
        if name not in self.dependencies:
            raise RuntimeError(f"{plugin_name(self)} can't get {name}: add it to DependsOn in the .plug file")
        return self._bot.plugin_manager.instance(name)


class BotFlow:
    """The base class of collections of flows that aren't in a plugin, as on errbot.

    A flow guides a person or a room through a sequence of commands. Methods of a plugin with `@botflow` need no class of their
    own; see `botflow`. Methods of a subclass each build one flow, too::

        from errklein import BotFlow, FlowRoot, botflow


        class Polls(BotFlow):
            @botflow
            def poll(self, flow: FlowRoot):
                "Create a poll, and vote."
                new = flow.connect("poll new", auto_trigger=True)
                option = new.connect("poll option")
                option.connect(option)
                option.connect("poll start")

    Put the module beside a `.flow` file, which has the format of a `.plug` file. The methods are called when the flows
    are activated. A flow has its method's name, and the docstring is its description.

    :param bot: The bot, available as `self._bot`.
    :param name: The name from the `.flow` file; by default the name of the class."""

    def __init__(self, bot: PluginHost, name: str | None = None) -> None:
        self._bot = bot
        self._name = name or type(self).__name__
        self.is_activated = False

    @property
    def name(self) -> str:
        """The name, as in the `.flow` file."""
        return self._name

    def activate(self) -> Any:
        """Build and register the flows. An override must call the inherited method. Raises ValueError if a flow can't be
        built, or if its name is taken."""
        self._bot.inject_flows_from(self)
        self.is_activated = True

    def deactivate(self) -> Any:
        """Unregister the flows, and end them for everybody. An override must call the inherited method."""
        self._bot.remove_flows_from(self)
        self.is_activated = False

    def get_command(self, command_name: str) -> Callable[..., Any] | None:
        """Return the method that handles a command; None if there is none of this name, with spaces or underscores."""
        command: RegisteredCommand | None = self._bot.registry.get(command_name.replace(" ", "_"))
        return None if command is None else command.handler


def build_flows(flows: Any) -> list[FlowRoot]:
    """Build the flows of all methods of a plugin or a BotFlow that are marked with `@botflow`, in alphabetical order. Raises
    ValueError, with the name of the method, if a method raises an exception."""
    roots = []
    static = {name: value for cls in reversed(type(flows).__mro__) for name, value in vars(cls).items()}
    for name, value in sorted(static.items(), key=itemgetter(0)):
        if getattr(value, "_err_flow", False):
            build = getattr(flows, name)
            root = FlowRoot(name, inspect.getdoc(build))
            try:
                build(root)
            except Exception as error:
                problem = f"{plugin_name(flows)}.{name} can't be built: {type(error).__name__}: {error}"
                raise ValueError(problem) from error
            roots.append(root)
    return roots
