"""Edits, deletions and reactions in the outbox, and the ids and keys of messages."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import LogEvent, Logger

from errklein.chat import Message
from errklein.chat.features import Features
from errklein.chat.handles import Handle, MessageRef
from errklein.chat.operations import Delete, Edit, Kind, Operation, Post, React, Unsupported, Upload, Wanted
from errklein.chat.outgoing import MessageState, OutgoingMessage
from errklein.networks.outbox import NotConfirmed, Outbox
from errklein.ports.outbox import OutboxExpired, OutboxFull, RoomUnavailable, SentLater
from errklein.ports.receipts import Receipt
from tests.networks.outbox.test_lanes import KeptMessages, LanesCase
from tests.networks.outbox.test_outbox import NOON, Network

FULL = Features(size=10, threads=True, edits=True, deletions=True, reactions=True, files=True)


class Forum(Network):
    """A network that gives ids, and shows operations as texts. It splits texts at ten characters."""

    def __init__(self, window: int = 1, features: Features = FULL) -> None:
        super().__init__(window)
        self.serial = True
        self.known = features
        self.keys: list[str] = []

    def features(self, recipient: str) -> Features:
        return self.known

    def parts(self, operation: Operation, message: OutgoingMessage, original: Message | None) -> list[str]:
        match operation:
            case Post(text=text, thread=thread):
                return [f"{text} in {thread}" if thread else text]
            case Edit(ref=ref, text=text):
                return [f"{ref.id}={text}"]
            case Delete(ref=ref):
                return [f"-{ref.id}"]
            case React(ref=ref, emoji=emoji):
                return [f"{ref.id}{emoji}"]
            case Upload(name=name, content=content):
                return [f"{name}:{content!r}"]

    def transmit(self, parts: Sequence[str], keys: Sequence[str]) -> list[Deferred[None]]:
        self.keys += keys
        return super().transmit(parts, keys)

    def confirm(self) -> None:
        """Confirm a part, with an id of its own."""
        number = len(self.got) - len(self.waiting) + 1
        self.waiting.pop(0).callback(f"e{number}")  # type: ignore[arg-type]


class OperationsCase(LanesCase):
    """An outbox of a `Forum`."""

    def make(self, store: KeptMessages | None = None, **settings: Any) -> Outbox[str]:
        """Return an outbox for a new forum, with a store."""
        self.store = store or KeptMessages()
        return super().make(self.store, **settings)

    def network_for(self, window: int = 1, pace: Any = None) -> Network:
        """Return a new forum."""
        self.forum = Forum()
        return self.forum

    def post(self, text: str, recipient: str = "#ops", **options: Any) -> Receipt:
        """Send a text."""
        return self.outbox.perform(recipient, text, **options)

    def do(self, kind: Kind, target: str | MessageRef, text: str = "", recipient: str = "", **fields: Any) -> Receipt:
        """Edit or delete a message, or react to it."""
        target = target if isinstance(target, MessageRef) else str(target)
        return self.outbox.perform(recipient, text, Wanted(kind, target, **fields))

    def restart(self) -> None:
        """Let a later process take over."""
        self.outbox.close()
        self.outbox = self.make(self.store)


class WaitingTests(OperationsCase):
    """What hasn't been sent is changed."""

    def test_edit_that_waits(self) -> None:
        """The new text is sent in the place of the old one, also after a restart; both receipts fire then."""
        for restarts in (False, True):
            self.outbox = self.make()
            sent, later = self.post("old"), self.post("later")
            edited = self.do(Kind.EDIT, sent, "new")
            self.assertEqual([message.body for message in self.store.kept.values()], ["new", "later"])
            self.assertEqual(edited, sent)
            if restarts:
                self.restart()
                self.failureResultOf(edited, SentLater)
                self.failureResultOf(sent, SentLater)
            self.outbox.resume()
            self.confirm_all()
            self.assertEqual(self.network.got, ["new", "later"])
            if not restarts:
                self.assertEqual(self.successResultOf(sent), self.successResultOf(edited))
                self.assertEqual(edited.refs, (MessageRef("net", "#ops", "e1"),))
                self.successResultOf(later)

    def test_deletion_that_waits(self) -> None:
        """The message isn't sent, nor what follows from it; nothing is left in the store, and the receipts fire."""
        sent = self.post("old")
        reaction = self.do(Kind.REACT, sent, emoji="+")
        deleted = self.do(Kind.DELETE, sent)
        self.post("later")
        self.assertEqual([message.body for message in self.store.kept.values()], ["later"])
        for receipt in (sent, reaction, deleted):
            self.successResultOf(receipt)
        self.assertEqual(self.store.ended[0].state, MessageState.DROPPED)
        self.outbox.resume()
        self.confirm_all()
        self.assertEqual(self.network.got, ["later"])
        self.assertEqual((len(self.outbox), self.outbox.status.size, self.outbox.status.sent), (0, 0, 1))

    def test_closed_room(self) -> None:
        """A deletion of what waits for a room, of which its plugin knows already, isn't sent after it."""
        self.closed["#ops"] = "kicked"
        sent = self.post("a")
        self.outbox.resume()
        self.clock.pump([1.0] * 12)
        self.failureResultOf(sent, RoomUnavailable)
        self.successResultOf(self.do(Kind.DELETE, sent))
        self.closed.clear()
        self.outbox.resume()
        self.assertEqual((self.network.got, len(self.outbox), self.store.kept), ([], 0, {}))

    def test_edit_of_an_edit(self) -> None:
        """Of several edits that wait, the last one is sent; a deletion takes their place."""
        sent = self.post("text")
        self.outbox.resume()
        self.do(Kind.EDIT, sent, "one")
        self.do(Kind.EDIT, sent, "two")
        self.confirm_all()
        self.assertEqual(self.network.got, ["text", "e1=two"])
        self.do(Kind.EDIT, sent, "three")
        self.do(Kind.EDIT, sent, "four")
        self.do(Kind.DELETE, sent)
        self.confirm_all()
        self.assertEqual(self.network.got[2:], ["e1=three", "-e1"])

    def test_room_of_the_new_text(self) -> None:
        """The size of the new text counts, and is given back."""
        self.outbox = self.make(size=100)
        sent = self.post("a")
        self.do(Kind.EDIT, sent, "x" * 49)
        self.assertRaises(OutboxFull, self.post, "b" * 10)
        self.outbox.resume()
        self.confirm_all()
        self.assertEqual(self.outbox.status.size, 0)

    def test_secret(self) -> None:
        """The text of an edit that must not be stored isn't stored with the message."""
        sent = self.post("old")
        self.outbox.perform("", "secret", Wanted(Kind.EDIT, str(sent)), stored=False)
        self.assertEqual([message.body for message in self.store.kept.values()], ["old"])
        self.outbox.resume()
        self.confirm_all()
        self.assertEqual(self.network.got, ["old", "e1=secret"])

    def test_mentions(self) -> None:
        """The people whom the edit names are notified, or else those whom the message has named."""
        sent = self.outbox.perform("#ops", "old", Wanted(mentions=("alice",)))
        self.do(Kind.EDIT, sent, "new")
        self.assertEqual([Wanted.from_json(one.wanted).mentions for one in self.store.kept.values()], [("alice",)])
        self.do(Kind.EDIT, sent, "new", mentions=("bob",))
        self.assertEqual([Wanted.from_json(one.wanted).mentions for one in self.store.kept.values()], [("bob",)])

    def test_thread(self) -> None:
        """A thread may edit what it has sent a moment ago, and the reactor what a thread has sent."""
        receipts: list[Receipt] = []

        def work() -> None:
            receipts.append(self.post("old"))
            receipts.append(self.do(Kind.EDIT, receipts[0], "new"))
            receipts.append(self.post("deleted"))

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        self.do(Kind.DELETE, receipts[2])
        self.clock.let()
        self.outbox.resume()
        self.confirm_all()
        self.assertEqual(self.network.got, ["new"])
        self.assertEqual(self.store.kept, {})


