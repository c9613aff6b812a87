"""Notices to administrators: how often they are sent, in chat or in another way, and those that are kept for later; and the
texts of those about webhooks, dead deliveries, and threads that are all busy or can't be started."""

from __future__ import annotations

import smtplib
import socket
import sysconfig
from collections import defaultdict, deque
from collections.abc import Callable, Collection, Hashable, MutableMapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from email.message import EmailMessage
from functools import partial
from math import inf
from pathlib import Path
from sys import maxsize
from threading import Lock
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from errklein.chat import Identifier, Message, Person, matches_any, rules_of
from errklein.chat.identifiers import LookupFailed
from errklein.config import Config, MailFallback
from errklein.config.networks import has_people
from errklein.dispatch import Disclosure, Networks
from errklein.dispatch.replies import Deliver, new_error_id, with_id
from errklein.plugins.imports import described_error, error_place
from errklein.plugins.plugin import Plugin, UnknownPlugin
from errklein.plugins.store_mixin import StoredValues
from errklein.plugins.subprocesses import run
from errklein.ports.chat import Backend, KnowsHolders
from errklein.ports.outbox import SentLater
from errklein.running import PoolStatus, PoolStopped, ThreadUse, on_reactor_soon, start_daemon_thread
from errklein.running.context import anywhere, assigned
from errklein.text import plain, sanitize, truncated
from errklein.text.errors import line_outside
from errklein.text.masking import SHOWN_TEXT, masker
from errklein.verify import ADDRESS_SCHEME
from errklein.webhooks import Hook
from errklein.webhooks.deliveries import Outcome, StoredDelivery
from errklein.webhooks.exported import described

INTERVAL = 600.0  # the seconds between two notices with the same key

MOST, PERIOD = 100, 60.0
"""The maximal number of notices within so many seconds, and of twice as many if they have a key: errklein's own."""

_MOST_KEYS = 10_000  # the maximal number of keys whose notices are counted
MOST_KEPT = 20  # the maximal number of notices that are kept for each recipient; the latest ones are
LIFETIME = 7 * 86400.0  # the seconds for which a missed notice is kept
LONGEST = 1000  # the maximal number of characters of a notice that is kept
PATIENCE = 60.0  # the seconds within which a notice must reach an administrator in chat

FALLBACK_INTERVAL = 300.0
"""The seconds between two mails, or calls of the command. After a failure, the same notices are tried again."""

MOST_WAITING = 100  # the maximal number of notices that wait for PATIENCE, of which the latest are kept
TIMEOUT = 30.0  # the seconds after which the command, or a response of the SMTP server, has failed

_KEY = "missed_notices"

KeptNotice = tuple[float, str]  # the Unix time of a notice, and its text in Markdown


@dataclass(eq=False)
class Notice:
    """A notice to administrators. `text` is the plain text, and `markdown` the same for chat; `summary` is the Markdown
    for rooms and for people who aren't known to be administrators, if they must not read the notice."""

    text: str
    markdown: str
    summary: str = ""
    reached: bool = False  # whether an administrator has got it. May be set in any thread.


@dataclass
class _Counted:
    """The notices of a key since the last one that was sent: their number, and the arguments of `tell_admins` about them."""

    interval: float
    until: float
    count: int = 0
    notice: tuple[str, str] = "", ""


