"""The settings of the web server: timeouts, sizes, and what proxies in front of it do; and the parts of the bot that it uses."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from twisted.logger import Logger

from errklein.config import Config
from errklein.ports.journal import Journal, LaterDeliveries
from errklein.ports.web import WebEvents
from errklein.running import ThreadWaits
from errklein.webhooks.declaration import DEFAULT_METHODS
from errklein.webhooks.forwarding import TrustedProxies
from errklein.webhooks.option_values import Rate
from errklein.webhooks.options import HookOptions, hook_options

if TYPE_CHECKING:
    from errklein.web._to_owner import ToOwner


@dataclass(frozen=True)
class WebSettings:
    """Limits of requests, and their addresses. Times are in seconds, sizes in bytes."""

    timeout: float = 60.0  #: for a handler to respond; then the client gets 504, and the handler runs to its end
    max_body: int = 25 * 1024 * 1024  #: the default is the maximum of GitHub's webhooks
    max_connections: int = 10_000  #: the maximal number of open connections
    max_connections_per_client: int = 1_000  #: of those from an IPv4 address, or from an IPv6 network of 64 bits
    body_memory: int | None = 256 * 1024 * 1024  #: for all bodies and their decoded values; None if it is unlimited
    off_reactor_size: int = 64 * 1024  #: the size above which a body is decoded in a thread before its handler runs
    head_deadline: float = 10.0  #: the time for a request line and its headers to arrive
    body_deadline: float = 30.0  #: the time for a body to arrive, from the end of the headers
    read_deadline: float = 30.0  #: the time for a client to read from a full send buffer; then it is disconnected
    idle_deadline: float = 60.0  #: the time after which a connection without a request is closed
    proxies: TrustedProxies | None = None  #: the proxies whose forwarding headers are read
    base_path: str = ""  #: the path below which clients reach the webhooks, which proxies may remove from paths
    prefix: str = "/hooks"  #: the path below which the webhooks of rooms are
    secrets_in: Path | None = None  #: the directory of the secrets that the bot has stored
    public_url: str = ""  #: the scheme and host of links, such as "https://bot.example.net"; or those of the request
    webhooks: Mapping[str, HookOptions] = field(
        default_factory=dict
    )  #: the operator's options, by the names of webhooks
    default_methods: Sequence[str] = DEFAULT_METHODS  #: where neither the plugin nor the operator names any
    client_rate: Rate | None = None  #: the limit of requests of one client that their verification hasn't accepted
    delivery_log: str = "bodies"  #: the stored part of requests: "bodies", "heads" for all except bodies, or "off"
    log_rate: Rate | None = None  #: the rate of a webhook's successful deliveries above which they are only counted
    access_log: bool = True  #: log a line per response, at the level INFO

    @classmethod
    def of(cls, config: Config) -> WebSettings:
        return cls(
            timeout=config.WEBHOOK_TIMEOUT,
            max_body=config.WEBHOOK_MAX_BODY,
            # No line is created that neither the log nor Sentry takes.
            access_log=config.BOT_LOG_SENTRY or config.BOT_LOG_LEVEL <= logging.INFO,
            proxies=TrustedProxies(config.TRUSTED_PROXIES) if config.TRUSTED_PROXIES else None,
            base_path=config.WEBHOOK_BASE_PATH,
            prefix=config.WEBHOOK_PREFIX,
            public_url=config.PUBLIC_URL,
            secrets_in=Path(config.BOT_DATA_DIR) / "secrets",
            max_connections=config.WEBHOOK_MAX_CONNECTIONS,
            max_connections_per_client=config.WEBHOOK_MAX_CONNECTIONS_PER_CLIENT,
            body_memory=config.WEBHOOK_BODY_MEMORY,
            webhooks=hook_options(config.setting("WEBHOOKS")),
            default_methods=config.WEBHOOK_METHODS,
            client_rate=Rate.of(config.WEBHOOK_CLIENT_RATE) if config.WEBHOOK_CLIENT_RATE else None,
            delivery_log=config.WEBHOOK_LOG,
            log_rate=Rate.of(config.WEBHOOK_LOG_RATE) if config.WEBHOOK_LOG_RATE else None,
        )


@dataclass(frozen=True)
class BotParts:
    """The parts of the bot that the web server uses. The bot is created after the endpoints are open, and before any request.
    `later` records the deliveries of `ack="now"` and passes them to `WebServer.run`. Without it and the journal, nothing is
    recorded. `to_owner` passes requests on to the process that owns the plugins; None if no other one can."""

    events: WebEvents | None = None
    journal: Journal | None = None
    later: LaterDeliveries | None = None
    waits: ThreadWaits | None = None
    to_owner: ToOwner | None = None
    log: ClassVar[Logger] = Logger(namespace="errklein.web")

    def report(self, call: Callable[[WebEvents], None]) -> None:
        """Call a method of `events`. Its errors are logged, so that they can't prevent a response."""
        try:
            if self.events is not None:
                call(self.events)
        except Exception:
            self.log.failure("Could not handle an event of the web server")
