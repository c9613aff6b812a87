"""Tests of plugins as errbot has them: the test blocks while a whole bot works in another thread."""

from __future__ import annotations

import logging
import shutil
import sys
import tempfile
import textwrap
import threading
import unittest
import weakref
from collections.abc import Awaitable, Collection, Mapping
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from queue import Empty
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.task import deferLater

from errklein.compat.flask_app import reset_app
from errklein.running.reactor_thread import reactor_thread
from errklein.testing._log_forwarding import forwarded_log

# Before anything that imports the reactor: plugins' libraries are to run on this one.
_reactor_thread = reactor_thread()

from errklein.backends.test import TestBackend  # noqa: E402
from errklein.bot import Sending  # noqa: E402
from errklein.chat import Identifier, Message, Presence  # noqa: E402
from errklein.compat.bot import ErrbotBot  # noqa: E402
from errklein.config import load_config  # noqa: E402
from errklein.plugins.imports import share_with_tests, unload, unshare  # noqa: E402
from errklein.plugins.loading import CORE_PLUGINS  # noqa: E402
from errklein.plugins.plug_file import PlugFile  # noqa: E402
from errklein.ports import Backend  # noqa: E402
from errklein.testing._client import WebhookClient  # noqa: E402
from errklein.testing._helper_modules import HelperModuleFinder  # noqa: E402
from errklein.testing._idle import stays_idle  # noqa: E402
from errklein.testing._log_file import log_file  # noqa: E402
from errklein.testing._packages import share_packages  # noqa: E402
from errklein.testing._requests import Requests  # noqa: E402
from errklein.web import ClientResponse  # noqa: E402
from errklein.wiring import wire  # noqa: E402

if TYPE_CHECKING:
    from errklein.config import Config

_LONGEST_START = 60.0
_LONGEST_STOP = 15.0
_GRACE = 5.0
"""Seconds that commands have to end when the bot is stopped."""
_LONGEST_CALLBACK = 1.0
"""Seconds that what the bot says waits for plugins to have heard what was said before."""
_USUAL = 0.05
"""Seconds in which most answers come."""


class _Default(int):
    """A number that is told from the same one, given by a test."""


_REPLY_TIMEOUT: float = _Default(5)
"""Seconds that a test waits if it doesn't say how long."""


class _SendingByBot(Sending):
    """Sends by `send_message` of the bot, which a test may have replaced."""

    def __init__(self, bot: BotUnderTest) -> None:
        super().__init__(bot.networks, bot.callbacks)
        self._bot = bot

    def deliver(self, backend: Backend, message: Message) -> Awaitable[None] | None:
        """Call `send_message`."""
        return self._bot.send_message(message)


class BotUnderTest(ErrbotBot):
    """A bot on one network in memory. As on errbot, the bot has the attributes of its network, such as `push_message`."""

    other_threads: Collection[threading.Thread] = ()
    """Threads that have nothing to do with the bot."""

    @property
    def test_backend(self) -> TestBackend:
        """The network."""
        backend = next(iter(self.backends.values()))
        assert isinstance(backend, TestBackend)
        return backend

    @property
    def sender(self) -> Identifier:
        """Who says what is pushed; may be assigned."""
        return self.test_backend.sender

    @sender.setter
    def sender(self, sender: Identifier) -> None:
        self.test_backend.sender = sender

    def send_message(self, message: Message) -> Awaitable[None] | None:
        """Send the message, and call callback_botmessage. Everything that the bot sends passes here; tests may replace it."""
        return Sending.deliver(self.sending, self.networks.of(message), message)

    def make_sending(self) -> Sending:
        """The part that sends by calling `send_message`."""
        return _SendingByBot(self)

    def pop_message(self, timeout: float = _REPLY_TIMEOUT, block: bool = True) -> str | bytes:
        """The next thing that the bot sends; raises queue.Empty after so many seconds.

        If the test doesn't say how many, it is raised as soon as the bot has nothing to do, and nothing is left that
        could give it something by then. When it is there, plugins have heard what was said before it, unless their
        callbacks take long.
        """
        queue = self.test_backend.outgoing_message_queue
        # Some tests measure time with a message that doesn't come.
        if timeout is not _REPLY_TIMEOUT or not block:
            return self._after_callbacks(queue.get(block and timeout > 0, timeout))
        try:
            return self._after_callbacks(queue.get(timeout=_USUAL))
        except Empty:
            pass
        silent = threading.Event()

        async def listen() -> None:
            # A second look finds what a thread asked of the reactor just before it ended.
            for _ in range(2):
                await self.settled()
                if not stays_idle(self.reactor, timeout, self.other_threads):
                    return
            silent.set()
            queue.wake()

        self.reactor.callFromThread(lambda: Deferred.fromCoroutine(listen()))
        return self._after_callbacks(queue.get_unless(silent.is_set, timeout - _USUAL))

    def _after_callbacks(self, said: str | bytes) -> str | bytes:
        # errbot's Test network waits for plugins' callbacks, and tests look at what they have done.
        if threading.current_thread() is not _reactor_thread.thread:
            heard = threading.Event()
            self.reactor.callFromThread(lambda: self.queues.when_idle().addBoth(lambda _: heard.set()))
            heard.wait(_LONGEST_CALLBACK)
        return said

    async def settled(self) -> None:
        """Returns as soon as all that was said is answered, and no handler runs or waits."""
        parts = (self.runner, self.queues, self.dispatcher, self.web)
        while True:
            await DeferredList([part.when_idle() for part in parts])
            # What threads have asked of the reactor is done in its next turn, what waited for its turn as well.
            await deferLater(self.reactor, 0)
            if not self.runner.running() and all(part.when_idle().called for part in parts):
                return


