"""The texts of notices about webhooks, dead deliveries, and threads that are all busy or can't be started."""

from __future__ import annotations

import sysconfig
from collections import defaultdict, deque
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from twisted.logger import Logger
from twisted.python.failure import Failure

from errklein.bot._notices import NoticeBoard
from errklein.plugins.imports import described_error, error_place
from errklein.plugins.plugin import Plugin, UnknownPlugin
from errklein.running import PoolStatus, ThreadUse
from errklein.text import truncated
from errklein.text.errors import line_outside
from errklein.verify import ADDRESS_SCHEME
from errklein.webhooks import Hook
from errklein.webhooks.deliveries import Outcome, StoredDelivery
from errklein.webhooks.exported import described

INTERVAL = 60.0
"""The seconds between two notices about the same line of a handler, or about dead deliveries of a webhook."""

REFUSED_INTERVAL = 3600.0
"""The seconds between two notices about a webhook's requests that are refused for one kind of reason: anybody may send such."""

_ADVICE = {
    "signature": "compare its secret with the webhook's",
    "malformed": "let it sign its requests as the webhook requires",
    "time": "set its clock and that of this machine",
    "address": "allow the address",
    "payload": "let it send what the webhook expects",
    "rate": "raise the limit",
    "size": "raise the limit",
}

_ERRKLEIN = Path(__file__).parent.parent

