"""A bot in memory, for tests of plugins."""

from __future__ import annotations

import asyncio
import linecache
import logging
import re
import sysconfig
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from html import unescape
from itertools import zip_longest
from math import ceil
from mimetypes import guess_type
from pathlib import Path
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit

from twisted.internet.defer import Deferred, fail, succeed
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from zope.interface import implementer

from errklein.chat import Attachment, Person
from errklein.commands import similar_commands
from errklein.config import load_config
from errklein.dispatch import recall_position
from errklein.http_client import BodyTooLarge
from errklein.journal import INLINE
from errklein.networks.test import SentMessage, TestBackend
from errklein.plugins import BotPlugin
from errklein.ports.chat import Backend
from errklein.running import loop_of, register_reactor_thread
from errklein.running.threads import unwrapped
from errklein.testing._client import UNSET, Requests, WebhookClient
from errklein.testing._surroundings import InlinePool, StubHTTP, TestLoop, TestReactor, environment, share_packages
from errklein.text.errors import one_line
from errklein.text.suggestions import most_similar
from errklein.web import ClientResponse
from errklein.webhooks.deliveries import DeliveryQuery, DeliveryState, StoredDelivery
from errklein.wiring import wire


class Sent(str):
    """A message that the bot sent: its text as a reader sees it, without Markdown, with the recipient and the network.

    It equals its text, and another message with the same text, recipient and network::

        self.assertEqual(self.bot.messages, ["build 7 is running"])
        self.assertEqual(self.bot.messages, [Sent("@admin", "build 7 is running")])

    `to` is a person such as "@admin", or a room such as "#builds". `is_notice` is whether it is a notice to administrators, such
    as about a webhook that has failed. `thread` is the thread that it is in, or "", and `edited` whether it is the new text of
    a message that the bot has edited."""

    __slots__ = ("edited", "is_notice", "network", "thread", "to")

    to: str
    network: str
    is_notice: bool
    thread: str
    edited: bool

    def __new__(cls, to: str, text: str, network: str = "test", is_notice: bool = False) -> Sent:
        sent = super().__new__(cls, text)
        sent.to, sent.network, sent.is_notice, sent.thread, sent.edited = to, network, is_notice, "", False
        return sent

    @property
    def text(self) -> str:
        return str(self)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Sent) and (self.to, self.network) != (other.to, other.network):
            return False
        return str.__eq__(self, other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = str.__hash__

    def __repr__(self) -> str:
        network = "" if self.network == "test" else f", {self.network!r}"
        return f"Sent({self.to!r}, {self.text!r}{network})"


T = TypeVar("T")

ADMIN = "@admin"
"""The administrator of a TestBot, who sends messages and commands unless the test names another sender."""


class LeftOver(AssertionError):
    """A plugin left a delayed call, an asyncio task or a thread behind when the bot stopped."""


class TestBot(Requests[Deferred[ClientResponse]]):
    """A bot in memory, to which a test sends commands and webhooks, and whose messages and responses it checks. For example::

        bot = TestBot([Builds], config={"BOT_PREFIX": "?"})
        bot.start()
        try:
            assert bot.command("?build 7") == "build 7 is running"
            bot.advance(60)
            assert bot.sent_to("#testroom") == ["build 7: ok"]
        finally:
            bot.stop()

    Its chat network, web server, storage and clock are in memory: it needs no port, no thread and no sleep. Blocking handlers
    run at once, in the thread of the test. Time passes only in `advance`, for pollers, timeouts, Twisted's delayed calls and
    asyncio's timers alike. A `PluginTestCase` starts and stops one for each test.

    The default network is named "test". The bot is in the room "#testroom" there, and "@admin" is its administrator.

    :param plugin_dirs: Directories with `.plug` files, which are loaded as in service. Relative paths depend on the current
        directory, and trial changes it, so resolve `__file__` when the test module is imported.
    :param config: Settings by name, as in config.py.
    :param networks: Several networks instead of "test": a mapping of names to settings, as in NETWORKS.
    :param http: The responses to plugins' requests; by default none is declared."""

    __test__ = False

    secrets: Mapping[str, str] = {}
    """Secrets by the variable of the environment that names them, while the bot runs. Assign them before `start`."""

    def __init__(
        self,
        plugins: Iterable[type[BotPlugin]] = (),
        *,
        plugin_dirs: Iterable[Path | str] = (),
        config: Mapping[str, Any] | None = None,
        networks: Mapping[str, Mapping[str, Any]] | None = None,
        reactor: Any = None,
        http: StubHTTP | None = None,
    ) -> None:
        roots = [Path(directory) for directory in plugin_dirs]
        for directory in roots:
            if not directory.is_dir():
                raise ValueError(
                    f"plugin_dirs: {directory.absolute()} is not a directory; use an absolute path, such as "
                    "Path(__file__).resolve().parent, since trial changes the current directory"
                )
        self.reactor: Any = TestReactor() if reactor is None else reactor
        self._directory = tempfile.TemporaryDirectory(prefix="errklein-test-")
        share_packages(Path(self._directory.name))
        settings: dict[str, Any] = {"BOT_DATA_DIR": self._directory.name, "STORAGE": "Memory"}
        if networks is None:
            settings |= {"BACKEND": "Test", "BOT_ADMINS": (ADMIN,), "CHATROOM_PRESENCE": ("#testroom",)}
        else:
            settings["NETWORKS"] = {name: {"BACKEND": "Test", **own} for name, own in networks.items()}
        settings |= config or {}
        self.config = load_config(None, settings, plugin_dirs=list(map(str, roots)), plugin_dirs_source="plugin_dirs")
        self.http = http or StubHTTP()
        """The network of `self.http` in plugins."""
        web, make_bot = wire(
            self.reactor,
            self.config,
            ended=self._end,
            plugin_classes=plugins,
            make_pool=InlinePool,
            journal_runs=INLINE,
            now=self.reactor.seconds,
            make_agent=self.http.agent,
        )
        self.bot = make_bot()
        self.backends = {name: cast(TestBackend, backend) for name, backend in self.bot.backends.items()}
        self.storage = self.bot.storage
        self._client = WebhookClient(web)
        self.messages: list[Sent] = []
        """The messages that the bot has sent, in order."""
        for backend in self.backends.values():
            backend.watch(partial(self._keep, backend.network))
        self.has_ended = False
        """True after all networks have ended, as when standard input has ended; in service, the process then stops."""
        self._log = _Log()
        self._explanation = ""
        self._requests: dict[Deferred[ClientResponse], str] = {}  # the requests without a response yet, as "GET /path"
        self._threads: set[threading.Thread] = set()
        self._exits = ExitStack()

    def start(self) -> None:
        """Activate the plugins and connect; virtual time passes for asyncio timers. Raises AssertionError if a plugin can't be
        loaded or activated, a `.plug` file in `plugin_dirs` is invalid, or an `activate` waits for something else."""
        self._exits.enter_context(environment(self.secrets))
        register_reactor_thread(self.reactor)
        self._threads = set(threading.enumerate())
        globalLogPublisher.addObserver(self._log)
        self._exits.callback(globalLogPublisher.removeObserver, self._log)
        plugins_log = logging.getLogger("errbot")
        for logger in (plugins_log, logging.getLogger("asyncio")):
            logger.addHandler(self._log)
            self._exits.callback(logger.removeHandler, self._log)
        _LEVELS.append(plugins_log.level)
        self._exits.callback(lambda: plugins_log.setLevel(_LEVELS.pop()))
        plugins_log.setLevel(logging.DEBUG)
        self._complete(self._call(Deferred.fromCoroutine, self.bot.start()), "the bot did not start")
        manager = self.bot.plugin_manager
        problems = [plugin.problem for plugin in manager.found if plugin.problem]
        roots = self.config.directories("BOT_EXTRA_PLUGIN_DIR")
        plugs = [path for path in sorted(manager.unusable) if path.suffix == ".plug"]
        problems += [manager.unusable[path] for path in plugs if any(map(path.is_relative_to, roots))]
        if problems:
            raise AssertionError("\n".join(problems))

    def stop(self) -> None:
        """Deactivate the plugins and disconnect. Raises LeftOver: a plugin left a delayed call, an asyncio task or a
        thread behind; or UnexpectedRequest: it sent a request for which no response is declared in `http`."""
        waiting, requests = self.waiting(), list(self._requests)
        stopping = self._call(Deferred.fromCoroutine, self.bot.stop(0))
        self.reactor.advance(0)
        self._complete(stopping, "the bot did not stop")
        for request in requests:
            # LeftOver reports it. Trial would blame a later test, in which the Deferred is garbage-collected.
            request.addErrback(lambda _: None)
        self._directory.cleanup()
        self._exits.close()
        left = [f"asyncio task {task.get_name()}" for task in self._end_tasks()]
        left += [_describe_call(call) for call in self.reactor.getDelayedCalls()]
        left += [f"thread {thread.name}" for thread in set(threading.enumerate()) - self._threads]
        self.http.check()
        if left:
            raise LeftOver(_explain_left_over(left, waiting))

    # Chat

    @property
    def backend(self) -> TestBackend:
        """The backend of the first network."""
        return next(iter(self.backends.values()))

    def sent_to(self, name: str, network: str | None = None) -> list[str]:
        """Return the texts that were sent to a person or room, such as "@admin", on all networks or one, in order."""
        return [message.text for message in self.messages if message.to == name and network in (None, message.network)]

    def chat(self, name: str, network: str | None = None) -> list[str]:
        """Return what people see now in a room, or in the conversation with a person: their messages and those of the bot,
        after all edits and deletions, each followed by the bot's reactions. A file is its name in brackets::

            self.assertEqual(self.bot.chat("#builds"), ["!build 7 👀", "build 7 is ok", "[build.log]"])
        """
        backend = self.backend if network is None else self.backends[network]
        return [" ".join(message) for ref, message in backend.seen.items() if ref.room == name]

    def say(
        self,
        text: str,
        frm: str = ADMIN,
        room: str | None = None,
        network: str | None = None,
        *,
        thread: str = "",
        files: Mapping[str, bytes] | None = None,
    ) -> list[Sent]:
        """Send a message to the bot or a room. Return all messages that the bot sends until it waits, as in `messages`::

            self.assertEqual(self.bot.say("!build 7", frm="@alice", room="#builds"), ["build 7 is running"])

        :param room: A room, such as "#builds"; by default the message is sent to the bot directly.
        :param network: The name of a network; by default the first.
        :param thread: The id of the message that begins the thread, such as "m1".
        :param files: The contents of attached files, by name."""
        before = len(self.messages)
        backend = self.backend if network is None else self.backends[network]
        self._begin()
        attachments = [_attached(name, content) for name, content in (files or {}).items()]
        self._call(backend.receive, text, frm=frm, to=room, thread=thread, attachments=attachments)
        sent = self.messages[before:]
        self._explanation = self._cause_of_replies(text, sent, backend)
        return sent

    def press(self, label: str, frm: str = ADMIN, room: str | None = None, network: str | None = None) -> list[Sent]:
        """Press a button, the latest with this label, in the room or in the conversation with the person. Otherwise as `say`::

            self.bot.say("!deploy", room="#builds")
            self.assertEqual(self.bot.press("yes", room="#builds")[-1], "deployed")

        The reason why a press counts for nothing is a message to the person."""
        backend = self.backend if network is None else self.backends[network]
        there = {ref: labels for ref, labels in backend.buttons.items() if ref.room == (room or frm)}
        if (ref := next((ref for ref, labels in reversed(there.items()) if label in labels), None)) is None:
            raise AssertionError(f"no button {label!r} there; buttons: {list(there.values())}\n{self.report()}")
        before = len(self.messages)
        self._begin()
        self._call(backend.press, ref, there[ref].index(label), frm)
        self.advance(0)
        return self.messages[before:]

    def _cause_of_replies(self, text: str, replies: Sequence[str], backend: Backend) -> str:
        if self._log.failure is not None:
            return f"{text}: {_explain_failure(self._log.failure)}"
        registry, prefix = self.bot.registry, self.config.networks[backend.network].BOT_PREFIX
        if not prefix:
            return ""
        if not text.startswith(prefix):
            return "" if replies else f"{text}: not a command without the prefix; did you mean {prefix}{text}?"
        given = text.removeprefix(prefix)
        matching = (command for command in registry.by_pattern if command.declaration.match(given))
        if registry.begins(given) or any(matching) or recall_position(given, prefix) is not None:
            return ""
        names = [command.name for command in self.bot.dispatcher.permissions.visible(backend, None)]
        meant = " or ".join(prefix + name for name in similar_commands(given, names))
        return f"{text}: command not found" + (f"; did you mean {meant}?" if meant else "")

    def command(self, text: str, frm: str = ADMIN) -> str:
        """Send a command to the bot directly, and return the text of the reply::

            self.assertEqual(self.bot.command("!build 7"), "build 7 is running")

        The reply is the one message to the sender. Messages to rooms and other people, and notices to administrators, don't count.
        Raises AssertionError if there is no reply, or more than one; see `say` for these."""
        sent, sender = self.say(text, frm), self.backend.build_identifier(frm)
        name = sender.person if isinstance(sender, Person) else frm
        replies = [message for message in sent if message.to == name and not message.is_notice]
        if len(replies) != 1:
            waiting = self.waiting()
            cause = f"{len(replies) or 'no'} replies instead of one; bot.say() returns any number of them"
            if waiting and not replies:
                cause = f"{waiting[-1]} waits; use `self.bot.say`, `self.bot.advance(…)` and `self.bot.messages`"
            cause = self._explanation or f"{text}: {cause}"
            raise AssertionError(f"{cause}\nmessages: {sent!r}\n{self.report()}")
        return replies[0].text

    # Time and state

    def advance(self, seconds: float) -> None:
        """Let virtual time pass. Pollers, delayed calls, timeouts and asyncio timers run at their times, in order::

            waiting = self.bot.post("/slow")
            self.bot.advance(5)
            response = self.successResultOf(waiting)

        `advance(0)` runs what is ready now, such as the webhooks of deliveries with `ack="now"`."""
        self.reactor.advance(seconds)

    def plugin(self, name: str) -> Any:
        """Return the instance of a plugin. Raises PluginError with the names of all if it could not be loaded."""
        return self.bot.plugin_manager.instance(name)

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The asyncio event loop of the plugins' coroutines. Virtual time passes as a coroutine that it runs needs it, as in
        `items = self.bot.loop.run_until_complete(self.bot.plugin("Feed").fetch())`."""
        loop: asyncio.AbstractEventLoop = self.reactor.loop
        return loop

    @property
    def log(self) -> list[str]:
        """The log since `start`: one string per event of errklein, its plugins and asyncio."""
        return list(self._log.lines)

    @property
    def webhooks(self) -> list[str]:
        """All webhooks, as "POST, GET, HEAD /rule -> Plugin:method"."""
        return [f"{', '.join(route.methods)} {route.rule} -> {route.hook}" for route in self.bot.web.routes.hooks()]

    def waiting(self) -> list[str]:
        """Return the names of the handlers that wait, as "Builds.report", or "the handler of GET /progress" between two items."""
        methods = [str(method) for method in self.bot.runner.running_methods()]
        return methods or [f"the handler of {request}" for request in self._requests.values()]

    def explanation(self) -> str:
        """Return why the last request or command failed, and how many deliveries wait for `advance`; "" if neither applies:
        for example `POST /note: 404, no webhook matches this path; did you mean /notes?` or, after a request for a webhook with
        `ack="now"`, `1 delivery waits; call advance(0)`. A failed assertion of a `PluginTestCase` has it below the difference."""
        waiting: list[StoredDelivery] = []
        unfinished = DeliveryQuery(states=(DeliveryState.RECEIVED, DeliveryState.RETRY))
        self.bot.journal.find(unfinished).addCallback(waiting.extend)
        lines = [self._explanation] if self._explanation else []
        if waiting:
            seconds = max(0, ceil(min(delivery.due_at for delivery in waiting) - self.reactor.seconds()))
            what = "1 delivery waits" if len(waiting) == 1 else f"{len(waiting)} deliveries wait"
            lines.append(f"{what}; call advance({seconds})")
        return "\n".join(lines)

    def report(self) -> str:
        """Return the webhooks and the log as one text, which is shown when a test fails."""
        return "\n".join(["Webhooks:", *self.webhooks, "Log:", *self._log.lines])

    def _keep(self, network: str, sent: SentMessage) -> None:
        # Only notices are sent before other messages.
        message = sent.message
        kept = Sent(str(message.to), sent.text, network, is_notice=message.priority)
        kept.thread, kept.edited = message.thread, message.edited
        self.messages.append(kept)

    def _end(self) -> None:
        self.has_ended = True

    def _send_request(self, method: str, url: str, body: object = UNSET, **request: Any) -> Deferred[ClientResponse]:
        self._begin()
        sent: Deferred[ClientResponse] = self._call(self._client._send_request, method, url, body, **request)
        self._requests[sent] = f"{method} {url}"
        sent.addBoth(self._ended, sent)
        return sent.addCallback(self._explain, method, url)

    def _ended(self, result: T, sent: Deferred[ClientResponse]) -> T:
        del self._requests[sent]
        return result

    def _explain(self, response: ClientResponse, method: str, url: str) -> ClientResponse:
        self._explanation = ""
        if response.status >= 400:
            path = url.partition("?")[0]
            self._explanation = f"{method} {path}: {response.status}, {self._cause_of_response(response, method, path)}"
        return response

    def _cause_of_response(self, response: ClientResponse, method: str, path: str) -> str:
        status, failure = response.status, self._log.failure
        if status == 404 and ("no webhook" in response.text or response.text == "no_service"):
            similar = _similar_rule(path, [route.rule for route in self.bot.web.routes.hooks()])
            return "no webhook matches this path" + (f"; did you mean {similar}?" if similar else "")
        if status == 405 and (allowed := response.header("allow")):
            return f"the webhook at this path doesn't accept {method}; it accepts {allowed}"
        if status == 500 and failure is not None:
            return _explain_failure(failure)
        hook = self.bot.web.webhook_at(method, urlsplit(path).path) if status == 401 else None
        verify = None if hook is None else hook.declaration.verify
        return _detail(response) + (f"; source={verify.scheme!r} signs a request" if verify and verify.signer else "")

    def _begin(self) -> None:
        self._explanation, self._log.failure = "", None

    def _call(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        loop = loop_of(self.reactor)
        return loop.enter(function, *args, **kwargs) if isinstance(loop, TestLoop) else function(*args, **kwargs)

    def _end_tasks(self) -> list[asyncio.Task[Any]]:
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
            raise AssertionError(
                f"{what}: a plugin's method waited for something that the test doesn't provide\n{self.report()}"
            )
        unwrapped(results[0])


def _attached(name: str, content: bytes) -> Attachment:
    def fetch(most: int) -> Deferred[bytes]:
        return succeed(content) if len(content) <= most else fail(BodyTooLarge(f"{name} has more than {most} bytes"))

    return Attachment(name, guess_type(name)[0] or "", len(content), fetch)


# The levels of the plugins' log that bots have found. The last one that stops restores the first, in whatever order they stop.
_LEVELS: list[int] = []


@implementer(ILogObserver)
class _Log(logging.Handler):
    """Collects log events of errklein, as an observer, and log records of plugins, as a handler."""

    def __init__(self) -> None:
        super().__init__()
        # A test has no ports, so that the plugin Webserver reports none in every log.
        self.addFilter(lambda record: record.name != "errbot.plugins.Webserver" or record.levelno > logging.INFO)
        self.lines: list[str] = []
        self.failure: Failure | None = None  # the last one in the log

    def __call__(self, event: LogEvent) -> None:
        self.lines.append(formatEvent(event))
        self.failure = event.get("log_failure", self.failure)

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{record.name}: {record.getMessage()}")


_PACKAGE = Path(__file__).parent.parent
_LIBRARIES = tuple(sysconfig.get_path(name) for name in ("purelib", "platlib", "stdlib"))
_DETAIL = re.compile(r"<p>(.*?)</p>")


def _similar_rule(path: str, rules: Iterable[str]) -> str:
    filled = {"/".join(_filled(rule.split("/"), path.split("/"))): rule for rule in rules}
    return filled.get(most_similar(path, filled), "")


def _filled(rule: list[str], path: list[str]) -> Iterator[str]:
    for part, value in zip_longest(rule, path[: len(rule)], fillvalue=""):
        yield value if "<" in part else part


def _explain_failure(failure: Failure) -> str:
    """Return the exception with file and line of the plugin's or test's code, and the source line below it."""
    error = failure.value
    assert error is not None
    frames = traceback.extract_tb(error.__traceback__)
    place = next((frame for frame in reversed(frames) if is_own(frame.filename)), frames[-1] if frames else None)
    if place is None or place.lineno is None:
        return f"{type(error).__name__}: {one_line(error)}"
    where = f"{type(error).__name__} in {Path(place.filename).name}, line {place.lineno}: {one_line(error)}"
    source = linecache.getline(place.filename, place.lineno).strip()
    return f"{where}\n    {place.lineno} | {source}" if source else where


def is_own(file: str) -> bool:
    path = Path(file)
    return not path.is_relative_to(_PACKAGE) and not any(path.is_relative_to(library) for library in _LIBRARIES)


def _detail(response: ClientResponse) -> str:
    if "problem+json" in (response.header("content-type") or ""):
        return str(response.json().get("detail", response.reason))
    if (found := _DETAIL.search(response.text)) is not None:
        return unescape(found[1])
    return " ".join(f"{response.reason} {response.text}".split())[:200]


def _explain_left_over(left: Sequence[str], waiting: Sequence[str]) -> str:
    found = f"left over after the bot has stopped: {', '.join(left)}"
    if waiting:
        handlers, respond = " and ".join(waiting), "it responds" if len(waiting) == 1 else "they respond"
        return f"the test ended while {handlers} waited; call `self.bot.advance(…)` until {respond} ({found})"
    return f"{found}; end them in the plugin's deactivate()"


def _describe_call(call: Any) -> str:
    handle = next(iter(getattr(call, "args", ())), None)
    if not isinstance(handle, asyncio.TimerHandle):
        return f"delayed call of {getattr(call, 'func', call)!r}"
    callback: Any = getattr(handle, "_callback", None)
    if getattr(callback, "__module__", "").startswith(("asyncio", "_asyncio")):
        # The callback of asyncio.sleep and of timeouts is a private function, which says nothing to the reader.
        return "asyncio timer"
    return f"asyncio timer of {callback!r}"
