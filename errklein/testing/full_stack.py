"""errbot's test tools, under errbot's names in `errbot.backends.test`: a bot that runs in a thread while the test blocks, and a
unittest test case with it. The pytest fixture is in `fixture`."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import sys
import tempfile
import textwrap
import threading
import unittest
import weakref
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from queue import Empty
from types import ModuleType, SimpleNamespace
from typing import Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.task import deferLater
from twisted.logger import FileLogObserver, LogEvent, formatEvent, globalLogPublisher

from errklein.chat import Presence
from errklein.config import Config, ConfigError, load_config
from errklein.logs import FROM_STDLIB, FROM_TWISTED, Bridge, FormattedByLogging, LevelFilter, format_line, level_number
from errklein.networks.test import TestBackend
from errklein.plugins.imports import share_with_tests, unload
from errklein.plugins.plug_file import PACKAGE, PlugFile, slug
from errklein.running import loop_of
from errklein.running.reactors import reactor_thread
from errklein.text import to_plain
from errklein.wiring import wire

# Before Klein, which imports the reactor, so that it and plugins' libraries use this one.
_reactor_thread = reactor_thread()

from errklein.compat.bot import ErrbotBot  # noqa: E402
from errklein.compat.flask_app import reset_app  # noqa: E402
from errklein.plugins.imports import CORE_PLUGINS  # noqa: E402
from errklein.testing._client import UNSET, Requests, WebhookClient  # noqa: E402
from errklein.testing._surroundings import StubHTTP, environment, share_packages  # noqa: E402
from errklein.web import ClientResponse  # noqa: E402

_LONGEST_START = 60.0
_LONGEST_STOP = 15.0
_GRACE = 5.0  # for commands to end when the bot is stopped, in seconds

_POOLS = tuple(f"errklein {name} " for name in ("commands", "plugins", "webhooks", "decoding", "stored values"))
"""The prefixes of the names of the bot's threads, whose work its runner counts."""


def stays_idle(reactor: Any, seconds: float, other_threads: Collection[threading.Thread]) -> bool:
    """Return whether an idle bot stays idle for `seconds`. Called on the reactor. It doesn't if there is a delayed
    call, such as a poller's, an asyncio task, a socket, a process, or a thread that isn't one of `other_threads`."""
    loop = loop_of(reactor)
    assert loop is not None
    before = loop.time() + seconds
    due = [handle for handle in getattr(loop, "_scheduled", ()) if not handle.cancelled() and handle.when() <= before]
    # One reader is always there: it wakes the reactor when a thread calls it.
    is_connected = len(reactor.getReaders()) > 1 or reactor.getWriters()
    others = {*other_threads, threading.current_thread()}
    threads = [one for one in threading.enumerate() if one not in others and not one.name.startswith(_POOLS)]
    soon = [call for call in reactor.getDelayedCalls() if call.getTime() <= reactor.seconds() + seconds]
    return not (due or soon or is_connected or threads or asyncio.all_tasks(loop))


_LONGEST_CALLBACK = 1.0  # the seconds that a reply waits for plugins' callbacks for earlier messages
_USUAL = 0.05  # the seconds in which most replies arrive


class _Default(int):
    """A number that differs in identity from an equal one that a test passes."""


REPLY_TIMEOUT: float = _Default(5)  # the timeout of calls that don't specify one, in seconds


class BotUnderTest(ErrbotBot):
    """A bot on one network in memory. As on errbot, it has the attributes of its network, such as `push_message`,
    and `sender`, the sender of pushed messages, which tests may assign."""

    md = SimpleNamespace(convert=to_plain)  # converts Markdown to the text that tests read
    other_threads: Collection[threading.Thread] = ()  # those that don't belong to the bot

    @property
    def test_backend(self) -> TestBackend:
        """The backend."""
        backend = next(iter(self.backends.values()))
        assert isinstance(backend, TestBackend)
        return backend

    def pop_message(self, timeout: float = REPLY_TIMEOUT, block: bool = True) -> str | bytes:
        """Return the bot's next message, after the callbacks for earlier ones; see `BlockingTestBot.pop_message`."""
        queue = self.test_backend.outgoing_message_queue
        # A test with a timeout of its own may use it to measure time.
        if timeout is not REPLY_TIMEOUT or not block:
            return self._after_callbacks(queue.get(block and timeout > 0, timeout))
        silent = threading.Event()

        async def listen() -> None:
            # The second round finds calls that a thread made just before it ended.
            for _ in range(2):
                await self.settled()
                if not stays_idle(self.reactor, timeout, self.other_threads):
                    return
            silent.set()

        for turn in range(round(timeout / _USUAL)):
            with suppress(Empty):
                return self._after_callbacks(queue.get(timeout=_USUAL))
            if turn == 0:
                self.reactor.callFromThread(lambda: Deferred.fromCoroutine(listen()))
            elif silent.is_set():
                break
        return self._after_callbacks(queue.get_nowait())

    def _after_callbacks(self, said: str | bytes) -> str | bytes:
        # errbot's Test backend waits for plugins' callbacks, and tests rely on their effects.
        if threading.current_thread() is not _reactor_thread.thread:
            heard = threading.Event()
            self.reactor.callFromThread(lambda: self.queues.when_idle().addBoth(lambda _: heard.set()))
            heard.wait(_LONGEST_CALLBACK)
        return said

    async def settled(self) -> None:
        """Return when all messages are handled, and no handler runs or waits."""
        parts = (self.runner, self.queues, self.dispatcher, self.web)
        while True:
            await DeferredList([part.when_idle() for part in parts])
            # Calls from threads, and delayed calls that are due, run in the reactor's next turn.
            await deferLater(self.reactor, 0)
            if not self.runner.running() and all(part.when_idle().called for part in parts):
                return


