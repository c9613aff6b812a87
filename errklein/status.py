"""The status server, a small site on an endpoint of its own, with the rules of readiness and the metrics that Prometheus reads."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import accumulate, product
from typing import Any

from klein import Klein
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.server import Request
from werkzeug.exceptions import HTTPException

import twisted
from errklein._version import COMMIT, __version__
from errklein.bot import Bot
from errklein.listening.side_server import SideServer
from errklein.ports.journal import JournalError
from errklein.ports.nodes import Node
from errklein.running import Overloaded, PoolStopped, TimedOut, WorkerPool, result_within
from errklein.web import BOUNDS, REFUSALS
from errklein.webhooks.deliveries import QueueDepth

_CONNECTIONS = 100
_MOST_ZEROS = 500  # the number of webhooks whose series of errors begin with 0
_LONGEST_LOOK = 2.0  # the seconds in which the database must show the processes
LONGEST_WAIT = 300.0  # the seconds that a message may wait in an outbox
FULL = 0.95  # the part of OUTBOX_LIMIT and OUTBOX_SIZE from which on an outbox is full: many messages don't fit then

# The parts without which webhooks aren't accepted. An absent network isn't one of them: what handlers send waits for it. Nor is a
# broken plugin: the webhooks of others are accepted.
INTAKE = ("phase", "journal", "storage", "listeners")


class StatusServer(SideServer):
    """Responds to `/health`, `/ready`, `/ready/intake` and `/metrics`. Requests aren't authenticated, and responses contain
    no secrets. `public` are the endpoints of the web server."""

    log = Logger(namespace="errklein.status")
    app = Klein()
    _bot: Bot | None = None

    def __init__(
        self, reactor: Any, endpoint: str, public: Sequence[str] = (), make_pool: Callable[..., WorkerPool] = WorkerPool
    ) -> None:
        pool = make_pool(reactor, "metrics", 1, queue=10)
        super().__init__(reactor, endpoint, self.app.resource(), pool, _CONNECTIONS)
        self._public = public

    def watch(self, bot: Bot) -> None:
        super().watch(bot)
        bot.health.watch()

    def close(self) -> Deferred[None]:
        if self._bot is not None:
            self._bot.health.stop()
        return super().close()

    def problems(self) -> Mapping[str, str]:
        """Return the problem of each part of the bot; "" if the part works."""
        if self._bot is None:
            return {"phase": "the bot is starting"}
        bot = self._bot
        return {
            "phase": "the process is being drained" * bot.draining
            if bot.phase == "running"
            else f"the bot is {bot.phase}",
            "networks": _networks(bot) if bot.owns else "",
            **bot.health.problems,
            "outbox": _outbox(bot),
            "listeners": _listeners(bot, self._public),
            "plugins": _plugins(bot),
        }

    @app.route("/health", methods=["GET"])
    def _health(self, request: Request) -> bytes:
        return _response(request, 200, b"ok\n")

    @app.route("/ready", methods=["GET"])
    @app.route("/ready/<part>", methods=["GET"])
    def _ready(self, request: Request, part: str = "") -> bytes:
        found = self.problems()
        if part == "intake":
            found = {part: problem for part, problem in found.items() if part in INTAKE}
        ready = not any(found.values())
        parts = {part: problem or "ok" for part, problem in found.items()}
        body = json.dumps({"ready": ready, **parts}).encode() + b"\n"
        return _response(request, 200 if ready else 503, body, "application/json")

    @app.route("/metrics", methods=["GET"])
    async def _metrics(self, request: Request) -> bytes:
        if self._bot is None:
            return _response(request, 503, b"the bot is starting\n")
        nodes: Sequence[Node] = ()
        if not self._bot.alone:
            # Without the database, its absence is what counts.
            with suppress(JournalError, TimedOut):
                nodes = await result_within(self._bot.reactor, _LONGEST_LOOK, self._bot.nodes.all())
        snapshot = Snapshot(self._bot, self._bot.health.depth, self.problems(), nodes)
        accept = request.getHeader("accept") or ""
        kind, body = await self._pool.run(lambda: partial(encode, snapshot, accept))
        return _response(request, 200, body, kind)

    @app.handle_errors(Exception)  # type: ignore[arg-type]
    def _failed(self, request: Request, failure: Failure) -> bytes:
        if isinstance(failure.value, HTTPException):
            # Such as for a path that doesn't exist.
            return _response(request, failure.value.code or 500, b"")
        if not failure.check(Overloaded, PoolStopped):
            self.log.failure("The status could not be shown", failure)
        return _response(request, 503, b"the status could not be shown\n")


def _response(request: Request, status: int, body: bytes, kind: str = "text/plain; charset=utf-8") -> bytes:
    request.setResponseCode(status)
    request.setHeader("Content-Type", kind)
    request.setHeader("Cache-Control", "no-store")
    return body


def _plugins(bot: Bot) -> str:
    named = {webhook.rpartition(":")[0] for webhook in bot.bot_config.setting("WEBHOOKS")}
    broken = [one.name for one in bot.plugin_manager.found if one.name in named and one.problem and not one.active]
    return f"broken, but named in WEBHOOKS: {', '.join(broken)}" if broken else ""


def _networks(bot: Bot) -> str:
    if not bot.owns:
        # The process of the owner is connected.
        return ""
    absent = [name for name, state in bot.events.states.items() if state.connected_at is None and not state.ended]
    return f"not connected: {', '.join(absent)}" if absent else ""


def _outbox(bot: Bot) -> str:
    found = []
    for name, backend in bot.backends.items():
        waiting, config = backend.outbox.status, bot.bot_config.networks[name]
        if waiting.parts >= FULL * config.OUTBOX_LIMIT or waiting.size >= FULL * config.OUTBOX_SIZE:
            found.append(f"{name}: full, with {waiting.messages} messages")
        elif waiting.oldest_at and (age := bot.now() - waiting.oldest_at) > LONGEST_WAIT:
            found.append(f"{name}: a message has been waiting for {age:.0f} s")
    return "; ".join(found)


def _listeners(bot: Bot, endpoints: Sequence[str]) -> str:
    closed = [endpoint for endpoint in endpoints if not bot.web.listeners.is_open(endpoint)]
    return f"closed: {', '.join(closed)}" if closed else ""


_CLASSES = (*map(str, BOUNDS), "+Inf")


class Snapshot:
    """The metrics at one time. The reactor only copies those of webhooks, which may be thousands; the rest is done in a thread."""

    def __init__(self, bot: Bot, depth: QueueDepth, problems: Mapping[str, str], nodes: Sequence[Node] = ()) -> None:
        self._depth = depth
        self._now = bot.now()
        self._nodes = nodes
        self._data_directory = bot.bot_config.BOT_DATA_DIR
        self._of_bot = [*_of_bot(bot, problems), *_of_pools(bot), *self._of_networks(bot)]
        self._webhooks = bot.web.routes.declarations()
        self._refused = dict(bot.web.counts.refused)
        self._paused = frozenset(bot.delivery_queue.paused)
        self._certificates = bot.web.listeners.expiries()
        self._responses = dict(bot.web.counts.responses)
        self._handlers = {key: ([*one.counts], one.total) for key, one in bot.web.counts.handlers.items()}

    def collect(self) -> Iterator[Metric]:
        yield from self._of_bot
        yield from self._of_nodes()
        # A missing directory is a problem of the journal.
        with suppress(OSError):
            disk = os.statvfs(self._data_directory)
            yield _gauge("data_free_bytes", "Free space for the data", (), {(): float(disk.f_bavail * disk.f_frsize)})
        yield from self._of_webhooks()

    def _of_networks(self, bot: Bot) -> Iterator[Metric]:
        networks = [(name, state, bot.backends[name].outbox.status) for name, state in bot.events.states.items()]
        for metric, name, text, value in _OF_NETWORKS:
            yield metric(name, text, ("network",), {network: value(*both) for network, *both in networks})
        ages = {network: self._age(outbox.oldest_at) for network, _, outbox in networks}
        yield _gauge("outbox_oldest_age_seconds", "Age of the oldest of these messages", ("network",), ages)

    def _of_nodes(self) -> Iterator[Metric]:
        info = {(one.name, ",".join(one.roles), one.version): 1.0 for one in self._nodes}
        yield _gauge("node_info", "1 for each process of the bot", ("node", "roles", "version"), info)
        owns = {one.name: float(one.owns_since > 0) for one in self._nodes}
        yield _gauge("node_owns", "1 for the process that owns plugins and networks", ("node",), owns)
        ages = {one.name: self._age(one.seen_at) for one in self._nodes}
        yield _gauge("node_seen_age_seconds", "Age of the last sign of life of the process", ("node",), ages)

    def _of_webhooks(self) -> Iterator[Metric]:
        # Prometheus' `increase` misses what a series has at its first scrape, so those of errors begin with 0. Thousands of
        # webhooks of rooms, whose names have no colon, would take megabytes and seconds.
        webhooks = dict(sorted(self._webhooks.items(), key=lambda named: ":" not in named[0])[:_MOST_ZEROS])
        responses = dict.fromkeys(product(webhooks, ("500", "503")), 0)
        responses |= {(webhook, str(status)): count for (webhook, status), count in self._responses.items()}
        yield _counter("http_responses", "Responses of the web server", ("webhook", "status"), responses)
        text, labels = "Durations of the handlers of webhooks", ("webhook", "outcome")
        handlers = HistogramMetricFamily("errklein_handler_seconds", text, labels=labels)
        for key, (counts, total) in self._handlers.items():
            handlers.add_metric(key, [*zip(_CLASSES, accumulate(counts), strict=True)], total)
        for key in product(webhooks, ("failed", "overdue")):
            if key not in self._handlers:
                # Without the other classes, which take most of the time of a scrape.
                handlers.add_metric(key, [("+Inf", 0)], 0)
        yield handlers
        checked = [name for name, declaration in webhooks.items() if declaration.verify or declaration.rate]
        refused = dict.fromkeys(product(checked, REFUSALS), 0)
        yield _counter("requests_refused", "Refused requests", ("webhook", "reason"), refused | self._refused)
        paused = dict.fromkeys(self._paused, 1.0)
        yield _gauge("webhook_paused", "1 while the deliveries of the webhook are paused", ("webhook",), paused)
        recorded = [name for name, declaration in webhooks.items() if declaration.ack == "now"]
        dead = dict.fromkeys(recorded, 0) | dict(self._depth.dead_of)
        yield _gauge("dead_deliveries", "Deliveries that were given up", ("webhook",), dead)
        depth = self._depth
        states = {"waiting": depth.waiting, "running": depth.running, "dead": depth.dead}
        yield _gauge("deliveries", "Recorded deliveries that aren't done", ("state",), states)
        age = {(): self._age(depth.oldest_at)}
        yield _gauge("deliveries_oldest_age_seconds", "Age of the oldest delivery that waits or runs", (), age)
        yield _gauge("journal_bytes", "Size of the journal's files", (), {(): depth.size})
        oldest = {(): depth.oldest_kept_at} if depth.oldest_kept_at else {}
        yield _gauge("journal_oldest_timestamp_seconds", "Receipt of the oldest delivery in the journal", (), oldest)
        certificates = {(endpoint, file): expires.timestamp() for endpoint, file, expires in self._certificates}
        text = "Time at which the certificate expires"
        yield _gauge("certificate_expiry_timestamp_seconds", text, ("endpoint", "file"), certificates)

    def _age(self, time: float) -> float:
        return max(0.0, self._now - time) if time else 0.0


_PROCESS = ProcessCollector(registry=None)


def encode(snapshot: Snapshot, accept: str) -> tuple[str, bytes]:
    """Return the content type, and the metrics with those of the process, in a form that a header Accept names. Called in a thread."""
    registry = CollectorRegistry()
    registry.register(_PROCESS)
    registry.register(snapshot)
    try:
        write, content_type = choose_encoder(accept)
    except Exception:
        # It fails for some invalid values.
        write, content_type = choose_encoder("")
    return content_type, write(registry)


def _filled(kind: Any, name: str, text: str, labels: tuple[str, ...], values: Mapping[Any, float]) -> Metric:
    """Return a metric with values by the values of their labels, which are a tuple unless there is one label."""
    family: GaugeMetricFamily | CounterMetricFamily = kind(f"errklein_{name}", text, labels=labels)
    for key, value in values.items():
        family.add_metric((key,) if isinstance(key, str) else key, value)
    return family


_gauge = partial(_filled, GaugeMetricFamily)
_counter = partial(_filled, CounterMetricFamily)

_OF_NETWORKS: Sequence[tuple[Callable[..., Metric], str, str, Callable[[Any, Any], float]]] = (
    (_counter, "network_reconnects", "Connections after the first one", lambda state, _: state.reconnects),
    (_counter, "messages_received", "Messages that others have sent", lambda state, _: state.received),
    (_gauge, "network_connected", "1 while the network is connected", lambda state, _: state.connected_at is not None),
    (_counter, "messages_sent", "Messages that the network has confirmed", lambda _, outbox: outbox.sent),
    (_gauge, "outbox_messages", "Messages that wait to be sent", lambda _, outbox: outbox.messages),
    (_gauge, "outbox_parts", "Parts, such as lines, of these messages", lambda _, outbox: outbox.parts),
    (_gauge, "outbox_characters", "Characters of these messages", lambda _, outbox: outbox.size),
)
"""The metrics of networks: kind, name, help, and the value for the state of a network and the status of its outbox."""


def _of_bot(bot: Bot, problems: Mapping[str, str]) -> Iterator[Metric]:
    build = (__version__, COMMIT, platform.python_version(), twisted.__version__, type(bot.reactor).__name__)
    yield _gauge("build_info", "Versions", ("version", "commit", "python", "twisted", "reactor"), {build: 1.0})
    ready = {part: float(not problem) for part, problem in problems.items()}
    yield _gauge("ready", "1 if the part of the bot works", ("part",), ready)
    found = bot.plugin_manager.found
    plugins = {(one.name, "active" if one.active else "broken" if one.problem else "inactive"): 1.0 for one in found}
    yield _gauge("plugin_state", "1 for the state of the plugin", ("plugin", "state"), plugins)
    text = "Longest time for which events waited for the reactor since the last scrape"
    yield _gauge("reactor_lag_seconds", text, (), {(): bot.web.lag.take_maximum()})
    yield _counter("logged_errors", "Errors in the log", (), {(): bot.recent_errors.total})
    yield _counter("commands", "Commands that have ended", ("outcome",), bot.dispatcher.outcomes)


def _of_pools(bot: Bot) -> Iterator[Metric]:
    label, pools = ("pool",), [pool.status() for pool in bot.pools]
    yield _gauge("pool_size", "Threads that all origins share", label, {one.name: one.size for one in pools})
    yield _gauge("pool_running", "Jobs in threads", label, {one.name: sum(one.running.values()) for one in pools})
    waiting = {one.name: sum(one.waiting.values()) for one in pools}
    yield _gauge("pool_waiting", "Jobs that wait for a thread", label, waiting)
