"""The networks of the acceptance script, with the clients of the people there."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from typing import Any
from urllib.parse import quote, unquote
from xml.etree import ElementTree

import treq
from twisted.internet.defer import succeed
from twisted.internet.task import deferLater

from errklein.chat import Attachment, Message
from errklein.chat.operations import React, Upload
from errklein.networks.test import TestBackend
from long_tests.networks.acceptance import Post, Site
from tests.networks.irc.ngircd import Line, Person, join
from tests.networks.telegram.server import ALICE, BOB, GROUP, OTHER, TOKEN, UNKNOWN, FakeTelegram, labels
from tests.networks.xmpp import people as xmpp
from tests.server_program import ServerProgram

_FORMATTING = re.compile("[\x02\x0f\x11\x1d\x1e\x1f]|\x03[0-9,]*")


class InMemorySite(Site):
    """The Test network."""

    network = "Test"
    room, other_room, unknown_room = "#ops", "#dev", "#nowhere"
    admin = "@alice"
    nick = "err"

    def __init__(self, reactor: Any) -> None:
        super().__init__(reactor)
        self.messages: dict[str, Message] = {}
        self.said: set[str] = set()

    @property
    def backend(self) -> TestBackend:
        """The bot's side."""
        backend: TestBackend = self.bot.backends["net"]
        return backend

    async def start(self) -> None:
        """Do nothing: the network is the bot's."""

    async def stop(self) -> None:
        """Do nothing."""

    def identity(self, right: bool = True) -> Mapping[str, object]:
        """Return nothing."""
        return {}

    async def say(self, text: str, *, by: str = "alice", private: bool = False, thread: str = "") -> str:
        """Put a message in."""
        message = self.backend.receive(text, f"@{by}", None if private else self.room, thread=thread)
        return self._noted(message)

    async def edit(self, id: str, text: str) -> None:
        """Put an edit in."""
        self.backend.receive_edit(self.messages[id], text)

    async def delete(self, id: str) -> None:
        """Put a deletion in."""
        self.backend.receive_deletion(self.messages[id])

    async def react(self, id: str, emoji: str) -> None:
        """Put a reaction in."""
        self.backend.receive_reaction(self.messages[id], emoji)

    async def reactions(self) -> Sequence[tuple[str, str]]:
        """Return those of the bot."""
        return [(one.ref.id, one.emoji) for one in self.backend.operations if isinstance(one, React)]

    async def attach(self, name: str, content: bytes) -> None:
        """Put a message with a file in."""
        file = Attachment(name, "application/octet-stream", len(content), lambda most: succeed(content))
        self._noted(self.backend.receive("", "@alice", self.room, attachments=[file]))

    async def press(self, post: Post, label: str, *, by: str = "alice") -> str:
        """Press a button, whose number the network knows, also afterwards."""
        ref = next(ref for ref in self.backend.seen if ref.id == post.id)
        return self.backend.press(ref, post.buttons.index(label), f"@{by}")

    async def posts(self, private: bool = False) -> Sequence[Post]:
        """Return what people see of what was sent."""
        to, posts = self.admin if private else self.room, []
        for sent in self.backend.sent:
            if sent.message.ref is not None:
                self.messages[sent.message.ref.id] = sent.message
        files = {f"[{one.name}]": one for one in self.backend.operations if isinstance(one, Upload)}
        for ref, (text, *_) in self.backend.seen.items():
            if ref.room != to or ref.id in self.said:
                continue
            message, file = self.messages.get(ref.id), files.get(text)
            is_edited = message is not None and message.edited
            content = file.content if file is not None else None
            shown, buttons = file.name if file is not None else text, self.backend.buttons.get(ref, ())
            posts.append(Post(shown, ref.id, ref.thread, is_edited, buttons=buttons, file=content))
        return posts

    async def topic(self) -> str:
        """Return the topic."""
        return self.backend.query_room(self.room).topic or ""

    def _noted(self, message: Message) -> str:
        assert message.ref is not None
        self.messages[message.ref.id] = message
        self.said.add(message.ref.id)
        return message.ref.id

    async def has_joined(self, room: str) -> bool:
        """Return whether the bot is in the room."""
        self.backend.query_room(self.room).enter("@alice")
        return self.backend.query_room(room).joined


