"""Tests of `errklein.sources.post`."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from errklein.sources import find_source, post
from errklein.testing import PluginTestCase
from errklein.testing.source_contract import changed_payloads
from errklein.text import to_irc, without_mentions
from errklein.verify import ImmediateResponse, Received
from errklein.webhooks.payload import BadPayload

PAYLOADS = Path(post.__file__).parent / "payloads"
FORM = "application/x-www-form-urlencoded"
JSON = "application/json"
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=5), children, max_size=3),
    max_leaves=6,
)


def received(body: object, kind: str = JSON, url: str = "https://bot.example.org/hooks/a") -> Received:
    """Return a request with a body; what isn't bytes becomes JSON."""
    given = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Received(
        "POST", url, [(b"content-type", kind.encode())] if kind else [], given, "192.0.2.1", 1_796_000_000.0
    )


def markdown(body: object, kind: str = JSON, source: str = "post") -> str:
    """Return the Markdown that a source makes of a body."""
    return find_source(source).read(received(body, kind)).values["text"]


def shown(body: object, kind: str = JSON, source: str = "post") -> str:
    """Return the message as a room on IRC shows it, without formatting and the spaces of no width."""
    message = to_irc(find_source(source).read(received(body, kind)).text())
    return message.translate(dict.fromkeys([0x02, 0x0F, 0x1D, 0x200B]))


def answer(source: str, request: Received) -> ImmediateResponse:
    """Return the response to a request: as accepted, or the refusal of its payload."""
    found = find_source(source)
    try:
        found.read(request)
    except BadPayload as error:
        assert found.refusal is not None
        return found.refusal(error.status, error.detail)
    return found.respond(request)


class ToolTests(SynchronousTestCase):
    """What tools really send."""

    def payload(self, name: str, source: str = "post") -> str:
        """Return the message for a recorded payload."""
        return shown((PAYLOADS / f"{name}.json").read_bytes(), source=source)

    def test_alertmanager_as_slack(self) -> None:
        """Alertmanager's attachment becomes a link to the alerts."""
        link = "(http://alertmanager.example.org/#/alerts?receiver=all)"
        self.assertEqual(
            self.payload("alertmanager-slack-firing"), f"[FIRING:1] InstanceDown (db1:9100 critical) {link}"
        )
        self.assertEqual(
            self.payload("alertmanager-slack-resolved"), f"[RESOLVED] InstanceDown (db1:9100 critical) {link}"
        )

    def test_alertmanager_as_discord(self) -> None:
        """Alertmanager's embed is shown line by line."""
        lines = self.payload("alertmanager-discord-firing").split("\n")
        self.assertEqual(lines[:3], ["[FIRING:1] InstanceDown (db1:9100 critical)", "Alerts Firing:", "Labels:"])
        self.assertIn("Source: http://prometheus.example.org/graph?g0.expr=up", lines)
        self.assertIn("Alerts Resolved:", self.payload("alertmanager-discord-resolved").split("\n"))

    def test_libraries(self) -> None:
        """The libraries' messages are complete."""
        build = "Build 7 (https://ci.example.org/7)"
        self.assertEqual(
            self.payload("slack-sdk"),
            "Deployed\nshop build 7 (https://ci.example.org/7) by @U024BE7LH, @here\nBranch\nmain\nTime\n42 s",
        )
        self.assertEqual(self.payload("slack-webhook-npm"), f"Deployed shop\n{build}\ntook 42 s")
        self.assertEqual(self.payload("apprise-mattermost", "mattermost"), "Backup\ndone in 3 min")
        self.assertEqual(self.payload("apprise-json"), "Backup\ndone in 3 min")
        self.assertEqual(
            self.payload("discord-webhook", "discord"),
            "Deployed shop @everyone @80351110224678912\nAnn (https://example.org/ann)\n"
            f"{build}\ntook 42 s\nBranch: main\nCI",
        )

    def test_examples(self) -> None:
        """Each source's example is a payload that it takes."""
        for name, source in post.SOURCES.items():
            with self.subTest(source=name):
                self.assertTrue(shown((PAYLOADS / source.example).read_bytes(), source=name))
                self.assertLessEqual(len(source.setup), 3)

    def test_origins(self) -> None:
        """The README of the payloads names each of them."""
        readme = (PAYLOADS / "README.md").read_text()
        self.assertEqual([path.name for path in PAYLOADS.glob("*.json") if f"`{path.name}`" not in readme], [])


