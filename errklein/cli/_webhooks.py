"""The commands `errklein webhook`, `delivery`, `why` and `audit`, which work beside a running bot, since they don't lock the data directory, and `sign`."""

from __future__ import annotations

import argparse
import ast
import json
import os
import shlex
import sys
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import partial
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

from errklein.cli._control import CHANGES, RunningBot, change_webhook
from errklein.cli._parser import Parser, complain, print_lines
from errklein.commands.operations import Actor
from errklein.config import Config, SecretError, SecretStore, read_secret
from errklein.database import Access, DatabaseError
from errklein.journal import JournalArchive
from errklein.journal.operations import BotState, Queue, WebhookOperations
from errklein.logs import escape
from errklein.service import DataDirectory, errors_end_program, load_with_options, user_name
from errklein.sources import example_of, find_source
from errklein.verify import Header, Received, url_token, verification
from errklein.webhooks import HookDeclaration
from errklein.webhooks.declaration import RouteInfo
from errklein.webhooks.deliveries import DeliveryQuery, DeliveryState, StoredDelivery
from errklein.webhooks.delivery_words import InvalidWords, UnknownWebhook, parse_ids, parse_list
from errklein.webhooks.exported import as_values, body_text, details, shown_time, summary
from errklein.webhooks.options import RoomWebhook, room_webhooks
from errklein.wiring import open_archive

T = TypeVar("T")


@contextmanager
def _journal_of(
    config: Config, data: DataDirectory, without: str, access: Access = Access.READ
) -> Iterator[JournalArchive]:
    """Open the journal. End the program if there is no file, with what to do `without` one, or after an error of the context."""
    if config.STORAGE == "Memory":
        raise SystemExit(f"errklein: STORAGE is 'Memory', so {without}")
    with errors_end_program(), closing(open_archive(config, access)) as archive:
        try:
            yield archive
        except InvalidWords as error:
            raise SystemExit(f"errklein: {error}") from None


def explain(known: argparse.Namespace) -> int:
    config, data = open_data(known)
    with _journal_of(config, data, "only the running bot can answer; use !why") as archive:
        explanations = finished(operations_on(archive, config, data).why(shell_user(), known.subject))
        return print_lines(" ".join(line.split()) for one in explanations for line in one.lines())


def audit(known: argparse.Namespace) -> int:
    config, data = open_data(known)
    now = time.time()
    with _journal_of(config, data, "there is no file with deliveries and messages") as archive:
        query, _ = parse_list(known.words, now, {})
        if query != DeliveryQuery(since=query.since, until=query.until):
            known.parser.error("expected only since TIME and until TIME")
        balances = archive.balances(query.since or 0.0, query.until or now + 86400)
    status = 0
    for one in balances:
        parts = ", ".join(f"{number} {name}" for name, number in one.parts.items())
        accepted = f"{one.accepted} {one.kind} accepted since {shown_time(min(one.since, now))}"
        print_lines([f"{accepted}: {parts}; difference {one.difference}"])
        if one.missing:
            complain([f"{one.kind} without their row, of all times: {' '.join(map(str, one.missing))}"])
        uncounted = "what was only counted in its last second isn't in these numbers"
        if one.kills and config.ERRKLEIN_DATABASE is not None:
            last = f"of which the last one started at {shown_time(max(one.kills))}"
            print_lines([f"  killed processes: {len(one.kills)}, {last}: {uncounted}"])
        for restart in one.kills if config.ERRKLEIN_DATABASE is None else ():
            if restart or not data.is_used():
                before = f"before {shown_time(restart)}" if restart else "and not started again"
                print_lines([f"  a bot was killed {before}: {uncounted}"])
        status |= bool(one.difference or one.missing)
    return status


