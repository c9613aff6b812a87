from pathlib import Path

from errklein.testing import PluginTestCase
from errklein.web import ConnectionBroken


class PagesTests(PluginTestCase):
    plugin_dirs = (Path(__file__).resolve().parent,)
    config = {"CHATROOM_PRESENCE": ("#builds",)}

    def test_board(self):
        """Pages show what the webhook has stored."""
        self.assertEqual(self.get("/board/shop").status, 404)
        self.post("/board/shop", json={"status": "<passed>"})
        self.assertEqual(self.get("/board/shop").text, "<passed>\n")
        self.assertIn("<li>shop: &lt;passed&gt;", self.get("/board/").text)

    def test_countdown(self):
        """Three events, and then the end."""
        response = self.bot.get("/countdown")
        self.bot.advance(2.5)
        self.assertNoResult(response)
        self.bot.advance(0.5)
        response = self.successResultOf(response)
        self.assertEqual(response.header("Content-Type"), "text/event-stream; charset=utf-8")
        self.assertEqual(response.text, "data: 3\n\ndata: 2\n\ndata: 1\n\n")

    def test_events(self):
        """A stream has the events after the last one that its client knows, and then new ones."""
        plugin, run = self.bot.plugin("Announcements"), self.bot.loop.run_until_complete
        for text in ("one", "two"):
            self.post("/announce", json={"text": text})
        events = plugin.events(1)
        self.assertEqual(run(anext(events)), "retry: 2000\n\n")
        self.assertEqual(run(anext(events)), 'id: 2\ndata: {"text": "two"}\n\n')
        self.assertEqual(run(anext(events)), ": keep-alive\n\n")
        self.post("/announce", json={"text": "three"})
        self.assertEqual(run(anext(events)), 'id: 3\ndata: {"text": "three"}\n\n')
        run(events.aclose())

    def test_reload(self):
        """After a reload, a browser gets what it has missed."""
        self.post("/announce", json={"text": "one"})
        browser = self.bot.get("/announcements")
        self.command("!plugin reload Announcements")
        self.failureResultOf(browser, ConnectionBroken)
        self.post("/announce", json={"text": "two"})
        events = self.bot.plugin("Announcements").events(1)
        self.bot.loop.run_until_complete(anext(events))
        self.assertIn("two", self.bot.loop.run_until_complete(anext(events)))

    def test_disconnect(self):
        """A client that disconnects is no longer a reader."""
        client = self.bot.get("/announcements")
        self.assertEqual(self.post("/announce", json={"text": "one"}).text, "readers: 1\n")
        client.cancel()
        self.failureResultOf(client, ConnectionBroken)
        self.assertEqual(self.post("/announce", json={"text": "two"}).text, "readers: 0\n")

    def test_pages(self):
        """The pages with the clients are served."""
        self.assertIn("new EventSource", self.get("/announcements.html").text)
        self.assertIn("new WebSocket", self.get("/desk.html").text)


class Transport:
    """Stands in for the connection of a WebSocket."""

    def __init__(self):
        self.sent = []

    def sendTextMessage(self, text):
        self.sent.append(text)

    def ping(self):
        self.sent.append("ping")

    def loseConnection(self, code=1000):
        self.sent.append(code)


class DeskTests(PluginTestCase):
    plugin_dirs = (Path(__file__).resolve().parent,)
    config = {"CHATROOM_PRESENCE": ("#builds",)}

    def setUp(self):
        """Configure the plugin."""
        super().setUp()
        self.command('!plugin config Desk {"ORIGIN": "https://bot.example.net", "TOKEN": "s3cret"}')

    def visit(self, token="s3cret"):
        """Return a visitor who has sent the token."""
        visitor = self.bot.plugin("Desk").buildProtocol(None)
        visitor.negotiationStarted(Transport())
        visitor.negotiationFinished()
        visitor.textMessageReceived(token)
        return visitor

    def test_conversation(self):
        """A visitor's text is sent to the rooms, and answers to the visitor."""
        visitor = self.visit()
        visitor.textMessageReceived("*hello*")
        self.assertEqual(self.bot.sent_to("#builds"), ["*hello*"])
        self.assertEqual(self.command("!answer good morning"), "Sent to 1.")
        visitor.connectionLost(None)
        self.assertEqual(self.command("!answer good night"), "Sent to 0.")
        self.assertEqual(visitor.transport.sent, ["welcome", "good morning"])

    def test_wrong_token(self):
        """A visitor without the token is sent away."""
        self.assertEqual(self.visit("wrong").transport.sent, [1008])
        self.assertEqual(self.command("!answer good morning"), "Sent to 0.")

    def test_pings(self):
        """A connection that doesn't answer a ping is closed."""
        visitor = self.visit()
        self.bot.advance(30)
        visitor.pongReceived(b"")
        self.bot.advance(60)
        self.assertEqual(visitor.transport.sent, ["welcome", "ping", "ping", 1000])

    def test_binary(self):
        """Binary messages aren't accepted."""
        visitor = self.visit()
        visitor.bytesMessageReceived(b"\0")
        self.assertEqual(visitor.transport.sent, ["welcome", 1003])

    def test_origin(self):
        """Only pages of the bot's own site may connect."""
        self.assertEqual(self.get("/desk").status, 403)
        self.assertEqual(self.get("/desk", headers={"Origin": "https://elsewhere.example"}).status, 403)
        # This one is only refused because it doesn't ask for a WebSocket.
        self.assertEqual(self.get("/desk", headers={"Origin": "https://bot.example.net"}).status, 400)