class NoticeBoard:
    """Sends notices to administrators, those that repeat only as a number. The methods may be called from any thread.
    Of notices that are too many within PERIOD, the log has the texts, and administrators get the number.

    The recipients are those in BOT_ADMINS_NOTIFICATIONS of each network. A notice that can't be sent to one of them is
    logged, and the others get it. `missed` keeps it if the network rejected the message, or has no reliable names and
    the recipient isn't known to be an administrator. The person gets it as soon as `person_seen` is called. `fallback`
    gets all notices, and passes on those that reach nobody."""

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        networks: Networks,
        deliver: Deliver,
        disclosure: Disclosure,
        missed: MissedNotices,
        fallback: NoticeFallback,
    ) -> None:
        self._reactor, self._networks, self._deliver = reactor, networks, deliver
        self._disclosure, self._missed, self._fallback = disclosure, missed, fallback
        self._counted: dict[Hashable, _Counted] = {}
        self._lock = Lock()
        self._sent: deque[float] = deque(maxlen=2 * MOST)
        self._left_out, self._left_out_at = 0, 0.0
        """The number of notices that were too many, and when the first one was."""
        self._stopped = False

    def post(
        self, key: Hashable, text: str, summary: str = "", *, more: str = "", interval: float = INTERVAL, count: int = 1
    ) -> None:
        """Send a notice, unless one with the same key was sent within `interval` seconds. Then it is counted, and at
        the end of the interval administrators get one notice about those; none with `math.inf`. `text` and `summary`
        are as for `tell_admins`. In `more`, the text about those that were counted, without an exception's text,
        `{count}` is replaced by their number; without it, the last `text` is sent with the number. `count` is the
        number of events that this notice is about."""
        on_reactor_soon(self._reactor, self._post, key, text, summary, more, interval, count)

    def warn_admins(self, warning: str) -> None:
        warning = masker.cut(warning, SHOWN_TEXT)
        self._send(Notice(masker(warning), masker.known(warning)), MOST)

    def tell_admins(self, text: str, summary: str = "") -> None:
        """Send a notice in plain text, such as a path or an error message. Secrets are masked, and Markdown is escaped.
        If the text contains that of an exception, `summary` is required, without it: rooms, and people who aren't known
        to be administrators, get the summary and an error id. The log has the text with the same id."""
        self._tell(text, summary, MOST)

    def person_seen(self, backend: Backend, person: Identifier | None) -> None:
        """Send the notices that the person has missed, if a message to the person reaches an administrator now."""
        recipients = self._missed.recipients(backend.network)
        if not recipients or not isinstance(person, Person) or not self._disclosure.is_admin(backend, person):
            return
        names = {str(person), str(person.person), str(person.nick), str(person.aclattr)}
        for admin in recipients:
            if any(matches_any(rules_of(person), name, (admin,)) for name in names):
                Deferred.fromCoroutine(self._send_missed(backend, admin, person))

    def look(self) -> None:
        """Send what was counted in the intervals that have ended. Called on the reactor every few seconds."""
        now = self._reactor.seconds()
        self._end_until(now)
        if now >= self._left_out_at + PERIOD:
            self._report_left_out()
        self._fallback.look()

    def stop(self) -> None:
        """Send what was counted, and from now on all notices at once."""
        self._stopped = True
        with self._lock:
            self._sent.clear()
        self._end_until(maxsize)
        self._report_left_out()

    def _post(self, key: Hashable, text: str, summary: str, more: str, interval: float, count: int) -> None:
        if counted := self._counted.get(key):
            counted.count += count
            number = f" (again since the last notice: {counted.count})"
            last = text + number, summary and summary + number
            counted.notice = (more.replace("{count}", str(counted.count)), "") if more else last
        else:
            self._begin(key, interval)
            if not self._tell(text, summary) and interval == inf:
                self._counted.pop(key, None)

    def _begin(self, key: Hashable, interval: float) -> None:
        if not self._stopped and len(self._counted) < _MOST_KEYS:
            self._counted[key] = _Counted(interval, self._reactor.seconds() + interval)

    def _end_until(self, time: float) -> None:
        """End the intervals that are over at this time. For a key whose notices were counted, another one begins."""
        for key, counted in list(self._counted.items()):
            if counted.until <= time:
                del self._counted[key]
                if counted.count:
                    self._begin(key, counted.interval)
                    self._tell(*counted.notice)

    def _tell(self, text: str, summary: str = "", most: float = 2 * MOST) -> bool:
        """See `tell_admins`. Return whether the notice is sent: fewer than `most` were within PERIOD."""
        text = masker(masker.cut(text, SHOWN_TEXT))
        if not summary:
            return self._send(Notice(text, plain(text)), most)
        error_id = new_error_id()
        shown = plain(masker(with_id(summary, error_id)))
        return self._send(Notice(with_id(text, error_id), plain(text), shown), most)

    def _send(self, notice: Notice, most: float) -> bool:
        with self._lock:
            now = self._reactor.seconds()
            is_sent: bool = sum(now - at < PERIOD for at in self._sent) < most
            if is_sent:
                self._sent.append(now)
            else:
                self._left_out_at = self._left_out_at if self._left_out else now
                self._left_out += 1
        if is_sent:
            self.log.warn("Notifying administrators: {text}", text=notice.text)
            self._distribute(notice)
        else:
            self.log.warn("Too many notices; administrators don't get this one: {text}", text=notice.text)
        return is_sent

    def _report_left_out(self) -> None:
        """Send the number of notices that were too many, also in a flood."""
        with self._lock:
            number, self._left_out = self._left_out, 0
        if number:
            self._tell(f"{number} more notices were too many within a minute; the log has their texts.", most=inf)

    def _distribute(self, notice: Notice) -> None:
        on_reactor_soon(self._reactor, self._fallback.expect, notice)
        for backend in self._networks.backends.values():
            for admin in tuple(self._networks.config(backend).BOT_ADMINS_NOTIFICATIONS):
                start = partial(Deferred.fromCoroutine, self._send_to(backend, str(admin), notice))
                # On the reactor, the result shows whether the network has taken the message.
                on_reactor_soon(self._reactor, start)

    async def _send_to(self, backend: Backend, admin: str, notice: Notice) -> None:
        """Send the notice, or its summary, to the recipient of that name; keep it for a person who has missed it."""
        recipient: Identifier | None = None
        try:
            try:
                recipient = await backend.resolve(admin)
            except LookupFailed:
                # The outbox keeps the notice until the network can be asked.
                recipient = backend.build_identifier(admin)
            is_admin = self._disclosure.is_admin(backend, recipient)
            text = notice.summary if notice.summary and not is_admin else notice.markdown
            sending = self._deliver_now(backend, recipient, text)
            if is_admin or not isinstance(backend, KnowsHolders) or not isinstance(recipient, Person):
                await sending
                if has_people(self._networks.config(backend)):
                    notice.reached = True
                return
            # Somebody else may have the name.
            sent = Deferred.fromCoroutine(sending)
            sent.addErrback(lambda failure: self._not_sent(backend, admin, failure.value))
        except Exception as error:
            self._not_sent(backend, admin, error)
            if not (recipient is None or isinstance(recipient, Person)):
                return
        on_reactor_soon(self._reactor, self._missed.add, backend.network, admin, notice.markdown)

    async def _deliver_now(self, backend: Backend, recipient: Identifier, text: str) -> None:
        """Send a message, and wait until the network has it, or the outbox sends it after the next start."""
        message = Message(text, frm=backend.bot_identifier, to=recipient)
        message.priority = True
        with assigned(anywhere, ""):
            sent = self._deliver(backend, message)
        with suppress(SentLater):
            if sent is not None:
                await sent

    def _not_sent(self, backend: Backend, admin: str, error: BaseException | None) -> None:
        text = "Could not notify {admin} on {network}: {error}"
        self.log.warn(text, admin=admin, network=backend.network, error=str(error))

    async def _send_missed(self, backend: Backend, admin: str, person: Person) -> None:
        notices = self._missed.take(backend.network, admin)
        older = "; older ones are in the log" if len(notices) == MOST_KEPT else ""
        lines = [f"{datetime.fromtimestamp(at):%Y-%m-%d %H:%M:%S}: {text}" for at, text in notices]
        body = "\n\n".join([f"Notices that you may have missed{older}:", *lines])
        try:
            if notices:
                await self._deliver_now(backend, person, body)
        except Exception as error:
            self._not_sent(backend, admin, error)
            self._missed.keep(backend.network, admin, notices)
        else:
            self._missed.changed()