def open_data(known: argparse.Namespace, *, missing_ok: bool = False) -> tuple[Config, DataDirectory]:
    with errors_end_program():
        config = load_with_options(known.config, data_dir=known.data_dir)
        data = DataDirectory(Path(config.BOT_DATA_DIR))
        if missing_ok and data.is_own():
            data.check_access()
        else:
            data.check_readable(missing_ok=config.ERRKLEIN_DATABASE is not None)
    return config, data


Loaded = tuple[Sequence[RouteInfo], Mapping[str, RoomWebhook]]  # the webhooks, and those of rooms by name


def operations_on(
    archive: JournalArchive, config: Config, data: DataDirectory, loaded: Loaded = ((), {})
) -> WebhookOperations:
    site = f"{config.PUBLIC_URL}{config.WEBHOOK_BASE_PATH}"
    asked = "only the running bot knows why: ask it with !why, or see `errklein network check`"
    bot, is_running = running_bot(archive, data)
    unknown = asked if is_running else "no bot is running"
    routes, in_rooms = loaded
    state = BotState(list(config.networks), archive.paused(), site, unknown, lambda: routes, in_rooms.get)
    return WebhookOperations(archive, archive.messages, bot or archive, state)


def running_bot(archive: JournalArchive, data: DataDirectory) -> tuple[RunningBot | None, bool]:
    """Return the bot that must be asked for changes, or None, and whether it runs. Processes that share a database see changes in it."""
    if (nodes := archive.nodes()) is not None:
        return None, bool(nodes)
    return (RunningBot(data.path), True) if data.is_used() else (None, False)


def shell_user(archive: JournalArchive | None = None) -> Actor:
    """Return who uses the shell, with notes in the file of a journal: a bot that runs makes them itself."""
    user, by = user_name(os.getuid()), os.environ.get("SUDO_USER")
    name = f"{user} (sudo by {by})" if by else user
    return Actor(name, True, None if archive is None else partial(archive.note, name))


def finished(operation: Coroutine[object, None, T]) -> T:
    try:
        operation.send(None)
    except StopIteration as ended:
        result: T = ended.value
        return result
    raise AssertionError("the operation waits")


_TIMEOUT = 90.0  # the seconds to wait for a response. WEBHOOK_TIMEOUT is 60 by default.


def work_on_webhooks(known: argparse.Namespace) -> int:
    try:
        if known.what == "test" and "://" in known.target:
            return _send_test(known, known.target, known.target)
        if known.what in CHANGES:
            return change_webhook(known)
        config, data = open_data(known, missing_ok=True)
        if known.what in ("pause", "resume"):
            return _pause(config, known, data)
        return _run_action(known, config, data)
    except (UnknownWebhook, DatabaseError, SecretError) as error:
        raise SystemExit(f"errklein: {error}") from None
    except ValueError as error:
        parser: Parser = known.parser
        parser.error(str(error))


def _run_action(known: argparse.Namespace, config: Config, data: DataDirectory) -> int:
    routes, in_rooms = loaded = _load_routes(config)
    site = f"{config.PUBLIC_URL}{config.WEBHOOK_BASE_PATH}"
    declarations = {route.hook.full_name: route.hook.declaration for route in routes}
    with closing(open_archive(config, missing_ok=True)) as archive:
        operations = operations_on(archive, config, data, loaded)
        if known.what == "list":
            return print_lines(one.lines()[0] for one in operations.webhooks(shell_user()))
        if known.what == "show" and known.url:
            if known.name not in in_rooms:
                raise ValueError(f"there is no webhook {known.name!r} of a room")
            sys.stdout.write(f"{site}{_path_of(declarations[known.name], in_rooms.get(known.name), config)}\n")
            return 0
        if known.what == "show":
            reports = finished(operations.webhook(shell_user(), known.name))
            return print_lines(line for report in reports for line in report.lines())
        name, *others = operations.named(known.target, ())
    if others:
        raise ValueError(f"{known.target!r} has several webhooks: {', '.join([name, *others])}")
    declared = declarations[name]
    if "<" in declared.rule:
        raise ValueError(f"the path of {name}, {declared.rule}, has variables; pass its URL")
    path = _path_of(declared, in_rooms.get(name), config)
    url = f"{known.address.rstrip('/')}{path}"
    signed = f"{site}{path}" if config.PUBLIC_URL else url
    return _send_test(known, url, signed, declared, SecretStore.of(config.BOT_DATA_DIR).directory)


