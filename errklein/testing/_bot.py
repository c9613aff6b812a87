"""A whole bot in memory, for tests of plugins."""

from __future__ import annotations

import asyncio
import logging
import tempfile
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

from twisted.internet.defer import Deferred
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from zope.interface import implementer

from errklein.backends.test import SentMessage, TestBackend
from errklein.config import load_config
from errklein.plugins import BotPlugin
from errklein.running import loop_of, register_reactor_thread
from errklein.running.threads import unwrapped
from errklein.testing._client import WebhookClient
from errklein.testing._loop import TestLoop
from errklein.testing._packages import share_packages
from errklein.testing._pool import InlinePool
from errklein.testing._reactor import TestReactor
from errklein.testing._requests import Requests
from errklein.web import ClientResponse
from errklein.wiring import wire

T = TypeVar("T")

ADMIN = "@admin"


@dataclass(frozen=True)
class Sent:
    """A message that the bot sent: to whom, its text as a reader sees it, and on which network."""

    to: str
    text: str
    network: str = "test"


class LeftOver(AssertionError):
    """Something of a plugin goes on after the bot has stopped."""


class TestBot(Requests[Deferred[ClientResponse]]):
    """A bot with a chat network, web server, storage and clock that exist in memory only.

    `plugins` are classes, `plugin_dirs` directories with .plug files, `config` settings by name. `networks` are several
    networks, each with its own settings, as in BACKENDS; without it there is one, named "test". Blocking handlers run at
    once and in place, time passes in `advance`. `start` before use and `stop` after.
    """

    __test__ = False

    def __init__(
        self,
        plugins: Iterable[type[BotPlugin]] = (),
        *,
        plugin_dirs: Iterable[Path | str] = (),
        config: Mapping[str, Any] | None = None,
        networks: Mapping[str, Mapping[str, Any]] | None = None,
        reactor: Any = None,
    ) -> None:
        roots = [Path(directory) for directory in plugin_dirs]
        for directory in roots:
            if not directory.is_dir():
                raise ValueError(f"plugin_dirs: there is no directory {directory}; trial changes into one of its own")
        self.reactor: Any = TestReactor() if reactor is None else reactor
        self._directory = tempfile.TemporaryDirectory(prefix="errklein-test-")
        share_packages(Path(self._directory.name))
        settings: dict[str, Any] = {"BOT_DATA_DIR": self._directory.name, "STORAGE": "Memory"}
        if networks is None:
            settings |= {"BACKEND": "Test", "BOT_ADMINS": (ADMIN,), "CHATROOM_PRESENCE": ("#testroom",)}
        else:
            settings["BACKENDS"] = {name: {"BACKEND": "Test", **own} for name, own in networks.items()}
        settings |= config or {}
        self.config = load_config(None, settings, plugin_dirs=list(map(str, roots)))
        web, make_bot = wire(self.reactor, self.config, ended=self._end, plugin_classes=plugins, make_pool=InlinePool)
        self.bot = make_bot()
        self.backends = {name: cast(TestBackend, backend) for name, backend in self.bot.backends.items()}
        self.storage = self.bot.storage
        self._client = WebhookClient(web.client())
        self.messages: list[Sent] = []
        """Everything that the bot has sent, in order."""
        for backend in self.backends.values():
            backend.watch(partial(self._keep, backend.network))
        self.has_ended = False
        """Whether the bot found that there is nothing more to do, as when standard input has ended."""
        self._log = _Log()
        self._level = logging.NOTSET
        self._threads: set[threading.Thread] = set()

    def start(self) -> None:
        """Activate the plugins and connect; raises AssertionError if a plugin can't be activated."""
        register_reactor_thread(self.reactor)
        self._threads = set(threading.enumerate())
        globalLogPublisher.addObserver(self._log)
        plugins_log = logging.getLogger("errbot")
        for logger in (plugins_log, logging.getLogger("asyncio")):
            logger.addHandler(self._log)
        self._level = plugins_log.level
        plugins_log.setLevel(logging.DEBUG)
        self._complete(self._call(Deferred.fromCoroutine, self.bot.start()), "the bot started")
        problems = [plugin.problem for plugin in self.bot.plugin_manager.found if plugin.problem]
        if problems:
            raise AssertionError("\n".join(problems))

    def stop(self) -> None:
        """Deactivate the plugins and disconnect; raises LeftOver if a plugin has left a timer or a thread behind."""
        stopping = self._call(Deferred.fromCoroutine, self.bot.stop(0))
        self.reactor.advance(0)
        self._complete(stopping, "the bot stopped")
        globalLogPublisher.removeObserver(self._log)
        plugins_log = logging.getLogger("errbot")
        for logger in (plugins_log, logging.getLogger("asyncio")):
            logger.removeHandler(self._log)
        plugins_log.setLevel(self._level)
        self._directory.cleanup()
        left = [f"the asyncio task {task.get_name()}" for task in self._end_tasks()]
        left += [f"a delayed call of {getattr(call, 'func', call)!r}" for call in self.reactor.getDelayedCalls()]
        left += [f"the thread {thread.name}" for thread in set(threading.enumerate()) - self._threads]
        if left:
            raise LeftOver("left over after the bot has stopped: " + ", ".join(left))

    # Chat

    @property
    def backend(self) -> TestBackend:
        """The first network, or the only one."""
        return next(iter(self.backends.values()))

    def sent_to(self, name: str, network: str | None = None) -> list[str]:
        """The texts that were sent to that person or room, in order; on that network, or on any."""
        return [message.text for message in self.messages if message.to == name and network in (None, message.network)]

    def say(self, text: str, frm: str = ADMIN, room: str | None = None, network: str | None = None) -> list[str]:
        """Say something to the bot, or in a room, on that or the first network; returns what the bot has sent meanwhile."""
        before = len(self.messages)
        backend = self.backend if network is None else self.backends[network]
        self._call(backend.receive, text, frm=frm, to=room)
        return [message.text for message in self.messages[before:]]

    def command(self, text: str, frm: str = ADMIN) -> str:
        """Give a command; returns the bot's answer. Raises AssertionError unless there is exactly one message."""
        replies = self.say(text, frm)
        if len(replies) != 1:
            raise AssertionError(f"{text!r} got {len(replies)} replies: {replies!r}\n{self.report()}")
        return replies[0]

    # Webhooks

    def request(self, method: str, url: str, **request: Any) -> Deferred[ClientResponse]:
        """Send a request, and return a Deferred that fires with the response; see `WebhookClient.request`.

        It fires at once unless the handler waits. Let a handler that waits go on with `advance`::

            waiting = self.bot.post("/slow")
            self.bot.advance(5)
            response = self.successResultOf(waiting)

        `get`, `head`, `post`, `put`, `patch`, `delete` and `options` do the same for one HTTP method each.
        """
        return self._send_request(method, url, **request)

    # Time, and what there is to see

    def advance(self, seconds: float) -> None:
        """Let time pass: pollers tick, delayed calls happen."""
        self.reactor.advance(seconds)

    def plugin(self, name: str) -> Any:
        """The instance of the plugin of that name."""
        return self.bot.plugin_manager.instance(name)

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The asyncio event loop that the plugins' coroutines run on, with virtual time."""
        loop: asyncio.AbstractEventLoop = self.reactor.loop
        return loop

    @property
    def log(self) -> list[str]:
        """What was logged, a string an event."""
        return list(self._log.lines)

    @property
    def routes(self) -> list[str]:
        """The routes there are, as "POST, GET /rule -> Plugin.method"."""
        return [f"{', '.join(route.methods)} {route.rule} -> {route.hook}" for route in self.bot.web.routes.hooks()]

    def report(self) -> str:
        """Routes and log, to be shown when a test fails."""
        return "\n".join(["Routes:", *self.routes, "Log:", *self._log.lines])

    def _keep(self, network: str, sent: SentMessage) -> None:
        self.messages.append(Sent(str(sent.message.to), sent.text, network))

    def _end(self) -> None:
        self.has_ended = True

    def _send_request(self, method: str, url: str, **request: Any) -> Deferred[ClientResponse]:
        return self._call(self._client.request, method, url, **request)

    def _call(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Call the function as the reactor would: an asyncio loop runs meanwhile, if there is one."""
        loop = loop_of(self.reactor)
        return loop.enter(function, *args, **kwargs) if isinstance(loop, TestLoop) else function(*args, **kwargs)

    def _end_tasks(self) -> list[asyncio.Task[Any]]:
        """Cancel the asyncio tasks that plugins have created and not ended, and close the loop."""
        loop = loop_of(self.reactor)
        if not isinstance(loop, TestLoop):
            return []
        tasks = [task for task in loop.background if not task.done()]
        for task in tasks:
            loop.enter(task.cancel)
        loop.close()
        return tasks

    def _complete(self, work: Deferred[None], what: str) -> None:
        results: list[Any] = []
        work.addBoth(results.append)
        if not results and isinstance(self.reactor, TestReactor):
            self.reactor.advance_until(lambda: bool(results), self.reactor.loop.timers)
        if not results:
            raise AssertionError(f"before {what}, something waited for more than this test gave it\n{self.report()}")
        unwrapped(results[0])


@implementer(ILogObserver)
class _Log(logging.Handler):
    """Keeps what errklein logs, as an observer, and what plugins log, as a handler."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def __call__(self, event: LogEvent) -> None:
        self.lines.append(formatEvent(event))

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{record.name}: {record.getMessage()}")