class BegunTests(OperationsCase):
    """What is being sent is sent before it is changed."""

    def test_behind_the_message(self) -> None:
        """Edits, reactions and deletions come after the message, in order, whoever has caused them, and before later ones."""
        sent = self.post("one two three")
        self.outbox.resume()
        self.send("other", by="route:x")
        edited = self.do(Kind.EDIT, sent, "1")
        self.do(Kind.REACT, sent, emoji="+")
        self.network.confirm()
        self.network.confirm()
        self.assertNoResult(edited)
        self.confirm_all()
        self.assertEqual(edited.refs, (MessageRef("net", "#ops", "e1"),))
        self.assertEqual(
            [part for part in self.network.got if part != "other"], ["one two", "three", "e1=1", "-e2", "e1+"]
        )

    def test_more_parts(self) -> None:
        """A longer text adds messages, whose ids are kept with those of the first ones."""
        sent = self.post("one two three")
        self.outbox.resume()
        self.confirm_all()
        self.do(Kind.EDIT, sent, "four five six seven eight")
        self.confirm_all()
        self.assertEqual(self.network.got[2:], ["e1=four five", "e2=six seven", "eight"])
        self.assertEqual([ref.id for ref in self.store.refs[sent.key]], ["e1", "e2", "e5"])
        self.do(Kind.DELETE, sent)
        self.confirm_all()
        self.assertEqual(self.network.got[5:], ["-e1", "-e2", "-e5"])

    def test_restart(self) -> None:
        """An edit of a message that was begun is sent after it by the next process, too."""
        sent = self.post("one two three")
        self.outbox.resume()
        self.do(Kind.EDIT, sent, "four", "#dev")
        self.network.confirm()
        self.restart()
        self.outbox.resume()
        self.confirm_all()
        # The id of the first part is lost with the process, so that the message can't be edited.
        self.assertEqual(self.network.got[0], "three")
        self.assertEqual("".join(self.network.got[1:]).replace(" ", ""), "(corrected)four")

    def test_isolated_message(self) -> None:
        """An edit stays behind a message that has left its lane, since it breaks connections."""
        sent = self.post("bad")
        self.outbox.resume()
        self.do(Kind.EDIT, sent, "new")
        self.post("good")
        for _ in range(2):
            self.network.disconnect()
            self.outbox.pause()
            self.outbox.resume()
        self.network.confirm()
        self.clock.advance(31.0)
        self.confirm_all()
        self.assertEqual(self.network.got, ["bad", "bad", "good", "bad", "e4=new"])

    def test_unsupported(self) -> None:
        """What the network can't do fails with the reason. It is logged, and administrators aren't told."""
        self.forum.known = Features()
        lines: list[LogEvent] = []
        self.outbox.log = Logger(observer=lines.append)
        sent = self.post("a")
        self.outbox.resume()
        deleted = self.do(Kind.DELETE, sent)
        self.confirm_all()
        self.failureResultOf(deleted, Unsupported)
        self.assertEqual(self.undelivered, [])
        self.assertEqual(len(lines), 1)


