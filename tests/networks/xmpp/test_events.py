"""Handling of stanzas by an XMPP connection, with a double of the server in virtual time."""

from __future__ import annotations

from typing import Any, cast

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from errklein.chat import Message, Room
from errklein.chat.operations import Kind, Wanted
from errklein.commands.access import Caller
from errklein.config import ConfigError
from errklein.networks.context import NetworkContext
from errklein.networks.errors import RequestRefused
from errklein.networks.xmpp import NETWORK
from errklein.ports.outbox import RoomUnavailable
from errklein.testing.backend_contract import BackendContract, RecordedEvents
from tests.networks.xmpp.server import ALICE, BOT, ROOM, FakeServer

REACT, OOB = "urn:xmpp:reactions:0", "jabber:x:oob"
THUMB, ROCKET = "\N{THUMBS UP SIGN}", "\N{ROCKET}"


class XMPPEventsTests(SynchronousTestCase):
    """A bot that is in a room with alice."""

    def setUp(self) -> None:
        """Let the bot log in and join."""
        self.contract = BackendContract()
        vars(self.contract)["mktemp"] = self.mktemp
        self.clock = self.contract.clock
        self.server = FakeServer(self.clock.loop)
        self.context = self.make_context()
        self.backend: Any = NETWORK.make(self.context)
        self.events = RecordedEvents()
        self.start()
        self.addCleanup(self.stop)

    def make_context(self, **settings: Any) -> NetworkContext:
        """Return what the network is made with."""
        identity = {"username": BOT, "password": "pw-err", "server": ("localhost", 5222)}
        given: dict[str, Any] = {"CHATROOM_PRESENCE": (ROOM,), "CHATROOM_FN": "err", "BOT_ADMINS": (ALICE,)}
        given["XMPP_FEATURE_MECHANISMS"] = {"unencrypted_plain": True}
        return self.contract.context(identity, **{**given, **settings})

    def start(self) -> None:
        """Connect."""
        self.backend.connect(cast(Any, self.events))
        self.wait()

    def stop(self) -> None:
        """Disconnect."""
        self.backend.disconnect()
        self.wait(1)

    def wait(self, seconds: float = 0) -> None:
        """Let everything happen that is due."""
        for _ in range(6):
            self.clock.advance(seconds)

    def named(self, name: str) -> list[Any]:
        """Return the arguments of the calls of a method."""
        return [call[1:] for call in self.events.recorded if call[0] == name]

    def receive(self, content: str, frm: str = f"{ROOM}/alice", kind: str = "groupchat", sid: str = "s1") -> None:
        """Let the bot receive a message."""
        given = f'<stanza-id xmlns="urn:xmpp:sid:0" id="r-{sid}" by="{ROOM}"/>' if kind == "groupchat" else ""
        self.server.send(f'<message from="{frm}" type="{kind}" id="{sid}">{content}{given}</message>')

    def sent(self, name: str) -> list[Any]:
        """Return the elements of that name in the bot's messages."""
        self.wait()
        return [found for one in self.server.received for found in one.iter(name)]

    def test_corrections_by_others(self) -> None:
        """Only the author can correct and retract a message."""
        self.server.send(self.server.occupant("bob", "bob@localhost/x"))
        self.receive("<body>pay alice</body>")
        for frm in (f"{ROOM}/bob", f"{ROOM}/alice"):
            self.receive(
                '<body>pay bob</body><replace xmlns="urn:xmpp:message-correct:0" id="s1"/>', frm, sid=f"c-{frm}"
            )
            self.receive('<retract xmlns="urn:xmpp:message-retract:1" id="r-s1"/><body>…</body>', frm, sid=f"d-{frm}")
        [(edited,)], [(ref, by)] = self.named("message_edited"), self.named("message_deleted")
        self.assertEqual(
            (edited.frm.nick, edited.body, edited.ref.id, ref.id, by.nick),
            ("alice", "pay bob", "r-s1", "r-s1", "alice"),
        )
        self.assertEqual(len(self.events.messages), 1)

    def test_corrections_after_a_restart(self) -> None:
        """In private, a correction of an unknown message is reported; in a room somebody else may have said it."""
        correction = '<body>new</body><replace xmlns="urn:xmpp:message-correct:0" id="old"/>'
        self.receive(correction)
        self.receive(correction, f"{ALICE}/phone", "chat")
        [(edited,)] = self.named("message_edited")
        self.assertEqual((edited.ref.room, edited.ref.id), (ALICE, "old"))

    def test_reactions(self) -> None:
        """Reactions replace those from before: what has changed is reported; the bot keeps its others, also after a restart."""
        self.receive("<body>x</body>")
        for emojis in (THUMB, THUMB + ROCKET, ROCKET):
            shown = "".join(f"<reaction>{one}</reaction>" for one in emojis)
            self.receive(f'<reactions xmlns="{REACT}" id="r-s1">{shown}</reactions>', sid=f"e-{emojis}")
        changes = [(one.action, one.reaction_name) for (one,) in self.named("reaction_changed")]
        self.assertEqual(changes, [("added", THUMB), ("added", ROCKET), ("removed", THUMB)])
        message = self.events.messages[0]
        for emoji in (THUMB, ROCKET):
            self.backend.perform(Message(to=message.to), Wanted(Kind.REACT, message.ref, emoji=emoji))
            self.wait()
        self.stop()
        self.backend = NETWORK.make(self.context)
        self.start()
        self.backend.perform(Message(to=message.to), Wanted(Kind.UNREACT, message.ref, emoji=THUMB))
        shown = [(one.get("id"), [each.text for each in one]) for one in self.sent(f"{{{REACT}}}reactions")]
        self.assertEqual(shown, [("r-s1", [THUMB]), ("r-s1", [THUMB, ROCKET]), ("r-s1", [ROCKET])])

    def test_replies(self) -> None:
        """A quote for clients without replies is no part of the text; the bot's replies name the message and its author."""
        fallback = '<fallback xmlns="urn:xmpp:fallback:0" for="urn:xmpp:reply:0"><body start="0" end="8"/></fallback>'
        reply = '<reply xmlns="urn:xmpp:reply:0" id="r0"/>'
        self.receive(f"<body>&gt; hello\n!status</body>{fallback}{reply}")
        [message] = self.events.messages
        self.assertEqual(message.body, "!status")
        answer = self.backend.build_reply(message, "fine")
        answer.parent = message
        self.backend.send_message(answer)
        [found] = self.sent("{urn:xmpp:reply:0}reply")
        self.assertEqual((found.get("id"), found.get("to")), ("r-s1", f"{ROOM}/alice"))
        for start, end in (("x", "8"), ("-5", "3"), ("9" * 5000, "1"), ("5", "")):
            wrong = fallback.replace('start="0" end="8"', f'start="{start}" end="{end}"')
            self.receive(f"<body>hello</body>{wrong}{reply}", sid=f"w{start[:3]}")
        self.assertEqual(len(self.events.messages), 5)

    def test_files(self) -> None:
        """The address of a file runs no command, and is read from the servers of the bot and of the author only."""
        urls = ["https://localhost:5281/f/!rm.txt", "https://169.254.169.254/key", "http://files.evil.example/x"]
        for number, url in enumerate(urls):
            self.receive(
                f'<body>{url}</body><x xmlns="{OOB}"><url>{url}</url></x>', f"{ALICE}/phone", "chat", f"f{number}"
            )
        self.assertEqual([message.body for message in self.events.messages], ["", "", ""])
        [named, *_] = [message.attachments[0].name for message in self.events.messages]
        self.assertEqual(named, "!rm.txt")
        for message in self.events.messages:
            reading: Any = message.attachments[0].read()
            self.wait()
            self.failureResultOf(self.deferred(reading), RequestRefused)
        served: list[str] = []
        self.contract.http.serve(
            "https://files.other.example", lambda request: served.append(request.url) or (200, b"content")
        )
        url = "https://files.other.example/a"
        self.receive(f'<body>{url}</body><x xmlns="{OOB}"><url>{url}</url></x>', "bob@other.example/x", "chat", "f9")
        self.assertEqual(self.events.messages[-1].attachments[0].name, "a")

    def deferred(self, reading: Any) -> Any:
        """Return the Deferred of a coroutine, or the Deferred itself."""
        from twisted.internet.defer import Deferred

        return reading if isinstance(reading, Deferred) else Deferred.fromCoroutine(reading)

    def test_duplicates(self) -> None:
        """A message that a room repeats is reported once, also after a restart; a client may use an id again in private."""
        for _ in range(2):
            self.receive("<body>once</body>")
            self.receive("<body>twice</body>", f"{ALICE}/phone", "chat")
        self.stop()
        self.backend = NETWORK.make(self.context)
        self.start()
        delay = '<delay xmlns="urn:xmpp:delay" stamp="2200-01-01T00:00:00Z"/>'
        self.receive(f"<body>once</body>{delay}")
        self.receive(f"<body>twice</body>{delay}", f"{ALICE}/phone", "chat")
        self.assertEqual([message.body for message in self.events.messages], ["once", "twice", "twice"])

    def test_copies(self) -> None:
        """What somebody claims to be a copy of a message of somebody else is nothing; neither are notices without text."""
        inner = f'<message xmlns="jabber:client" from="{ALICE}/x" type="chat"><body>!restricted</body></message>'
        forwarded = f'<forwarded xmlns="urn:xmpp:forward:0">{inner}</forwarded>'
        self.receive(f'<received xmlns="urn:xmpp:carbons:2">{forwarded}</received>', "eve@evil.example/x", "chat")
        self.receive('<composing xmlns="http://jabber.org/protocol/chatstates"/>', f"{ALICE}/phone", "chat")
        self.receive("<body>news</body>", f"{ALICE}/phone", "headline")
        self.receive("<body>from the room</body>", ROOM)
        self.receive("<body>of another room</body>", "else@conference.localhost/eve")
        self.assertEqual(self.events.messages, [])

    def test_foreign_rooms(self) -> None:
        """A room service of another server can't make its people administrators, nor people of this server."""
        room = "trap@conference.evil.example"
        self.backend.join(self.backend.query_room(room))
        for nick, jid in (("alice", f"{ALICE}/x"), ("eve", "eve@evil.example/x"), ("err", f"{BOT}/errklein")):
            self.server.send(self.server.occupant(nick, jid).replace(ROOM, room))
        self.server.send(f'<message from="{room}" type="groupchat"><subject/></message>')
        people = {one.nick: one for one in self.backend.query_room(room).occupants}
        self.assertEqual(
            {nick: one.real_jid for nick, one in people.items()}, {"alice": None, "eve": "eve@evil.example"}
        )
        self.receive("<body>!restricted</body>", f"{room}/alice")
        [message] = self.events.messages
        self.assertFalse(Caller.from_message(message, self.context.config).is_admin)
        invite = f'<x xmlns="http://jabber.org/protocol/muc#user"><invite from="{ALICE}"/></x>'
        self.server.send(f'<message from="worse@conference.evil.example">{invite}</message>')
        self.assertFalse(any("worse" in one.get("to", "") for one in self.server.received))

    def test_gateways(self) -> None:
        """In rooms of another network, people choose the JIDs that a gateway states."""
        self.stop()
        self.server.rooms_are = "irc"
        self.backend = NETWORK.make(self.context)
        self.start()
        self.assertEqual([one.real_jid for one in self.backend.query_room(ROOM).occupants], [None])

    def test_forged_delays(self) -> None:
        """A message is heard even if its author says that it is old; it runs no command."""
        delay = '<delay xmlns="urn:xmpp:delay" stamp="2001-01-01T00:00:00Z"/>'
        self.receive(f"<body>spam</body>{delay}")
        self.assertEqual([(message.body, message.delayed) for message in self.events.messages], [("spam", True)])

    def test_former_nicks(self) -> None:
        """What a room repeats is by those who had the nick then, who may be others than those who have it now."""
        self.stop()
        said = f'<message from="{ROOM}/alice" type="groupchat" id="h1"><body>I approve</body>'
        history = f'{said}<delay xmlns="urn:xmpp:delay" stamp="2200-01-01T00:00:00Z"/></message>'
        occupant = self.server.occupant
        self.patch(self.server, "occupant", lambda *args: occupant(*args) + history * (110 in args))
        self.backend = NETWORK.make(self.context)
        self.start()
        [message] = self.events.messages
        self.assertEqual((str(message.frm), message.frm.real_jid), (f"{ROOM}/alice", None))

    def test_hidden_marks(self) -> None:
        """What people put into their presences and messages for the bot to take for the room's words is nothing."""
        marks = f'<item jid="{ALICE}/x" nick="alice"/><status code="110"/><status code="303"/>'
        forged = f'<x xmlns="http://jabber.org/protocol/muc#user">{marks}</x>'
        for kind in ("", "unavailable", ""):
            true = self.server.occupant("eve", "eve@localhost/x", kind)
            self.server.send(true.replace("<x ", f'<a xmlns="urn:a">{forged}</a><x ', 1))
        people = {one.nick: one.real_jid for one in self.backend.query_room(ROOM).occupants}
        self.assertEqual(people, {"alice": ALICE, "eve": "eve@localhost"})
        self.server.send(self.server.occupant("mallory", "mallory@localhost/x").replace("<x ", f"{forged}<x ", 1))
        stanza_id = f'<a xmlns="urn:a"><stanza-id xmlns="urn:xmpp:sid:0" id="forged" by="{ROOM}"/></a>'
        self.receive(f"{stanza_id}<body>!restricted</body>", f"{ROOM}/mallory")
        [message] = self.events.messages
        self.assertEqual((message.frm.real_jid, message.ref.id), (None, "r-s1"))

    def test_picture_of_a_room(self) -> None:
        """The presence of a room itself makes it nobody in the room."""
        self.server.send(f'<presence from="{ROOM}"><x xmlns="vcard-temp:x:update"/></presence>')
        self.assertEqual([one.nick for one in self.backend.query_room(ROOM).occupants], ["alice"])

    def test_without_tls(self) -> None:
        """Before TLS, nothing counts that a man in the middle may have written, and no password is sent."""
        bind = '<bind xmlns="urn:ietf:params:xml:ns:xmpp-bind"/>'
        login = '<mechanisms xmlns="urn:ietf:params:xml:ns:xmpp-sasl"><mechanism>LOGIN</mechanism></mechanisms>'
        start = '<starttls xmlns="urn:ietf:params:xml:ns:xmpp-tls"/>'
        said = f'<message from="{ALICE}/x" type="chat"><body>!restricted</body></message>'
        begin = '<stream:stream xmlns="jabber:client" xmlns:stream="http://etherx.jabber.org/streams" version="1.0">'
        for offered in (bind, login, start):
            self.stop()
            self.server.received.clear()
            texts: list[bytes] = []
            vars(self.server)["feed"] = texts.append
            self.backend = NETWORK.make(self.make_context(XMPP_FEATURE_MECHANISMS={}))
            self.backend.connect(cast(Any, self.events))
            self.clock.advance(0)
            self.server.send(f"{begin}{said}<stream:features>{offered}</stream:features>{said}")
            self.wait(1)
            written = b"".join(texts)
            self.assertEqual((self.events.messages, b"auth" in written, b"<iq" in written), ([], False, False))
            self.assertEqual(b"<starttls" in written, offered is start)
            self.assertEqual("over TLS" in str(self.backend.connection.absence), offered is not start)

    def test_people_of_a_chat_domain(self) -> None:
        """Administrators on a server whose name begins as those of rooms do are people."""
        backend = NETWORK.make(self.make_context(BOT_ADMINS=("carol@chat.example.org",)))
        found = [backend.build_identifier(f"x@{name}.org") for name in ("chat.example", "chat.other")]
        self.assertEqual([isinstance(one, Room) for one in found], [False, True])

    def test_silent_services(self) -> None:
        """Services that don't answer delay the login by 20 seconds together."""
        self.stop()
        before = len(self.named("backend_connected"))
        items = "".join(f'<item jid="s{number}.example"/>' for number in range(5))
        answer = self.server._answer

        def answer_some(iq: Any) -> None:
            if iq[0].tag.endswith("disco#items}query"):
                query = f'<query xmlns="http://jabber.org/protocol/disco#items"><item jid="conference.localhost"/>{items}</query>'
                self.server.send(f'<iq type="result" id="{iq.get("id")}" from="{iq.get("to")}">{query}</iq>')
            elif not iq.get("to", "").endswith(".example"):
                answer(iq)

        self.patch(self.server, "_answer", answer_some)
        self.backend = NETWORK.make(self.context)
        self.start()
        self.clock.advance(20)
        self.wait()
        self.assertEqual(len(self.named("backend_connected")), before + 1)
        self.assertEqual([str(room) for room in self.backend.rooms()], [ROOM])

    def test_memory(self) -> None:
        """The presences of people aren't kept."""
        for number in range(50):
            self.server.send(f'<presence from="p{number}@far.example/x"><status>{"x" * 100}</status></presence>')
        self.assertEqual(len(self.named("presence_changed")), 50)
        roster = self.backend._stream._client.roster
        self.assertEqual([jid for owner in roster for jid in (owner, *roster[owner]) if "far" in jid], [])

    def test_passwords_of_others(self) -> None:
        """The invitation of somebody doesn't change the password of a room, nor does `!room join` without one."""
        self.stop()
        self.context = self.make_context(CHATROOM_PRESENCE=((ROOM, "s3cret"),))
        self.backend = NETWORK.make(self.context)
        self.start()
        invitation = f'<x xmlns="jabber:x:conference" jid="{ROOM}" password="wrong"/>'
        self.server.send(f'<message from="eve@evil.example/x">{invitation}</message>')
        self.backend.join(self.backend.query_room(ROOM))
        self.server.send(self.server.occupant("err", "", "unavailable", 307))
        self.server._is_in = False
        self.wait(61)
        given = [found.text for one in self.server.received for found in one.iter() if found.tag.endswith("password")]
        self.assertEqual(given, ["s3cret", "s3cret"])

    def test_renamed(self) -> None:
        """Another nick is the same person."""
        more = "http://jabber.org/protocol/muc#user"
        item = f'<item xmlns="{more}" nick="alicia"/>'
        gone = self.server.occupant("alice", "", "unavailable", 303).replace("<item ", '<item nick="alicia" ')
        self.server.send(gone)
        self.assertIn("alicia", item)
        self.server.send(self.server.occupant("alicia", f"{ALICE}/phone"))
        self.assertEqual([str(one) for one in self.backend.query_room(ROOM).occupants], [f"{ROOM}/alicia"])
        self.assertEqual([name for name in ("room_left",) if self.named(name)], [])
        self.assertEqual(len(self.named("room_joined")), 1)

    def test_come_and_go(self) -> None:
        """Who joins and leaves later is reported; those who were there aren't."""
        self.server.send(self.server.occupant("bob", "bob@localhost/x"))
        self.server.send(self.server.occupant("bob", "bob@localhost/x", "unavailable"))
        self.assertEqual([str(call[1]) for call in self.named("room_joined")], [f"{ROOM}/err", f"{ROOM}/bob"])
        self.assertEqual([(str(call[1]), call[2]) for call in self.named("room_left")], [(f"{ROOM}/bob", None)])

    def test_forgotten(self) -> None:
        """A room that has forgotten the bot is joined again, and the message arrives then."""
        self.server.refuses = lambda stanza: "not-acceptable"
        accepted = self.backend.send_message(Message("hello", to=self.backend.build_identifier(ROOM)))
        self.wait()
        self.assertFalse(self.backend.query_room(ROOM).joined)
        self.server.refuses, self.server._is_in = lambda stanza: "", False
        self.wait(61)
        self.assertTrue(self.backend.query_room(ROOM).joined)
        self.wait(5)
        self.failureResultOf(accepted, RoomUnavailable)
        self.assertEqual([found.text for found in self.sent("{jabber:client}body")], ["hello", "hello"])

    def test_half_open(self) -> None:
        """A server that doesn't answer any more is noticed within 80 seconds, and the bot connects again."""
        self.server.is_silent = True
        self.clock.advance(81)
        self.assertEqual(self.named("backend_disconnected"), [("no response of localhost within 20 s",)])
        self.server.is_silent = False
        self.wait(15)
        self.assertEqual(len(self.named("backend_connected")), 2)

    def test_without_acknowledgements(self) -> None:
        """A server without stream management confirms by answering a ping."""
        self.stop()
        self.server.is_managed = False
        self.backend = NETWORK.make(self.context)
        self.start()
        accepted = self.backend.send_message(Message("hello", to=self.backend.build_identifier(ALICE)))
        self.wait()
        self.assertEqual(str(self.successResultOf(accepted)), str(accepted))

    def test_half_open_without_acknowledgements(self) -> None:
        """A message doesn't count as sent when the ping after it isn't answered, nor as refused when somebody says so."""
        self.stop()
        self.server.is_managed = False
        self.backend = NETWORK.make(self.context)
        self.start()
        self.server.is_silent = True
        accepted = self.backend.send_message(Message("hello", to=self.backend.build_identifier(ALICE)))
        self.wait()
        sid = self.server.received[-1].get("id")
        self.server.send(self.server._error("message", "eve@evil.example/x", sid, "forbidden"))
        self.clock.advance(21)
        self.assertNoResult(accepted)

    def test_unacknowledged(self) -> None:
        """A private message isn't sent before the server has acknowledged it."""
        self.server.is_silent = True
        accepted = self.backend.send_message(Message("hello", to=self.backend.build_identifier(ALICE)))
        self.wait()
        self.assertNoResult(accepted)

    def test_broken_stanzas(self) -> None:
        """Stanzas that make no sense end nothing."""
        for stanza in (
            "<message/>",
            f'<message from="{ROOM}/alice" type="groupchat" id="{"x" * 5000}"><body>a</body></message>',
            '<message from="@" type="chat"><body>a</body></message>',
            f'<message from="{ALICE}" type="error" id="none"/>',
            f'<presence from="{ROOM}/x" type="error"/>',
            f'<presence from="{ALICE}" type="probe"/>',
            f'<message from="{ALICE}"><x xmlns="jabber:x:conference" jid="nonsense"/></message>',
            f'<message from="{ALICE}"><body>late</body><delay xmlns="urn:xmpp:delay" stamp="yesterday"/></message>',
        ):
            self.server.send(stanza)
        self.receive("<body>still here</body>")
        self.assertEqual([message.body for message in self.events.messages], ["a", "late", "still here"])
        self.assertEqual([message.delayed for message in self.events.messages], [False, True, False])

    def test_without_encryption(self) -> None:
        """If the password may be sent without TLS, secrets stay out of messages."""
        self.assertFalse(self.backend.is_encrypted)
        self.assertTrue(
            NETWORK.make(self.make_context(XMPP_FEATURE_MECHANISMS={"unencrypted_plain": False})).is_encrypted
        )

    def test_another_reactor(self) -> None:
        """Another reactor is refused in one line that says what to do."""
        context = NetworkContext(Clock(), self.context.config)
        error = self.assertRaises(ConfigError, NETWORK.make, context)
        self.assertEqual(
            str(error),
            "BACKEND: XMPP needs the asyncio reactor, and this is Clock; start the bot with `--reactor=asyncio`, or without `--reactor`",
        )
