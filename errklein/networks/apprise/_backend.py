"""The backend that sends messages to the targets of Apprise, in threads, and by requests with bounds."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from threading import get_ident
from time import monotonic
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from twisted.internet.defer import Deferred, fail
from twisted.python.failure import Failure
from urllib3.exceptions import HTTPError

from errklein.chat import Identifier, Message
from errklein.chat.features import Features
from errklein.chat.operations import Operation, Post, Wanted
from errklein.chat.outgoing import OutgoingMessage
from errklein.config import Config, ConfigError
from errklein.config.networks import NetworkFinding
from errklein.config.secrets import SecretError, SecretStore
from errklein.networks.apprise import NETWORK
from errklein.networks.base import LocalPerson, NamedRoom, NetworkBase
from errklein.networks.context import NetworkContext
from errklein.networks.outbox import NotConfirmed, RetryLater
from errklein.ports.chat import BackendEvents
from errklein.ports.receipts import Receipt
from errklein.running import PoolStopped, TimedOut, WorkerPool, result_within
from errklein.text import to_md, to_plain, to_xhtml, truncated, without_mentions
from errklein.text.masking import masker

if TYPE_CHECKING:
    from apprise import NotifyBase

SCHEMES = """
bark barks brevo discord flock form forms gchat gotify gotifys guilded hassio hassios ifttt join json jsons lark mailgun mailto
mailtos mastodon mastodons matrix matrixs mmost mmosts mqtt mqtts nctalk nctalks ntfy ntfys opsgenie pagerduty pbul pover prowl
push pushy rocket rockets ryver sendgrid signal signals signl4 sinch slack splunk tgram threema twilio twist victorops vonage
webex workflow workflows wxteams xml xmls zulip
"""
"""The schemes of usual services. Others of Apprise act on this computer, or are rare."""
FIRST_RETRY, LONGEST_RETRY = 60.0, 900.0
"""The seconds until a message is sent again that a service has not accepted: at first, doubled each time, and at most."""
LONGEST_ATTEMPT = 120.0
"""The seconds after which a service counts as failed. Its thread can't be stopped: until it ends, there is no further attempt."""
_LOGGER = logging.getLogger("apprise")
_SECRET_PART = re.compile(r"[^/?&=@:#\s]{16,}|(?=[^/?&=@:#\s]*\d)[^/?&=@:#\s]{8,}")
"""Matches the parts of a URL that are probably secrets by themselves, such as tokens in its path."""


@dataclass
class Target:
    """A service with its address, the number of failures since it has accepted a message, and whether a thread sends to it."""

    service: str
    format: str
    size: int
    sender: NotifyBase
    failures: int = 0
    is_busy: bool = False

    def render(self, markdown: str) -> str:
        if self.format == "text":
            return to_plain(markdown, indented=False)
        return to_xhtml(markdown) if self.format == "html" else to_md(markdown)

    def ended(self, result: Any) -> Any:
        self.is_busy = False
        return result

    def notify(self, text: str) -> None:
        """Send a rendered text. Blocks; raises ConnectionError with the reason."""
        from apprise import LogCapture

        # Other targets log in other threads.
        own = f"{get_ident()} "
        with LogCapture(fmt="%(thread)d %(message)s") as log:
            if not self.sender.notify(body=text, title="", notify_type="info", body_format=self.format):
                reasons = [line.removeprefix(own) for line in log.getvalue().splitlines() if line.startswith(own)]
                raise ConnectionError(" ".join(reasons) or "Apprise gives no reason")


class AppriseBackend(NetworkBase):
    """Targets as rooms. Implements `outbox.Transport`, too."""

    mode = "apprise"
    joins_configured_rooms = True

    def __init__(self, context: NetworkContext) -> None:
        super().__init__(context.config)
        self._context = context
        self._targets = open_targets(context.config)
        self.joined_rooms = [NamedRoom(name, self.network) for name in self._targets]
        # One target that doesn't answer takes one place and one thread.
        self.window = len(self._targets)
        self._pool = WorkerPool(context.reactor, f"{self.network} sending", self.window)
        self.outbox = context.outbox(self, dropped=self.dropped)
        self.bot_identifier = bot = LocalPerson("errklein")
        bot.network = self.network

    def connect(self, events: BackendEvents) -> None:
        self.events = events
        self.outbox.resume()
        events.backend_connected(self)

    def disconnect(self, grace: float = 0.0) -> Deferred[None]:
        closed: Deferred[None] = self.outbox.close(grace)
        return closed.addCallback(lambda _: self._pool.stop())

    def build_identifier(self, text: str) -> Identifier:
        """Return the target of `#name`: only those of BOT_IDENTITY, so that nobody names a URL in a message."""
        if text not in self._targets:
            raise ValueError(f"{self.network} has no target {text!r}, only {', '.join(self._targets)}")
        return NamedRoom(text, self.network)

    def features(self, to: Identifier | str) -> Features:
        # A message of an earlier run may be for a target that was removed.
        target = self._targets[str(self.build_identifier(str(to)))]
        return Features(target.size, lambda text: len(target.render(text)))

    def perform(self, message: Message, wanted: Wanted, file: bytes = b"") -> Receipt:
        """Queue the text, in which `@channel` and the like notify nobody unless the message says so."""
        if not message.mentions:
            message = message.clone()
            message.body = without_mentions(message.body)
        return super().perform(message, wanted, file)

    def parts(self, operation: Operation, message: OutgoingMessage, original: Message | None) -> Sequence[Any]:
        assert isinstance(operation, Post)
        return [(message.recipient, self._targets[message.recipient].render(operation.text))]

    def transmit(self, parts: Sequence[tuple[str, str]], keys: Sequence[str]) -> Sequence[Deferred[None]]:
        return [self._notify(room, self._targets[room], text) for room, text in parts]

    def _notify(self, room: str, target: Target, text: str) -> Deferred[None]:
        if target.is_busy:
            return fail(self._failed(room, target, Failure(TimedOut())))
        target.is_busy = True
        done: Deferred[None] = self._pool.run(lambda: partial(target.notify, text)).addBoth(target.ended)
        sent = result_within(self._context.reactor, LONGEST_ATTEMPT, done)
        # What comes later is of no interest.
        done.addErrback(lambda _: None)
        return sent.addCallbacks(lambda _: setattr(target, "failures", 0), partial(self._failed, room, target))

    def _failed(self, room: str, target: Target, failure: Failure) -> Failure:
        if failure.check(PoolStopped):
            return Failure(NotConfirmed("the bot stops"))
        seconds = min(FIRST_RETRY * 2**target.failures, LONGEST_RETRY)
        target.failures += 1
        reason = masker.known(failure.getErrorMessage() or f"no result within {LONGEST_ATTEMPT:g} s")
        reason = truncated(reason, 200)
        text = f"{self.network}: a message to {room} was not accepted ({reason})"
        self._context.log.warn("{text}; next try in {seconds:g} s", text=text, seconds=seconds)
        if target.failures == 1:
            # A notice to the same target waits behind the message.
            self._context.notify(("apprise", self.network, room), f"{text}; it is sent again later.")
        return Failure(RetryLater(seconds, "recipient"))


