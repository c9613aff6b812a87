"""The pages of the bot: webhooks, networks and plugins, the log, and what people have done."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from errklein.bot import MadeWebhook
from errklein.config.secrets import changed_at
from errklein.console._visit import ACTIONS, OtherResponse, Values, Visit, page
from errklein.logs import last_lines
from errklein.ports.chat import Backend
from errklein.sources import known_sources
from errklein.text.masking import masker
from errklein.webhooks.room_webhooks import OPTIONS

_PAGE = 50  # the webhooks of a page


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
    network = visit.bot.backends.get(visit.session.visitor.network)
    return network if network is not None and network.is_encrypted else None


def _given(visit: Visit, made: MadeWebhook, values: Values) -> str:
    """Send the address and the secret in private, since no page shows them."""
    name, network, visitor = made.webhook.name, _private_network(visit), visit.session.visitor
    if not (made.secret or made.webhook.token):
        return f"{name} is ready. Enter its address at the source, and then the secret of the source on the page of {name}."
    if network is None:
        return f"{name} is ready. Run `errklein webhook rotate {name}` on the bot's machine, which shows the address."
    visit.access.check(visitor)
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
ACTIONS |= {name: partial(_done, text) for name, text in _TEXTS.items()}
ACTIONS |= {"room_webhooks.create": _given, "room_webhooks.rotate": _given}
