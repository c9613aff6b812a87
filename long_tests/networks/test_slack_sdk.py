"""Slack's own Python client agrees with the double: what the bot talks to is what slack_sdk talks to."""

from __future__ import annotations

import time
from typing import Any

from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError
from slack_sdk.socket_mode import SocketModeClient
from slack_sdk.socket_mode.response import SocketModeResponse
from twisted.internet import reactor as the_reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from tests import needs_network
from tests.networks.slack.server import ALICE, APP_TOKEN, BOB, DEV, OPS, TOKEN, FakeSlack


class ClientTests(TestCase):
    """slack_sdk against the double."""

    timeout = 20

    def setUp(self) -> None:
        """Start the double."""
        needs_network()
        self.server = FakeSlack(the_reactor, time.time)
        self.server.start()
        self.addCleanup(self.server.stop)
        self.web = WebClient(token=TOKEN, base_url=f"{self.server.url}/api/")

    async def test_web_api(self) -> None:
        """Its calls are valid, and it understands the answers."""
        await deferToThread(self.use)
        self.assertEqual((self.server.complaints, self.server.unexpected), ([], []))
        [first, second, file] = self.server.posts()
        self.assertEqual((first["text"], second["thread_ts"]), ("edited", first["ts"]))
        self.assertEqual(self.server.files[file["files"][0]["id"]], ("a.txt", b"one"))

    def use(self) -> None:
        """Call what the bot calls."""
        web: Any = self.web
        self.assertEqual(web.auth_test()["user"], "errklein")
        self.assertEqual(
            [one["name"] for page in web.conversations_list(limit=1) for one in page["channels"]], ["ops", "dev"]
        )
        self.assertEqual(web.conversations_join(channel=OPS)["channel"]["name"], "ops")
        self.assertEqual(web.users_info(user=ALICE)["user"]["name"], "alice")
        self.assertEqual(web.conversations_open(users=[BOB])["channel"]["id"], "D0BOB0000")
        ts = web.chat_postMessage(channel=OPS, text="hello")["ts"]
        web.chat_postMessage(channel=OPS, text="below", thread_ts=ts)
        web.chat_update(channel=OPS, ts=ts, text="edited", blocks=[])
        web.reactions_add(channel=OPS, timestamp=ts, name="tada")
        web.chat_postEphemeral(channel=OPS, user=ALICE, text="psst")
        web.conversations_setTopic(channel=OPS, topic="new")
        web.files_upload_v2(channel=OPS, filename="a.txt", content="one")
        for wrong, error in (
            (lambda: web.chat_postMessage(channel=DEV, text="x"), "not_in_channel"),
            (lambda: web.chat_delete(channel=OPS, ts="1.1"), "message_not_found"),
            (lambda: WebClient(token="xoxb-x", base_url=web.base_url).auth_test(), "invalid_auth"),
        ):
            with self.assertRaises(SlackApiError) as raised:
                wrong()
            self.assertEqual(raised.exception.response["error"], error)

    async def test_socket_mode(self) -> None:
        """Its client connects, gets events, acknowledges them, and connects again when asked to."""
        received: Deferred[list[str]] = Deferred()
        texts: list[str] = []

        def listen(client: Any, request: Any) -> None:
            client.send_socket_mode_response(SocketModeResponse(envelope_id=request.envelope_id))
            texts.append(request.payload["event"]["text"])
            if len(texts) == 2:
                the_reactor.callFromThread(received.callback, texts)  # type: ignore[attr-defined]

        client: Any = SocketModeClient(app_token=APP_TOKEN, web_client=self.web, trace_enabled=False)
        client.socket_mode_request_listeners.append(listen)
        await deferToThread(client.connect)
        self.server.say("one")
        self.server.links[0].send({"type": "disconnect", "reason": "refresh_requested"})
        while len(self.server.links) < 1 or not texts:
            await deferToThread(time.sleep, 0.01)
        self.server.say("two")
        self.assertEqual(await received, ["one", "two"])
        await deferToThread(client.close)
        while self.server.unacknowledged:
            await deferToThread(time.sleep, 0.01)
        self.assertEqual(self.server.complaints, [])
