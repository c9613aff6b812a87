"""Messages in the formats of Slack, Mattermost, Rocket.Chat and Discord, as many tools can post them; a title with a
message; text. `post` takes all formats and responds as Slack does. The others differ in what a text is written in, and
Discord in its responses.

The keys of the formats differ, so one function reads them all. Values of other types than the documented ones are used as text or
left out. What would choose a room, a name or an icon is ignored. Each conversion takes time in proportion to the text's length.
Links have harmless addresses only. Mentions stay as text; they are neutralised with the whole message."""

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

from markupsafe import Markup

from errklein.text import code, fenced, plain_lines, sanitize, without_unsafe_links
from errklein.text.layout import LINK_CAP
from errklein.text.templating import md_link
from errklein.verify import ImmediateResponse, Received, url_token
from errklein.webhooks.payload import BadPayload, decode_payload, decode_text, read_json
from errklein.webhooks.source import Markdown, Source, header, value

__all__ = ["SOURCES"]

_LONGEST, _LONGEST_PAYLOAD = 8_000, 40_000  # the numbers of characters of a text, and of a payload, that are read
_MOST = 50  # the number of blocks, attachments, fields and others of a kind that are read
_DEEPEST = 16  # the number of objects and lists in each other that are read

_Object = Mapping[str, Any]
Dialect = Callable[[str], str]  # converts a text to Markdown


def converted(payload: _Object, dialect: Dialect) -> Markdown:
    """Return the message of a payload; empty if it has none. `dialect` is what `text` and attachments are written in."""
    pieces = _pieces(_object(_beginning(payload, [_LONGEST_PAYLOAD])), dialect)
    return Markdown("\n".join(piece.strip("\n") for piece in pieces if piece.strip()))


def _beginning(given: object, room: list[int], deepest: int = _DEEPEST) -> object:
    """Return what is read of a value, for which there is room for so many characters and values."""
    room[0] -= 1
    if isinstance(given, str):
        text = given[: max(min(_LONGEST, room[0]), 0)]
        room[0] -= len(text)
        return text
    if isinstance(given, Mapping) and deepest:
        return {key: _beginning(given[key], room, deepest - 1) for key in given if room[0] > 0}
    if isinstance(given, list) and deepest:
        return [_beginning(one, room, deepest - 1) for one in given[:_MOST]]
    return given if isinstance(given, (int, float)) else None


def _pieces(payload: _Object, dialect: Dialect) -> Iterator[str]:
    yield styled(link(_text(payload.get("title")), _text(payload.get("click"))), "**")
    display = _object(_object(payload.get("extras")).get("client::display"))
    is_markdown = payload.get("markdown") is True or display.get("contentType") == "text/markdown"
    yield (markdown if is_markdown else literal)(_text(payload.get("message")))
    blocks = [piece for block in _objects(payload.get("blocks")) for piece in _block(block) if piece.strip()]
    yield from blocks or [dialect(_text(payload.get("text")))]
    for attachment in _objects(payload.get("attachments")):
        yield from _attachment(attachment, dialect)
    yield discord(_text(payload.get("content")))
    for embed in _objects(payload.get("embeds")):
        yield from _embed(embed)


def _attachment(attachment: _Object, dialect: Dialect) -> Iterator[str]:
    text = {name: _text(given) for name, given in attachment.items()}
    plain = defaultdict(str, {name: unescaped(given) for name, given in text.items()})
    pieces = [
        dialect(text.get("pretext", "")),
        link(plain["author_name"], plain["author_link"]),
        styled(link(plain["title"], plain["title_link"]), "**"),
        dialect(text.get("text", "")),
        *(_field(field, "title", dialect) for field in _objects(attachment.get("fields"))),
        *(piece for block in _objects(attachment.get("blocks")) for piece in _block(block)),
        link("image", plain["image_url"]) if plain["image_url"] else "",
        _in_line(attachment.get("actions")),
        label(plain["footer"]),
    ]
    yield from pieces if any(map(str.strip, pieces)) else [literal(plain["fallback"])]


def _embed(embed: _Object) -> Iterator[str]:
    author, image = _object(embed.get("author")), _text(_object(embed.get("image")).get("url"))
    yield link(_text(author.get("name")), _text(author.get("url")))
    yield styled(link(_text(embed.get("title")), _text(embed.get("url"))), "**")
    yield discord(_text(embed.get("description")))
    for field in _objects(embed.get("fields")):
        yield _field(field, "name", discord)
    yield link("image", image) if image else ""
    yield label(_text(embed.get("footer")))


def _field(field: _Object, name: str, dialect: Dialect) -> str:
    title, value = label(unescaped(_text(field.get(name)))), dialect(_text(field.get("value"))).strip("\n")
    return f"{styled(title + ':', '**')} {value}" if title and value else title or value