async def check(context: NetworkContext) -> Sequence[NetworkFinding]:
    targets = [f"{name} ({target.service})" for name, target in open_targets(context.config).items()]
    return [NetworkFinding(f"{', '.join(targets)}: valid; only a message shows whether a service accepts it")]


def open_targets(config: Config) -> Mapping[str, Target]:
    """Return the targets by `#name`, without sending anything; raise ConfigError with what is wrong, and without URLs."""
    from apprise import Apprise, AppriseAsset

    # At lower levels, it logs addresses.
    _LOGGER.setLevel(max(_LOGGER.level, logging.WARNING))
    identity = NETWORK.settings.read_identity(config.BOT_IDENTITY)
    allowed, asset = {*SCHEMES.split(), *identity.get("schemes", ())}, AppriseAsset(async_mode=False)
    secrets, targets, confidential = SecretStore.of(config.BOT_DATA_DIR), dict[str, Target](), set[str]()
    for name, reference in identity.get("targets", {}).items():
        where = f"BOT_IDENTITY: the target {name!r}"
        try:
            url = secrets.read(reference).decode("utf-8", "replace").strip()
        except SecretError as error:
            raise ConfigError(f"{where}: {error}") from None
        host = urlsplit(url).netloc.rpartition("@")[2].partition(":")[0]
        confidential |= {url, *(part for part in _SECRET_PART.findall(url) if part != host or "." not in host)}
        masker.learn(masker, f"targets of {config.network}", confidential)
        scheme = url.partition("://")[0].lower() if "://" in url else ""
        if scheme and scheme not in allowed:
            raise ConfigError(f"{where}: URLs with {scheme[:20]!r} aren't allowed; add it to 'schemes' if you trust it")
        if (service := Apprise.instantiate(url, asset=asset)) is None:
            raise ConfigError(f"{where}: {reference} has no valid URL; see Apprise's documentation")
        size = min(service.body_maxlen, getattr(config, "MESSAGE_SIZE_LIMIT", None) or service.body_maxlen)
        targets[f"#{name}"] = Target(scheme, service.resolve_format("markdown").value, size, service)
    if not targets:
        raise ConfigError("BOT_IDENTITY: 'targets' is missing, such as {'teams': 'env:TEAMS_URL'}")
    _bound_requests()
    return targets


LARGEST_ANSWER = 1_000_000  # bytes; services give a few hundred
LONGEST_ANSWER = 60.0  # the seconds after which an answer ends that comes bit by bit


class _BoundedAdapter(HTTPAdapter):
    """Reads answers up to LARGEST_ANSWER and LONGEST_ANSWER, whatever the caller reads of them."""

    def send(self, *args: Any, **options: Any) -> requests.Response:
        end, content = monotonic() + LONGEST_ANSWER, bytearray()
        response = super().send(*args, **options)
        # urllib3 1 has no `read1`, and fills the buffer before it returns.
        read = getattr(response.raw, "read1", response.raw.read)
        try:
            while data := read(65_536, decode_content=True):
                content += data
                if len(content) > LARGEST_ANSWER or monotonic() > end:
                    raise requests.ConnectionError(f"the answer is larger than {LARGEST_ANSWER:,} bytes, or too slow")
        except HTTPError as error:
            raise requests.ConnectionError(error) from None
        finally:
            response.raw.close()
        response.raw = BytesIO(content)
        return response


class _Session(requests.Session):
    """A session with bounds. It follows no redirects, which may lead to addresses that nobody has configured."""

    def __init__(self) -> None:
        super().__init__()
        for scheme in ("http://", "https://"):
            self.mount(scheme, _BoundedAdapter())

    def get_redirect_target(self, resp: requests.Response) -> None:
        return None


def _request(method: str, *args: Any, **options: Any) -> Any:
    with _Session() as session:
        return getattr(session, method)(*args, **options)


_METHODS = {name: partial(_request, name) for name in ("request", "get", "post", "put", "patch", "delete", "head")}
_BOUNDED = SimpleNamespace(**{**vars(requests), **_METHODS})


def _bound_requests() -> None:
    """Let the services of Apprise that are loaded send requests with bounds. It has no setting for that."""
    for name, module in list(sys.modules.items()):
        if name.startswith("apprise.plugins.") and getattr(module, "requests", None) is requests:
            module.requests = _BOUNDED  # type: ignore[attr-defined]
