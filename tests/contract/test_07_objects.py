"""Chapter 7: messages, identifiers, presences, reactions, cards and streams."""

from __future__ import annotations

import io
import unittest
from types import SimpleNamespace
from typing import Any

from tests.contract.kit import ADMIN, LONGEST, ContractTest, decided


def person(name: str = ADMIN) -> Any:
    """Return a person on the network for tests."""
    from errbot.backends.test import TestPerson

    return TestPerson(name)


def room(name: str = "#room") -> Any:
    """Return a room on the network for tests."""
    from errbot.backends.test import TestRoom

    config = SimpleNamespace(BOT_IDENTITY={"username": "err"}, CHATROOM_FN="err")
    bot = SimpleNamespace(bot_config=config, network="")

    return TestRoom(name, bot=bot)


class MessageTests(unittest.TestCase):
    """`Message`."""

    def test_defaults(self) -> None:
        """All fields have defaults: an empty body, no sender and recipient, and empty `extras` and `ctx`."""
        from errbot.backends.base import Message

        message = Message()
        self.assertEqual((message.body, message.frm, message.to, message.parent), ("", None, None, None))
        self.assertEqual((message.delayed, message.partial, message.extras, message.ctx), (False, False, {}, {}))

    def test_addresses(self) -> None:
        """`is_direct` and `is_group` depend on the recipient."""
        from errbot.backends.base import Message

        direct = Message("x", frm=person("a"), to=person("b"))
        self.assertTrue(direct.is_direct)
        self.assertFalse(direct.is_group)
        group = Message("x", frm=person("a"), to=room())
        self.assertFalse(group.is_direct)
        self.assertTrue(group.is_group)

    def test_threads(self) -> None:
        """A message with a parent is threaded."""
        from errbot.backends.base import Message

        parent = Message("first")
        self.assertFalse(parent.is_threaded)
        answer = Message("second", parent=parent)
        self.assertTrue(answer.is_threaded)
        self.assertIs(answer.parent, parent)

    def test_fields_can_be_written(self) -> None:
        """Body, sender, recipient, parent, `delayed` and `partial` can be assigned."""
        from errbot.backends.base import Message

        message = Message()
        message.body, message.frm, message.to = "x", person("a"), room()
        message.parent, message.delayed, message.partial = Message("p"), True, True
        self.assertEqual(str(message), "x")
        self.assertEqual((message.frm, message.to), (person("a"), room()))
        self.assertEqual((str(message.parent), message.delayed, message.partial), ("p", True, True))

    def test_clone(self) -> None:
        """`clone` returns an independent copy with the same fields, but an empty `ctx`."""
        from errbot.backends.base import Message

        message = Message("x", person("a"), room(), Message("p"), True, True, {"k": 1})
        message.ctx["step"] = 1
        clone = message.clone()
        self.assertEqual(
            (clone.body, clone.frm, clone.to, clone.parent, clone.delayed, clone.partial, clone.extras),
            (message.body, message.frm, message.to, message.parent, True, True, {"k": 1}),
        )
        self.assertEqual(clone.ctx, {})
        clone.body = "y"
        self.assertEqual(message.body, "x")

    def test_attributes_of_backends(self) -> None:
        """Backends may add attributes."""
        from errbot.backends.base import Message

        message = Message()
        message.nick = "me"
        self.assertEqual(message.nick, "me")

    @decided("Message.flow returns the sender")
    def test_flow(self) -> None:
        """`flow` is the flow of the message; by default None."""
        from errbot.backends.base import Message

        self.assertIsNone(Message("x", frm=person()).flow)

    @decided("Message.flow returns the sender")
    def test_flow_given(self) -> None:
        """`flow` is the eighth argument."""
        from errbot.backends.base import Message
        from errbot.flow import Flow, FlowRoot

        flow = Flow(FlowRoot("name", "what for"), person(), {})
        self.assertIs(Message("x", person(), person("b"), None, False, False, None, flow).flow, flow)

    def test_to_occupants(self) -> None:
        """A message to an occupant is direct; one without a recipient is neither direct nor for a group."""
        from errbot.backends.base import Message
        from errbot.backends.test import TestOccupant

        whisper = Message("x", to=TestOccupant("a@b", room()))
        self.assertEqual((whisper.is_direct, whisper.is_group), (True, False))
        self.assertEqual((Message("x").is_direct, Message("x").is_group), (False, False))

    def test_only_read(self) -> None:
        """`is_direct`, `is_group` and `is_threaded` can't be assigned."""
        from errbot.backends.base import Message

        message = Message()
        for name in ("is_direct", "is_group", "is_threaded"):
            with self.assertRaises(AttributeError):
                setattr(message, name, True)

    def test_flow_context(self) -> None:
        """The `ctx` of a message in a flow, and of its copies, is that of the flow."""
        from errbot.backends.base import Message
        from errbot.flow import Flow, FlowRoot

        flow = Flow(FlowRoot("name", "what for"), person(), {"k": 1})
        message = Message("x", flow=flow)
        self.assertIs(message.ctx, flow.ctx)
        self.assertEqual(message.ctx, {"k": 1})
        self.assertIs(message.clone().ctx, flow.ctx)

    def test_context_is_assigned(self) -> None:
        """`ctx` can be replaced."""
        from errbot.backends.base import Message

        message = Message("x")
        self.assertEqual(message.ctx, {})
        message.ctx = {"k": 1}
        self.assertEqual(message.ctx, {"k": 1})