class RoomTests(PluginTestCase):
    """From a command in a room to a message in it."""

    plugins = ()
    config: ClassVar[Mapping[str, object]] = {"PUBLIC_URL": "https://bot.example.net", "WEBHOOK_BASE_PATH": "/chat"}

    def make(self, source: str) -> str:
        """Make a webhook in #ops and return what the private reply says."""
        shown = self.bot.say(f"!webhook new {source}", room="#ops")
        return "\n".join(one.text for one in shown if one.to == "@admin")

    def test_one_address_to_paste(self) -> None:
        """What the reply tells to paste into a tool for Slack is where messages are posted."""
        found = re.search(r"Paste https://bot\.example\.net/chat(/hooks/ekt\w+) ", self.make("slack"))
        assert found is not None
        response = self.post(
            "/chat" + found[1], body=b'{"text": "*deployed* <!here> @alice"}', headers={"Content-Type": JSON}
        )
        self.assertEqual((response.status, response.text), (200, "ok"))
        self.bot.advance(0)
        self.assertEqual(self.bot.sent_to("#ops")[-1], "deployed @\u200bhere @\u200balice")

    def test_address_for_apprise(self) -> None:
        """Apprise's address has the host, the base path and the token; it adds `/hooks` itself."""
        found = re.search(r"mmosts://bot\.example\.net/chat/(ekt\w+)", self.make("mattermost"))
        assert found is not None
        response = self.post(f"/hooks/{found[1]}", body=b'{"text": "**done**"}', headers={"Content-Type": JSON})
        self.assertEqual(response.text, "ok")

    def test_addresses_of_post(self) -> None:
        """The reply has addresses for Slack's tools, for Apprise and for scripts."""
        reply = self.make("post")
        for pattern in (r"Paste https:", r"For Apprise: jsons:", r"curl -d text=Hello https:"):
            self.assertRegex(reply, pattern + r"//bot\.example\.net/chat/hooks/ekt\w{26}\b")

    def test_refusals(self) -> None:
        """Errors have the form of the service."""
        found = re.search(r"(/hooks/ekt\w+)", self.make("slack"))
        assert found is not None
        for path, body, expected in (
            (found[1], b"not json", (400, "invalid_payload")),
            (found[1], b"{}", (400, "no_text")),
            (found[1][:-2] + "22", b'{"text": "hello"}', (404, "no_service")),
        ):
            response = self.post(path, body=body, headers={"Content-Type": JSON})
            self.assertEqual((response.status, response.text), expected)

    def test_discord_with_the_format_of_slack(self) -> None:
        """Tools append `/slack` to Discord's address to post Slack's format."""
        found = re.search(r"Paste https://bot\.example\.net/chat(/hooks/ekt\w+) ", self.make("discord"))
        assert found is not None
        headers = {"Content-Type": JSON}
        waited = self.post(f"{found[1]}?wait=true", body=b'{"content": "**one**"}', headers=headers)
        self.assertIn("id", waited.json())
        slack = self.post(f"{found[1]}/slack", body=b'{"attachments": [{"title": "two"}]}', headers=headers)
        self.assertEqual((slack.status, slack.text), (200, "ok"))
        refused = self.post(found[1], body=b"{}", headers=headers)
        self.assertEqual((refused.status, refused.json()["code"]), (400, 50006))
        self.bot.advance(0)
        self.assertEqual(self.bot.sent_to("#ops")[-2:], ["one", "two"])


