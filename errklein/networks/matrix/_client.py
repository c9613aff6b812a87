"""The client-server API of a homeserver: the login, requests, and which of them must wait."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from twisted.internet.defer import Deferred

from errklein.config.networks import NetworkFinding
from errklein.networks._connection import Unusable
from errklein.networks.json_client import File, RequestRefused, mapping, text_of
from errklein.networks.matrix import MatrixSettings
from errklein.networks.outbox import NotConfirmed, RetryLater
from errklein.text.masking import masker

if TYPE_CHECKING:
    from errklein.networks.context import NetworkContext


class TokenRevoked(NotConfirmed):
    """The homeserver doesn't know the access token any more. The session ends, and the next one logs in again."""


def quoted(part: str) -> str:
    """Return a part of a path, such as the id of a room, as it is written in a URL."""
    return quote(part, safe="")


class MatrixClient:
    """Makes requests with the bot's access token. Use it on the reactor. Failures are those of `JSONClient`."""

    def __init__(self, context: NetworkContext, settings: MatrixSettings) -> None:
        self.user = ""
        """The bot's id; "" before the first login."""
        self._state, self._settings, self._seconds = context.state, settings, context.reactor.seconds
        self._http = context.http(settings.homeserver, read_failure=self._read_failure)
        self._limited: dict[str, float] = {}
        self._token = self._revoked = ""

    async def log_in(self) -> None:
        """Use the access token of the configuration, or the stored one, or get one with the password. Raises Unusable:
        the homeserver refuses the token or the password."""
        settings = self._settings
        if settings.token:
            self._use(settings.token)
            try:
                self.user = text_of(mapping(await self.call("GET", "/account/whoami")).get("user_id"))
            except (TokenRevoked, RequestRefused) as error:
                raise Unusable(f"the homeserver refuses BOT_IDENTITY['token'] ({error})") from None
            return
        account = [settings.homeserver, settings.user]
        stored = mapping(await self._state.get("login"))
        is_own = stored.get("account") == account
        if not is_own or stored["token"] == self._revoked:
            # The same device again: others know it, and what was sent twice is recognised.
            stored = await self._new_token(stored["device"] if is_own else "")
            await self._state.set("login", {**stored, "account": account})
        self._use(stored["token"])
        self.user = stored["user"]

    def call(self, method: str, path: str, json: Any = None, version: str = "v3", **options: Any) -> Deferred[Any]:
        return self._http.call(method, f"/_matrix/client/{version}{path}", json, **options)

    async def send(self, room: str, type: str, content: Mapping[str, Any], key: str) -> str:
        """Send an event, and return its id. With the same key it is the same event."""
        path = f"/rooms/{quoted(room)}/send/{quoted(type)}/{quoted(key)}"
        return await self._made(self.call("PUT", path, content), "event_id", room)

    async def redact(self, room: str, event: str, key: str) -> str:
        path = f"/rooms/{quoted(room)}/redact/{quoted(event)}/{quoted(key)}"
        return await self._made(self.call("PUT", path, {}), "event_id", room)

    async def upload(self, name: str, type: str, content: bytes) -> str:
        file, path = File(content, name, type), "/_matrix/media/v3/upload"
        return await self._made(self._http.upload("POST", path, file, params={"filename": name}), "content_uri")

    def download(self, address: str, most: int) -> Deferred[bytes]:
        server, _, media = address.removeprefix("mxc://").partition("/")
        return self._http.fetch(f"/_matrix/client/v1/media/download/{quoted(server)}/{quoted(media)}", most)

    async def _made(self, request: Deferred[Any], name: str, room: str = "") -> str:
        try:
            return text_of(mapping(await request).get(name))
        except RetryLater as error:
            # Homeservers limit rooms or the bot, and don't say which.
            now = self._seconds()
            self._limited = {one: until for one, until in self._limited.items() if until > now and one != room}
            self._limited[room] = now + error.seconds
            error.scope = "network" if len(self._limited) > 1 else "recipient"
            raise

    async def _new_token(self, device: str) -> dict[str, str]:
        self._http.headers.pop("Authorization", None)
        login = {
            "type": "m.login.password",
            "identifier": {"type": "m.id.user", "user": self._settings.user},
            "password": self._settings.password,
            "initial_device_display_name": "errklein",
            **({"device_id": device} if device else {}),
        }
        try:
            answer = await self.call("POST", "/login", login)
            return {"token": answer["access_token"], "user": answer["user_id"], "device": answer["device_id"]}
        except (TokenRevoked, RequestRefused) as error:
            raise Unusable(f"the homeserver refuses 'user' and 'password' of BOT_IDENTITY ({error})") from None
        except (KeyError, TypeError):
            raise NotConfirmed("the homeserver has answered to the login without a token") from None

    def _use(self, token: str) -> None:
        self._http.headers["Authorization"] = f"Bearer {token}"
        self._token = token
        masker.learn(self, "access token", [token])

    def _read_failure(self, status: int, headers: Mapping[str, str], body: Any) -> Exception | None:
        if status == 401:
            self._revoked = self._token
            return TokenRevoked(text_of(mapping(body).get("error"))[:300] or "the access token isn't valid")
        if 300 <= status < 500 and status != 429 and "errcode" not in mapping(body):
            # It isn't by the homeserver, but for example by a proxy while the homeserver is being restarted.
            return NotConfirmed(f"{self._http.host} has answered with status {status}, and not as a homeserver")
        return None


async def check(context: NetworkContext) -> list[NetworkFinding]:
    """Log in, and return a finding about it."""
    settings = MatrixSettings.read(context.config)
    client = MatrixClient(context, settings)
    await client.log_in()
    if settings.password:
        await client.call("POST", "/logout", {})
    return [NetworkFinding(f"the homeserver accepts the bot as {client.user}")]