def _block(block: _Object) -> Iterator[str]:
    kind, text = block.get("type"), block.get("text")
    if kind == "rich_text":
        for element in _objects(block.get("elements")):
            yield _rich_block(element)
    elif kind == "header":
        yield styled(label(unescaped(_text(text))), "**")
    elif kind == "markdown":
        yield markdown(_text(text))
    else:
        yield _element(block) if kind == "image" else _element(text)
        for field in _objects(block.get("fields")):
            yield _element(field)
        yield _in_line([*_objects(block.get("elements")), _object(block.get("accessory"))])


def _in_line(elements: object) -> str:
    return " ".join(filter(None, map(_element, _objects(elements))))


def _element(element: object) -> str:
    given = _object(element)
    text, kind = _text(given.get("text")), given.get("type")
    if kind == "image":
        alternative = _text(given.get("title")) or _text(given.get("alt_text")) or "image"
        return link(unescaped(alternative), _text(given.get("image_url")))
    if "url" in given or kind == "button":
        return link(unescaped(text), _text(given.get("url"))) if given.get("url") else ""
    return literal(unescaped(text)) if kind == "plain_text" else mrkdwn(text)


def _rich_block(block: _Object) -> str:
    kind, elements = block.get("type"), _objects(block.get("elements"))
    if kind == "rich_text_list":
        # No syntax of Markdown: what follows would belong to the last item.
        is_ordered = block.get("style") == "ordered"
        items = enumerate(map(_rich_text, elements), 1)
        return "\n".join(f"{number}\\. {text}" if is_ordered else f"• {text}" for number, text in items)
    if kind == "rich_text_preformatted":
        return fenced("".join(_text(element.get("text") or element.get("url")) for element in elements))
    text = _rich_text(block)
    return "\n".join(QUOTE + line for line in text.split("\n")) if kind == "rich_text_quote" else text


def _rich_text(section: _Object) -> str:
    return "".join(map(_rich, _objects(section.get("elements"))))


def _rich(element: _Object) -> str:
    kind, style, text = element.get("type"), _object(element.get("style")), _text(element.get("text"))
    if kind == "link":
        shown = link(text, _text(element.get("url")))
    elif kind == "emoji":
        shown = literal(f":{_text(element.get('name'))}:")
    elif kind in ("user", "usergroup", "channel", "broadcast"):
        name = _text(element.get("range") or element.get(f"{kind}_id"))
        shown = literal(("#" if kind == "channel" else "@") + name)
    else:
        shown = literal(text or _text(element.get("fallback") or element.get("value")))
    for name, mark in (("strike", "~~"), ("italic", "_"), ("bold", "**")):
        shown = styled(shown, mark) if style.get(name) is True else shown
    return shown


def _text(given: object) -> str:
    if isinstance(given, Mapping):
        given = given.get("text")
    if isinstance(given, bool) or not isinstance(given, (str, int, float)):
        return ""
    return str(given)


def _object(given: object) -> _Object:
    return given if isinstance(given, Mapping) else {}


def _objects(given: object) -> list[_Object]:
    return [found for found in given if isinstance(found, Mapping)] if isinstance(given, list) else []


QUOTE = "\\> "  # begins a line of a quote, as text: Markdown's quotes would continue in the next line

_LONGEST_LABEL = 300

# A place in mrkdwn that may have a meaning. What is between `<` and `>` has neither, so that no character is examined twice.
_SIGN = re.compile(r"```|`|<([^<>\n]{1,3000})>|[*_~\n]")
_QUOTE = re.compile(r"(?:>|&gt;){1,3} ?")
_SCHEMES = ("http://", "https://", "mailto:")
_STYLES = {"*": "**", "_": "_", "~": "~~"}
_LITERAL = {"*": "\\*", "_": "\\_", "~": "&#126;", "`": "\\`", "```": "\\`\\`\\`"}

_SLACK_LINK = re.compile(r"<(https?://[^<>|\s]{1,2000})\|([^<>\n]{1,300})>")
_OF_DISCORD = re.compile(
    r"<(?P<sign>[@#])[!&]?(?P<id>\d{1,25})>|<a?(?P<emoji>:\w{1,40}:)\d{1,25}>"
    r"|<t:(?P<time>-?\d{1,13})(?::[tTdDfFR])?>|<(?P<command>/[\w -]{1,64}):\d{1,25}>"
)


def literal(text: str) -> str:
    return text if text.isspace() else plain_lines(sanitize(text))


def markdown(text: str) -> str:
    """Convert Markdown as Mattermost reads it: without links that may run code, and with Slack's links."""
    return without_unsafe_links(_SLACK_LINK.sub(lambda found: link(found[2], found[1]), sanitize(text)))


def discord(text: str) -> str:
    return markdown(_OF_DISCORD.sub(_of_discord, text))


def _of_discord(found: re.Match[str]) -> str:
    if found["time"]:
        try:
            return datetime.fromtimestamp(int(found["time"]), UTC).strftime("%Y-%m-%d %H:%M UTC")
        except (ValueError, OverflowError, OSError):
            return ""
    return found["emoji"] or found["command"] or found["sign"] + found["id"]