class IdentifierTests(unittest.TestCase):
    """Identifiers: persons, rooms and occupants."""

    def test_abstract(self) -> None:
        """Person is an abstract Identifier; its `email` is empty by default."""
        from errbot.backends.base import Identifier, Person

        with self.assertRaises(TypeError):
            Person()
        self.assertTrue(issubclass(Person, Identifier))

        class Somebody(Person):
            person = client = nick = aclattr = fullname = "x"

        self.assertEqual(Somebody().email, "")

    def test_what_a_person_has_to_say(self) -> None:
        """A subclass of Person must define `person`, `client`, `nick`, `aclattr` and `fullname`."""
        from errbot.backends.base import Person

        needed = ("person", "client", "nick", "aclattr", "fullname")
        for missing in needed:
            incomplete = type("Incomplete", (Person,), {name: "x" for name in needed if name != missing})
            with self.assertRaises(TypeError):
                incomplete()

    def test_a_mark(self) -> None:
        """Identifier is not abstract, and Room and RoomOccupant are subclasses of it."""
        from errbot.backends.base import Identifier, Room, RoomOccupant

        Identifier()
        self.assertTrue(issubclass(Room, Identifier))
        self.assertTrue(issubclass(RoomOccupant, Identifier))

    def test_equal(self) -> None:
        """Two identifiers of the same person are equal."""
        self.assertEqual(person("a@b"), person("a@b"))
        self.assertNotEqual(person("a@b"), person("b@b"))

    def test_rooms_in_rules(self) -> None:
        """The `aclattr` of a room is by default its text."""
        from errbot.backends.base import Room

        class Place(Room):
            def __str__(self) -> str:
                return "#place"

        self.assertEqual(Place().aclattr, "#place")

    def test_properties(self) -> None:
        """A person has `person`, `aclattr` and `client`."""
        somebody = person("a@b")
        self.assertEqual((somebody.person, somebody.aclattr, str(somebody)), ("a@b", "a@b", "a@b"))
        self.assertIsNone(somebody.client)

    def test_occupants(self) -> None:
        """An occupant is a person with a room."""
        from errbot.backends.base import Person, RoomOccupant
        from errbot.backends.test import TestOccupant

        occupant = TestOccupant("a@b", room())
        self.assertIsInstance(occupant, Person)
        self.assertIsInstance(occupant, RoomOccupant)
        self.assertEqual(str(occupant.room), "#room")

    def test_what_an_occupant_has_to_say(self) -> None:
        """A subclass of RoomOccupant must define `room`."""
        from errbot.backends.base import RoomOccupant

        class Nowhere(RoomOccupant):
            pass

        with self.assertRaises(TypeError):
            Nowhere()

    def test_rooms_do_nothing_by_themselves(self) -> None:
        """Methods of Room that a network doesn't implement raise NotImplementedError."""
        from errbot.backends.base import Room

        class Bare(Room):
            pass

        bare = Bare()
        for action in (bare.join, bare.leave, bare.create, bare.destroy, bare.invite):
            with self.assertRaises(NotImplementedError):
                action()
        for action, arguments in (
            (bare.join, {"username": "me", "password": "x"}),
            (bare.leave, {"reason": "tired"}),
        ):
            with self.assertRaises(NotImplementedError):
                action(**arguments)
        with self.assertRaises(NotImplementedError):
            bare.invite(person("a"), "b")
        for name in ("exists", "joined", "topic", "occupants"):
            with self.assertRaises(NotImplementedError):
                getattr(bare, name)
        with self.assertRaises(NotImplementedError):
            bare.topic = "x"

    def test_errors(self) -> None:
        """RoomNotJoinedError and RoomDoesNotExistError are subclasses of RoomError."""
        from errbot.backends.base import RoomDoesNotExistError, RoomError, RoomNotJoinedError

        self.assertTrue(issubclass(RoomNotJoinedError, RoomError))
        self.assertTrue(issubclass(RoomDoesNotExistError, RoomError))


