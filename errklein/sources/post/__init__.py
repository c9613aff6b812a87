"""Messages in the formats of Slack, Mattermost, Rocket.Chat and Discord, as many tools can post them; a title with a
message; text. `post` takes all formats and responds as Slack does. The others differ in what a text is written in, and
Discord in its responses."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

from errklein.sources.post._formats import Dialect, converted, markdown, mrkdwn
from errklein.verify import ImmediateResponse, Received, url_token
from errklein.webhooks.payload import BadPayload, decode_payload, decode_text, read_json
from errklein.webhooks.source import Source, header

__all__ = ["SOURCES"]

_URLENCODED = "application/x-www-form-urlencoded"
_FIELDS = ("payload", "payload_json")
_SMALL = 64 * 1024
_NO_TEXT = "no_text"

_PLAIN = ((b"Content-Type", b"text/plain; charset=utf-8"),)
_JSON = ((b"Content-Type", b"application/json"),)
_OK = ImmediateResponse(200, _PLAIN, b"ok")
_NO_CONTENT = ImmediateResponse(204, (), b"")
_DISCORD_EPOCH = 1_420_070_400
_DISCORD_ERRORS = {401: (50027, "Invalid Webhook Token"), 404: (10015, "Unknown Webhook")}


def _parsed(received: Received) -> Mapping[str, Any]:
    """Return the object that is the body, or that is in a form; text is returned as a message.

    :raises BadPayload: JSON is expected but there is no object.
    """
    kind = header(received, b"content-type")
    media_type = kind.partition(";")[0].strip().lower()
    start = received.body.lstrip()[:20]
    # curl declares everything as a form, and some tools declare nothing.
    must_be_json = "json" in media_type or (not media_type.startswith("text/") and start.startswith(b"{"))
    if not media_type and start.startswith(tuple(f"{name}=".encode() for name in _FIELDS)):
        media_type = kind = _URLENCODED
    is_form = media_type in (_URLENCODED, "multipart/form-data") and b"=" in received.body
    if is_form and not must_be_json:
        fields = decode_payload(received.body, kind)
        assert isinstance(fields, dict)
        name = next((name for name in _FIELDS if name in fields), None)
        if name is None:
            return fields
        text, must_be_json = fields[name], True
    else:
        text = decode_text(received.body, kind)
    if text.lstrip().startswith("{"):
        try:
            # Some tools send line breaks in strings.
            found = json.loads(text, strict=False) if len(text) <= _SMALL else read_json(text)
        except (ValueError, RecursionError):
            found = None
        if isinstance(found, dict):
            return found
    if must_be_json:
        raise BadPayload(400, "the body is no JSON object")
    return {"message": text}


def _respond_as_discord(received: Received) -> ImmediateResponse:
    url = urlsplit(received.url)
    if url.path.endswith("/slack"):
        return _OK
    if parse_qs(url.query).get("wait", [""])[-1].lower() not in ("true", "1"):
        return _NO_CONTENT
    number = max(int((received.now - _DISCORD_EPOCH) * 1000), 0) << 22
    message = {"id": str(number), "type": 0, "content": "", "embeds": [], "attachments": []}
    return ImmediateResponse(200, _JSON, json.dumps(message).encode())


def _refuse_as_slack(status: int, detail: str) -> ImmediateResponse:
    if status in (401, 403, 404, 410):
        return ImmediateResponse(404, _PLAIN, b"no_service")
    of_client = _NO_TEXT if detail == _NO_TEXT else "invalid_payload"
    word = "rate_limited" if status == 429 else "server_error" if status >= 500 else of_client
    return ImmediateResponse(status, _PLAIN, word.encode())


def _refuse_as_discord(status: int, detail: str) -> ImmediateResponse:
    code, message = _DISCORD_ERRORS.get(status, (0, detail))
    if detail == _NO_TEXT:
        code, message = 50006, "Cannot send an empty message"
    error: dict[str, object] = {"message": message, "code": code}
    if status == 429:
        error |= {"retry_after": 1.0, "global": False}
    return ImmediateResponse(status, _JSON, json.dumps(error).encode())


def _source(name: str, title: str, dialect: Dialect, *setup: str, example: str = "slack-sdk.json") -> Source:
    def values(payload: Mapping[str, Any]) -> Mapping[str, Any]:
        text = converted(payload, dialect)
        if not text:
            raise BadPayload(400, _NO_TEXT)
        return {"text": text}

    is_discord = name == "discord"
    return Source(
        name,
        title,
        lines=lambda event, payload: ["{text}"],
        verification=url_token,
        parse=_parsed,
        values=values,
        response=_respond_as_discord if is_discord else _OK,
        refusal=_refuse_as_discord if is_discord else _refuse_as_slack,
        short_url=True,
        suffixes=("slack",),
        most_lines=30,
        setup=setup,
        example=example,
    )


_PASTE = "Paste {url} where the tool asks for the address of an incoming webhook of "

SOURCES = {
    source.name: source
    for source in (
        _source(
            "post",
            "Messages of tools and scripts",
            mrkdwn,
            _PASTE + "Slack.",
            "For Apprise: json{s}://{host}/hooks/{token}",
            "From a script: curl -d text=Hello {url}",
        ),
        _source(
            "slack",
            "Slack's format",
            mrkdwn,
            _PASTE + "Slack.",
            'For Alertmanager: slack_configs: [{api_url: "{url}", send_resolved: true}]',
        ),
        _source(
            "mattermost",
            "Mattermost's format",
            markdown,
            _PASTE + "Mattermost.",
            "For Apprise: mmost{s}://{host}/{token}",
            example="apprise-mattermost.json",
        ),
        _source(
            "rocketchat", "Rocket.Chat's format", markdown, _PASTE + "Rocket.Chat.", example="apprise-mattermost.json"
        ),
        _source(
            "discord",
            "Discord's format",
            mrkdwn,
            "Paste {url} where the tool asks for the address of a webhook of Discord.",
            'For Alertmanager: discord_configs: [{webhook_url: "{url}"}]',
            "For a tool that sends Slack's format there: {url}/slack",
            example="discord-webhook.json",
        ),
    )
}
