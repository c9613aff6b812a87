"""Tests for `self.bot.replay`, which sends the request of an exported delivery."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from errklein import BotPlugin, webhook
from errklein.compat import flask
from errklein.testing import PluginTestCase
from errklein.testing.full_stack import BlockingTestBot
from errklein.verify import github
from errklein.webhooks.deliveries import DeliveryState, StoredDelivery, StoredRequest
from errklein.webhooks.exported import as_values

REQUEST = StoredRequest(
    "POST",
    "/bot/signed?a=1",
    [(b"content-length", b"99"), (b"transfer-encoding", b"chunked"), (b"x-name", b"na\xefve"), (b"x-name", b"b")],
    b"\xff",
    base_path="/bot",
)


class Signed(BotPlugin):
    """Has a webhook whose senders are verified."""

    @webhook(raw=True, verify=github(secret="env:MISSING"), ack="now")
    def signed(self, request: Any) -> dict[str, Any]:
        return {
            "origin": flask.request.delivery.origin,
            "names": request.headers.getlist("X-Name"),
            "query": request.args["a"],
            "body": request.get_data().hex(),
        }


def exported(request: StoredRequest) -> str:
    """Return an exported delivery with the request."""
    return json.dumps(as_values(StoredDelivery(7, "Signed:signed", DeliveryState.DEAD, 0.0, request=request)))


class ReplayTests(PluginTestCase):
    """`replay` of a TestBot and a PluginTestCase."""

    plugins = (Signed,)
    expected = {"origin": "replay", "names": ["naïve,b"], "query": "1", "body": "ff"}

    def write(self, text: str) -> Path:
        """Write a file, and return its path."""
        path = Path(self.mktemp()).absolute()
        path.write_text(text)
        return path

    def test_unverified(self) -> None:
        """The handler gets the request without a verification, marked as a replay, and the test its response."""
        path = self.write(exported(REQUEST))
        self.assertEqual(self.replay(path).json(), self.expected)
        self.assertEqual(self.successResultOf(self.bot.replay(str(path))).json(), self.expected)

    def test_relative_path(self) -> None:
        """A relative path begins in the directory of the test's file, whatever the current directory is."""
        path = self.write(exported(REQUEST))
        scope: dict[str, Any] = {"case": self}
        code = f"response = case.replay({path.name!r})"
        exec(compile(code, str(path.with_name("test_signed.py")), "exec"), scope)
        self.assertEqual(scope["response"].json(), self.expected)

    def test_other_files(self) -> None:
        """The error for a file that isn't an exported delivery has its path and the reason."""
        path = self.write(exported(REQUEST._replace(body=None)))
        error = str(self.assertRaises(ValueError, self.replay, path))
        self.assertEqual(error, f"{path}: 'body' is missing; it isn't a delivery that was exported with its body")
        self.assertRaises(FileNotFoundError, self.replay, "missing.json")

    def test_blocking_bot(self) -> None:
        """The pytest fixture `testbot` has it too."""
        sent: list[Any] = []
        self.patch(
            BlockingTestBot, "_send_request", lambda bot, method, url, **request: sent.append((method, url, request))
        )
        BlockingTestBot.replay(object.__new__(BlockingTestBot), self.write(exported(REQUEST)))
        self.assertEqual(
            sent, [("POST", "/bot/signed?a=1", {"recorded": REQUEST._replace(headers=list(REQUEST.headers))})]
        )
