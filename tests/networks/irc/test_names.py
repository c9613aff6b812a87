"""Names on IRC in a whole bot: patterns, questions, history, flows, relays and rooms follow CASEMAPPING."""

from __future__ import annotations

from typing import Any

from errklein import BotPlugin, botcmd
from errklein.chat import Message
from errklein.commands.flows import FlowRoot
from tests.networks.irc.whole_bot import WholeBotCase


class Talk(BotPlugin):
    """Has commands for the tests."""

    @botcmd(admin_only=True)
    async def danger(self, msg: Message, args: str) -> str:
        """A command for administrators."""
        return "done"

    @botcmd
    async def open(self, msg: Message, args: str) -> str:
        """A command that access rules permit."""
        return "opened"

    @botcmd
    async def name_it(self, msg: Message, args: str) -> str:
        """Ask a question."""
        return f"so it is {await self.ask(msg, 'what is it called?', timeout=60)}"


class AdminTests(WholeBotCase):
    """BOT_ADMINS."""

    plugins = (Talk,)
    settings = {"BOT_ADMINS": ("bob[away]!*@*",)}

    def who_may(self, *nicks: str) -> list[str]:
        """Return those of the nicks that are administrators."""
        return [nick for nick in nicks if self.replies_to(f":{nick}!u@host PRIVMSG errklein :!danger") == ["done"]]

    def test_brackets_are_letters(self) -> None:
        """`bob[away]!*@*` admits bob[away], in rfc1459 also BOB{AWAY}, and not bobw."""
        self.assertEqual(self.who_may("bob[away]", "bobw", "boba", "bob", "BOB{AWAY}"), ["bob[away]", "BOB{AWAY}"])

    def test_casemapping(self) -> None:
        """Other spellings of the nick are administrators if the announced mapping folds them."""
        for announced, same in (
            ("ascii", ["bob[away]", "BOB[AWAY]"]),
            ("rfc1459", ["bob[away]", "BOB[AWAY]", "Bob{Away}"]),
            ("strict-rfc1459", ["bob[away]", "BOB[AWAY]", "Bob{Away}"]),
            ("rfc7613", ["bob[away]", "BOB[AWAY]"]),
        ):
            self.announce(announced)
            self.assertEqual(self.who_may("bob[away]", "BOB[AWAY]", "Bob{Away}", "bobw"), same, announced)

    def test_explained(self) -> None:
        """`!acl explain` gives the same result."""
        self.announce("ascii")
        for nick, answer in (("bob[away]", "may use"), ("bobw", "may not use"), ("bob{away}", "may not use")):
            [text] = self.replies_to(f":bob[away]!u@host PRIVMSG errklein :!acl explain {nick}!u@host danger")
            self.assertIn(answer, text, nick)


class RuleTests(WholeBotCase):
    """ACCESS_CONTROLS."""

    plugins = (Talk,)
    settings = {
        "ACCESS_CONTROLS": {
            "open": {"denyusers": ("*[bad]!*",), "allowrooms": ("#ops[1]",)},
            "danger": {"allowmuc": True},
        }
    }

    def test_users(self) -> None:
        """A denied user is denied in all spellings of the nick; others aren't."""
        self.announce("rfc1459")
        for nick, answer in (("x[bad]", "not allowed"), ("X{BAD}", "not allowed"), ("xb", "opened"), ("bad", "opened")):
            [text] = self.replies_to(f":{nick}!u@host PRIVMSG errklein :!open")
            self.assertIn(answer, text, nick)

    def test_users_of_an_unknown_mapping(self) -> None:
        """With an unknown mapping a deny rule covers every spelling that may be the same nick."""
        self.announce("rfc7613")
        for nick in ("x[bad]", "x{bad}", "x[BAD]", "x［ＢＡＤ］"):
            [text] = self.replies_to(f":{nick}!u@host PRIVMSG errklein :!open")
            self.assertIn("not allowed", text, nick)

    def test_rooms(self) -> None:
        """Rooms are matched by the same rules."""
        self.announce("rfc1459")
        self.server.enter("#OPS{1}")
        self.server.enter("#ops1")
        self.assertEqual(self.replies_to(":al!u@host PRIVMSG #ops{1} :!open"), ["opened"])
        self.assertIn("from this room", self.replies_to(":al!u@host PRIVMSG #ops1 :!open")[0])


