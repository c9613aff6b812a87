"""Events of any form, since a homeserver passes on what other people and servers make up."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as of
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from errklein.chat import Message
from errklein.networks.matrix._client import Receiver
from errklein.networks.matrix.identifiers import MatrixPerson, MatrixRoom
from errklein.testing.backend_contract import RecordedEvents

TEXTS = of.sampled_from(
    [
        *("$e1", "$e2", "@alice:x", "@bob:x", "m.text", "m.file", "m.emote", "m.notice", "m.replace", "m.thread"),
        *(
            "m.annotation",
            "m.room.message",
            "m.reaction",
            "m.room.redaction",
            "mxc://x/y",
            "> quote\n\ntext",
            "\x00\ud800",
            "",
        ),
    ]
)
KEYS = of.sampled_from(
    [
        *(
            "type",
            "sender",
            "event_id",
            "content",
            "body",
            "msgtype",
            "m.relates_to",
            "rel_type",
            "key",
            "m.new_content",
        ),
        *("m.mentions", "user_ids", "url", "info", "size", "mimetype", "filename", "redacts", "origin_server_ts"),
        "m.in_reply_to",
    ]
)
VALUES = of.recursive(
    of.none() | of.booleans() | of.integers() | of.floats() | TEXTS | of.text(max_size=5),
    lambda inner: of.lists(inner, max_size=3) | of.dictionaries(KEYS, inner, max_size=6),
    max_leaves=12,
)
CONTENTS = of.dictionaries(KEYS, VALUES | TEXTS, max_size=8)
EVENTS = of.builds(
    lambda kind, event_id, sender, rest, content: {
        **rest,
        "type": kind,
        "event_id": event_id,
        "sender": sender,
        "content": content,
    },
    TEXTS,
    TEXTS | VALUES,
    TEXTS | VALUES,
    of.dictionaries(KEYS, VALUES, max_size=3),
    CONTENTS
    | of.builds(
        lambda kind, relates, target, content: {
            **content,
            "msgtype": kind,
            "body": "text",
            "m.relates_to": {"rel_type": relates, "event_id": target, "key": "k"},
        },
        TEXTS,
        TEXTS | VALUES,
        TEXTS | VALUES,
        CONTENTS,
    ),
)


class AnyEventTests(SynchronousTestCase):
    """A bot in the room !a."""

    def receiver(self, original: Any) -> tuple[Receiver, RecordedEvents]:
        """Return a receiver whose homeserver answers with `original` if it is asked for an event."""
        rooms = SimpleNamespace(
            unconfirmed=lambda room: None,
            direct_with=lambda room: "",
            room=lambda room: MatrixRoom(room, "m"),
            name_in=lambda room, user: "",
        )
        client = SimpleNamespace(
            user="@err:x", call=lambda *request: succeed(original), download=lambda *file: Deferred()
        )
        events = RecordedEvents()
        backend: Any = SimpleNamespace(
            network="m",
            membership=rooms,
            client=client,
            report=lambda event, *details: getattr(events, event)(backend, *details),
            bot_identifier=MatrixPerson("@err:x", "m"),
            build_message=Message,
            context=SimpleNamespace(reactor=Clock()),
        )
        return Receiver(backend), events

    @given(of.lists(EVENTS, max_size=5), VALUES)
    def test_any_event(self, received: list[Any], original: Any) -> None:
        """None causes an error, and what plugins get has the types that they expect."""
        receiver, events = self.receiver(original)
        for event in received:
            receiver.receive("!a", event, False)
            receiver.presence(event)
        self.assertEqual(self.flushLoggedErrors(), [])
        for name, *arguments in events.recorded:
            if name in ("message_received", "message_edited"):
                message = arguments[0]
                self.assertIsInstance(message.body, str)
                message.body.encode()
                self.assertTrue(message.ref.id.startswith("$"))
                self.assertIsInstance(message.sent_at, float)
                for attachment in message.attachments:
                    self.assertGreaterEqual(attachment.size, 0)