class NamedTests(ContractTest):
    """Identifiers as text."""

    def test_and_back(self) -> None:
        """`build_identifier` of an identifier's text returns an equal identifier."""
        for somebody in (self.bot.sender, self.bot.bot_identifier, person("x@y")):
            self.assertEqual(self.bot.build_identifier(str(somebody)), somebody)


class PresenceTests(unittest.TestCase):
    """`Presence`."""

    def test_fields(self) -> None:
        """A presence has an identifier, a status and a message."""
        from errbot.backends.base import ONLINE, Presence

        presence = Presence(person("a"), ONLINE, "here")
        self.assertEqual((presence.identifier, presence.status, presence.message), (person("a"), "online", "here"))

    def test_nothing(self) -> None:
        """A presence without an identifier, or without status and message, raises ValueError."""
        from errbot.backends.base import ONLINE, Presence

        for arguments in ((None, ONLINE), (person(), None, None), (person(),)):
            with self.assertRaises(ValueError):
                Presence(*arguments)

    def test_one_of_both(self) -> None:
        """Status or message may be left out."""
        from errbot.backends.base import AWAY, Presence

        self.assertEqual((Presence(person(), AWAY).status, Presence(person(), AWAY).message), ("away", None))
        only_said = Presence(person(), message="gone")
        self.assertEqual((only_said.status, only_said.message), (None, "gone"))

    def test_only_read(self) -> None:
        """The fields can't be assigned."""
        from errbot.backends.base import ONLINE, Presence

        presence = Presence(person(), ONLINE)
        for name in ("identifier", "status", "message"):
            with self.assertRaises(AttributeError):
                setattr(presence, name, "x")
        self.assertFalse(hasattr(presence, "get_message"))


class ReactionTests(unittest.TestCase):
    """`Reaction`."""

    def test_fields(self) -> None:
        """A reaction has its reactor, the owner of the message, action, timestamp, name and message."""
        from errbot.backends.base import REACTION_ADDED, Reaction

        reaction = Reaction(person("a"), person("b"), REACTION_ADDED, "1.5", "thumbsup", {"ts": 1})
        self.assertEqual((reaction.reactor, reaction.reacted_to_owner), (person("a"), person("b")))
        self.assertEqual((reaction.action, reaction.timestamp), ("added", "1.5"))
        self.assertEqual((reaction.reaction_name, reaction.reacted_to), ("thumbsup", {"ts": 1}))

    def test_nobody(self) -> None:
        """A reaction without a reactor or name raises ValueError."""
        from errbot.backends.base import Reaction

        for arguments in ({"reaction_name": "x"}, {"reactor": person()}):
            with self.assertRaises(ValueError):
                Reaction(**arguments)

    def test_enough(self) -> None:
        """All other fields are None by default."""
        from errbot.backends.base import Reaction

        reaction = Reaction(person("a"), reaction_name="heart")
        self.assertEqual((reaction.reactor, reaction.reaction_name), (person("a"), "heart"))
        self.assertEqual(
            (reaction.reacted_to_owner, reaction.action, reaction.timestamp, reaction.reacted_to), (None,) * 4
        )

    def test_one_of_its_kind(self) -> None:
        """Reactions and presences are hashable."""
        from errbot.backends.base import Presence, Reaction

        reaction = Reaction(person("a"), reaction_name="heart", reacted_to={"ts": 1})
        presence = Presence(person("a"), "online")
        self.assertEqual(len({reaction, reaction, presence, presence}), 2)