class BlockingTestBot(Requests[ClientResponse]):
    """A bot that runs in a thread with real time, for tests that block; errbot's `TestBot`. Its network and storage are in
    memory, and its administrator is `gbin@localhost`. The pytest fixture `testbot` provides one
    that is started, as in :doc:`/guides/testing-errbot`.

    `get`, `post` and the other methods for requests have another parameter, `timeout`, in seconds. If the response does not arrive in
    time, they raise WaitTimeout, an AssertionError. `extra_plugin_dir` is a directory, or a list of directories, that is searched
    for plugins, and `extra_config` has settings by name, as in config.py."""

    __test__ = False

    secrets: Mapping[str, str] = {}
    """Secrets by the variable of the environment that names them, while the bot runs. Another object of this name is ignored."""

    def __init__(
        self,
        extra_plugin_dir: str | list[str] | None = None,
        loglevel: int = logging.DEBUG,
        extra_config: Mapping[str, Any] | None = None,
    ) -> None:
        data = tempfile.mkdtemp(prefix="errklein-test-")
        share_packages(Path(data))
        self._remove_data = weakref.finalize(self, shutil.rmtree, data, ignore_errors=True)
        self._loglevel = loglevel
        self._exits = ExitStack()
        self.http = self._http = StubHTTP()
        """The network of `self.http` in plugins."""
        self.bot_thread: threading.Thread | None = None
        self.bot_config: Config = load_config(
            None,
            {
                "BACKEND": "Test",
                "BOT_ADMINS": ("gbin@localhost",),
                "BOT_DATA_DIR": data,
                "BOT_EXTRA_PLUGIN_DIR": extra_plugin_dir or [],
                "BOT_IDENTITY": {"username": "err"},
                "BOT_LOG_FILE": f"{data}/log.txt",
                "BOT_LOG_LEVEL": loglevel,
                "CHATROOM_PRESENCE": ("testroom",),
                "STORAGE": "Memory",
                **(extra_config or {}),
            },
        )

    setup = __init__
    """Configure the bot as the constructor does; test cases call it in `setUp`."""

    @property
    def bot(self) -> BotUnderTest:
        """The running bot. Before `start`, raises AttributeError."""
        return self._bot

    def start(self, timeout: float = 2) -> None:
        """Activate the plugins, wait until the bot accepts messages, and discard those that it has sent. Raises WaitTimeout, an
        AssertionError, after the timeout in seconds, at least 60 s, and RuntimeError if the bot is running already."""
        if self.bot_thread is not None:
            raise RuntimeError("the bot is running already; call stop() before start()")
        # Tests written for errbot may have something else of this name.
        given = self.secrets.items() if isinstance(self.secrets, Mapping) else [(None, None)]
        if all(isinstance(value, str) and str(name).isidentifier() for name, value in given):
            self._exits.enter_context(environment(self.secrets))
        _append_log(self.bot_config, self._exits)
        _reactor_thread.start()
        self.bot_thread = _reactor_thread.thread
        _forward_log(self._loglevel, self._exits)
        self._share_modules()
        try:
            _reactor_thread.wait(self._start, timeout=max(timeout, _LONGEST_START), what="the start of the bot")
        except BaseException:
            # A test doesn't call stop() if start() fails.
            with suppress(Exception):
                self.stop()
            raise
        # As on errbot, so that tests can import modules beside a plugin.
        sys.path.extend({str(plug.directory) for plug in self._plugs()} - set(sys.path))

    def stop(self) -> None:
        """Stop the bot, and unload its plugins' modules. Raises WaitTimeout, an AssertionError, after 20 s, UnexpectedRequest
        for a request without a response declared in `http`, and RuntimeError if the bot is not running."""
        if self.bot_thread is None:
            raise RuntimeError("the bot is not running; call start() first")
        try:
            _reactor_thread.wait(self._stop, timeout=_LONGEST_STOP + _GRACE, what="the end of the bot")
        finally:
            self.bot_thread = None
            self._exits.close()
            self._remove_data()
        self._http.check()

    def push_message(self, msg: str, extras: Any = "") -> None:
        """Send a message with these extras to the bot, from `bot.sender`."""
        self.bot.push_message(msg, extras)

    def push_presence(self, presence: Presence) -> None:
        """Report a presence to the bot, which calls `callback_presence`."""
        self.bot.push_presence(presence)

    def pop_message(self, timeout: float = REPLY_TIMEOUT, block: bool = True) -> Any:
        """Return the next message that the bot sends, as a reader sees it. Without a timeout of the test's own, in
        seconds, `queue.Empty` is raised as soon as the bot is idle and no timer, task, thread or socket could make it
        send a message. With `block=False`, it is raised at once."""
        return self.bot.pop_message(timeout, block)

    def exec_command(self, command: str, timeout: float = REPLY_TIMEOUT) -> Any:
        """Send a message to the bot, and return the next message that it sends; see `pop_message`."""
        self.push_message(command)
        return self.pop_message(timeout)

    def zap_queues(self) -> None:
        """Discard the messages that the bot has sent and the test has not popped."""
        self.bot.zap_queues()

    def assertInCommand(
        self, command: str, response: str, timeout: float = REPLY_TIMEOUT, dedent: bool = False
    ) -> None:
        """Fail unless the bot's next message after the command contains a text; queue.Empty if none arrives in time. With
        `dedent`, the first line of the command is removed, and the indentation of the others, as in triple quotes."""
        __tracebackhide__ = True
        if dedent:
            command = textwrap.dedent("\n".join(command.splitlines()[1:]))
        reply = self.exec_command(command, timeout)
        if response not in reply:
            raise AssertionError(f"{response!r} is not in the reply to {command!r}:\n{reply}")

    assertCommand = assertInCommand  # the newer name

    def assertCommandFound(self, command: str, timeout: float = REPLY_TIMEOUT) -> None:
        """Fail if the bot's reply is that the command is not found. Raises queue.Empty if none arrives in time."""
        __tracebackhide__ = True
        reply = self.exec_command(command, timeout)
        if "not found" in reply:
            raise AssertionError(f"{command!r} is not found:\n{reply}")

    def inject_mocks(self, plugin_name: str, mock_dict: Mapping[str, Any]) -> None:
        """Replace attributes of an active plugin's instance, by name. Raises ValueError for an unknown attribute."""
        if (plugin := self.bot.plugin_manager.get_plugin_obj_by_name(plugin_name)) is None:
            raise Exception(f'"{plugin_name}" is not loaded.')
        for name, mock in mock_dict.items():
            if not hasattr(plugin, name):
                raise ValueError(f'No property/attribute named "{name}" attached.')
            setattr(plugin, name, mock)

    def _send_request(
        self, method: str, url: str, body: object = UNSET, *, timeout: float = REPLY_TIMEOUT, **request: Any
    ) -> ClientResponse:
        send = partial(WebhookClient(self.bot.web)._send_request, method, url, body, **request)
        response: ClientResponse = _reactor_thread.wait(send, timeout=timeout, what=f"the response to {method} {url}")
        return response

    async def _start(self) -> None:
        # The reactor keeps running for other tests. `self.http` may be something else in a test case.
        agent = self._http.agent
        _, make_bot = wire(_reactor_thread.reactor, self.bot_config, BotUnderTest, ended=lambda: None, make_agent=agent)
        bot = make_bot()
        assert isinstance(bot, BotUnderTest)
        self._bot = bot
        bot.other_threads = frozenset(threading.enumerate())
        bot.test_backend.be_as_on_errbot()
        await bot.start()
        await bot.settled()
        # As on errbot: the command is in the history, and plugins' callbacks have got it.
        bot.push_message(f"{self.bot_config.BOT_PREFIX}echo ready")
        await bot.settled()
        bot.zap_queues()

    async def _stop(self) -> None:
        # There is no bot if its creation failed.
        if hasattr(self, "_bot"):
            await self._bot.stop(_GRACE)

    def _share_modules(self) -> None:
        """Make tests and plugins share modules until the bot is stopped; then unload the plugins' modules."""
        finder = _HelperModuleFinder(self._plugs)
        # Before the ordinary finders, which would create a second module of the same file.
        sys.meta_path.insert(0, finder)
        share_with_tests()
        for end in (self._unload, reset_app, partial(share_with_tests, -1), partial(sys.meta_path.remove, finder)):
            self._exits.callback(end)

    def _unload(self) -> None:
        for plug in self._plugs():
            unload(plug)

    def _plugs(self) -> list[PlugFile]:
        found = self._bot.plugin_manager.found if hasattr(self, "_bot") else ()
        # Operators' plugins may have Core = True, too.
        return [plugin.plug for plugin in found if plugin.plug.path.parent != CORE_PLUGINS]