class BodyTests(SynchronousTestCase):
    """The ways in which tools send the same message."""

    def test_json(self) -> None:
        """JSON may have any charset, any JSON type, and line breaks in its strings."""
        self.assertEqual(shown('{"text": "Grüße"}'.encode("latin-1"), "application/json; charset=ISO-8859-1"), "Grüße")
        self.assertEqual(shown('{"text": "Grüße"}'.encode("utf-16"), "application/json;charset=utf-16"), "Grüße")
        self.assertEqual(shown({"text": "hello"}, "application/vnd.slack+json"), "hello")
        self.assertEqual(shown(b'{"text": "one\ntwo"}'), "one\ntwo")
        self.assertEqual(shown(b'{"text": "hello"}', ""), "hello")
        self.assertEqual(shown(b'\n{"text": "hello"}', "application/octet-stream"), "hello")

    def test_form(self) -> None:
        """A form has JSON in the field `payload`, or the keys as fields; the type may be missing or wrong."""
        for kind in (FORM, ""):
            self.assertEqual(shown(b"payload=%7B%22text%22%3A+%22hello+you%22%7D", kind), "hello you")
        self.assertEqual(shown(b"version=1.0&title=Backup&message=done+in+3+min", FORM), "Backup\ndone in 3 min")
        self.assertEqual(shown(b'{"text": "by curl -d"}', FORM), "by curl -d")
        self.assertEqual(shown(b"disk full", FORM), "disk full")

    def test_multipart(self) -> None:
        """Discord's tools send JSON beside files."""
        body = (
            b'--b\r\nContent-Disposition: form-data; name="_log"; filename="log"\r\n\r\nlog\r\n--b\r\n'
            b'Content-Disposition: form-data; name="payload_json"\r\n\r\n{"content": "see the file"}\r\n--b--\r\n'
        )
        self.assertEqual(shown(body, "multipart/form-data; boundary=b", "discord"), "see the file")

    def test_text(self) -> None:
        """Text is shown as it is."""
        for text in ("*three* stars\n# no heading\n<b>", "42", "null", "[1]", "{not json}"):
            self.assertEqual(shown(text.encode(), "text/plain"), text)

    def test_no_payload(self) -> None:
        """What can't be parsed is refused in the form of the service, and so is a message without a text."""
        for body, kind in (
            (b"not json", JSON),
            (b'{"text": "cut', JSON),
            (b"[1]", JSON),
            (b'"text"', JSON),
            (b"", JSON),
            (b"payload=not+json", FORM),
            (b"{cut", ""),
            (b'{"text": "\xff"}', JSON),
            (b"[" * 100_000, JSON),
        ):
            with self.subTest(body=body[:20]):
                refusal = answer("post", received(body, kind))
                self.assertEqual((refusal.status, refusal.body), (400, b"invalid_payload"))
        for empty in ({}, {"text": ""}, {"text": None}, {"attachments": [{"color": "good"}]}, {"text": " \n"}):
            with self.subTest(body=empty):
                refusal = answer("slack", received(empty))
                self.assertEqual((refusal.status, refusal.body), (400, b"no_text"))


class ResponseTests(SynchronousTestCase):
    """Responses that tools accept."""

    def test_slack(self) -> None:
        """The response is exactly `ok`, as text."""
        for source in ("post", "slack", "mattermost", "rocketchat"):
            response = answer(source, received({"text": "hello"}))
            self.assertEqual((response.status, response.body), (200, b"ok"))
            self.assertIn((b"Content-Type", b"text/plain; charset=utf-8"), response.headers)

    def test_discord(self) -> None:
        """The response is empty, or JSON with an id if the tool waits for one; `/slack` responds as Slack does."""
        url = "https://bot.example.org/hooks/a"
        accepted = answer("discord", received({"content": "hello"}, url=url))
        self.assertEqual((accepted.status, accepted.body), (204, b""))
        waited = answer("discord", received({"content": "hello"}, url=f"{url}?wait=True"))
        self.assertEqual(waited.status, 200)
        self.assertTrue(json.loads(waited.body)["id"].isdecimal())
        slack = answer("discord", received({"text": "hello"}, url=f"{url}/slack?wait=true"))
        self.assertEqual((slack.status, slack.body), (200, b"ok"))

    def test_errors_of_slack(self) -> None:
        """Each error is one of Slack's words."""
        refusal = find_source("slack").refusal
        assert refusal is not None
        for status, expected in {
            401: (404, b"no_service"),
            404: (404, b"no_service"),
            410: (404, b"no_service"),
            413: (413, b"invalid_payload"),
            429: (429, b"rate_limited"),
            503: (503, b"server_error"),
        }.items():
            found = refusal(status, "a reason")
            self.assertEqual((found.status, found.body), expected)

    def test_errors_of_discord(self) -> None:
        """Each error is JSON with a message and a code, with a time if the tool must wait."""
        empty = answer("discord", received({"content": ""}))
        self.assertEqual((empty.status, json.loads(empty.body)["code"]), (400, 50006))
        invalid = answer("discord", received(b"not json"))
        self.assertEqual(invalid.status, 400)
        self.assertEqual(json.loads(invalid.body), {"message": "the body is no JSON object", "code": 0})
        refusal = find_source("discord").refusal
        assert refusal is not None
        self.assertEqual(json.loads(refusal(404, "").body)["code"], 10015)
        self.assertGreater(json.loads(refusal(429, "too many").body)["retry_after"], 0)