class OverTests(OperationsCase):
    """What was sent is changed on the network."""

    def sent(self, text: str = "text") -> Receipt:
        """Return a message that was sent."""
        self.outbox.resume()
        sent = self.post(text)
        self.confirm_all()
        return sent

    def test_ids(self) -> None:
        """The receipt and the store have the ids of all parts."""
        sent = self.sent("one two three")
        refs = (MessageRef("net", "#ops", "e1"), MessageRef("net", "#ops", "e2"))
        self.assertEqual((sent.refs, self.store.refs), (refs, {sent.key: refs}))

    def test_ids_after_the_end(self) -> None:
        """The ids are stored of a message that the network confirms while the bot disconnects."""
        self.outbox.resume()
        sent = self.post("text")
        self.outbox.close()
        self.network.confirm()
        self.assertEqual((self.store.kept, self.store.refs), ({}, {sent.key: (MessageRef("net", "#ops", "e1"),)}))

    def test_change_that_fails(self) -> None:
        """After a change that the network refuses, or that is too old, the message can be changed still."""
        sent = self.post("a")
        self.outbox.resume()
        self.confirm_all()
        refused = self.do(Kind.EDIT, sent, "b")
        self.network.fail(ValueError("too late"))
        self.failureResultOf(refused, ValueError)
        self.outbox.pause()
        old = self.do(Kind.EDIT, sent, "c")
        self.clock.pump([3600.0, 1.0])
        self.failureResultOf(old, OutboxExpired)
        self.outbox.resume()
        refused, deleted = self.do(Kind.EDIT, sent, "d"), self.do(Kind.DELETE, sent)
        self.network.fail(ValueError("too late"))
        self.failureResultOf(refused, ValueError)
        self.confirm_all()
        self.successResultOf(deleted)
        self.assertEqual(self.network.got, ["a", "e1=b", "e1=d", "-e1"])

    def test_after_a_restart(self) -> None:
        """The ids of the store are used, and the room in which the message is; others there keep their order."""
        sent = Handle(self.sent())
        self.restart()
        self.outbox.resume()
        edited = self.do(Kind.EDIT, sent, "new")
        self.confirm_all()
        self.assertEqual(self.network.got, ["e1=new"])
        self.successResultOf(edited)
        self.assertEqual(self.store.kept, {})

    def test_slow_store(self) -> None:
        """While the store is read, messages to others are sent, and an edit of an unknown message fails then."""
        reads: list[Deferred[Sequence[MessageRef]]] = []
        self.store.refs_of = lambda handle: reads.append(Deferred()) or reads[-1]  # type: ignore[method-assign, func-returns-value]
        self.outbox.resume()
        edited = self.do(Kind.EDIT, "net/old-1", "new")
        unknown = self.do(Kind.EDIT, "net/old-2", "new")
        self.post("other")
        self.confirm_all()
        self.assertEqual(self.network.got, ["other"])
        reads.pop(0).callback([MessageRef("net", "#dev", "e9", "t1")])
        self.confirm_all()
        self.assertEqual(self.network.got, ["other", "e9=new"])
        self.successResultOf(edited)
        reads.pop(0).errback(OSError("the file can't be read"))
        self.failureResultOf(unknown, Unsupported)
        self.assertEqual(len(self.outbox), 0)

    def test_address(self) -> None:
        """A message is edited by its address, too, in its room."""
        self.outbox.resume()
        self.do(Kind.EDIT, MessageRef("net", "#dev", "e7"), "new", "#dev")
        self.do(Kind.REACT, MessageRef("net", "#dev", "e7"), emoji="+", recipient="#dev")
        self.confirm_all()
        self.assertEqual(self.network.got, ["e7=new", "e7+"])

    def test_network_without_ids(self) -> None:
        """A corrected text is sent to the same room."""
        self.forum.known = Features()
        sent = self.sent()
        self.do(Kind.EDIT, sent, "new")
        self.confirm_all()
        self.assertEqual(self.network.got, ["text", "(corrected) new"])

    def test_memory(self) -> None:
        """Without a store, the ids of the last messages are known, and not those of all."""
        first = self.sent()
        self.store.refs.clear()
        self.do(Kind.EDIT, first, "new")
        self.confirm_all()
        self.assertEqual(self.network.got[-1], "e1=new")
        self.store.refs.clear()
        for _ in range(1000):
            self.sent()
        self.failureResultOf(self.do(Kind.EDIT, first, "newer"), Unsupported)

    def test_file(self) -> None:
        """A file is sent with its content, which counts in the size of what waits, and at most 25 MB."""
        sent = self.outbox.perform("#ops", "", Wanted(Kind.FILE, file="a.txt", thread="t"), b"12345")
        self.assertEqual(self.outbox.status.size, 5)
        with self.assertRaises(ValueError):
            self.outbox.perform("#ops", "", Wanted(Kind.FILE, file="b"), b"." * 25_000_001)
        self.restart()
        self.outbox.resume()
        self.confirm_all()
        self.assertEqual(self.network.got, ["a.txt:b'12345'"])
        self.assertEqual(self.store.refs[sent.key], (MessageRef("net", "#ops", "e1", "t"),))


