"""The Web API of Slack: calls, their failures, and uploads."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from twisted.internet.defer import Deferred, fail

from errklein.chat.operations import Upload
from errklein.networks._connection import Unusable
from errklein.networks.json_client import File, JSONClient, RequestRefused, at, mapping
from errklein.networks.outbox import NotConfirmed
from errklein.networks.slack import settings_of

if TYPE_CHECKING:
    from errklein.networks.context import NetworkContext

_READ = re.compile(r"\w+\.(info|list|members|conversations|getUploadURLExternal)")  # methods that don't read JSON
_FILE = re.compile(r"/files-[\w-]+/[\w-]+/(download/)?[^/]+")
_OF_TOKEN = re.compile("account_inactive|invalid_auth|not_allowed_token_type|not_authed|token_(expired|revoked)")
_TEMPORARY = re.compile("fatal_error|internal_error|request_timeout|service_unavailable|team_added_to_org")
_PAGES = {"token": "OAuth & Permissions", "app_token": "Basic Information", "config_token": "Your Configuration Tokens"}
_REASONS = {
    "cannot_dm_bot": "Slack lets bots write to no other bot",
    "channel_not_found": "there is no such room, or it is private and the bot is not in it: invite the bot",
    "invalid_name": "Slack has no emoji, or allows no room, of that name",
    "is_archived": "the room is archived",
    "message_not_found": "the message was deleted",
    "method_not_supported_for_channel_type": "bots can't join private rooms: invite the bot",
    "missing_scope": "BOT_IDENTITY[{key!r}] lacks the scope {needed}: add it to the app, and install the app again",
    "not_in_channel": "the bot is not in the room: invite the bot",
    "restricted_action": "the settings of the workspace or room don't let the bot do that",
    "user_not_found": "there is no such person",
}


class _Accepted(Exception):
    """The server has accepted a request, and doesn't answer with JSON."""


class SlackClient:
    """Calls methods with the bot's tokens. Use it on the reactor. Failures are those of `JSONClient`, with reasons for people.
    `scopes` are those of the bot token."""

    def __init__(self, context: NetworkContext) -> None:
        self.settings = settings_of(context.config)
        self._context, self._api = context, urlsplit(self.settings["api"])
        self.scopes: Collection[str] = ()
        self._http: dict[str, JSONClient] = {}
        for key in ("token", "app_token", "config_token"):
            headers = {"Authorization": f"Bearer {self.settings[key]}"}
            self._http[key] = context.http(self.settings["api"], headers, partial(self._read_failure, key))

    def call(self, method: str, by: str = "token", **arguments: Any) -> Deferred[Mapping[str, Any]]:
        """Call a method of the Web API. `by` is the key of the token. Arguments that are None are left out."""
        http, given = self._http[by], {name: value for name, value in arguments.items() if value is not None}
        texts = {name: str(value) for name, value in given.items()}
        answer = http.call("GET", method, params=texts) if _READ.fullmatch(method) else http.call("POST", method, given)
        return answer.addCallback(mapping)

    async def pages(self, method: str, key: str, **arguments: Any) -> AsyncIterator[Any]:
        """Yield the items of all pages of a list."""
        cursor: str | None = None
        while cursor != "":
            answer = await self.call(method, limit=999, cursor=cursor, **arguments)
            for item in answer.get(key) or ():
                yield item
            cursor = at(answer, "response_metadata", "next_cursor")

    async def upload(self, channel: str, file: Upload) -> None:
        place = await self.call("files.getUploadURLExternal", filename=file.name, length=len(file.content))
        content = File(file.content, file.name, file.type or "application/octet-stream")
        await self.post_to(at(place, "upload_url"), content)
        files, thread = [{"id": at(place, "file_id"), "title": file.name}], file.thread or None
        await self.call("files.completeUploadExternal", files=files, channel_id=channel, thread_ts=thread)

    def download(self, url: str, most: int) -> Deferred[bytes]:
        # Whoever adds a file that is elsewhere chooses its address. It could be that of a method, which the token would allow.
        if not _FILE.fullmatch(urlsplit(url).path):
            return fail(RequestRefused(0, "", "the file isn't on Slack"))
        return self._http["token"].fetch(url, most, [f"files.{self._api.netloc}"])

    async def post_to(self, url: str, content: Mapping[str, Any] | File) -> None:
        """Send JSON or a file, without a token, to an address that Slack has given, and whose response is no JSON."""
        parts, own = urlsplit(url), self._api
        if parts[:2] not in (own[:2], ("https", f"files.{own.netloc}"), ("https", f"hooks.{own.netloc}")):
            raise RequestRefused(0, "", "the address is none of Slack's")
        origin, path = f"{parts.scheme}://{parts.netloc}", f"{parts.path}?{parts.query}" if parts.query else parts.path
        http = self._context.http(origin, None, lambda code, *_: _Accepted() if code == 200 else None)
        with suppress(_Accepted):
            sent = http.upload("POST", path, content) if isinstance(content, File) else http.call("POST", path, content)
            await sent

    def _read_failure(self, key: str, status: int, headers: Mapping[str, str], body: Any) -> Exception | None:
        if key == "token" and "x-oauth-scopes" in headers:
            self.scopes = re.findall(r"[\w:.]+", headers["x-oauth-scopes"])
        error, needed = at(body, "error")[:100], at(body, "needed")[:200]
        if mapping(body).get("ok") is not False or status == 429:
            return None
        if _OF_TOKEN.fullmatch(error):
            return Unusable(f"Slack refuses BOT_IDENTITY[{key!r}] ({error}); see {_PAGES[key]} on api.slack.com/apps")
        if _TEMPORARY.fullmatch(error):
            return NotConfirmed(f"Slack has answered with {error}")
        known = "restricted_action" if error.startswith("restricted_action") else error
        reason = _REASONS.get(known, "{error}").format(error=error, key=key, needed=needed)
        if needed:
            self._context.log.warn("{network}: {reason}", network=self._context.network, reason=reason)
        return RequestRefused(status, error, reason)