class MissedNotices:
    """The missed notices of each recipient, stored across restarts. Used in the reactor's thread. `store` has the bot's
    own values, and `values` the same without blocking."""

    log = Logger()

    def __init__(self, store: MutableMapping[str, Any], values: StoredValues, now: Callable[[], float]) -> None:
        self._store, self._values, self._now = store, values, now
        self._kept: dict[tuple[str, str], list[KeptNotice]] = {}
        self._is_changed, self._is_stopped = False, True

    def restore(self) -> None:
        """Read the notices, and store changes from now on. Called in the process that owns the networks."""
        self._kept, self._is_stopped = dict(self._store.get(_KEY, {})), False

    def add(self, network: str, admin: str, text: str) -> None:
        self.keep(network, admin, [(self._now(), truncated(text, LONGEST))])

    def keep(self, network: str, admin: str, notices: Sequence[KeptNotice]) -> None:
        """Keep notices, those that `take` has returned included, and remove old ones."""
        oldest = self._now() - LIFETIME
        self._kept[network, admin] = sorted([*self._kept.get((network, admin), ()), *notices])[-MOST_KEPT:]
        current = {who: [one for one in kept if one[0] > oldest] for who, kept in self._kept.items()}
        self._kept = {who: kept for who, kept in current.items() if kept}
        self.changed()

    def recipients(self, network: str) -> list[str]:
        return [admin for where, admin in self._kept if where == network]

    def take(self, network: str, admin: str) -> list[KeptNotice]:
        """Return the notices of a recipient, who has none then. Call `changed` or `keep` when it is known whether they arrived."""
        return [one for one in self._kept.pop((network, admin), ()) if one[0] > self._now() - LIFETIME]

    async def forget(self, network: str, is_meant: Callable[[str], bool]) -> int:
        """Remove the notices of recipients on the network from memory and disk, and return their number."""
        meant = [admin for admin in self.recipients(network) if is_meant(admin)]
        number = sum(len(self._kept.pop((network, admin))) for admin in meant)
        if meant:
            self._is_changed = True
            await self._values.set(_KEY, self._kept)
        return number

    def changed(self) -> None:
        """Store the notices soon, unless the bot has stopped. Errors are logged."""
        if self._is_stopped:
            return
        self._is_changed = True
        self._values.set(_KEY, self._kept).addErrback(self._not_stored)

    def stop(self) -> None:
        """Store the notices now if they have changed since the start, and no later ones. Errors are logged."""
        self._is_stopped = True
        if self._is_changed:
            try:
                self._store[_KEY] = self._kept
            except Exception:
                self._not_stored(Failure())

    def _not_stored(self, failure: Failure) -> None:
        if not failure.check(PoolStopped):
            self.log.failure("Missed notices could not be stored", failure)