class _HelperModuleFinder(MetaPathFinder, Loader):
    """Makes `import helper` in a test return the module of a plugin under test, while it is in `sys.meta_path`. It
    doesn't find the plugin's own module: as on errbot, a test that imports it by its bare name gets another one."""

    def __init__(self, plugs: Callable[[], Iterable[PlugFile]]) -> None:
        self._plugs = plugs

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: Any = None) -> ModuleSpec | None:
        if path is not None or fullname in sys.stdlib_module_names or self._module(fullname) is None:
            return None
        return ModuleSpec(fullname, self)

    def exec_module(self, module: ModuleType) -> None:
        sys.modules[module.__name__] = self._module(module.__name__) or module

    def _module(self, name: str) -> ModuleType | None:
        for plug in self._plugs():
            module = sys.modules.get(f"{PACKAGE}.{slug(plug.name)}.{name}")
            if module is not None and name != plug.module:
                return module
        return None


def _append_log(config: Any, exits: ExitStack) -> None:
    """Append the log to BOT_LOG_FILE, if any, until the end, as the service does. Raises ConfigError if that is impossible."""
    path, formatter, root = config.BOT_LOG_FILE, config.BOT_LOG_FORMATTER, logging.getLogger()
    if not path:
        return
    try:
        # In append mode, so that tests may truncate or rewrite the file meanwhile.
        file = open(path, "a", encoding="utf-8", opener=lambda name, flags: os.open(name, flags, 0o600))  # noqa: SIM115
    except OSError as error:
        raise ConfigError(f"BOT_LOG_FILE: {path} can't be written to: {error.strerror}") from error
    write = FileLogObserver(file, format_line if formatter is None else FormattedByLogging(formatter))
    passes = LevelFilter([write], config.BOT_LOG_LEVEL)
    # A formatter may log something itself, and other threads may still log when the file is closed.
    lock = threading.RLock()

    def keep(event: LogEvent) -> None:
        with lock:
            if not file.closed:
                passes(event)

    def close() -> None:
        with lock:
            file.close()

    exits.callback(close)
    # Records of plugins arrive through the bridge.
    _observe(keep, exits)
    bridge = Bridge(keep)
    root.addHandler(bridge)
    exits.callback(root.removeHandler, bridge)


