"""Pages of a bot whose senders, rooms and plugins have markup for names, and secrets that no page shows."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

from errklein import BotPlugin, webhook
from tests.console.kit import Browser, ConsoleCase

LINE = "\"'><script>run()</script><svg/onload=run()>{{ 7 * 7 }}{% raw %}"
MARKUP = f"{LINE}\u2028\r\ndata: x"
NAME = '"><svg/onload=run()>'
KEY, GIVEN, TOKEN = "kQ5vN1xW8zD4sF6gH2jL", "pW3nB7yT9cR5mK1xV8qZ", "tR6hJ2wQ8sN4vX1zM9kC"


class Evil(BotPlugin):
    __doc__ = MARKUP

    def get_configuration_template(self) -> dict[str, Any]:
        return {NAME: LINE, "api_key": "", "limit": 3}

    @webhook("/evil", ack="now", attempts=1)
    def evil(self, payload: Any) -> None:
        raise ValueError(MARKUP)


class HostileTests(ConsoleCase):
    """All pages that links lead to, with what others have sent."""

    plugins = (Evil,)

    def setUp(self) -> None:
        """Let others send what they like, and do what stores secrets."""
        super().setUp()
        self.visitor = self.enter()
        self.bot.command("!plugin config Webserver {'HOST': '127.0.0.1', 'PORT': 3141}")
        self.visitor.get("/plugins/Evil")
        fields = {f"given.{NAME}": LINE, "given.api_key": KEY, "given.limit": "4"}
        self.do("plugins.configure_from", name="Evil", **fields)
        self.do("room_webhooks.create", source="json", room="test:#<svg/onload=run()>", name="build")
        self.do("room_webhooks.create", source="github", room="test:#ops", name="gh", signed="yes")
        self.do("room_webhooks.change", name="gh", option="secret", value=GIVEN)
        self.do("room_webhooks.rotate", name="build")
        said = " ".join(self.bot.messages)
        self.secrets = {KEY, GIVEN, TOKEN, *re.findall(r"\bek[ts]\w{20,}", said)}
        self.assertGreater(len(self.secrets), 5)
        sent = {
            "X-Evil": LINE,
            "Authorization": f"Bearer {TOKEN}",
            "Cookie": f"s={TOKEN}",
        }
        self.successResultOf(self.bot.post("/evil?x=%3Cscript%3E", data=MARKUP, headers=sent))
        self.successResultOf(self.bot.post("/evil", data=MARKUP, headers={"Content-Type": "text/html"}))
        for path in re.findall(r"http://[^/\s]+(/\S+)", said):
            self.successResultOf(self.bot.post(path, json={"text": MARKUP}))
        self.bot.advance(1)
        self.flushLoggedErrors(ValueError)

    def test_pages(self) -> None:
        """No page has markup of others, a secret, or an error; each forbids scripts and frames, and needs the session."""
        seen, problems = ["/", "/deliveries", "/failures", "/webhooks", "/networks", "/plugins", "/actions", "/log"], []
        for path in seen:
            text = self.visitor.get(path)
            found = [unescape(one) for one in re.findall(r'href="(/[^"#]*)"', text)]
            seen += [one for one in found if one not in seen and not one.endswith((".css", ".js"))]
            kind = self.visitor.headers.getRawHeaders("content-type")[0]
            if self.visitor.status != 200 or any(secret in text for secret in self.secrets):
                problems.append((path, self.visitor.status, text))
            if kind == "application/octet-stream":
                [disposition] = self.visitor.headers.getRawHeaders("content-disposition")
                self.assertTrue(disposition.startswith("attachment"))
            elif "<script>" in text or "<svg/" in text:
                problems.append((path, "markup"))
            for name in ("content-security-policy", "x-frame-options"):
                self.assertTrue(self.visitor.headers.hasHeader(name), path)
            nobody = Browser(self)
            nobody.get(path)
            self.assertEqual(nobody.status, 401, path)
        self.assertEqual(problems, [])
        self.assertGreater(len(seen), 25)

    def do(self, operation: str, **fields: str) -> None:
        """Perform an action."""
        [token, *_] = re.findall(r'name="form_token" value="([^"]+)"', self.visitor.text)
        self.visitor.post(f"/do/{operation}", {"form_token": token, **fields})
        self.assertEqual(self.visitor.status, 200, self.visitor.text)