class MrkdwnTests(SynchronousTestCase):
    """Slack's markup."""

    def assert_markdown(self, mrkdwn: str, expected: str) -> None:
        """Check the conversion of a text."""
        self.assertEqual(markdown({"text": mrkdwn}), expected)

    def test_styles(self) -> None:
        """Styles are Markdown's; signs in words, beside spaces or without an end are text."""
        self.assert_markdown("*a* _b_ ~c~ `d*` (*e*)", "**a** _b_ ~~c~~ `d*` (**e**)")
        self.assertEqual(
            shown({"text": "a*b*c 2 * 3 * 4 snake_case_name *no\nend*"}), "a*b*c 2 * 3 * 4 snake_case_name *no\nend*"
        )
        self.assert_markdown("*_both_*", "**_both_**")
        self.assert_markdown("*a _b* c_", "**a \\_b** c\\_")

    def test_markdown(self) -> None:
        """Markdown has no meaning in mrkdwn."""
        text = "[label](https://example.org) # one\n# two\n1. three\n- four\n![x](y)"
        self.assertEqual(shown({"text": text}), text)

    def test_links(self) -> None:
        """Links keep their label; only those of the web and of mail are links."""
        self.assert_markdown("<https://example.org/a_b|a *b*>", "[a \\*b\\*](https://example.org/a_b)")
        self.assert_markdown("<https://example.org/(a)|x>", "[x](https://example.org/%28a%29)")
        self.assert_markdown("<mailto:ann@example.org|Ann>", "[Ann](mailto:ann@example.org)")
        self.assert_markdown("<https://example.org>", "https://example.org")
        self.assert_markdown("<javascript:alert(1)|click>", "click")

    def test_references(self) -> None:
        """People, rooms, groups and times are shown by their names."""
        self.assertEqual(
            shown({"text": "<@U1|ann> <@U2> <#C1|ops> <!channel> <!subteam^S1|@team> <!date^1^{date}|1 May>"}),
            "@ann @U2 #ops @channel @team 1 May",
        )

    def test_entities(self) -> None:
        """The three entities are characters, once."""
        self.assertEqual(shown({"text": "1 &lt; 2 &amp;&amp; &amp;lt; &gt; &quot;"}), "1 < 2 && &lt; > &quot;")
        title, header = {"title": "R&amp;D"}, {"type": "header", "text": {"type": "plain_text", "text": "Q &lt; A"}}
        self.assertEqual(shown({"blocks": [header], "attachments": [title]}), "Q < A\nR&D")

    def test_code(self) -> None:
        """Code is untouched."""
        self.assertEqual(shown({"text": "see\n```*a* &lt;b&gt;\n  c```\nand ```d```"}), "see\n*a* <b>\n  c\nand d")

    def test_quotes(self) -> None:
        """A quote ends with its line."""
        self.assert_markdown("> one *two*\n&gt; three\nfour", "\\> one **two**\n\\> three\nfour")