def _path_of(declared: HookDeclaration, of_room: RoomWebhook | None, config: Config) -> str:
    """Return the path of a webhook, with the token if the configuration of one of a room has it. Raises SecretError."""
    if of_room is None or declared.verify is None or declared.verify.scheme != url_token().scheme:
        return declared.rule
    if of_room.token:
        name = of_room.name
        text = f"only the digest of the token of {name} is stored; `errklein webhook rotate {name}` makes a new one"
        raise SecretError(text)
    return f"{declared.rule}/{quote(read_secret(of_room.secret), safe='')}"


def _load_routes(config: Config) -> Loaded:
    """Return the webhooks of all plugins that aren't blacklisted, none of which is activated, and of rooms; and the latter by name."""
    # Imported late, since it takes a while, and the other commands load no plugin.
    from errklein.cli._check import configured_hooks, unstarted_bot
    from errklein.running.reactors import install_asyncio_reactor

    install_asyncio_reactor()
    from twisted.internet.task import react

    routes: list[RouteInfo] = []
    in_rooms: dict[str, RoomWebhook] = {}

    async def load(reactor: Any) -> None:
        with errors_end_program():
            bot = unstarted_bot(reactor, config)
            manager = bot.plugin_manager
            for problem in await manager.load(bot.plugin_roots):
                complain([problem.text])
            for plugin in manager.found:
                if plugin.instance is not None and not manager.is_blacklisted(plugin.name):
                    hooks = configured_hooks(plugin.instance, bot.web.routes.configure)
                    routes.extend(RouteInfo(one, one.declaration.rule, one.declaration.methods, None) for one in hooks)
            await bot.room_webhooks.load(room_webhooks(config.setting("WEBHOOKS"), find_source), in_service=False)
            routes.extend(bot.web.routes.hooks())
            in_rooms.update((one.name, one) for one in bot.room_webhooks.all())
            bot.storage.close()

    try:
        react(load)
    except SystemExit as ended:
        if ended.code:
            raise
    return routes, in_rooms


def _pause(config: Config, known: argparse.Namespace, data: DataDirectory) -> int:
    """Pause or resume webhooks. Plugins, which may be broken, are only loaded if the journal doesn't know the webhook."""
    without = f"only the running bot can do it; use !webhook {known.what}"
    with _journal_of(config, data, without, Access.READ if data.is_used() else Access.SHARE) as archive:
        bot, is_running = running_bot(archive, data)
        recorded, operations = archive.webhooks(), operations_on(archive, config, data)
        try:
            names = operations.named(known.name, recorded)
        except UnknownWebhook:
            names = operations_on(archive, config, data, _load_routes(config)).named(known.name, recorded)
        change = operations.pause if known.what == "pause" else operations.resume
        for name in names:
            finished(change(shell_user(None if bot else archive), name))
    when = "" if is_running else "; no bot is running, so it holds from its next start"
    return print_lines([f"{known.what}d {', '.join(names)}{when}"])