def mrkdwn(text: str) -> str:
    return _Mrkdwn(text).converted()


class _Mrkdwn:
    def __init__(self, text: str) -> None:
        self._text, self._at = sanitize(text), 0
        self._out: list[str] = []
        # The signs that may begin a style, with their places in `_out`. They are written literally until the style ends.
        self._opened: list[tuple[str, int]] = []
        self._is_quoted = False

    def converted(self) -> str:
        self._begin_line()
        while sign := _SIGN.search(self._text, self._at):
            self._write(unescaped(self._text[self._at : sign.start()]))
            self._at = sign.end()
            if sign[0] == "\n":
                self._opened.clear()
                self._out.append("\n")
                self._begin_line()
            elif sign[1]:
                self._out.append(_reference(sign[1]))
            elif sign[0][0] == "`":
                self._read_code(sign[0])
            else:
                self._read_style(sign[0], sign.start())
        self._write(unescaped(self._text[self._at :]))
        return "".join(self._out)

    def _write(self, text: str) -> None:
        if text:
            self._out.append(literal(text))

    def _begin_line(self) -> None:
        quote = _QUOTE.match(self._text, self._at)
        if quote is not None:
            self._out.append(QUOTE)
            self._at = quote.end()
        self._is_quoted = quote is not None

    def _read_code(self, ticks: str) -> None:
        end = self._text.find(ticks, self._at)
        inside = unescaped(self._text[self._at : max(end, 0)])
        if not inside.strip() or (ticks == "`" and "\n" in inside):
            self._out.append(_LITERAL[ticks])
            return
        self._at = end + len(ticks)
        if "\n" in inside and not self._is_quoted:
            self._out.append(f"\n{fenced(inside.strip(chr(10)))}\n")
        else:
            self._out.append(code(inside))

    def _read_style(self, sign: str, start: int) -> None:
        before, after = self._text[max(start - 1, 0) : start], self._text[self._at : self._at + 1]
        number = next((number for number, (opened, _) in enumerate(self._opened) if opened == sign), None)
        if number is None:
            if not before.isalnum() and after.strip():
                self._opened.append((sign, len(self._out)))
        elif before.strip() and not after.isalnum() and len(self._out) > self._opened[number][1] + 1:
            self._out[self._opened[number][1]] = _STYLES[sign]
            self._out.append(_STYLES[sign])
            # A style that began within this one and doesn't end in it is none.
            del self._opened[number:]
            return
        self._out.append(_LITERAL[sign])


def unescaped(text: str) -> str:
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def _reference(inside: str) -> str:
    """Return Markdown for what mrkdwn has between `<` and `>`: a link, a mention of a person, room or group, or a time."""
    target, _, text = map(unescaped, inside.partition("|"))
    if inside[0] in "@#":
        return literal(inside[0] + (text.removeprefix(inside[0]) or target[1:]))
    if inside[0] == "!":
        return literal(text or "@" + target[1:].partition("^")[0])
    return link(text, target) if text.strip() not in ("", target) else literal(target)


def label(text: str) -> str:
    """Return Markdown for a text that is neither a link nor formatted in its format, such as a title: one line, literally."""
    return value(text, _LONGEST_LABEL)


def link(text: str, address: str) -> str:
    """Return a link, or its text alone if the address isn't one of the web or of mail."""
    shown, address = label(text), sanitize(address).strip()
    if not shown or len(address) > LINK_CAP or not address.lower().startswith(_SCHEMES):
        return shown
    return str(md_link(Markup(shown), address))  # noqa: S704  the text is escaped


def styled(text: str, mark: str) -> str:
    """Return Markdown between two marks such as `**`. White space at its ends is put outside."""
    inside = text.strip()
    before = text[: len(text) - len(text.lstrip())]
    return f"{before}{mark}{inside}{mark}{text[len(before) + len(inside) :]}" if inside else text


_URLENCODED = "application/x-www-form-urlencoded"
_FIELDS = ("payload", "payload_json")
_SMALL = 64 * 1024
_NO_TEXT = "no_text"

_PLAIN = ((b"Content-Type", b"text/plain; charset=utf-8"),)
_JSON = ((b"Content-Type", b"application/json"),)
_OK = ImmediateResponse(200, _PLAIN, b"ok")
_DISCORD_EPOCH = 1_420_070_400
_DISCORD_ERRORS = {401: (50027, "Invalid Webhook Token"), 404: (10015, "Unknown Webhook")}


def _parsed(received: Received) -> Mapping[str, Any]:
    """Return the object that is the body, or that is in a form; text is returned as a message. Raises BadPayload."""
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
        return ImmediateResponse(204, (), b"")
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
_OF_MATTERMOST = "apprise-mattermost.json"

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
            example=_OF_MATTERMOST,
        ),
        _source("rocketchat", "Rocket.Chat's format", markdown, _PASTE + "Rocket.Chat.", example=_OF_MATTERMOST),
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
