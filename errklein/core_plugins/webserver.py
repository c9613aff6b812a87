"""The Webserver plugin: its endpoints, and the commands `!webstatus`, `!webhook test` and `!generate certificate`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

from twisted.internet.endpoints import quoteStringArgument

from errklein.chat import Message
from errklein.commands import CommandError, botcmd
from errklein.core_plugins import CorePlugin, admin_command, callable_anywhere
from errklein.listening import ListenError, identify
from errklein.plugins import ValidationException, recurse_check_structure
from errklein.text import code, fenced, plain
from errklein.text.masking import masker
from errklein.web import ConnectionBroken
from errklein.webhooks import webhook

_MOST_SHOWN = 100  # the number of webhooks in a list. More would fill a room.


class Webserver(CorePlugin):
    """Serve the webhooks of plugins over HTTP or HTTPS."""

    def __init__(self, bot: Any, name: str | None = None) -> None:
        super().__init__(bot, name)
        self._opened: list[str] = []

    def get_configuration_template(self) -> dict[str, Any]:
        """Return the default configuration. HOST and PORT are for HTTP. If SSL is enabled, HTTPS replaces HTTP. ENDPOINTS are
        further addresses to listen on, as Twisted endpoint strings."""
        return {
            "HOST": "0.0.0.0",
            "PORT": 3141,
            "SSL": {"enabled": False, "host": "0.0.0.0", "port": 3142, "certificate": "", "key": ""},
            "ENDPOINTS": [],
        }

    def check_configuration(self, configuration: Any) -> None:
        """Add the defaults of missing optional keys. Raises ValidationException if a value is invalid."""
        template = self.get_configuration_template()
        if not isinstance(configuration, dict):
            raise ValidationException(f"the configuration must be a dict such as {template!r}")
        for name in ("SSL", "ENDPOINTS"):
            if configuration.get(name) is None:
                configuration[name] = template[name]
        if isinstance(configuration["SSL"], dict):
            configuration["SSL"] = {**template["SSL"], **configuration["SSL"]}
        recurse_check_structure(template, configuration)
        for port in (configuration["PORT"], configuration["SSL"]["port"]):
            if not 0 < port < 65536:
                raise ValidationException(f"a port must be a number from 1 to 65535, not {port}")
        if others := [one for one in configuration["ENDPOINTS"] if not isinstance(one, str)]:
            raise ValidationException(f"ENDPOINTS must be a list of strings such as 'tcp:8080', not {others[0]!r}")

    @callable_anywhere
    async def activate(self) -> None:
        listeners = self.host.web.listeners
        if self.config is None and not (listeners.open_now or listeners.elsewhere):
            self.log.info("The Webserver plugin is not configured; it opens no port")
            return
        await self._listen(self.config)
        super().activate()

    @callable_anywhere
    async def reconfigure(self, configuration: Any) -> None:
        """Open the new endpoints, then close those that the configuration no longer contains. If one can't be opened, all of
        them stay as they were, and ValidationException is raised."""
        await self._listen(configuration)
        self.host.web.listeners.reload_certificates()
        self.config = configuration

    @callable_anywhere
    async def deactivate(self) -> None:
        super().deactivate()
        await self._close(list(self._opened))

    async def _listen(self, configuration: Mapping[str, Any] | None) -> None:
        try:
            wanted = {identify(description): description for description in endpoints(configuration)}
        except ValueError as error:
            raise ValidationException(f"ENDPOINTS: {error}") from error
        old = [description for description in self._opened if identify(description) not in wanted]
        new: list[str] = []
        try:
            for description in wanted.values():
                await self._open(description, old, new)
        except ListenError as error:
            await self._close(new)
            for description in old:
                if description not in self._opened:
                    await self._open(description, [], [])
            raise ValidationException(str(error)) from error
        await self._close(old)

    async def _open(self, description: str, old: list[str], new: list[str]) -> None:
        listeners = self.host.web.listeners
        if listeners.is_open(description):
            return
        try:
            await listeners.open(description)
        except ListenError:
            rivals = [other for other in old if other in self._opened and _port(other) == _port(description)]
            if not rivals:
                raise
            await self._close(rivals)
            await listeners.open(description)
        self._opened.append(description)
        new.append(description)

    async def _close(self, descriptions: list[str]) -> None:
        for description in descriptions:
            if description in self._opened:
                self._opened.remove(description)
                await self.host.web.listeners.close(description)

    @webhook
    async def echo(self, incoming_request: Any) -> tuple[str, dict[str, str]]:
        """Respond with the decoded body of the request. Requests are never recorded, since anybody may send them."""
        # As HTML, the response could execute a script that a form on another site makes the browser send.
        return str(incoming_request), {"Content-Type": "text/plain; charset=utf-8"}

    echo._errklein_recorded = False  # type: ignore[attr-defined]

    @botcmd(aliases=("webhook list",))
    async def webstatus(self, msg: Message, args: str) -> str:
        """List the webhooks' URLs and verification, and the listening addresses."""
        site = self.bot_config.PUBLIC_URL + self.bot_config.WEBHOOK_BASE_PATH
        found = self.host.webhooks.webhooks(self.actor(msg))
        # Others see only those of rooms that they are in.
        named = {room for one in found for room in one.rooms}
        rooms = {room: await self.may_use(msg, args, "", room) for room in named}
        shown = [one for one in found if all(rooms[room] for room in one.rooms)]
        values = {
            "webhooks": shown[:_MOST_SHOWN],
            "more": max(len(shown) - _MOST_SHOWN, 0),
            "mounts": [{"path": site + mount.path, "owner": mount.owner} for mount in self.host.web.routes.mounts],
            "endpoints": self.host.web.listeners.public,
        }
        return self.render("webstatus", values)

    @admin_command(historize=False, syntax="URL|WEBHOOK [CONTENT]")
    async def webhook_test(self, msg: Message, args: str) -> str:
        """Send a test POST request to a webhook.

        WEBHOOK is Plugin:method, or the name of a webhook of a room. Content that is JSON is sent as application/json, FIELD=JSON as a
        form, and anything else as text/plain. Without content, a webhook with a source gets the source's example."""
        name, _, given = args.lstrip().partition(" ")
        _, hook = self.host.process.webhook_of(name)
        if hook is not None:
            await self.check_use(msg, args, hook.full_name)
        try:
            sent = await self.host.process.test_webhook(self.actor(msg), name, given)
        except ConnectionBroken as error:
            raise CommandError(f"The request got no response: {plain(str(error))}.") from error
        response, content = sent.response, sent.content
        if content != given and response.status < 400:
            return f"Sent the example of its source to {code(sent.url)}: {response.status} {response.reason}."
        shown = f"\n{fenced(content)}" if "\n" in content else code(content) if content else ""
        headers = fenced("\n".join(f"{name}: {value}" for name, value in response.headers))
        values = {"sent": sent, "shown": shown, "headers": headers, "fenced": fenced, "code": code, "mask": masker}
        return self.render("webhook_test", values)

    @botcmd(admin_only=True, split_args_with=None, syntax="[HOST …]")
    async def generate_certificate(self, msg: Message, args: list[str]) -> AsyncIterator[str]:
        """Generate a self-signed certificate.

        It is valid for localhost, the configured hosts, and the given host names and addresses. The configuration isn't
        changed."""
        # Few bots serve TLS, and the start should not wait for what it imports.
        from errklein.listening.tls import generate_certificate

        yield "Generating a new private key and certificate."
        self.note(msg, "generate_certificate", " ".join(args))
        configuration = self.config or self.get_configuration_template()
        data = Path(self.bot_config.BOT_DATA_DIR)
        key, certificate = data / "webserver_key.pem", data / "webserver_certificate.pem"
        hosts = [*args, configuration["HOST"], configuration["SSL"]["host"]]
        names = [host for host in hosts if host not in ("0.0.0.0", "::", "")]
        try:
            generate_certificate(names, key, certificate)
        except ValueError as error:
            reason = f"The certificate for {plain(', '.join(names))} could not be generated: {plain(str(error))}"
            raise CommandError(reason) from error
        yield f"Certificate successfully generated and saved in {data}."
        yield "To enable SSL with this certificate, the following config is recommended:"
        files = {"certificate": str(certificate), "key": str(key)}
        ssl = {"enabled": True, "host": configuration["HOST"], "port": configuration["PORT"] + 1, **files}
        yield fenced(repr({**configuration, "SSL": ssl}))


def endpoints(configuration: Mapping[str, Any] | None) -> list[str]:
    """Return the Twisted endpoint strings of a configuration: HTTP, or HTTPS if SSL is enabled, then ENDPOINTS."""
    if configuration is None:
        return []
    quoted: Callable[[str], str] = quoteStringArgument
    ssl = configuration["SSL"]
    if ssl["enabled"]:
        main = (
            f"ssl:{ssl['port']}:privateKey={quoted(ssl['key'])}:certKey={quoted(ssl['certificate'])}"
            f":interface={quoted(ssl['host'])}"
        )
    else:
        main = f"tcp:{configuration['PORT']}:interface={quoted(configuration['HOST'])}"
    return [main, *configuration["ENDPOINTS"]]


def _port(description: str) -> str:
    """Return the port in an endpoint string, or its other address, such as a path."""
    kind, arguments = identify(description)
    named = dict(arguments)
    return named.get("port") or named.get("address") or f"{kind}:{sorted(arguments)}"