def _send_test(
    known: argparse.Namespace,
    url: str,
    signed_url: str,
    declared: HookDeclaration | None = None,
    stored_in: Path | None = None,
) -> int:
    """Send a POST request, signed as the webhook or the options want it, and print the response. Return 0 if it is below 400."""
    scheme, source = (None, None) if declared is None else (declared.verify, declared.source)
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"invalid URL: {url!r}; expected one such as http://127.0.0.1:3141/github")
    body, event = b"{}" if known.file is None else read_body(known.file), known.event
    if source is not None and source.example and known.file is None:
        body = example_of(source)
        event = event or (source.example.partition(".")[0] if scheme is not None and scheme.event_header else None)
    if known.source is not None:
        scheme = verification(known.source, **({} if known.secret is None else {"secret": known.secret}))
    if scheme is None and event is not None:
        raise ValueError("--event needs a source, whose header it is; add --source")
    added = {} if scheme is None else scheme.headers_of_source(event)
    sent = {b"content-type": content_type_of(body)}
    sent |= {name.lower().encode(): value.encode() for name, value in added.items()}
    sent |= dict(parse_header(text) for text in known.header)
    if scheme is not None and scheme.signer is not None:
        secret = read_secret(scheme.secrets[0], stored_in=stored_in) if scheme.secrets else b""
        sent |= dict(scheme.sign(Received("POST", signed_url, list(sent.items()), body, "", time.time()), secret))
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in sent.items()}
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


POLL = 0.1  # the seconds between two looks at replayed deliveries
_WAITING = (DeliveryState.RECEIVED, DeliveryState.RUNNING)


def work_on_deliveries(known: argparse.Namespace) -> int:
    config, data = open_data(known)
    access = Access.SHARE if known.what == "replay" and not data.is_used() else Access.READ
    without = "only the running bot has its deliveries; use !delivery list"
    with _journal_of(config, data, without, access) as archive:
        try:
            return run_action(archive, known, *running_bot(archive, data))
        except UnknownWebhook:
            raise
        except InvalidWords as error:
            parser: Parser = known.parser
            parser.error(str(error))


def run_action(archive: JournalArchive, known: argparse.Namespace, bot: Queue | None, is_running: bool) -> int:
    operations = WebhookOperations(archive, archive.messages, bot or archive, BotState())
    if known.what == "list":
        return _list(operations, [*known.words, *(["grouped"] if known.grouped else [])], known.json)
    if known.what == "replay":
        words = [*known.words, *(["force"] if known.force else [])]
        by = shell_user(None if bot else archive)
        return _replay(operations, archive, words, known.wait, by, is_running)
    if known.what == "export":
        return _each(operations, known.ids, lambda delivery: _export(delivery, Path(known.directory)))
    return _each(operations, known.ids, _print_json if known.json else _print_details)


def _list(operations: WebhookOperations, words: Sequence[str], as_json: bool) -> int:
    page = finished(operations.deliveries(shell_user(), words))
    if as_json:
        for delivery in page.deliveries:
            _print_json(delivery)
        return 0
    print_lines(page.lines())
    if page.older:
        complain([f"older ones: errklein delivery list {page.older}"])
    return 0


def _replay(
    operations: WebhookOperations,
    archive: JournalArchive,
    words: Sequence[str],
    wait: float,
    by: Actor,
    is_running: bool,
) -> int:
    """Let deliveries run, and print their outcome, or what they wait for. Return 0 if each has succeeded, or can't run
    yet. Those that the source has repeated are skipped, which is a failure only if they were given by their ids."""
    replay = finished(operations.replay(by, words))
    for number, later in replay.repeated.items():
        complain([f"{number} is skipped: the source has repeated it as {later}; --force replays it, too"])
    for number in replay.others:
        complain([f"{number} can't be replayed: it is unknown, due or running already, or its body isn't stored"])
    succeeded = not replay.others and not (replay.repeated and parse_ids(words))
    before = {one.id: one.attempt for one in replay.begun}
    left = list(before)
    if left and not is_running:
        print_lines([f"no bot is running; after its next start, it runs {', '.join(map(str, left))}"])
        return 0 if succeeded else 1
    end = time.monotonic() + wait
    while left:
        found = {one.id: one for one in archive.find(DeliveryQuery(ids=left, limit=len(left)))}
        now = [found[number] for number in left if number in found]
        # A replayed delivery may wait, with the outcome of the attempt before.
        ended = [one for one in now if one.attempt > before[one.id] and one.state not in _WAITING]
        print_lines(summary(delivery) for delivery in ended)
        succeeded = succeeded and all(delivery.state is DeliveryState.DONE for delivery in ended)
        left = [one.id for one in now if one not in ended]
        if left and time.monotonic() >= end:
            complain([f"not finished after {wait:g} s: {', '.join(map(str, left))}"])
            return 1
        time.sleep(POLL if left else 0)
    return 0 if succeeded else 1