class IRCSite(Site):
    """An IRC server.

    :param make_server: Returns the server, whose limits mustn't delay the bot.
    :param rate: The seconds between the bot's lines. Without any, the confirmations cost the bot's own share of a slow server.
    """

    network = "IRC"
    room, other_room, unknown_room = "#ops", "#dev", "#nowhere"
    admin = "alice!*@*"

    def __init__(self, reactor: Any, make_server: Callable[[], ServerProgram], rate: float = 0.0) -> None:
        super().__init__(reactor)
        self.server, self.rate = make_server(), rate
        self.people: dict[str, Person] = {}

    async def start(self) -> None:
        """Start the server, and let alice and bob join the room."""
        self.server.start()
        await self.server.wait_until_up(self.reactor)
        self.people["alice"] = await join(self.reactor, self.server.port, "alice", self.room, self.other_room)
        self.people["bob"] = await join(self.reactor, self.server.port, "bob", self.room)

    async def stop(self) -> None:
        """Stop the server."""
        for person in self.people.values():
            await person.leave()
        self.server.stop()

    def identity(self, right: bool = True) -> Mapping[str, object]:
        """Return the server; the wrong one has a password for SASL, for an account that isn't there."""
        wrong = {} if right else {"sasl_password": "wrong"}
        return {"nickname": "errklein", "server": "127.0.0.1", "port": self.server.port, **wrong}

    def settings(self) -> Mapping[str, object]:
        """Send as fast as the server takes it."""
        return {"IRC_CHANNEL_RATE": self.rate, "IRC_PRIVATE_RATE": self.rate}

    async def say(self, text: str, *, by: str = "alice", private: bool = False, thread: str = "") -> str:
        """Send a line."""
        shown = text.replace("\0", "")
        self.people[by].send(f"PRIVMSG {'errklein' if private else self.room} :{shown}")
        return ""

    async def posts(self, private: bool = False) -> Sequence[Post]:
        """Return the lines of the bot."""
        to = "alice" if private else self.room
        return [Post(_FORMATTING.sub("", line.params[1])) for line in self._lines("PRIVMSG") if line.params[0] == to]

    async def topic(self) -> str:
        """Return the topic."""
        topics = [line.params[1] for line in self._lines("TOPIC") if line.params[0] == self.room]
        return topics[-1] if topics else ""

    async def has_joined(self, room: str) -> bool:
        """Return whether the bot has joined. Alice lets it set the topic of the room."""
        is_there = any(line.params[0] == room for line in self._lines("JOIN"))
        if is_there and room == self.room:
            self.people["alice"].send(f"MODE {room} +o errklein")
        return is_there

    def _lines(self, command: str) -> list[Line]:
        lines = self.people["alice"].lines
        return [line for line in lines if line.command == command and line.nick == "errklein"]


