"""The services that the web server gives to the deliveries of requests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from twisted.logger import Logger

from errklein.ports.journal import Journal, LaterDeliveries
from errklein.ports.outbox import OutboxStore
from errklein.ports.web import WebEvents
from errklein.running import DeadlineSweeper, InFlightCounter, Runner, ThreadWaits, TimeSlices, WorkerPool
from errklein.web._body_budget import BodyBudget
from errklein.web._routes import Routes
from errklein.web._settings import WebSettings
from errklein.web.facade import Flask

if TYPE_CHECKING:
    from errklein.web._checks import Checks
    from errklein.web._error_pages import Problem
    from errklein.web._recording import Recording
    from errklein.web._stock_request import WebhookRequest
    from errklein.webhooks import Hook


@dataclass(frozen=True)
class BotParts:
    """The parts of the bot that the web server uses. The bot is created after the endpoints are open, and before any request.

    `later` records the deliveries of `ack="now"` and passes them to `WebServer.run`; `waits` lets plugins' threads wait for the
    journal. Without these and the journal, nothing is recorded.
    """

    events: WebEvents | None = None
    journal: Journal | None = None
    later: LaterDeliveries | None = None
    waits: ThreadWaits | None = None


@dataclass(frozen=True)
class EventReporter:
    """Reports events to `events`, if there is a bot."""

    events: WebEvents | None = None
    log: ClassVar[Logger] = Logger(namespace="errklein.web")

    def report(self, call: Callable[[WebEvents], None]) -> None:
        """Call a method of `events`. Its errors are logged, so that they can't prevent a response."""
        try:
            if self.events is not None:
                call(self.events)
        except Exception:
            self.log.failure("Could not handle an event of the web server")


@dataclass(frozen=True)
class WebServices:
    """What the delivery of a request uses.

    `pool` has the threads of blocking handlers; in those of `bodies`, large bodies are decoded before. Recorded deliveries have
    their own. Streamed responses share `time_slices`, the time slice of each turn of the reactor. `in_flight` counts the
    requests without a response. `checks` and `recording` are the steps of the pipeline in `_intake`.
    """

    settings: WebSettings
    runner: Runner
    pool: WorkerPool
    bodies: BodyBudget
    time_slices: TimeSlices
    sweeper: DeadlineSweeper
    in_flight: InFlightCounter
    events: EventReporter
    routes: Routes
    checks: Checks
    recording: Recording
    messages: OutboxStore | None = None
    """The messages that handlers have sent, for which responses wait; None if they don't."""
    flask: Flask = field(default_factory=Flask)
    """The object behind `flask.current_app`."""

    def refuse(self, hook: Hook, request: WebhookRequest, problem: Problem) -> None:
        """Respond to a request for a webhook with an error, after noting the reason."""
        self.checks.note_refusal(hook, request, problem)
        self.recording.refuse(hook, request, problem)