class FormatTests(SynchronousTestCase):
    """The parts of messages."""

    def test_attachment(self) -> None:
        """All visible parts of an attachment are shown, in Slack's order; the fallback only if there are none."""
        attachment: dict[str, Any] = {
            "fallback": "unused",
            "pretext": "*before*",
            "author_name": "Ann",
            "author_link": "https://example.org/ann",
            "title": "Build *7*",
            "title_link": "https://example.org/7",
            "text": "_text_",
            "fields": [{"title": "Branch", "value": "main", "short": True}, {"value": "only a value"}, "wrong"],
            "image_url": "https://example.org/i.png",
            "actions": [{"text": "Open", "url": "https://example.org/o"}, {"type": "button", "text": "No link"}],
            "footer": "CI",
            "color": "good",
        }
        self.assertEqual(
            shown({"text": "first", "attachments": [attachment]}).split("\n"),
            [
                "first",
                "before",
                "Ann (https://example.org/ann)",
                "Build *7* (https://example.org/7)",
                "text",
                "Branch: main",
                "only a value",
                "image (https://example.org/i.png)",
                "Open (https://example.org/o)",
                "CI",
            ],
        )
        self.assertEqual(shown({"attachments": [{"fallback": "*shown*", "color": "good"}]}), "*shown*")

    def test_blocks(self) -> None:
        """Blocks replace the text, which is for notifications; attachments follow them."""
        button = {"type": "button", "text": {"type": "plain_text", "text": "Open"}, "url": "https://example.org/o"}
        blocks = [
            {"type": "header", "text": {"type": "plain_text", "text": "A *b*"}},
            {"type": "divider"},
            {"type": "section", "text": {"type": "mrkdwn", "text": "*c*"}, "accessory": button},
            {"type": "context", "elements": [{"type": "plain_text", "text": "*d*"}, {"type": "mrkdwn", "text": "_e_"}]},
            {"type": "image", "image_url": "https://example.org/i.png", "alt_text": "a chart"},
            {"type": "actions", "elements": [button, {"type": "button", "text": {"type": "plain_text", "text": "x"}}]},
            {"type": "markdown", "text": "**f** [g](https://example.org/g)"},
        ]
        self.assertEqual(
            shown({"text": "unused", "blocks": blocks, "attachments": [{"text": "h"}]}).split("\n"),
            [
                "A *b*",
                "c",
                "Open (https://example.org/o)",
                "*d* e",
                "a chart (https://example.org/i.png)",
                "Open (https://example.org/o)",
                "f g (https://example.org/g)",
                "h",
            ],
        )

    def test_rich_text(self) -> None:
        """Rich text has styles, links, lists, quotes and code."""
        bold = {"type": "text", "text": "bold ", "style": {"bold": True}}
        link = {"type": "link", "url": "https://example.org", "text": "link"}
        user, here = {"type": "user", "user_id": "U1"}, {"type": "broadcast", "range": "here"}
        emoji, text = {"type": "emoji", "name": "tada"}, {"type": "text", "text": "a *b*"}
        section = {"type": "rich_text_section", "elements": [text]}
        elements = [
            {"type": "rich_text_section", "elements": [bold, link, user, here, emoji]},
            {"type": "rich_text_list", "style": "bullet", "elements": [section, section]},
            {"type": "rich_text_quote", "elements": [text]},
            {"type": "rich_text_preformatted", "elements": [text]},
        ]
        self.assertEqual(
            markdown({"blocks": [{"type": "rich_text", "elements": elements}]}),
            "**bold** [link](https://example.org)@U1@here:tada:\n• a \\*b\\*\n• a \\*b\\*\n\\> a \\*b\\*\n```\na *b*\n```",
        )

    def test_discord(self) -> None:
        """Discord's references are shown by their names, and times in UTC."""
        text = "<@1> <@!2> <@&3> <#4> <:smile:5> <a:wave:6> <t:1700000000:R> </help:7> **b** <t:99999999999999>"
        self.assertEqual(
            shown({"content": text}, source="discord"),
            "@1 @2 @3 #4 :smile: :wave: 2023-11-14 22:13 UTC /help b <t:99999999999999>",
        )

    def test_markdown(self) -> None:
        """Mattermost and Rocket.Chat send Markdown; links that may run code are none."""
        for source in ("mattermost", "rocketchat"):
            found = markdown({"text": "**b** [l](https://example.org) [m](javascript:x)"}, source=source)
            self.assertEqual(found, "**b** [l](https://example.org) [m]\u200b(javascript:x)")
            # They know Slack's links, too.
            found = markdown({"text": "see <https://example.org/7|build *7*>"}, source=source)
            self.assertEqual(found, "see [build \\*7\\*](https://example.org/7)")

    def test_title_and_message(self) -> None:
        """A message is text, unless ntfy or Gotify state that it is Markdown."""
        self.assertEqual(
            shown({"title": "Door", "click": "https://example.org", "message": "is *open*"}),
            "Door (https://example.org)\nis *open*",
        )
        self.assertEqual(shown({"message": "is *open*", "markdown": True}), "is open")
        extras = {"client::display": {"contentType": "text/markdown"}}
        self.assertEqual(shown({"message": "is *open*", "extras": extras}), "is open")

    def test_rooms_and_names(self) -> None:
        """A payload chooses neither room nor name nor icon."""
        found = shown({"text": "hello", "channel": "#secret", "username": "root", "icon_emoji": ":skull:"})
        self.assertEqual(found, "hello")

    def test_wrong_types(self) -> None:
        """Values of other types are their text, or nothing."""
        self.assertEqual(shown({"text": 42}), "42")
        self.assertEqual(shown({"text": {"text": "inside"}}), "inside")
        self.assertEqual(shown({"message": "hello", "text": [1], "blocks": "x", "attachments": {"a": 1}}), "hello")
        self.assertEqual(shown({"content": "hello", "embeds": [None, 1, {"author": "x", "fields": 3}]}), "hello")

    def test_long_message(self) -> None:
        """At most 30 lines and 4,000 characters are shown, with the number of the others; cut code is closed."""
        lines = shown({"text": "\n".join(f"line {number}" for number in range(50))}).split("\n")
        self.assertEqual((len(lines), lines[-1]), (30, "… and 21 more lines"))
        text = shown({"text": "x" * 10_000})
        self.assertLess(len(text), 4000)
        self.assertTrue(text.endswith("…"))
        code = shown({"text": "```\n" + "\n".join(map(str, range(99))) + "\n```"}).split("\n")
        self.assertEqual((code[0], code[-1]), ("0", "… and 73 more lines"))

    def test_mentions(self) -> None:
        """Nobody is mentioned, in whatever field."""
        for payload in (
            {"text": "@here <!channel> <@U1> @ann"},
            {"attachments": [{"title": "@everyone", "text": "@ann", "footer": "@all"}]},
            {"content": "@everyone <@1> <@&2>"},
            {"message": "@channel @ann"},
        ):
            text = find_source("post").read(received(payload)).text()
            self.assertNotRegex(text, r"@(?!\u200b)|<!(?!\u200b)")

    def test_hostile_texts(self) -> None:
        """Signs without an end take no longer than others: a message of 320 kB is read in a fraction of a second."""
        for text in ("<http://", "*a ", "`", "```", "<", "_*~", "> ", "[", "<@1", "<:a:", "&lt;"):
            start = time.process_time()
            texts = [text * (8000 // len(text))] * 40
            markdown({"text": "a", "attachments": [{"text": one} for one in texts]})
            markdown({"embeds": [{"title": "a", "description": one} for one in texts]})
            self.assertLess(time.process_time() - start, 3, text)

    def test_size(self) -> None:
        """Of many texts in each other, only the first ones are read, so that no message takes long."""
        text = {"type": "text", "text": ("*a* <http://x|b> `c` " * 400)[:8000]}
        rich = {
            "type": "rich_text",
            "elements": [{"type": "rich_text_list", "elements": [{"elements": [text] * 50}] * 9}],
        }
        start = time.process_time()
        for payload in (
            {"blocks": [rich]},
            {"attachments": [{"blocks": [{"fields": [text] * 50}] * 9}]},
            {"blocks": [{"type": "rich_text", "elements": [{"type": "rich_text_quote", "elements": [text] * 50}] * 9}]},
        ):
            self.assertLess(len(markdown({**payload, "text": "a"})), 500_000)
        self.assertLess(time.process_time() - start, 5)

    def test_replaced_values(self) -> None:
        """Without a value, or with one of another type, the message is shorter; only texts and addresses add links."""
        may_link = ("text", "value", "description", "content", "message", "fallback", "link", "url")
        for path in sorted(PAYLOADS.glob("*.json")):
            for place, changed in changed_payloads(json.loads(path.read_text())):
                with self.subTest(payload=path.name, place=place):
                    try:
                        text = find_source("post").read(received(changed)).text()
                    except BadPayload as refused:
                        self.assertEqual(refused.detail, "no_text")
                        continue
                    self.assertLessEqual(len(to_irc(text).split("\n")), 30)
                    self.assertLessEqual(len(text), 4000)
                    self.assertEqual(without_mentions(text), text)
                    self.assertNotRegex(text, r"\bNone\b|\bTrue\b|(?<!\w)@\w|javascript:")
                    if not place.endswith(may_link):
                        self.assertNotRegex(text, r"://evil|www\.evil|\*\*b\*\*(?<!\\)")

    @settings(deadline=None)
    @given(
        st.dictionaries(
            st.sampled_from(("text", "title", "message", "content", "attachments", "blocks", "embeds")), ANY_JSON
        )
    )
    def test_any_values(self, payload: dict[str, Any]) -> None:
        """No value causes an error."""
        for source in post.SOURCES:
            self.assertIn(answer(source, received(payload)).status, (200, 204, 400))

    @settings(deadline=None)
    @given(st.data())
    def test_changed_payloads(self, data: st.DataObject) -> None:
        """A payload in which values are replaced causes no error."""
        path = data.draw(st.sampled_from(sorted(PAYLOADS.glob("*.json"))))

        def changed(value: Any) -> Any:
            if data.draw(st.integers(0, 5)) == 0:
                return data.draw(ANY_JSON)
            if isinstance(value, dict):
                return {key: changed(one) for key, one in value.items()}
            return [changed(one) for one in value] if isinstance(value, list) else value

        found = answer("post", received(changed(json.loads(path.read_text()))))
        self.assertIn(found.body, (b"ok", b"no_text", b"invalid_payload"))