class KeyTests(OperationsCase):
    """No two parts have the same key, and each attempt of a part has the same."""

    def test_attempts(self) -> None:
        """A part has the same key after a break, after a restart, and with the time of a late message."""
        self.post("one two three")
        self.outbox.resume()
        self.network.fail(NotConfirmed())
        self.outbox.pause()
        self.outbox.resume()
        self.network.confirm()
        first, second = self.forum.keys[0], self.forum.keys[2]
        self.assertEqual(self.forum.keys, [first, first, second])
        self.restart()
        self.outbox.resume()
        self.assertEqual(self.forum.keys, [second])

    def test_late_message(self) -> None:
        """The time before a late message has a key of its own."""
        self.post("one two three")
        keys = []
        for seconds in (0.0, 400.0):
            self.restart()
            self.clock.advance(seconds)
            self.outbox.resume()
            for _ in range(3):
                if self.network.waiting:
                    self.network.waiting.pop(0).callback(None)
                    self.clock.advance(0)
            keys.append(dict(zip(self.network.got, self.forum.keys, strict=True)))
            self.store.kept[1] = OutgoingMessage(
                1, "net", "#ops", "one two three", accepted_at=NOON, key=next(iter(keys[0].values())).rsplit("-", 2)[0]
            )
        early, late = keys
        self.assertEqual({part: late[part] for part in early}, early)
        self.assertEqual(len(set(late.values())), len(late))

    def test_late_message_with_mentions(self) -> None:
        """A late message of several parts notifies people once."""
        self.forum.known = replace(FULL, mentions=True)
        posts: list[Post] = []
        self.patch(self.forum, "parts", lambda post, *_: posts.append(post) or [post.text])
        self.outbox.perform("#ops", "one two three", Wanted(mentions=("@al",)))
        self.clock.advance(400.0)
        self.outbox.resume()
        sent = posts[-1], *posts[:2]
        self.assertEqual([post.mentions for post in sent], [(), ("@al",), ()])
        self.assertRegex(sent[0].text, r"^\[..:.. \w+\]$")

    def test_restored_data(self) -> None:
        """Processes that use the same data, or have lost it, give different keys at the same time."""
        keys = set()
        for _ in range(20):
            self.outbox = self.make()
            self.outbox.resume()
            for text in ("a", "b"):
                self.post(text)
            self.confirm_all()
            keys.update(self.forum.keys)
        self.assertEqual(len(keys), 40)

    def test_other_parts(self) -> None:
        """If a later process splits a message differently, its parts have other keys, so that none is taken for an earlier one."""
        self.post("one two three")
        self.outbox.resume()
        self.network.confirm()
        before = set(self.forum.keys)
        self.restart()
        self.forum.known = Features(size=6, edits=True)
        self.outbox.resume()
        self.confirm_all()
        self.assertEqual(before & set(self.forum.keys), set())

    def test_plain_network(self) -> None:
        """Networks without ids leave nothing in the store."""
        self.network.confirm = lambda: self.network.waiting.pop(0).callback(None)  # type: ignore[method-assign]
        self.outbox.resume()
        sent = self.post("a")
        self.confirm_all()
        self.assertEqual((sent.refs, self.store.refs), ((), {}))


class ThreadsTests(OperationsCase):
    """Messages to the thread that a message of the bot begins."""

    def test_thread_of_a_message_that_waits(self) -> None:
        """The reply waits for the id of the message, also when both are late."""
        for seconds in (0.0, 400.0):
            self.outbox = self.make()
            first = self.post("first")
            self.outbox.perform("#ops", "reply", Wanted(target=str(first)), priority=True)
            self.clock.advance(seconds)
            self.outbox.resume()
            self.confirm_all()
            replies = [part for part in self.network.got if "reply" in part]
            self.assertEqual([part.split(" in ")[1] for part in replies], ["e1"] * len(replies))
            self.assertEqual(len(replies), 1)

    def test_thread_of_a_deleted_message(self) -> None:
        """If the first message is deleted before it is sent, the reply is sent to the room."""
        first = self.post("first")
        self.outbox.perform("#ops", "reply", Wanted(target=str(first)))
        self.do(Kind.DELETE, first)
        self.outbox.resume()
        self.confirm_all()
        self.assertEqual(self.network.got, ["reply"])