def _each(operations: WebhookOperations, ids: Sequence[int], work: Callable[[StoredDelivery], bool | None]) -> int:
    status = 0
    for number in ids:
        delivery = finished(operations.delivery(shell_user(), number))
        if delivery is None:
            complain([f"there is no delivery {number}"])
        if delivery is None or work(delivery) is False:
            status = 1
    return status


def _print_details(delivery: StoredDelivery) -> None:
    description, body = body_text(delivery.request) if delivery.request else ("", "")
    print_lines([*details(delivery), *([description] if description else ()), *body.splitlines()])


def _print_json(delivery: StoredDelivery) -> None:
    sys.stdout.write(f"{json.dumps(as_values(delivery))}\n")


def _export(delivery: StoredDelivery, directory: Path) -> bool:
    path = directory / f"delivery-{delivery.id}.json"
    text = json.dumps(as_values(delivery), indent=2, ensure_ascii=False)
    if any(line != escape(line) for line in text.split("\n")):
        # Someone may show the file in a terminal.
        text = json.dumps(as_values(delivery), indent=2)
    try:
        created = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(created, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(f"{text}\n")
    except OSError as error:
        complain([f"{path}: {error.strerror}"])
        return False
    print_lines([str(path)])
    if delivery.request is None or delivery.request.body is None:
        complain([f"{path}: the body isn't stored, so the delivery can't be replayed"])
    return True


def sign(known: argparse.Namespace) -> int:
    """Print a curl command with a signed request, or its headers as JSON. Only a secret that is itself a token is among
    them. Raises SystemExit: an argument is invalid, or the file or the secret can't be read."""
    options = dict(_option(text) for text in known.option)
    if known.secret is not None:
        options["secret"] = known.secret
    try:
        scheme = verification(known.scheme, **options)
        headers = [parse_header(text) for text in known.header]
        body = read_body(known.file)
        if not any(name == b"content-type" for name, _ in headers):
            headers.append((b"content-type", content_type_of(body)))
        secret = read_secret(scheme.secrets[0]) if scheme.signer and scheme.secrets else b""
        headers += scheme.sign(Received("POST", known.url, headers, body, "", time.time()), secret)
    except ValueError as error:
        known.parser.error(str(error).replace("'secret': 'env:NAME'", "--secret env:NAME"))
    except SecretError as error:
        raise SystemExit(f"errklein: {error}") from None
    texts = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]
    sys.stdout.write(json.dumps(dict(texts)) + "\n" if known.json else _curl(known.url, texts, known.file))
    return 0


def read_body(file: str) -> bytes:
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise SystemExit(f"errklein: {file} can't be read: {error.strerror}") from None


def _curl(url: str, headers: Sequence[tuple[str, str]], file: str) -> str:
    lines = [shlex.join(["curl", "-i", url]), *(shlex.join(["-H", f"{name}: {value}"]) for name, value in headers)]
    return " \\\n  ".join([*lines, shlex.join(["--data-binary", f"@{file}"])]) + "\n"


def content_type_of(body: bytes) -> bytes:
    try:
        json.loads(body)
    except ValueError:
        return b"application/x-www-form-urlencoded"
    return b"application/json"


def parse_header(text: str) -> Header:
    name, colon, value = text.partition(":")
    if not name or not colon:
        raise ValueError(f"invalid header: {text!r}; expected 'Name: value'")
    return name.strip().lower().encode(), value.strip().encode()


def _option(text: str) -> tuple[str, Any]:
    name, _, value = text.partition("=")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value