class CardTests(unittest.TestCase):
    """`Card`."""

    def test_fields(self) -> None:
        """A card is a message with summary, title, link, pictures, colour and fields."""
        from errbot.backends.base import Card, Message

        card = Card(
            "body", person("a"), person("b"), None, "summary", "title", "link", "image", "thumb", "red", (("k", "v"),)
        )
        self.assertIsInstance(card, Message)
        self.assertEqual((card.body, card.summary, card.title, card.link), ("body", "summary", "title", "link"))
        self.assertEqual(
            (card.image, card.thumbnail, card.color, card.fields), ("image", "thumb", "red", (("k", "v"),))
        )

    def test_text_color(self) -> None:
        """`text_color` is white on dark colours, else black."""
        from errbot.backends.base import Card

        colors = [Card(color=color).text_color for color in ("black", "blue", "red")]
        self.assertEqual(colors, ["white", "white", "black"])

    def test_defaults(self) -> None:
        """All fields except the body are optional."""
        from errbot.backends.base import Card

        card = Card("body")
        self.assertEqual((card.title, card.fields, card.text_color), ("", (), "black"))
        self.assertEqual((card.summary, card.link, card.image, card.thumbnail, card.color), (None,) * 5)

    def test_only_read(self) -> None:
        """The fields of a card can't be assigned."""
        from errbot.backends.base import Card

        card = Card("body")
        for name in ("summary", "title", "link", "image", "thumbnail", "color", "fields", "text_color"):
            with self.assertRaises(AttributeError):
                setattr(card, name, "x")


class CardAsTextTests(ContractTest):
    """Cards on networks without cards."""

    def test_template(self) -> None:
        """The template "card" renders the title with the link, the picture, the body, and a table of the fields."""
        from errbot.backends.base import Card

        card = Card(
            "the body", title="title", link="http://x/", image="http://x/y.png", fields=(("k", "v"), ("l", "w"))
        )
        text = self.bot.process_template("card", {"card": card})
        places = [
            text.index(part) for part in ("[title](http://x/)", "(http://x/y.png)", "the body", "| k | l |", "v | w")
        ]
        self.assertEqual(places, sorted(places))
        self.assertRegex(text, r"(?m)^## ?\[title\]")

    def test_sent(self) -> None:
        """`send_card` sends the rendered text."""
        self.instance("Kit").send_card("the body", to=self.bot.sender, title="title", link="http://x/")
        said = self.hear()
        self.assertIn("title (http://x/)", said)
        self.assertIn("the body", said)


class StreamTests(unittest.TestCase):
    """`Stream`."""

    def stream(self) -> Any:
        """Return a stream of a few bytes."""
        from errbot.backends.base import Stream

        return Stream(person("a"), io.BytesIO(b"content"), "name", 7, "text/plain")

    def test_fields(self) -> None:
        """A stream has its sender, name, size, type, the number of transferred bytes and a status; it can be read."""
        stream = self.stream()
        self.assertEqual((stream.identifier, stream.name, stream.size), (person("a"), "name", 7))
        self.assertEqual((stream.stream_type, stream.transfered, stream.status), ("text/plain", 0, "pending"))
        self.assertIsInstance(stream, io.BufferedReader)
        self.assertEqual(stream.read(), b"content")

    def test_only_read(self) -> None:
        """The fields of a stream can't be assigned."""
        stream = self.stream()
        for name in ("identifier", "name", "size", "transfered", "stream_type", "status"):
            with self.assertRaises(AttributeError):
                setattr(stream, name, None)

    def test_states(self) -> None:
        """The status is pending, in progress after `accept`, and success after `success`."""
        stream = self.stream()
        stream.accept()
        self.assertEqual(stream.status, "in progress")
        stream.success()
        self.assertEqual(stream.status, "success")

    def test_rejected(self) -> None:
        """After `reject` the status is rejected, and further steps raise ValueError."""
        stream = self.stream()
        stream.reject()
        self.assertEqual(stream.status, "rejected")
        for step in (stream.accept, stream.reject, stream.success):
            with self.assertRaises(ValueError):
                step()
        self.assertEqual(stream.status, "rejected")

    def test_wrong_order(self) -> None:
        """A step in the wrong order raises ValueError."""
        stream = self.stream()
        with self.assertRaises(ValueError):
            stream.success()
        stream.accept()
        for step in (stream.accept, stream.reject):
            with self.assertRaises(ValueError):
                step()

    def test_error(self) -> None:
        """`error` is allowed in any state; its reason is optional."""
        stream = self.stream()
        stream.error("because")
        self.assertEqual(stream.status, "error")
        stream = self.stream()
        stream.accept()
        stream.error()
        self.assertEqual(stream.status, "error")

    def test_progress(self) -> None:
        """`ack_data` sets the total number of transferred bytes."""
        stream = self.stream()
        for length in (3, 5):
            stream.ack_data(length)
            self.assertEqual(stream.transfered, length)

    def test_clone(self) -> None:
        """`clone` returns a stream with the same fields and another content."""
        clone = self.stream().clone(io.BytesIO(b"other"))
        self.assertEqual((clone.name, clone.size, clone.stream_type), ("name", 7, "text/plain"))
        self.assertEqual(clone.read(), b"other")

    def test_may_say_little(self) -> None:
        """Name, size and type are optional."""
        from errbot.backends.base import Stream

        stream = Stream(person("a"), io.BytesIO(b"content"))
        self.assertEqual((stream.name, stream.size, stream.stream_type), (None, None, None))

    def test_clone_begins_anew(self) -> None:
        """A clone is pending, with no transferred bytes."""
        stream = self.stream()
        stream.accept()
        stream.ack_data(5)
        clone = stream.clone(io.BytesIO(b"other"))
        self.assertEqual((clone.identifier, clone.status, clone.transfered), (person("a"), "pending", 0))

    def test_no_success_after_an_error(self) -> None:
        """`success` after `error` raises ValueError."""
        stream = self.stream()
        stream.accept()
        stream.error("because")
        with self.assertRaises(ValueError):
            stream.success()


