import json
from urllib.parse import unquote, urlsplit

from errklein_parley import NETWORK
from twisted.trial.unittest import SynchronousTestCase

from errklein.chat import Message
from errklein.chat.identifiers import LookupFailed
from errklein.testing.backend_contract import BackendContract

URL = "https://parley.example.net/api"
NAMES = ("@alice", "@bot", "#ops")


class Parley:
    """The server in memory. It does what Parley's documentation says."""

    def __init__(self):
        self.messages, self.keys, self.events, self.busy_until, self.now = {}, {}, [], 0, None

    def respond(self, request):
        """Return the response to a request: the value of its JSON, or (status, value, seconds until then)."""
        if request.header("Authorization") != "Bearer secret":
            return 401, {"error": "unknown token"}
        what, *rest = urlsplit(request.url).path.removeprefix("/api/").split("/")
        return getattr(self, f"{request.method}_{what}".lower())(request, *map(unquote, rest))

    def get_me(self, request):
        return {"user": "@bot", "rooms": ["#ops"], "latest": f"e{len(self.events)}"}

    def get_events(self, request):
        found = self.events[int(request.params["after"][1:]) :]
        # Without events, the server waits for some.
        return 200, {"latest": f"e{len(self.events)}", "events": found}, 0 if found else 30

    def get_names(self, request, name):
        return {"id": name} if name in NAMES else (404, {"error": "unknown name"})

    def post_messages(self, request):
        message = json.loads(request.body)
        if self.now() < self.busy_until:
            return 429, {"retry_after_ms": 1000 * (self.busy_until - self.now())}
        if message["to"] not in NAMES:
            return 404, {"error": "unknown name"}
        # The same key is the same message.
        id = self.keys.setdefault(message["key"], f"m{len(self.messages)}")
        self.messages.setdefault(id, message)
        return {"message": id}

    def put_messages(self, request, id, emoji=None):
        if emoji is None:
            self.messages[id]["text"] = json.loads(request.body)["text"]
        return {}

    def delete_messages(self, request, id, emoji=None):
        if emoji is None:
            del self.messages[id]
        return {}

    def add(self, type, id, to, text):
        """Let alice send or edit a message."""
        event = {
            "id": f"e{len(self.events)}",
            "type": type,
            "message": id,
            "room": to,
            "user": "@alice",
            "name": "Alice",
        }
        self.events.append({**event, "text": text, "thread": "", "time": 1.0})


class ParleyTests(BackendContract, SynchronousTestCase):
    person_text, room_text, unknown_room = "@alice", "#ops", "#nowhere"
    invalid_identifiers = ("", "ops", "#", "#a b")

    def setUp(self):
        self.server = Parley()
        self.server.now = self.clock.seconds
        self.http.serve(URL, self.server.respond)

    def make_backend(self):
        return NETWORK.make(self.context({"server": URL, "token": "secret"}))

    def bring_online(self, backend):
        self.clock.advance(0)

    def receive(self, backend, to, text):
        self.server.add("message", f"a{len(self.server.events)}", to, text)
        self.clock.advance(30)

    def receive_edit(self, backend, text):
        last = self.server.events[-1]
        self.server.add("edit", last["message"], last["room"], text)
        self.clock.advance(30)
        return True

    def refuse(self, backend, seconds):
        self.server.busy_until = self.clock.seconds() + seconds
        return True

    def sent(self, backend):
        self.clock.advance(1)
        return [(message["to"], message["text"]) for message in self.server.messages.values()]

    def test_lost_answer(self):
        """If the answer to a message is lost, the network connects again, and the message arrives once."""
        backend, events = self.online()
        answers = [(500, {}), None]
        post = self.server.post_messages
        self.server.post_messages = lambda request: (post(request), answers.pop(0))[1] or post(request)
        sent = backend.send_message(Message("hello", to=backend.build_identifier("#ops")))
        self.clock.advance(5)
        self.assertEqual(self.sent(backend), [("#ops", "hello")])
        self.assertEqual(self.successResultOf(sent), sent)
        self.assertEqual(events.recorded.count(("backend_connected",)), 2)

    def test_lookup_without_answer(self):
        """If the server fails, nobody knows whether a name exists."""
        backend, _ = self.online()
        self.server.get_names = lambda request, name: (500, {})
        resolving = backend.resolve("#nowhere")
        self.clock.advance(1)
        self.failureResultOf(resolving, LookupFailed)

    def test_unknown_token(self):
        """With a token that is wrong, the network says why it isn't connected."""
        backend = NETWORK.make(self.context({"server": URL, "token": "not-the-token"}))
        backend.connect(None)
        self.clock.advance(1)
        self.assertIn("the server refuses the token", backend.connection.absence.cause)
        self.clock.advance(300)
        self.assertEqual(len(self.http.requests), 2)