class MatrixSite(Site):
    """A homeserver on which alice, bob and errklein have the passwords pw-alice, pw-bob and pw-errklein.

    :param start_server: Starts the server, and returns its URL.
    :param stop_server: Stops it.
    """

    network = "Matrix"
    room, other_room, unknown_room = "#ops:localhost", "#dev:localhost", "#nowhere:localhost"
    admin = "@alice:localhost"

    def __init__(self, reactor: Any, start_server: Callable[[], Any], stop_server: Callable[[], Any]) -> None:
        super().__init__(reactor)
        self._start_server, self._stop_server = start_server, stop_server
        self._tokens: dict[str, str] = {}
        self._keys = count(1)
        self._since = ""
        self._events: list[tuple[str, dict[str, Any]]] = []
        self._rooms: dict[str, str] = {}

    async def call(self, by: str, method: str, path: str, content: Any = None, **options: Any) -> Any:
        """Make a request as a person, and return the JSON."""
        headers = {"Authorization": f"Bearer {self._tokens[by]}"} if by in self._tokens else {}
        if content is not None:
            options["json"] = content
        base = f"{self.url}/_matrix" if path.startswith("/media") else f"{self.url}/_matrix/client/v3"
        response = await treq.request(method, base + path, headers=headers, persistent=False, **options)
        body = await response.content()
        assert response.code == 200, (method, path, response.code, body)
        return json.loads(body)

    async def start(self) -> None:
        """Start the server, and make two rooms with alice and bob."""
        self.url = await self._start_server()
        for name in ("alice", "bob"):
            login = {
                "type": "m.login.password",
                "identifier": {"type": "m.id.user", "user": name},
                "password": f"pw-{name}",
            }
            self._tokens[name] = (await self.call("", "POST", "/login", login))["access_token"]
        for alias in ("ops", "dev"):
            content = {"preset": "public_chat", "room_alias_name": alias}
            room = (await self.call("alice", "POST", "/createRoom", content))["room_id"]
            self._rooms[f"#{alias}:localhost"] = room
            await self.call("bob", "POST", f"/join/{quote(room)}", {})
        await self._set_power()

    async def _set_power(self) -> None:
        """Let the bot set topics."""
        room = quote(self._rooms[self.room])
        levels = await self.call("alice", "GET", f"/rooms/{room}/state/m.room.power_levels")
        levels.setdefault("users", {})["@errklein:localhost"] = 50
        await self.call("alice", "PUT", f"/rooms/{room}/state/m.room.power_levels", levels)

    async def stop(self) -> None:
        """Stop the server."""
        await self._stop_server()

    def identity(self, right: bool = True) -> Mapping[str, object]:
        """Return the homeserver and the account."""
        return {"homeserver": self.url, "user": "errklein", "password": "pw-errklein" if right else "wrong"}

    async def say(self, text: str, *, by: str = "alice", private: bool = False, thread: str = "") -> str:
        """Send an event."""
        relation = {"m.relates_to": {"rel_type": "m.thread", "event_id": thread}} if thread else {}
        room = await self._private_room() if private else self._rooms[self.room]
        return await self._send(by, room, "m.room.message", {"msgtype": "m.text", "body": text, **relation})

    async def edit(self, id: str, text: str) -> None:
        """Send an edit."""
        content = {"msgtype": "m.text", "body": text}
        relation = {"rel_type": "m.replace", "event_id": id}
        edit = {**content, "body": f"* {text}", "m.new_content": content, "m.relates_to": relation}
        await self._send("alice", self._rooms[self.room], "m.room.message", edit)

    async def delete(self, id: str) -> None:
        """Redact an event."""
        path = f"/rooms/{quote(self._rooms[self.room])}/redact/{quote(id)}/{next(self._keys)}"
        await self.call("alice", "PUT", path, {})

    async def react(self, id: str, emoji: str) -> None:
        """Send a reaction."""
        relation = {"rel_type": "m.annotation", "event_id": id, "key": emoji}
        await self._send("alice", self._rooms[self.room], "m.reaction", {"m.relates_to": relation})

    async def reactions(self) -> Sequence[tuple[str, str]]:
        """Return the bot's reactions."""
        await self._read()
        relations = [
            event["content"]["m.relates_to"]
            for _, event in self._events
            if event["type"] == "m.reaction" and event["sender"] == "@errklein:localhost" and event["content"]
        ]
        return [(relation["event_id"], relation["key"]) for relation in relations]

    async def attach(self, name: str, content: bytes) -> None:
        """Upload a file, and send an event with it."""
        headers = {"Content-Type": "application/octet-stream", "Authorization": f"Bearer {self._tokens['alice']}"}
        url = f"{self.url}/_matrix/media/v3/upload"
        response = await treq.post(url, data=content, headers=headers, persistent=False)
        address = json.loads(await response.content())["content_uri"]
        info = {"mimetype": "application/octet-stream", "size": len(content)}
        event = {"msgtype": "m.file", "body": name, "filename": name, "url": address, "info": info}
        await self._send("alice", self._rooms[self.room], "m.room.message", event)

    async def posts(self, private: bool = False) -> Sequence[Post]:
        """Return the bot's messages with their latest text."""
        await self._read()
        room = self._rooms.get("private", "") if private else self._rooms[self.room]
        posts: dict[str, Post] = {}
        for where, event in self._events:
            content = event["content"]
            if event["type"] == "m.room.redaction":
                posts.pop(content.get("redacts") or event.get("redacts", ""), None)
            if where != room or event["type"] != "m.room.message" or event["sender"] != "@errklein:localhost":
                continue
            relation = content.get("m.relates_to", {})
            if "body" not in content:
                continue
            if relation.get("rel_type") == "m.replace":
                new = content["m.new_content"]
                old = posts[relation["event_id"]]
                posts[old.id] = old._replace(text=new["body"], html=new.get("formatted_body", ""), is_edited=True)
                continue
            posts[event["event_id"]] = Post(
                content["body"],
                event["event_id"],
                relation["event_id"] if relation.get("rel_type") == "m.thread" else "",
                html=content.get("formatted_body", ""),
                people=tuple(content["m.mentions"].get("user_ids", ()))
                + ("@room",) * ("room" in content["m.mentions"]),
                file=await self._download(content["url"]) if "url" in content else None,
            )
        return list(posts.values())

    async def topic(self) -> str:
        """Return the topic."""
        await self._read()
        topics = [event["content"]["topic"] for _, event in self._events if event["type"] == "m.room.topic"]
        return str(topics[-1]) if topics else ""

    async def has_joined(self, room: str) -> bool:
        """Return whether the bot is a member."""
        path = f"/rooms/{quote(self._rooms[room])}/joined_members"
        return "@errklein:localhost" in (await self.call("alice", "GET", path))["joined"]

    async def _private_room(self) -> str:
        if "private" not in self._rooms:
            content = {"preset": "trusted_private_chat", "is_direct": True, "invite": ["@errklein:localhost"]}
            room = (await self.call("alice", "POST", "/createRoom", content))["room_id"]
            self._rooms["private"] = room
        return self._rooms["private"]

    async def _send(self, by: str, room: str, kind: str, content: Mapping[str, Any]) -> str:
        path = f"/rooms/{quote(room)}/send/{kind}/{next(self._keys)}"
        return str((await self.call(by, "PUT", path, content))["event_id"])

    async def _download(self, address: str) -> bytes:
        headers = {"Authorization": f"Bearer {self._tokens['alice']}"}
        url = f"{self.url}/_matrix/client/v1/media/download/{address.removeprefix('mxc://')}"
        response = await treq.get(url, headers=headers, persistent=False)
        content: bytes = await response.content()
        return content

    async def _read(self) -> None:
        """Read the new events of alice's rooms, and follow the bot's invitations."""
        asked = json.dumps({"room": {"timeline": {"limit": 100}}})
        params = {"filter": asked, "timeout": "0", **({"since": self._since} if self._since else {})}
        answer = await self.call("alice", "GET", "/sync", params=params)
        self._since = answer["next_batch"]
        rooms = answer.get("rooms", {})
        for room, joined in rooms.get("join", {}).items():
            self._events += [(room, event) for event in joined["timeline"]["events"]]
        for room in rooms.get("invite", {}):
            self._rooms.setdefault("private", room)
            await self.call("alice", "POST", f"/join/{quote(room)}", {})


