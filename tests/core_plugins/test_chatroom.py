"""Tests for `!room …`, CHATROOM_PRESENCE and relays."""

from __future__ import annotations

from typing import Any

from errklein.chat.identifiers import RoomDoesNotExistError, RoomNotJoinedError
from errklein.networks.test import TestBackend, TestRoom
from errklein.testing import PluginTestCase


class RoomTests(PluginTestCase):
    """Commands for rooms, by an administrator."""

    config = {"CHATROOM_PRESENCE": ("#testroom",)}

    def test_missing_arguments(self) -> None:
        """A command with missing or extra arguments replies with its usage."""
        for command, usage in (
            ("create", "room create ROOM"),
            ("create #a #b", "room create ROOM"),
            ("join", "room join ROOM [PASSWORD]"),
            ("leave", "room leave ROOM [REASON]"),
            ("destroy", "room destroy ROOM"),
            ("invite #ops", "room invite ROOM PERSON"),
            ("occupants", "room occupants ROOM"),
            ("topic", "room topic ROOM [TOPIC]"),
            ("list #a", "room list"),
        ):
            self.assertIn(f"Usage: !{usage}", self.command(f"!room {command}"), command)
        self.assertIn("parse your arguments", self.command('!room join "#ops'))

    def test_no_rooms(self) -> None:
        """`!room list` of a bot without rooms has a reply."""
        self.command("!room leave #testroom")
        self.assertEqual(self.command("!room list"), "The bot is not in any rooms.")

    def test_refusals(self) -> None:
        """An error of the network is a reply in one line."""
        for error, line in (
            (NotImplementedError(), "the network doesn't support this"),
            (RoomDoesNotExistError("no\nsuch room"), "no such room"),
            (RoomNotJoinedError("the bot is not in #a_b_"), "the bot is not in #a_b_"),
        ):

            def refuse(room: TestRoom, error: Exception = error) -> None:
                raise error

            self.patch(TestRoom, "destroy", refuse)
            self.assertEqual(self.command("!room destroy #ops"), f"The command failed: {line}")


class ArrivalTests(PluginTestCase):
    """CHATROOM_PRESENCE on networks that don't join rooms by themselves."""

    config = {"CHATROOM_PRESENCE": ("#a", ("#b", "s3cret"), "#c"), "CHATROOM_FN": "Klein"}

    def setUp(self) -> None:
        self.joined: list[tuple[str, Any, Any]] = []

        def join(room: TestRoom, username: str | None = None, password: str | None = None) -> None:
            self.joined.append((room.name, username, password))
            if room.name == "#a":
                raise RoomDoesNotExistError("#a is gone")

        self.patch(TestRoom, "join", join)
        self.patch(TestBackend, "connect", lambda backend, events: events.backend_connected(backend))
        self.patch(TestBackend, "joins_configured_rooms", False)
        super().setUp()

    def test_rooms_are_entered(self) -> None:
        """Each room is joined with its password and the bot's name; an error doesn't prevent the others."""
        self.assertEqual(self.joined, [("#a", "Klein", None), ("#b", "Klein", "s3cret"), ("#c", "Klein", None)])
        self.assertTrue([line for line in self.bot.log if "#a is gone" in line])

    def test_again(self) -> None:
        """Rooms are joined again after a reconnection, but not by an activation before it."""
        self.joined.clear()
        self.bot.bot.events.backend_connected(self.bot.backend)
        self.assertEqual(len(self.joined), 3)


class RelayTests(PluginTestCase):
    """Relayed messages."""

    config = {
        "CHATROOM_RELAY": {"jira": ("#ops", "#dev"), "test:carol": "#dev"},
        "REVERSE_CHATROOM_RELAY": {"#ops": "alice", "#dev": ()},
    }

    def test_as_it_was_said(self) -> None:
        """Messages are relayed as plain text: no character is lost, and no link is hidden behind other text."""
        for said in (
            "`rm` *a* __init__.py",
            "see ![a](http://evil/)",
            "[bank](http://evil/)",
            "[x]: http://x/",
            "a\n===\n<b>&lt;",
        ):
            self.bot.messages.clear()
            self.bot.say(said, frm="jira")
            self.bot.say(said, frm="bob", room="#ops")
            self.assertEqual(self.bot.sent_to("#ops"), [said])
            self.assertEqual(self.bot.sent_to("alice"), [f"[bob] {said}"])
