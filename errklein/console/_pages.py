"""The pages: the overview, deliveries and their failures, webhooks, networks and plugins, the log, and what people have done."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from shlex import quote
from typing import Any

from errklein.bot import MadeWebhook
from errklein.config.secrets import changed_at
from errklein.console._visit import OtherResponse, Values, Visit
from errklein.journal.operations import ReplayResult, shown_wait
from errklein.listening import endpoint_url
from errklein.logs import last_lines
from errklein.ports.chat import Backend
from errklein.sources import known_sources
from errklein.text.masking import MASK, is_secret, masker
from errklein.verify import Verification
from errklein.webhooks.deliveries import DeliveryState, FailureGroup, StoredDelivery, StoredRequest
from errklein.webhooks.delivery_words import parse_time
from errklein.webhooks.exported import as_values, body_text
from errklein.webhooks.options import OPTIONS

Action = Callable[[Visit, Any, Values], str]
"""Returns the sentence about the result of an operation, which had these arguments."""

PageFunction = Callable[..., Awaitable[Values]]
PAGES: list[tuple[str, str, PageFunction]] = []
"""The pages: the address as a rule of Klein, the template, and a function of a `Visit` and the parts of the address, which returns
the values of the template."""


def page(rule: str, template: str) -> Callable[[PageFunction], PageFunction]:
    def add(function: PageFunction) -> PageFunction:
        PAGES.append((rule, template, function))
        return function

    return add


@page("/", "overview.html")
async def overview(visit: Visit) -> Values:
    status = await visit.perform("process.status")
    values: dict[str, Any] = {"title": "Overview", "status": status, "hour": (), "day": ()}
    # Without a depth, the journal can't be read, or doesn't respond.
    for name, step, number in (("hour", 60, 60), ("day", 3600, 24)) if status.depth else ():
        until = (visit.bot.now() // step + 1) * step
        since = until - number * step
        values[name] = await visit.perform("webhooks.totals", since=since, until=until, step=step)
    return values


_PAGE = 50  # the deliveries or webhooks of a page
_FIELDS = ("webhook", "state", "words", "answered", "status", "reason", "since", "until", "source-id", "before")
_WITHOUT_KEYWORD = _FIELDS[:3]
_ONE = "/deliveries/<int(max=9223372036854775807):id>"


@page("/deliveries", "deliveries.html")
async def deliveries(visit: Visit) -> Values:
    given = [(name, one) for name in _FIELDS for one in visit.values(name) if one.strip()]
    text, before = visit.field("text").strip(), visit.field("before")
    values = {"title": "Deliveries", "given": given, "text": text, "counted": 0}
    if text:
        at = int(before[:18]) if before.isdecimal() else None
        found, older = await visit.perform("webhooks.search", text=text, before=at)
        return {**values, "found": found, "older": older}
    words = [word for name, one in given for word in (one.split() if name in _WITHOUT_KEYWORD else (name, one))]
    words += ["limit", str(_PAGE)] * ("limit" not in words)
    listed = await visit.perform("webhooks.deliveries", words=words, most=_PAGE)
    older = listed.deliveries[-1].id if listed.older else 0
    return {**values, "found": listed.deliveries, "counted": listed.counted, "older": older}


@page("/failures", "failures.html")
async def failures(visit: Visit) -> Values:
    given = {name: visit.field(name) for name in ("since", "webhook")}
    return {"title": "Failures", "groups": await _groups(visit), "given": given}


@page("/failures/<key>", "failure.html")
async def failure(visit: Visit, key: str) -> Values:
    group, force, plan = next(iter(await _groups(visit, key)), None), bool(visit.field("force")), None
    if group is not None and group.state is not DeliveryState.REFUSED and not visit.is_following:
        words = [*map(str, group.ids), *["force"] * force]
        if await visit.may("webhooks.replay", words=words):
            plan = await visit.perform("webhooks.replay", words=words, dry=True)
    return {"title": "Failures with the same cause", "group": group, "plan": plan, "force": force}


async def _groups(visit: Visit, key: str = "") -> Sequence[FailureGroup]:
    values = {"since": parse_time(visit.field("since") or "1d", visit.bot.now()), "webhook": visit.field("webhook")}
    found: Sequence[FailureGroup] = await visit.perform("webhooks.failures", **values, key=key)
    return found


@page(_ONE, "delivery.html")
async def delivery(visit: Visit, id: int) -> Values:
    one, may_ask = await _delivery(visit, id), await visit.may("webhooks.why", subject=str(id))
    explained = await visit.perform("webhooks.why", subject=str(id)) if may_ask else ()
    may_replay = await visit.may("webhooks.replay", words=[str(id)])
    values = {"title": f"Delivery {id}", "one": one, "explained": explained, "may_replay": may_replay}
    urls = [visit.bot.bot_config.PUBLIC_URL, *map(endpoint_url, visit.bot.web.listeners.public), "https://YOUR-HOST"]
    site, hook = next(filter(None, urls)).partition(" ")[0], visit.bot.web.routes.declaration(one.webhook)
    # The first functions look for secrets, which takes a while, so the template calls them in its thread.
    shown = {"headers": headers, "beginning": beginning, "curl": curl, "most": MOST, "shown_wait": shown_wait}
    return {**values, **shown, "site": site, "hook": hook}


@page(f"{_ONE}/<any(body, export):what>", "")
async def attachment(visit: Visit, id: int, what: str) -> Values:
    one = await _delivery(visit, id)
    if what == "export":
        raise OtherResponse(200, file=(f"delivery-{id}.json", partial(exported, one)))
    if one.request is None:
        raise OtherResponse(404, "The request is not stored.")
    raise OtherResponse(200, file=(f"delivery-{id}-body", partial(body, one.request)))


async def _delivery(visit: Visit, id: int) -> StoredDelivery:
    found: StoredDelivery | None = await visit.perform("webhooks.delivery", id=id)
    if found is None:
        raise OtherResponse(404, f"There is no delivery {id}.")
    return found


def _replayed(visit: Visit, result: ReplayResult, values: Values) -> str:
    number, repeated, others = len(result.begun), len(result.repeated), len(result.others)
    text = f"Replaying {number} {'delivery' if number == 1 else 'deliveries'}."
    text += f" The source has sent {repeated} again, which are not replayed." * bool(repeated)
    return text + f" {others} are unknown, due or running already, or have no stored body." * bool(others)


@page("/webhooks", "webhooks.html")
async def webhooks(visit: Visit) -> Values:
    after, text = visit.field("after"), visit.field("text")
    routes = [(one.hook.full_name, one.rule) for one in visit.host.web.routes.hooks()]
    names = sorted({name for name, rule in routes if name > after and text in f"{name} {rule}"})
    last = await visit.perform("webhooks.last_requests", webhooks=names[:_PAGE])
    return {
        "title": "Webhooks",
        "found": await visit.perform("webhooks.webhooks", names={*names[:_PAGE]}),
        "more": len(names) > _PAGE,
        "text": text,
        "last": {one.webhook: one for one in last},
        "sources": known_sources(),
    }


@page("/webhooks/<name>", "webhook.html")
async def webhook(visit: Visit, name: str) -> Values:
    reports = [one for one in await visit.perform("webhooks.webhook", name=name) if one.name == name]
    if not reports:
        raise OtherResponse(404, f"There is no webhook {name}.")
    web, secrets = visit.host.web, Path(visit.bot.bot_config.BOT_DATA_DIR, "secrets")
    return {
        "title": f"Webhook {name}",
        "name": name,
        "report": reports[0],
        "paused": name in visit.bot.delivery_queue.paused,
        "of_room": visit.host.room_webhooks.find(name),
        "hook": next((one.hook for one in web.routes.hooks() if one.hook.full_name == name), None),
        "matched": web.services.checks.matched,
        "changed_at": partial(changed_at, stored_in=secrets),
        "options": list(OPTIONS),
        "reads_alone": _private_network(visit) is not None,
    }


@page("/networks", "networks.html")
async def networks(visit: Visit) -> Values:
    status, waiting = await visit.perform("process.status"), await visit.perform("messages.waiting", network="")
    return {"title": "Networks", "networks": status.networks, "waiting": waiting, "now": visit.bot.now()}


@page("/plugins", "plugins.html")
async def plugins(visit: Visit) -> Values:
    found, unusable = await visit.perform("plugins.plugins"), await visit.perform("plugins.unusable")
    return {"title": "Plugins", "found": found, "unusable": unusable}


@page("/plugins/<name>", "plugin.html")
async def plugin(visit: Visit, name: str) -> Values:
    found, form = await visit.perform("plugins.plugin", name=name), await visit.perform("plugins.form", name=name)
    return {"title": f"Plugin {name}", "one": found, "form": form}


@page("/log", "log.html")
async def log(visit: Visit) -> Values:
    path, text = await visit.perform("process.log_file"), visit.field("text")

    def lines() -> list[str]:
        """Return the last lines with this text. Called in a thread."""
        try:
            found = masker("\n".join(last_lines(path, 1000 if text else 100))).splitlines()
        except OSError as error:
            return [f"The log can't be read: {error.strerror}."]
        return [line for line in found if text in line][-100:]

    return {"title": "Log", "path": path, "text": text, "lines": lines}


@page("/actions", "actions.html")
async def actions(visit: Visit) -> Values:
    before = visit.field("before")
    found = await visit.perform("webhooks.actions", before=int(before[:18]) if before.isdecimal() else None)
    return {"title": "Who did what", "found": found}


def _private_network(visit: Visit) -> Backend | None:
    """Return the network on which the visitor gets secrets; None if there is none that nobody else reads."""
    network = visit.bot.backends.get(visit.visitor.network)
    return network if network is not None and network.is_encrypted else None


def _given(visit: Visit, made: MadeWebhook, values: Values) -> str:
    """Send the address and the secret in private, since no page shows them."""
    name, network, visitor = made.webhook.name, _private_network(visit), visit.visitor
    if not (made.secret or made.webhook.token):
        return f"{name} is ready. Enter its address at the source, and then the secret of the source on the page of {name}."
    if network is None:
        return f"{name} is ready. Run `errklein webhook rotate {name}` on the bot's machine, which shows the address."
    visit.check()
    message = network.build_message("\n".join(made.lines(visit.host.prefix)))
    message.to, message.frm, message.unstored = visitor.person, network.bot_identifier, True
    network.send_message(message)
    return f"{name} is ready; its address is in your private messages."


def _done(text: str, visit: Visit, result: object, values: Values) -> str:
    return masker(text.format(result=result, **values))


_TEXTS = {
    "webhooks.pause": "Paused {webhook}: its requests are accepted, and wait.",
    "webhooks.resume": "Resumed {webhook}.",
    "process.test_webhook": "{result.url}: {result.response.status} {result.response.reason}\n{result.response.text:.1000}",
    "room_webhooks.change": "Changed {option} of {name}.",
    "room_webhooks.move": "Moved {name} to {room}.",
    "room_webhooks.remove": "Removed {name}.",
    "messages.drop": "Dropped {result} of the messages to {recipient} on {network}.",
    "plugins.activate": "Activated {name}.",
    "plugins.deactivate": "Deactivated {name} until the next start.",
    "plugins.reload": "Reloaded {name}.",
    "plugins.blacklist": "{name} is inactive, also after the next start.",
    "plugins.unblacklist": "{name} may be active again.",
    "plugins.configure_from": "{name} uses the new configuration.",
}
ACTIONS: Mapping[str, Action] = {
    **{name: partial(_done, text) for name, text in _TEXTS.items()},
    "room_webhooks.create": _given,
    "room_webhooks.rotate": _given,
    "webhooks.replay": _replayed,
}
"""The operations that forms perform, by their place in `bot.CoreHost`."""


# Requests of deliveries for use elsewhere: as a curl command, as the file of a test, and their bodies. None has secrets.

MOST = 20_000  # the characters of a body on a page, and in a command
_STORED_MASK = "***"  # what the journal stores in place of a secret of a URL
_BY_CURL = ("connection", "content-length", "expect", "host", "transfer-encoding")


def headers(request: StoredRequest) -> list[tuple[str, str]]:
    texts = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers]
    return [(masker(name), MASK if is_secret(name) else masker(value)) for name, value in texts]


def body(request: StoredRequest) -> bytes:
    content = request.body or b""
    try:
        return _masked(content.decode()).encode()
    except UnicodeDecodeError:
        return _plainly(_masked(content.decode("latin-1")))


def beginning(request: StoredRequest) -> tuple[str, str]:
    described, text = body_text(request)
    return described, masker.part(text, 0, MOST)


def exported(delivery: StoredDelivery) -> bytes:
    """Return a delivery as `errklein delivery export` writes it, which tests can replay."""
    if (request := delivery.request) is not None:
        pairs = [(_plainly(name), _plainly(value)) for name, value in headers(request)]
        target = _plainly(masker(request.target)).decode("latin-1")
        request = request._replace(target=target, headers=pairs, body=request.body and body(request))
    return json.dumps(as_values(delivery._replace(request=request, key=masker(delivery.key))), indent=2).encode()


def curl(request: StoredRequest, site: str, verification: Verification | None, file: str) -> str:
    """Return a command that sends the request to a site. Secrets, also those of the verification, which are never
    stored, are variables of the shell, without which it ends. A body that can't be in the command is in the file."""
    url = f"{site}{masker(request.target).replace(_STORED_MASK, MASK)}"
    lines = [f"curl --globoff --path-as-is --request {quote(request.method)} {_word(url, 'SECRET')}"]
    signed = sorted(verification.secret_headers) if verification else ()
    pairs = [*headers(request), *((name.decode("latin-1"), MASK) for name in signed)]
    if "content-type" not in dict(pairs):
        lines.append("--header content-type:")  # else curl adds one
    sent = [(name, f"{name}: {value}" if value else f"{name};") for name, value in pairs if name not in _BY_CURL]
    lines += [f"--header {_word(line, f'HEADER_{name}')}" for name, line in sent]
    text = (request.body or b"").decode("utf-8", "surrogateescape")
    if len(text) > MOST or not all(one.isprintable() or one in "\n\t" for one in text):
        lines.append(f"--data-binary {quote(f'@{file}')}")
    elif text:
        # `--data-binary` would send the file that a text after "@" names.
        lines.append(f"--data-raw {_word(masker(text), 'BODY')}")
    return " \\\n  ".join(lines)


def _masked(text: str) -> str:
    # In parts, since a long search holds all threads.
    return "".join(masker.part(text, begin, begin + MOST) for begin in range(0, len(text), MOST))


def _plainly(text: str) -> bytes:
    return text.replace(MASK, _STORED_MASK).encode("latin-1", "replace")


def _word(text: str, variable: str) -> str:
    """Return the text as a word of the shell, with the value of the variable in place of each secret."""
    return quote(text).replace(MASK, f"'\"${{{re.sub('[^A-Z0-9]+', '_', variable.upper())}:?}}\"'")
