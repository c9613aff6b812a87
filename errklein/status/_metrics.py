"""The metrics of the bot, in the forms that Prometheus reads."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Mapping
from functools import partial
from itertools import accumulate, product
from typing import Any

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder

import twisted
from errklein._version import COMMIT, __version__
from errklein.bot import Bot
from errklein.plugins.plugin import Plugin
from errklein.ports.chat import QueuesMessages
from errklein.web import BOUNDS, REFUSALS
from errklein.webhooks.deliveries import QueueDepth

_CLASSES = (*map(str, BOUNDS), "+Inf")


class Snapshot:
    """The metrics at one time. It is created on the reactor, which only copies numbers; the rest is done in a thread.

    :param depth: The depth of the journal.
    :param problems: The problems of the bot's parts.
    """

    def __init__(self, bot: Bot, depth: QueueDepth, problems: Mapping[str, str]) -> None:
        self._depth = depth
        self._problems = problems
        self._now = bot.now()
        self._data_directory = bot.bot_config.BOT_DATA_DIR
        self._reactor = type(bot.reactor).__name__
        states = bot.events.states
        self._connected = {name: float(state.connected_at is not None) for name, state in states.items()}
        self._reconnects = {name: state.reconnects for name, state in states.items()}
        self._received = {name: state.received for name, state in states.items()}
        self._outboxes = {
            name: backend.outbox.status for name, backend in bot.backends.items() if isinstance(backend, QueuesMessages)
        }
        self._pools = [pool.status() for pool in bot.pools]
        self._lag = bot.web.lag.take_maximum()
        self._commands = dict(bot.dispatcher.outcomes)
        self._errors = bot.recent_errors.total
        self._plugins = {(plugin.name, _state(plugin)): 1.0 for plugin in bot.plugin_manager.found}
        self._webhooks = bot.web.routes.declarations()
        self._refused = dict(bot.web.counts.refused)
        self._paused = frozenset(bot.delivery_queue.paused)
        self._certificates = bot.web.listeners.expiries()
        self._responses = {
            (webhook, str(status)): count for (webhook, status), count in bot.web.counts.responses.items()
        }
        self._handlers = {key: ([*one.counts], one.total) for key, one in bot.web.counts.handlers.items()}

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics. Called by prometheus_client."""
        build = (__version__, COMMIT, platform.python_version(), twisted.__version__, self._reactor)
        yield _gauge("build_info", "Versions", ("version", "commit", "python", "twisted", "reactor"), {build: 1.0})
        ready = {part: float(not problem) for part, problem in self._problems.items()}
        yield _gauge("ready", "1 if the part of the bot works", ("part",), ready)
        yield _gauge("plugin_state", "1 for the state of the plugin", ("plugin", "state"), self._plugins)
        try:
            disk = os.statvfs(self._data_directory)
        except OSError:
            # A missing directory is a problem of the journal.
            pass
        else:
            yield _gauge("data_free_bytes", "Free space for the data", (), {(): float(disk.f_bavail * disk.f_frsize)})
        text = "Longest time for which events waited for the reactor since the last scrape"
        yield _gauge("reactor_lag_seconds", text, (), {(): self._lag})
        yield _counter("logged_errors", "Errors in the log", (), {(): self._errors})
        yield _counter("commands", "Commands that have ended", ("outcome",), self._commands)
        yield from self._of_pools()
        yield from self._of_networks()
        yield from self._of_webhooks()

    def _of_pools(self) -> Iterator[Metric]:
        label, pools = ("pool",), self._pools
        yield _gauge("pool_size", "Threads that all origins share", label, {one.name: one.size for one in pools})
        running = {one.name: sum(one.running.values()) for one in pools}
        yield _gauge("pool_running", "Jobs in threads", label, running)
        waiting = {one.name: sum(one.waiting.values()) for one in pools}
        yield _gauge("pool_waiting", "Jobs that wait for a thread", label, waiting)

    def _of_networks(self) -> Iterator[Metric]:
        label, outboxes = ("network",), self._outboxes
        yield _counter("network_reconnects", "Connections after the first one", label, self._reconnects)
        yield _counter("messages_received", "Messages that others have sent", label, self._received)
        yield _gauge("network_connected", "1 while the network is connected", label, self._connected)
        sent = {network: status.sent for network, status in outboxes.items()}
        yield _counter("messages_sent", "Messages that the network has confirmed", label, sent)
        messages = {network: status.messages for network, status in outboxes.items()}
        yield _gauge("outbox_messages", "Messages that wait to be sent", label, messages)
        parts = {network: status.parts for network, status in outboxes.items()}
        yield _gauge("outbox_parts", "Parts, such as lines, of these messages", label, parts)
        sizes = {network: status.size for network, status in outboxes.items()}
        yield _gauge("outbox_characters", "Characters of these messages", label, sizes)
        ages = {network: self._age(status.oldest_at) for network, status in outboxes.items()}
        yield _gauge("outbox_oldest_age_seconds", "Age of the oldest of these messages", label, ages)

    def _of_webhooks(self) -> Iterator[Metric]:
        # Prometheus' `increase` misses what a series has at its first scrape, so those of errors begin with 0.
        webhooks = self._webhooks
        responses = dict.fromkeys(product(webhooks, ("500", "503")), 0)
        responses |= self._responses
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


def _state(plugin: Plugin) -> str:
    return "active" if plugin.active else "broken" if plugin.problem else "inactive"


def _filled(
    kind: type[GaugeMetricFamily | CounterMetricFamily],
    name: str,
    text: str,
    labels: tuple[str, ...],
    values: Mapping[Any, float],
) -> Metric:
    """Return a metric with values by the values of their labels, which are a tuple unless there is one label."""
    family = kind(f"errklein_{name}", text, labels=labels)
    for key, value in values.items():
        family.add_metric((key,) if isinstance(key, str) else key, value)
    return family


_gauge = partial(_filled, GaugeMetricFamily)
_counter = partial(_filled, CounterMetricFamily)