class NoticeFallback:
    """Passes notices that have reached no administrator within PATIENCE to BOT_ADMINS_FALLBACK, many at a time."""

    log = Logger()
    start_thread = staticmethod(start_daemon_thread)

    def __init__(self, reactor: Any, config: Config, now: Callable[[], float]) -> None:
        self._reactor, self._config, self._now = reactor, config, now
        self._waiting: deque[tuple[float, float, Notice]] = deque(maxlen=MOST_WAITING)
        """With the time at which each notice is due, by the reactor, and the Unix time at which it was sent."""
        self._not_before = 0.0

    def expect(self, notice: Notice) -> None:
        """Wait for the notice to reach an administrator, if there is another way. Call it on the reactor."""
        if self._config.BOT_ADMINS_FALLBACK is not None:
            self._waiting.append((self._reactor.seconds() + PATIENCE, self._now(), notice))

    def look(self) -> None:
        """Pass on the notices that wait, if the first one is due. Call it on the reactor every few seconds."""
        while self._waiting and self._waiting[0][2].reached:
            self._waiting.popleft()
        way, now = self._config.BOT_ADMINS_FALLBACK, self._reactor.seconds()
        if self._waiting and way is not None and now >= max(self._waiting[0][0], self._not_before):
            self._not_before = now + FALLBACK_INTERVAL
            notices = [(at, notice) for _, at, notice in self._waiting if not notice.reached]
            self.start_thread(partial(self._pass_on, way, notices), "errklein notices")

    def _pass_on(self, way: MailFallback | Sequence[str], waiting: Sequence[tuple[float, Notice]]) -> None:
        lines = [f"{datetime.fromtimestamp(at):%Y-%m-%d %H:%M:%S}: {_indented(one.text)}" for at, one in waiting]
        text = "\n\n".join(["These notices have reached no administrator in chat:", *lines]) + "\n"
        try:
            if isinstance(way, MailFallback):
                _send_mail(way, text, len(waiting))
            else:
                run(way, seconds=TIMEOUT, text=text)
        except Exception as error:
            self.log.error("Notices could not be passed to BOT_ADMINS_FALLBACK: {error}", error=str(error))
        else:
            for _, notice in waiting:
                notice.reached = True


def _indented(text: str) -> str:
    """Return the beginning of a text without control characters, in which further lines can't be taken for other notices."""
    return "\n  ".join(truncated(sanitize(text), LONGEST).splitlines())


def _send_mail(mail: MailFallback, text: str, count: int) -> None:
    message = EmailMessage()
    message["From"] = message["To"] = mail.address
    message["Subject"] = f"errklein on {socket.gethostname()}: {count} notice{'s' * (count != 1)}"
    # Else an automatic reply could be answered with another one (RFC 3834).
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(text)
    with smtplib.SMTP(mail.host, mail.port, timeout=TIMEOUT) as smtp:
        smtp.send_message(message)


WEBHOOK_INTERVAL = 60.0
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
        self._plugin = plugin
        self._prefix = prefix
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
            interval=WEBHOOK_INTERVAL,
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
            interval=WEBHOOK_INTERVAL,
        )

    def handler_overdue(self, hook: Hook, request_id: str, seconds: float) -> None:
        self._notices.post(
            ("overdue", hook.full_name),
            f"The webhook {hook} ({hook.declaration.rule}) has not responded in {seconds:g} s. Its source got 504, "
            f"and the handler is still running (request {request_id}).",
            interval=WEBHOOK_INTERVAL,
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