class TelegramSite(Site):
    """The double of Telegram."""

    network = "Telegram"
    room, other_room, unknown_room = str(GROUP), str(OTHER), str(UNKNOWN)
    admin = str(ALICE)
    nick = "errklein_bot"

    def __init__(self, reactor: Any, server: FakeTelegram) -> None:
        super().__init__(reactor)
        self.server = server

    async def start(self) -> None:
        """Let alice open a conversation with the bot."""
        self.server.start()
        self.server.begin(ALICE)

    async def stop(self) -> None:
        """Stop the server."""
        await self.server.stop()

    def identity(self, right: bool = True) -> Mapping[str, object]:
        """Return the token, or one that was revoked."""
        return {"token": TOKEN if right else f"{TOKEN[:-1]}9", "server": self.server.url}

    async def say(self, text: str, *, by: str = "alice", private: bool = False, thread: str = "") -> str:
        """Send a message, in a thread as a reply."""
        who = {"alice": ALICE, "bob": BOB}[by]
        return str(self.server.say(who if private else GROUP, text, who, int(thread or 0)))

    async def edit(self, id: str, text: str) -> None:
        """Edit a message."""
        self.server.edit(GROUP, int(id), text)

    async def react(self, id: str, emoji: str) -> None:
        """React to a message."""
        self.server.react(GROUP, int(id), emoji)

    async def reactions(self) -> Sequence[tuple[str, str]]:
        """Return those of the bot."""
        messages = self.server.chats[GROUP].messages.items()
        return [(str(id), emoji) for id, message in messages for emoji in message.get("own_reaction", ())]

    async def attach(self, name: str, content: bytes) -> None:
        """Send a document."""
        self.server.attach(GROUP, name, content)

    async def posts(self, private: bool = False) -> Sequence[Post]:
        """Return the bot's messages."""
        return [
            Post(
                one.get("text", one.get("document", {}).get("file_name", "")),
                str(one["message_id"]),
                str(one.get("message_thread_id", "")),
                "edit_date" in one,
                one.get("html", ""),
                people=tuple(str(entity["user"]["id"]) for entity in one.get("entities", ()) if "user" in entity),
                buttons=labels(one),
                file=self.server.files[one["document"]["file_id"]] if "document" in one else None,
            )
            for one in self.server.own(ALICE if private else GROUP)
        ]

    async def topic(self) -> str:
        """Return the description."""
        return self.server.chats[GROUP].description

    async def has_joined(self, room: str) -> bool:
        """Return whether the bot is a member."""
        return self.server.is_member(int(room))

    async def press(self, post: Post, label: str, *, by: str = "alice") -> str:
        """Press a button, which people may still see after an edit."""
        self.server.press(GROUP, int(post.id), str(post.buttons.index(label)), {"alice": ALICE, "bob": BOB}[by])
        while not self.server.answers:
            await deferLater(self.reactor, 0.01)
        return str(self.server.answers.pop().get("text", ""))