READER = """
    import queue
    from errbot import BotPlugin

    class {name}(BotPlugin):
        def __init__(self, bot, name=None):
            super().__init__(bot, name=name)
            self.got = queue.Queue()

        def callback_stream(self, stream):
            stream.accept()
            content = stream.read()
            stream.success()
            self.got.put((stream, content))
    """


class IncomingStreamTests(ContractTest):
    """Incoming files for several plugins."""

    plugin = READER.format(name="Tried")
    files = {
        "also.plug": "[Core]\nName = Also\nModule = also_reads\n",
        "also_reads.py": READER.format(name="Also"),
        "rejects.plug": "[Core]\nName = Rejects\nModule = rejects\n",
        "rejects.py": """
            import queue
            from errbot import BotPlugin

            class Rejects(BotPlugin):
                got = queue.Queue()

                def callback_stream(self, stream):
                    super().callback_stream(stream)
                    self.got.put(stream)
            """,
        "fails.plug": "[Core]\nName = Fails\nModule = fails\n",
        "fails.py": """
            from errbot import BotPlugin

            class Fails(BotPlugin):
                def callback_stream(self, stream):
                    raise RuntimeError("no files, please")
            """,
    }

    def test_copied(self) -> None:
        """Each plugin that accepts the stream gets the whole content, whatever other plugins do."""
        from errbot.backends.base import Stream

        content = bytes(range(256)) * 40
        self.bot.callback_stream(Stream(person("a"), io.BytesIO(content), "name", len(content), "text/plain"))
        for name in ("Tried", "Also"):
            stream, got = self.instance(name).got.get(timeout=LONGEST)
            self.assertEqual(got, content, name)
            self.assertEqual((stream.name, stream.size, stream.stream_type), ("name", len(content), "text/plain"))
            self.assertEqual((str(stream.identifier), stream.status), ("a", "success"))

    def test_rejected_if_nobody_says(self) -> None:
        """The inherited `callback_stream` rejects the stream."""
        from errbot.backends.base import Stream

        self.bot.callback_stream(Stream(person("a"), io.BytesIO(b"content"), "name", 7))
        self.assertEqual(self.instance("Rejects").got.get(timeout=LONGEST).status, "rejected")


class UndecidedStreamTests(ContractTest):
    """A plugin that neither accepts nor rejects a stream."""

    plugin = """
        import queue
        from errbot import BotPlugin

        class Tried(BotPlugin):
            rejected = queue.Queue()

            def callback_stream(self, stream):
                reject = stream.reject

                def observed():
                    reject()
                    self.rejected.put(stream.status)

                stream.reject = observed
        """

    def test_rejected(self) -> None:
        """The stream is rejected for it, and a warning is logged."""
        from errbot.backends.base import Stream

        with self.assertLogs(level="WARNING") as logs:
            self.bot.callback_stream(Stream(person("a"), io.BytesIO(b"content"), "name", 7))
            self.assertEqual(self.instance().rejected.get(timeout=LONGEST), "rejected")
        self.assertIn("Tried", logs.output[0])


class MadeUpRoomTests(ContractTest):
    """Rooms that tests create themselves."""

    def test_not_joined(self) -> None:
        """A TestRoom has its occupants and topic, even if the bot hasn't joined it."""
        from errbot.backends.test import TestOccupant, TestRoom

        somebody = TestOccupant("a@b", "#made-up")
        room = TestRoom("#made-up", occupants=[somebody], topic="news", bot=self.bot)
        self.assertEqual((room.occupants, room.topic, room.joined), ([somebody], "news", False))
