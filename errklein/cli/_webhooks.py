"""The command `errklein webhook`, which also works beside a running bot, since it doesn't lock the data directory."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any
from urllib.parse import urlsplit

from twisted.internet.defer import Deferred

from errklein.cli._argument_errors import Parser
from errklein.cli._records import finished, open_data, operations_on, print_lines, shell_user
from errklein.cli._sign import content_type_of, parse_header, read_body
from errklein.cli._webhook_checks import configured_hooks
from errklein.config import Config, SecretError, read_secret
from errklein.database import Access, DatabaseError
from errklein.journal import DATABASE, open_archive
from errklein.journal.operations import WebhookOperations
from errklein.logs import escape
from errklein.running.reactors import install_asyncio_reactor
from errklein.service import DataDirectory, errors_end_program
from errklein.verify import Received, Verification, verification
from errklein.webhooks.delivery_words import UnknownWebhook
from errklein.webhooks.precedence import RouteInfo
from errklein.wiring import wire

_TIMEOUT = 90.0
"""The seconds to wait for a response. WEBHOOK_TIMEOUT is 60 by default."""


def work_on_webhooks(known: argparse.Namespace) -> int:
    """Run `errklein webhook`, and return the exit status."""
    try:
        if known.what == "test" and "://" in known.target:
            return _send_test(known, known.target, known.target, None)
        config, data = open_data(known, missing_ok=True)
        if known.what in ("pause", "resume"):
            return _pause(config, known, data)
        path, routes = data.path / DATABASE, _load_routes(config)
        with closing(open_archive(path if config.STORAGE != "Memory" and path.exists() else None)) as archive:
            return _run_action(operations_on(archive, config, data, routes), config, known, routes)
    except (UnknownWebhook, DatabaseError, SecretError) as error:
        raise SystemExit(f"errklein: {error}") from None
    except ValueError as error:
        parser: Parser = known.parser
        parser.error(str(error))


def _run_action(
    operations: WebhookOperations, config: Config, known: argparse.Namespace, routes: Sequence[RouteInfo]
) -> int:
    """List the webhooks, show some, or send a request to one."""
    if known.what == "list":
        return print_lines(one.lines()[0] for one in operations.webhooks(shell_user()))
    if known.what == "show":
        reports = finished(operations.webhook(shell_user(), known.name))
        return print_lines(line for report in reports for line in report.lines())
    name, *others = operations.named(known.target, ())
    if others:
        raise ValueError(f"{known.target!r} has several webhooks: {', '.join([name, *others])}")
    [declared] = (route.hook.declaration for route in routes if route.hook.full_name == name)
    if "<" in declared.rule:
        raise ValueError(f"the path of {name}, {declared.rule}, has variables; pass its URL")
    url = f"{known.address.rstrip('/')}{declared.rule}"
    signed = f"{config.PUBLIC_URL}{config.WEBHOOK_BASE_PATH}{declared.rule}" if config.PUBLIC_URL else url
    return _send_test(known, url, signed, declared.verify)


def _load_routes(config: Config) -> Sequence[RouteInfo]:
    """Return the webhooks of all plugins that aren't blacklisted. None is activated."""
    install_asyncio_reactor()
    from twisted.internet.task import react

    routes: list[RouteInfo] = []

    async def load(reactor: Any) -> None:
        with errors_end_program():
            # Missing requirements are not installed, and no file may be changed beside a running bot.
            config.AUTOINSTALL_DEPS = False
            bot = wire(reactor, config, values=Access.COPY)[1]()
            manager = bot.plugin_manager
            for problem in await manager.load(bot.plugin_roots):
                sys.stderr.write(f"errklein: {escape(problem.text)}\n")
            for plugin in manager.found:
                if plugin.instance is not None and not manager.is_blacklisted(plugin.name):
                    hooks = configured_hooks(plugin.instance, bot.web.routes.configure)
                    routes.extend(
                        RouteInfo(hook, hook.declaration.rule, hook.declaration.methods, None) for hook in hooks
                    )
            bot.storage.close()

    try:
        react(lambda reactor: Deferred.fromCoroutine(load(reactor)))
    except SystemExit as ended:
        if ended.code:
            raise
    return routes


def _pause(config: Config, known: argparse.Namespace, data: DataDirectory) -> int:
    """Pause or resume webhooks. Plugins, which may be broken, are only loaded if the journal doesn't know the webhook."""
    if config.STORAGE == "Memory":
        raise SystemExit(f"errklein: STORAGE is 'Memory', so only the running bot can do it; use !webhook {known.what}")
    with closing(open_archive(data.path / DATABASE, Access.SHARE)) as archive:
        recorded, operations = archive.webhooks(), operations_on(archive, config, data)
        try:
            names = operations.named(known.name, recorded)
        except UnknownWebhook:
            names = operations_on(archive, config, data, _load_routes(config)).named(known.name, recorded)
        change = operations.pause if known.what == "pause" else operations.resume
        for name in names:
            finished(change(shell_user(), name))
    when = "" if data.is_used() else "; no bot is running, so it holds from its next start"
    return print_lines([f"{known.what}d {', '.join(names)}{when}"])


def _send_test(known: argparse.Namespace, url: str, signed_url: str, scheme: Verification | None) -> int:
    """Send a POST request, signed by the scheme or the source that is given, and print the response. Return 0 if it is below 400."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"invalid URL: {url!r}; expected one such as http://127.0.0.1:3141/github")
    body = b"{}" if known.file is None else read_body(known.file)
    headers = _headers(known, body, signed_url, scheme)
    connect = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    target = parts._replace(scheme="", netloc="", path=parts.path or "/", fragment="").geturl()
    try:
        with closing(connect(parts.hostname, parts.port, timeout=_TIMEOUT)) as connection:
            connection.request("POST", target, body, headers)
            response = connection.getresponse()
            text = response.read().decode("utf-8", "replace")
    except (OSError, HTTPException) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise SystemExit(f"errklein: no response from {url}: {reason}") from None
    first = f"POST {url}: {response.status} {response.reason}"
    print_lines([first, *(f"{name}: {value}" for name, value in response.getheaders()), "", *text.splitlines()])
    return 0 if response.status < 400 else 1


def _headers(known: argparse.Namespace, body: bytes, url: str, scheme: Verification | None) -> dict[str, str]:
    given = dict(parse_header(text) for text in known.header)
    if known.source is not None:
        scheme = verification(known.source, **({} if known.secret is None else {"secret": known.secret}))
    if scheme is None and known.event is not None:
        raise ValueError("--event needs a source, whose header it is; add --source")
    added = {} if scheme is None else scheme.headers_of_source(known.event)
    sent = {b"content-type": content_type_of(body)}
    sent |= {name.lower().encode(): value.encode() for name, value in added.items()} | given
    if scheme is not None and scheme.signer is not None:
        secret = read_secret(scheme.secrets[0]) if scheme.secrets else b""
        sent |= dict(scheme.sign(Received("POST", url, list(sent.items()), body, "", time.time()), secret))
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in sent.items()}