class XMPPSite(Site):
    """An XMPP server with the accounts alice, bob and errklein.

    :param server: Not yet started.
    """

    network = "XMPP"
    room, other_room, unknown_room = xmpp.ROOM, xmpp.DEV, "nowhere@conference.localhost"
    admin = "alice@localhost"

    def __init__(self, reactor: Any, server: Any) -> None:
        super().__init__(reactor)
        xmpp.needs_asyncio(reactor)
        self.server = server
        self._files: dict[str, bytes] = {}

    async def start(self) -> None:
        """Start the server, and let alice make the rooms."""
        self.server.start()
        await self.server.wait_until_up(self.reactor)
        made = [xmpp.Person(self.reactor, name, self.server.port, self.server.authority) for name in ("alice", "bob")]
        self.people = {person.name: await person.connect() for person in made}
        for room in (self.room, self.other_room):
            await self.people["alice"].join(room)
            await self.people["alice"].configure(room, changesubject="1", whois="anyone")
        await self.people["bob"].join(self.room)

    async def stop(self) -> None:
        """Stop the server."""
        for person in self.people.values():
            await person.leave()
        self.server.stop()

    def identity(self, right: bool = True) -> Mapping[str, object]:
        """Return the account."""
        server = ("127.0.0.1", self.server.port)
        return {"username": "errklein@localhost", "password": "pw-errklein" if right else "wrong", "server": server}

    def settings(self) -> Mapping[str, object]:
        """Trust the server's authority, and let the bot send XHTML."""
        return {"CHATROOM_FN": self.nick, "XMPP_CA_CERT_FILE": str(self.server.authority), "XMPP_XHTML_IM": True}

    def _child(self, name: str, *content: Any, **attributes: str) -> Any:
        from errklein.networks.xmpp._client import element

        return element(name, *content, **attributes)

    async def say(self, text: str, *, by: str = "alice", private: bool = False, thread: str = "") -> str:
        """Send a message, without the characters that XML forbids."""
        content = [self._child("{jabber:client}thread", thread)] if thread else []
        return await self.people[by].say("errklein@localhost" if private else self.room, text, *content)

    async def edit(self, id: str, text: str) -> None:
        """Send a correction, which names the id that alice's client has given."""
        own = next(key for key, given in self._ids() if given == id)
        await self.people["alice"].say(self.room, text, self._child("{urn:xmpp:message-correct:0}replace", id=own))

    async def delete(self, id: str) -> None:
        """Send a retraction."""
        await self.people["alice"].say(self.room, None, self._child("{urn:xmpp:message-retract:1}retract", id=id))

    async def react(self, id: str, emoji: str) -> None:
        """Send a reaction."""
        reaction = self._child("{urn:xmpp:reactions:0}reaction", emoji)
        await self.people["alice"].say(self.room, None, self._child("{urn:xmpp:reactions:0}reactions", reaction, id=id))

    async def reactions(self) -> Sequence[tuple[str, str]]:
        """Return the bot's reactions."""
        return [
            (found.get("id", ""), reaction.text or "")
            for message in self._of_bot()
            for found in message.iter("{urn:xmpp:reactions:0}reactions")
            for reaction in found
        ]

    async def attach(self, name: str, content: bytes) -> None:
        """Upload a file, and send its address."""
        url = await self.people["alice"].upload(name, content)
        oob = self._child("{jabber:x:oob}x", self._child("{jabber:x:oob}url", url))
        await self.people["alice"].say(self.room, url, oob)

    def _ids(self, private: bool = False) -> list[tuple[str, str]]:
        messages = self.people["alice"].messages("errklein@localhost" if private else self.room)
        given = [next((one.get("id", "") for one in each.iter(f"{xmpp.SID}stanza-id")), "") for each in messages]
        return [(each.get("id", ""), other) for each, other in zip(messages, given, strict=True)]

    def _of_bot(self, private: bool = False) -> list[Any]:
        messages = self.people["alice"].messages("errklein@localhost" if private else self.room)
        return [one for one in messages if private or one.get("from") == f"{self.room}/{self.nick}"]

    async def posts(self, private: bool = False) -> Sequence[Post]:
        """Return the bot's messages with their latest text."""
        posts: dict[str, Post] = {}
        given = dict(self._ids(private))
        for message in self._of_bot(private):
            own = message.get("id", "")
            text, page = message.findtext("{jabber:client}body"), message.find(".//{http://www.w3.org/1999/xhtml}body")
            html = "" if page is None else ElementTree.tostring(page, "unicode")
            replaced = message.find("{urn:xmpp:message-correct:0}replace")
            retracted = message.find("{urn:xmpp:message-retract:1}retract")
            url = message.findtext("{jabber:x:oob}x/{jabber:x:oob}url")
            if retracted is not None:
                posts = {key: post for key, post in posts.items() if post.id != retracted.get("id")}
            elif replaced is not None:
                posts[replaced.get("id", "")] = posts[replaced.get("id", "")]._replace(text=text, is_edited=True)
            elif text is not None:
                thread = message.findtext("{jabber:client}thread") or ""
                name = text if url is None else unquote(url.rpartition("/")[2])
                file = None if url is None else await self._download(url)
                posts[own] = Post(name, given[own] or own, thread, html=html, file=file)
        return list(posts.values())

    async def _download(self, url: str) -> bytes:
        if url not in self._files:
            response = await treq.get(url, persistent=False)
            self._files[url] = await response.content()
        return self._files[url]

    async def topic(self) -> str:
        """Return the topic."""
        found = [one.findtext("{jabber:client}subject") for one in self.people["alice"].messages(self.room)]
        return [one for one in found if one is not None][-1]

    async def has_joined(self, room: str) -> bool:
        """Return whether alice sees the bot."""
        return any(one.get("from") == f"{room}/{self.nick}" for one in self.people["alice"].stanzas)