class SamePersonTests(WholeBotCase):
    """The bot recognises a person who changes the case of the nick."""

    plugins = (Talk,)

    def test_questions(self) -> None:
        """An answer is accepted from another spelling of the nick, and not from another person."""
        for announced, other, answers in (
            ("rfc1459", "AL{X}", True),
            ("ascii", "AL{X}", False),
            ("ascii", "Al[X]", True),
        ):
            self.announce(announced)
            self.assertEqual(self.replies_to(":al[x]!u@host PRIVMSG errklein :!name it"), ["what is it called?"])
            self.assertEqual(
                self.replies_to(f":{other}!u@host PRIVMSG errklein :Rosinante"), ["so it is Rosinante"] * answers
            )
            self.replies_to(":al[x]!u@host PRIVMSG errklein :nothing")

    def test_history(self) -> None:
        """`!history`, `!!` and plugins find the history by any spelling of the nick."""
        self.announce("ascii")
        self.replies_to(":Al[x]!u@host PRIVMSG errklein :!open")
        self.assertIn("open", self.replies_to(":AL[X]!u@host PRIVMSG errklein :!history")[0])
        self.assertEqual(self.replies_to(":AL[X]!u@host PRIVMSG errklein :!!"), ["opened"])
        self.assertEqual(self.replies_to(":al{x}!u@host PRIVMSG errklein :!history"), [])
        self.assertEqual(self.replies_to(":al{x}!u@host PRIVMSG errklein :!!"), [])
        self.assertEqual([given[0] for given in self.bot.cmd_history["Al[X]"]], ["open"])


class RateTests(WholeBotCase):
    """COMMAND_RATE."""

    plugins = (Talk,)
    settings = {"COMMAND_RATE": "2/min"}

    def test_other_nick(self) -> None:
        """A person who takes another nick doesn't get further commands; a person with another user or host does."""
        masks = ("al!u@host", "AL!u@host", "carol!u@host", "al!v@host", "al!u@other")
        replies = [self.replies_to(f":{mask} PRIVMSG errklein :!open") for mask in masks]
        self.assertEqual(replies, [["opened"], ["opened"], [], ["opened"], ["opened"]])


class FlowTests(WholeBotCase):
    """Flows."""

    plugins = (Talk,)

    def flow_of(self, mask: str) -> Any:
        """Return the flow of the person with this mask."""
        return self.bot.flow_executor.flow_of(self.bot.backends["irc"].build_identifier(mask))

    def test_same_person(self) -> None:
        """A flow continues with another spelling of the nick, and not with another person."""
        root = FlowRoot("journey", "Two steps.")
        root.connect("open", auto_trigger=True).connect("name_it")
        self.bot.flow_executor.add_flow(root)
        self.announce("ascii")
        self.replies_to(":al[x]!u@host PRIVMSG errklein :!open")
        self.assertIsNotNone(self.flow_of("AL[X]!u@host"))
        self.assertIsNone(self.flow_of("al{x}!u@host"))
        self.assertIsNone(self.flow_of("al[x]!v@host"))


class RelayTests(WholeBotCase):
    """CHATROOM_RELAY and REVERSE_CHATROOM_RELAY."""

    settings = {"CHATROOM_RELAY": {"al[x]": ("#ops",)}, "REVERSE_CHATROOM_RELAY": {"#OPS": ("carol",)}}

    def test_relays(self) -> None:
        """Persons and rooms of relays are found by the case mapping."""
        self.announce("rfc1459")
        self.assertEqual(self.replies_to(":Al{X}!u@host PRIVMSG errklein :hello"), ["hello"])
        self.assertEqual(self.replies_to(":bob!u@host PRIVMSG #ops :hello"), ["[bob] hello"])
        self.announce("ascii")
        self.assertEqual(self.replies_to(":Al{X}!u@host PRIVMSG errklein :hello"), [])


class ConnectionTests(WholeBotCase):
    """The bot's own nick, and its rooms."""

    plugins = (Talk,)
    settings = {"BOT_IDENTITY": {"nickname": "err[k]", "server": "irc.example"}, "CHATROOM_PRESENCE": ("#ops", "#a[1]")}

    def log_in(self, *more: str) -> None:
        """Register as err[k]."""
        self.server.welcome("err[k]")
        self.server.say(*more)

    def test_itself(self) -> None:
        """The bot accepts messages to its nick, not to another one, and ignores its own."""
        self.announce("rfc1459")
        self.server.enter("#ops", "err[k]")
        self.server.enter("#a[1]", "err[k]")
        self.assertEqual(self.replies_to(":al!u@host PRIVMSG ERR{K} :!open"), ["opened"])
        self.assertEqual(self.replies_to(":ERR{K}!u@host PRIVMSG err[k] :!open"), [])
        self.announce("ascii")
        self.assertEqual(self.replies_to(":al!u@host PRIVMSG ERR{K} :!open"), [])
        self.assertEqual(self.replies_to(":err{k}!u@host PRIVMSG err[k] :!open"), ["opened"])

    def test_rooms(self) -> None:
        """A change of the mapping applies to the rooms and occupants that are already known."""
        self.server.enter("#a[1]", "err[k]")
        backend = self.bot.backends["irc"]
        self.assertTrue(backend.query_room("#A{1}").joined)
        self.announce("ascii")
        self.assertFalse(backend.query_room("#A{1}").joined)
        self.assertTrue(backend.query_room("#A[1]").joined)
        self.server.say(":al[x]!u@host JOIN #a[1]", ":AL{X}!u@host JOIN #a[1]")
        nicks = sorted(one.nick for one in backend.query_room("#a[1]").occupants)
        self.assertEqual(nicks, ["AL{X}", "al[x]", "err[k]"])