_INSTALLED = tuple(Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib"))
"""Directories of Python's own modules and of installed packages."""

_SETTINGS = {
    "commands": "BOT_ASYNC_POOLSIZE",
    "plugins": "BOT_ASYNC_POOLSIZE",
    "webhooks": "WEBHOOK_POOLSIZE",
    "recorded webhooks": "WEBHOOK_POOLSIZE",
}
_MOST_ORIGINS = 5


class WebhookNotices:
    """Notifies administrators of what the web server reports about plugins' handlers, and of deliveries that are given
    up. A handler causes one notice a minute for its timeouts, and one for each type of exception and line of code."""

    log = Logger()

    def __init__(self, notices: NoticeBoard, plugin: Callable[[str], Plugin], prefix: str) -> None:
        self._notices = notices
        self._tell_admins = notices.tell_admins
        self._plugin, self._prefix = plugin, prefix
        self._unknown: Collection[str] = ()
        self._refused: dict[tuple[str, str], deque[str]] = {}

    def delivery_dead(self, delivery: StoredDelivery, outcome: Outcome) -> None:
        """Send a notice of a delivery that has just been given up; of further ones of its webhook, their number."""
        webhook, attempts = delivery.webhook, f"{delivery.attempt} attempt{'s' * (delivery.attempt != 1)}"
        dead = f"The delivery {delivery.id} of {webhook} is dead after {attempts}"
        self._notices.post(
            ("dead", webhook),
            f"{dead}: {described(outcome)}. See {self._prefix}delivery show {delivery.id}",
            f"{dead}, see {self._prefix}delivery show {delivery.id}",
            more=f"More dead deliveries of {webhook}: {{count}}. See {self._prefix}delivery list {webhook} dead",
            interval=INTERVAL,
        )

    def handler_failed(self, hook: Hook, request_id: str, failure: Failure) -> None:
        """Send the file, the line and the exception's text, which only administrators get, and only in private."""
        error = failure.value
        assert error is not None
        location = self._location(hook, error)
        failed = f"The webhook {hook} ({hook.declaration.rule}) failed"
        self._notices.post(
            ("failed", hook.full_name, type(error), location),
            f"{failed} on request {request_id}. {location}: {described_error(error)}",
            f"{failed} with {type(error).__name__} on request {request_id}",
            interval=INTERVAL,
        )

    def handler_overdue(self, hook: Hook, request_id: str, seconds: float) -> None:
        self._notices.post(
            ("overdue", hook.full_name),
            f"The webhook {hook} ({hook.declaration.rule}) has not responded in {seconds:g} s. Its source got 504, "
            f"and the handler is still running (request {request_id}).",
            interval=INTERVAL,
        )

    def hook_unusable(self, hook: Hook, reason: str) -> None:
        self._tell_admins(f"The webhook {hook} ({hook.declaration.rule}) responds with 503 to all requests: {reason}")

    def request_refused(self, hook: Hook, kind: str, reason: str, client: str) -> None:
        if hook.declaration.verify is None:
            return
        clients = self._refused.setdefault((hook.full_name, kind), deque(maxlen=3))
        client = client or "an unknown address"
        if client in clients:
            clients.remove(client)
        clients.appendleft(client)
        name = f"the webhook {hook} ({hook.declaration.rule})"
        remedy = _ADVICE[kind]
        if hook.declaration.verify.scheme == ADDRESS_SCHEME and kind in ("signature", "malformed"):
            # Nobody can look a token up that was made in a chat.
            made = f"a new one of {self._prefix}webhook rotate {hook} if you don't have it"
            where = f"which `errklein webhook show {hook} --url` prints" if hook.declaration.verify.secrets else made
            remedy = f"enter the whole address there, {where}"
        advice = f"If the source is yours, {remedy}, and let it send again. See {self._prefix}delivery list {hook.full_name} refused"
        self._notices.post(
            ("refused", hook.full_name, kind),
            f"A request for {name} from {client} was refused: {truncated(reason, 200)}. {advice}",
            more=f"More requests for {name} were refused ({kind}): {{count}}, the last ones from {', '.join(clients)}. {advice}",
            interval=REFUSED_INTERVAL,
        )

    def hook_shadowed(self, hook: Hook, by: Hook) -> None:
        self._tell_admins(
            f"{hook.owner} and {by.owner} both declare the URL {hook.declaration.rule}. Requests go to {by}; they go to "
            f"{hook} when {by.owner} is deactivated."
        )

    def hooks_unknown(self, errors: Collection[str]) -> None:
        """Send one notice of names in WEBHOOKS that don't exist. A name causes no further one until it has existed."""
        new = [error for error in errors if error not in self._unknown]
        self._unknown = errors
        for error in new:
            self.log.error("{text}", text=error)
        if new:
            self._tell_admins("\n".join(["Options of webhooks have no effect:", *new]))

    def _location(self, hook: Hook, error: BaseException) -> str:
        """Return the file and line of the plugin or application that failed, or else the file or the handler's class."""
        try:
            return error_place(self._plugin(hook.owner).plug, error)
        except UnknownPlugin:
            # A Flask application, or another object that isn't a plugin, may have handlers too.
            location = line_outside((_ERRKLEIN, *_INSTALLED), error) or line_outside((_ERRKLEIN,), error)
            return f"{location[0]}, line {location[1]}" if location else type(hook.handler).__name__


def pool_notice(status: PoolStatus, prefix: str) -> str:
    """Return the notice about a pool: what holds its threads, and what to do."""
    waiting = sum(status.waiting.values())
    if status.refusal:
        problem = f"The system starts no further thread for {status.name} ({status.refusal})"
        remedy = "raise the limit of processes or memory (LimitNPROC=, TasksMax= or MemoryMax= of systemd)"
    else:
        problem = f"All threads for {status.name} have been busy for {status.full:.0f} s"
        remedy = "make the handlers async def, give what they wait for a timeout, or deactivate the plugin"
        if setting := _SETTINGS.get(status.name):
            remedy += f"; if all of them are needed, raise {setting} (now {status.size})"
    return (
        f"{problem}, and {waiting} jobs wait. {_holders([use for use in status.uses if not use.replaced])}. "
        f"{prefix}status plugins lists what runs. What to do: {remedy}."
    )


def _holders(uses: Sequence[ThreadUse]) -> str:
    by_origin: defaultdict[str, list[ThreadUse]] = defaultdict(list)
    for use in uses:
        by_origin[use.origin].append(use)
    holders = sorted(by_origin.items(), key=lambda held: -len(held[1]))
    texts = []
    for origin, held in holders[:_MOST_ORIGINS]:
        longest, who = max(held, key=lambda use: use.seconds), origin.replace(":", " ", 1) or "the bot"
        texts.append(f"{who} ({len(held)}; {longest.name} for {longest.seconds:.0f} s)")
    if len(holders) > _MOST_ORIGINS:
        texts.append(f"{len(holders) - _MOST_ORIGINS} others")
    return f"{len(uses)} threads are held by {', '.join(texts)}"