def _forward_log(level: int, exits: ExitStack) -> None:
    """Forward the bot's log to the root logger, with this level, until the end, as for `caplog` and `assertLogs`."""

    def forward(event: LogEvent) -> None:
        level = level_number(event)
        logger = logging.getLogger(event.get("log_namespace", "errklein"))
        if logger.isEnabledFor(level):
            failure = event.get("log_failure")
            error = None if failure is None else (failure.type, failure.value, failure.getTracebackObject())
            logger.log(level, "%s", formatEvent(event), exc_info=error, extra={FROM_TWISTED: True})

    root = logging.getLogger()
    exits.callback(root.setLevel, root.level)
    root.setLevel(level)
    _observe(forward, exits)


def _observe(observe: Callable[[LogEvent], None], exits: ExitStack) -> None:
    def pass_on(event: LogEvent) -> None:
        if FROM_STDLIB not in event:
            observe(event)

    observer: Any = pass_on
    globalLogPublisher.addObserver(observer)
    exits.callback(globalLogPublisher.removeObserver, observer)


class FullStackTest(unittest.TestCase, BlockingTestBot):
    """A unittest test case with a bot for each test, and the methods of a `BlockingTestBot`. `setUp` of a subclass calls
    `super().setUp(extra_plugin_dir="plugins")`; by default it is the directory two levels above, as on errbot."""

    __test__ = True

    def setUp(self, extra_plugin_dir: str | list[str] | None = None, *more: Any, **settings: Any) -> None:
        """Start the bot; see `BlockingTestBot` for the parameters."""
        if extra_plugin_dir is None:
            extra_plugin_dir = str(Path.cwd().parent.parent)
        self.setup(extra_plugin_dir, *more, **settings)
        self.start()

    def tearDown(self) -> None:
        """Stop the bot."""
        self.stop()


class ShallowConfig:
    """Settings as attributes, for tests that create a configuration themselves."""