class BlockingTestBot(Requests[ClientResponse]):
    """A bot for tests, with the plugins below `extra_plugin_dir`; `extra_config` are settings by name.

    Its network, storage and administrator, `gbin@localhost`, exist in memory only. `start` before use, and `stop` after.
    """

    __test__ = False

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
    """As the constructor. Raises ConfigError."""

    @property
    def bot(self) -> BotUnderTest:
        """The bot; there is none before `start`."""
        return self._bot

    def start(self, timeout: float = 2) -> None:
        """Activate the plugins, and wait until the bot can be talked to; what it has said by then is forgotten.

        Plugins may take a minute, or `timeout` seconds if that is more.
        """
        if self.bot_thread is not None:
            raise RuntimeError("the bot has been started already")
        self._exits.enter_context(log_file(self.bot_config))
        _reactor_thread.start()
        self.bot_thread = _reactor_thread.thread
        self._exits.enter_context(forwarded_log(self._loglevel))
        self._share_modules()
        try:
            self._on_reactor(self._start, timeout=max(timeout, _LONGEST_START), what="the start of the bot")
        except BaseException:
            # Nobody stops what hasn't been started.
            with suppress(Exception):
                self.stop()
            raise
        # Where errbot puts them too, so that tests can import what lies beside a plugin.
        sys.path.extend({str(plug.directory) for plug in self._plugs()} - set(sys.path))

    def stop(self) -> None:
        """Deactivate the plugins, forget their code, and end the bot."""
        if self.bot_thread is None:
            raise RuntimeError("the bot hasn't been started")
        try:
            self._on_reactor(self._stop, timeout=_LONGEST_STOP + _GRACE, what="the end of the bot")
        finally:
            self.bot_thread = None
            self._exits.close()
            self._remove_data()

    def push_message(self, msg: str, extras: Any = "") -> None:
        """Say something to the bot."""
        self.bot.push_message(msg, extras)

    def push_presence(self, presence: Presence) -> None:
        """Let the bot hear of somebody's presence."""
        self.bot.push_presence(presence)

    def pop_message(self, timeout: float = _REPLY_TIMEOUT, block: bool = True) -> Any:
        """The next thing that the bot says, as readers see it; raises queue.Empty if nothing comes in time."""
        return self.bot.pop_message(timeout, block)

    def exec_command(self, command: str, timeout: float = _REPLY_TIMEOUT) -> Any:
        """Say something to the bot; the next thing that it says."""
        self.push_message(command)
        return self.pop_message(timeout)

    def request(self, method: str, url: str, *, timeout: float = _REPLY_TIMEOUT, **request: Any) -> ClientResponse:
        """Send a request to the bot's web server, without a socket, and wait for the response.

        `get`, `head`, `post`, `put`, `patch`, `delete` and `options` do the same for one HTTP method each::

            def test_build(testbot):
                response = testbot.post("/build", json={"status": "ok"})
                assert response.status == 200
                assert "ok" in testbot.pop_message()

        :param timeout: The time to wait, in seconds.
        :param request: The arguments of `WebhookClient.request`: `params`, `headers`, `cookies`, `json`, `data`.
        :raises WaitTimeout: The response does not arrive in time; an AssertionError.
        """
        return self._send_request(method, url, timeout=timeout, **request)

    def zap_queues(self) -> None:
        """Forget what the bot has said and nobody has popped."""
        self.bot.zap_queues()

    def assertInCommand(
        self, command: str, response: str, timeout: float = _REPLY_TIMEOUT, dedent: bool = False
    ) -> None:
        """The bot's next message after the command contains `response`.

        With `dedent` the command begins in the second line of the text, which is indented as code around it is.
        """
        __tracebackhide__ = True
        if dedent:
            command = textwrap.dedent("\n".join(command.splitlines()[1:]))
        reply = self.exec_command(command, timeout)
        if response not in reply:
            raise AssertionError(f"{response!r} is not in the reply to {command!r}:\n{reply}")

    assertCommand = assertInCommand
    """The newer name of assertInCommand."""

    def assertCommandFound(self, command: str, timeout: float = _REPLY_TIMEOUT) -> None:
        """The command exists, whatever the bot answers."""
        __tracebackhide__ = True
        reply = self.exec_command(command, timeout)
        if "not found" in reply:
            raise AssertionError(f"{command!r} is not found:\n{reply}")

    def inject_mocks(self, plugin_name: str, mock_dict: Mapping[str, Any]) -> None:
        """Replace attributes of a plugin's instance; raises ValueError for one that it doesn't have."""
        plugin = self.bot.plugin_manager.get_plugin_obj_by_name(plugin_name)
        if plugin is None:
            raise Exception(f'"{plugin_name}" is not loaded.')
        for name, mock in mock_dict.items():
            if not hasattr(plugin, name):
                raise ValueError(f'No property/attribute named "{name}" attached.')
            setattr(plugin, name, mock)

    def _send_request(
        self, method: str, url: str, *, timeout: float = _REPLY_TIMEOUT, **request: Any
    ) -> ClientResponse:
        client = WebhookClient(self.bot.web.client())
        send = partial(client.request, method, url, **request)
        response: ClientResponse = _reactor_thread.wait(send, timeout=timeout, what=f"the response to {method} {url}")
        return response

    async def _start(self) -> None:
        # The reactor goes on, for other tests' bots.
        _, make_bot = wire(_reactor_thread.reactor, self.bot_config, BotUnderTest, ended=lambda: None)
        bot = make_bot()
        assert isinstance(bot, BotUnderTest)
        self._bot = bot
        bot.other_threads = frozenset(threading.enumerate())
        bot.test_backend.be_as_on_errbot()
        await bot.start()
        await bot.settled()
        # It is in the history from now on, and plugins have heard it; tests of both rely on that.
        bot.push_message(f"{self.bot_config.BOT_PREFIX}echo ready")
        await bot.settled()
        bot.zap_queues()

    async def _stop(self) -> None:
        # There is none if it could not be made.
        if hasattr(self, "_bot"):
            await self._bot.stop(_GRACE)

    def _share_modules(self) -> None:
        """Let tests and plugins have the same modules, until the bot is stopped; then forget the plugins' code."""
        finder = HelperModuleFinder(self._plugs)
        # Before the ordinary finders, which would make a second module of the same file.
        sys.meta_path.insert(0, finder)
        share_with_tests()
        for end in (self._unload, reset_app, unshare, partial(sys.meta_path.remove, finder)):
            self._exits.callback(end)

    def _unload(self) -> None:
        for plug in self._plugs():
            unload(plug)

    def _plugs(self) -> list[PlugFile]:
        """Of the test's own plugins."""
        found = self._bot.plugin_manager.found if hasattr(self, "_bot") else ()
        return [plugin.plug for plugin in found if plugin.plug.path.parent != CORE_PLUGINS]

    def _on_reactor(self, work: Any, timeout: float, what: str) -> None:
        _reactor_thread.wait(lambda: Deferred.fromCoroutine(work()), timeout=timeout, what=what)


class FullStackTest(unittest.TestCase, BlockingTestBot):
    """A test case with a bot of its own for each test; the test case itself has the methods of a BlockingTestBot.

    Without `extra_plugin_dir`, plugins are looked for below the directory two levels above the current one.
    """

    __test__ = True

    def setUp(
        self,
        extra_plugin_dir: str | list[str] | None = None,
        loglevel: int = logging.DEBUG,
        extra_config: Mapping[str, Any] | None = None,
    ) -> None:
        """Start the bot."""
        if extra_plugin_dir is None:
            extra_plugin_dir = str(Path.cwd().parent.parent)
        self.setup(extra_plugin_dir, loglevel, extra_config)
        self.start()

    def tearDown(self) -> None:
        """Stop the bot."""
        self.stop()


class ShallowConfig:
    """Settings by attribute, for tests that make a configuration themselves."""
