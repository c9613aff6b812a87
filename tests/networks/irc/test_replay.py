"""Replayed messages, in the formats of servers and bouncers."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from errklein import BotPlugin, botcmd, botmatch, cmdfilter
from errklein.chat import Message
from errklein.commands.flows import FlowRoot
from errklein.networks.irc._lines import MOST_BATCHES, Replay, server_time
from tests.networks.irc.listening import Listener, logged
from tests.networks.irc.played import PlayedServer
from tests.networks.irc.whole_bot import WholeBotCase


def at(second: float) -> bytes:
    """Return the time tag for a second of a minute that all tests share."""
    return b"time=2026-11-25T12:00:%06.3fZ" % second


ALICE = b":alice!al@host PRIVMSG #ops :"
PRIVATE = b":alice!al@host PRIVMSG errklein :"
WELCOME = b":irc.example 001 errklein :Welcome"
JOIN = b":errklein!~e@host JOIN #ops"


class ServerTests(SynchronousTestCase):
    """Lines of a server, and the messages that the backend reports."""

    def heard(self, *lines: bytes) -> dict[str, bool]:
        """Return for each received message, by its text, whether it is delayed."""
        server, self.listener = PlayedServer(), Listener()
        server.backend(rooms=["#ops"]).connect(self.listener)
        server.accept()
        server.say(*lines)
        return {message.body: message.delayed for message in self.listener.messages}

    def test_table(self) -> None:
        """A message is delayed if it is in a playback batch, or older than JOIN, the welcome or the first time tag."""
        old, new = {"old": True, "new": False}, {"new": False}
        table: list[tuple[str, list[bytes], dict[str, bool]]] = [
            ("no tags", [WELCOME, JOIN, ALICE + b"new", PRIVATE + b"also"], {"new": False, "also": False}),
            (
                "older than JOIN",
                [
                    b"@%s " % at(1) + WELCOME,
                    b"@%s " % at(5) + JOIN,
                    b"@%s " % at(4.999) + ALICE + b"old",
                    b"@%s " % at(5.001) + ALICE + b"new",
                ],
                old,
            ),
            ("as old as JOIN", [WELCOME, b"@%s " % at(5) + JOIN, b"@%s " % at(5) + ALICE + b"new"], new),
            (
                "in private",
                [
                    b"@%s " % at(3) + WELCOME,
                    b"@%s " % at(9) + JOIN,
                    b"@%s " % at(2) + PRIVATE + b"old",
                    b"@%s " % at(4) + PRIVATE + b"new",
                ],
                old,
            ),
            (
                "JOIN without time",
                [
                    b"@%s :i NOTICE * :hello" % at(3),
                    WELCOME,
                    JOIN,
                    b"@%s " % at(2) + ALICE + b"old",
                    b"@%s " % at(4) + ALICE + b"new",
                ],
                old,
            ),
            (
                "welcome without time",
                [
                    WELCOME,
                    b"@%s " % at(5) + JOIN,
                    b"@%s " % at(4) + PRIVATE + b"old",
                    b"@%s " % at(6) + PRIVATE + b"new",
                ],
                old,
            ),
            ("first time of all", [WELCOME, JOIN, b"@%s " % at(2) + ALICE + b"new"], new),
            (
                "clock set back",
                [
                    b"@%s " % at(40) + WELCOME,
                    b"@%s " % at(50) + JOIN,
                    b"@%s " % at(10) + ALICE + b"old",
                    b"@%s " % at(11) + PRIVATE + b"old",
                    b"@%s :irc.example PONG irc.example :errklein-alive" % at(12),
                    b"@%s " % at(11) + ALICE + b"older",
                    b"@%s " % at(13) + ALICE + b"new",
                    b"@%s " % at(13) + PRIVATE + b"also",
                ],
                {"old": True, "older": True, "new": False, "also": False},
            ),
            (
                "another room's JOIN",
                [
                    b"@%s " % at(1) + WELCOME,
                    b"@%s " % at(2) + JOIN,
                    b"@%s :errklein!~e@host JOIN #b" % at(8),
                    b"@%s " % at(3) + ALICE + b"new",
                    b"@%s :alice!al@host PRIVMSG #B :old" % at(7),
                ],
                old,
            ),
            (
                "somebody else's JOIN",
                [
                    WELCOME,
                    b"@%s " % at(2) + JOIN,
                    b"@%s :alice!al@host JOIN #ops" % at(8),
                    b"@%s " % at(3) + ALICE + b"new",
                ],
                new,
            ),
            (
                "joined again",
                [
                    WELCOME,
                    b"@%s " % at(2) + JOIN,
                    b":errklein!~e@host PART #ops",
                    b"@%s " % at(8) + JOIN,
                    b"@%s " % at(7) + ALICE + b"old",
                    b"@%s " % at(9) + ALICE + b"new",
                ],
                old,
            ),
            (
                "times that are none",
                [WELCOME, b"@%s " % at(5) + JOIN, b"@time=yesterday " + ALICE + b"new", b"@time " + ALICE + b"too"],
                {"new": False, "too": False},
            ),
            (
                "a batch without times",
                [
                    WELCOME,
                    JOIN,
                    b":i BATCH +1 chathistory #ops",
                    b"@batch=1 " + ALICE + b"old",
                    b":i BATCH -1",
                    ALICE + b"new",
                ],
                old,
            ),
            (
                "a batch with new times",
                [
                    WELCOME,
                    b"@%s " % at(2) + JOIN,
                    b":i BATCH +x znc.in/playback #ops",
                    b"@batch=x;%s " % at(3) + ALICE + b"old",
                    b"@%s " % at(3) + ALICE + b"new",
                ],
                old,
            ),
            (
                "a batch in a batch",
                [
                    WELCOME,
                    JOIN,
                    b":i BATCH +1 draft/chathistory #ops",
                    b"@batch=1 :i BATCH +2 draft/multiline #ops",
                    b"@batch=2 " + ALICE + b"old",
                    b"@batch=1 :i BATCH -2",
                    b":i BATCH -1",
                    ALICE + b"new",
                ],
                old,
            ),
            (
                "a playback in another batch",
                [
                    WELCOME,
                    JOIN,
                    b":i BATCH +1 labeled-response",
                    b"@batch=1 :i BATCH +2 chathistory #ops",
                    b"@batch=2 " + ALICE + b"old",
                    b"@batch=1 " + ALICE + b"new",
                ],
                old,
            ),
            (
                "a batch that isn't open",
                [WELCOME, JOIN, b":i BATCH +1 other", b":i BATCH -1", b"@batch=1 " + ALICE + b"old", ALICE + b"new"],
                old,
            ),
            (
                "a batch that never ends",
                [WELCOME, JOIN, b":i BATCH +1 chathistory #ops", b"@batch=1 " + ALICE + b"old", ALICE + b"new"],
                old,
            ),
            (
                "a broken batch",
                [WELCOME, JOIN, b":i BATCH", b":i BATCH +", b":i BATCH 1 chathistory", ALICE + b"new"],
                new,
            ),
            ("escapes", [WELCOME, JOIN, rb"@a=\:time=x;b=\s;+c=\\ " + ALICE + b"new"], new),
            ("long tags", [WELCOME, JOIN, b"@a=" + b"x" * 8180 + b"; " + ALICE + b"n" * 400], {"n" * 400: False}),
            ("Latin-1 behind tags", [WELCOME, JOIN, b"@a=\xc3\xbc " + ALICE + b"caf\xe9"], {"café": False}),
            ("nothing behind tags", [WELCOME, JOIN, b"@a=1", b"@a=1 ", b"@", b"@ ", ALICE + b"new"], new),
        ]
        for name, lines, expected in table:
            self.assertEqual(self.heard(*lines), expected, name)

    def test_who_came_and_went(self) -> None:
        """JOIN, PART, TOPIC and NICK in a playback change nothing and call no callback."""
        self.heard(
            WELCOME,
            JOIN,
            b":i BATCH +1 chathistory #ops",
            b"@batch=1 :bob!b@host JOIN #ops",
            b"@batch=1 :bob!b@host TOPIC #ops :old",
            b"@batch=1 :errklein!~e@host PART #ops",
            b"@batch=1 :errklein!~e@host NICK other",
            b"@batch=1 " + ALICE + b"errklein: old",
            b":i BATCH -1",
            ALICE + b"new",
        )
        self.assertEqual(self.listener.names(), ["connected", "joined", "message", "message"])

    def test_other_batches(self) -> None:
        """Lines in other batches are handled normally: a netsplit removes people from the rooms."""
        server = PlayedServer()
        backend = server.backend(rooms=["#ops"])
        backend.connect(Listener())
        server.accept()
        server.say(WELCOME, JOIN, b":alice!al@host JOIN #ops", b":i BATCH +n netsplit a.example b.example")
        self.assertEqual(len(backend.query_room("#ops").occupants), 2)
        server.say(b"@batch=n :alice!al@host QUIT :a.example b.example", b":i BATCH -n")
        self.assertEqual([one.nick for one in backend.query_room("#ops").occupants], ["errklein"])

    def test_old_people_are_not_there(self) -> None:
        """The sender of a replayed message doesn't become an occupant."""
        server = PlayedServer()
        backend = server.backend(rooms=["#ops"])
        backend.connect(Listener())
        server.accept()
        server.say(WELCOME, JOIN, b":i BATCH +1 chathistory #ops", b"@batch=1 " + ALICE + b"old", b":i BATCH -1")
        self.assertEqual([one.nick for one in backend.query_room("#ops").occupants], ["errklein"])

    def test_the_log_says_so_once(self) -> None:
        """The log has one line for each connection that replays messages."""
        lines = logged(self, "replays old messages")
        self.heard(WELCOME, JOIN, b":i BATCH +1 chathistory #ops", *[b"@batch=1 " + ALICE + b"old"] * 3)
        self.assertEqual(len(lines), 1)

    def test_old_words_of_nickserv(self) -> None:
        """A replayed notice of NickServ doesn't make the bot join its rooms."""
        server = PlayedServer()
        server.backend(rooms=["#ops"], identity={"nickserv_password": "s3cret"}).connect(Listener())
        server.accept()
        server.say(WELCOME, b":i BATCH +1 chathistory errklein")
        server.take()
        server.say(b"@batch=1 :NickServ!n@services NOTICE errklein :You are now identified")
        self.assertEqual(server.take(), [])
        server.say(b":NickServ!n@services NOTICE errklein :You are now identified")
        self.assertEqual(server.take(), ["JOIN #ops"])


class TimeTests(SynchronousTestCase):
    """The `time` tag."""

    def test_table(self) -> None:
        """Times in UTC are parsed, with or without fractions; a leap second is after the second before it."""
        for text, expected in (
            ("2026-11-25T23:50:23.526Z", datetime(2026, 11, 25, 23, 50, 23, 526_000, UTC)),
            ("2026-11-25T23:50:23Z", datetime(2026, 11, 25, 23, 50, 23, 0, UTC)),
            ("2026-11-25T23:50:23.123456789Z", datetime(2026, 11, 25, 23, 50, 23, 123_456, UTC)),
            ("2012-06-30T23:59:60.419Z", datetime(2012, 6, 30, 23, 59, 59, 999_999, UTC)),
            ("2026-13-25T23:50:23Z", None),
            ("2026-11-25T24:50:23Z", None),
            ("2026-11-25T23:50:23", None),
            ("2026-11-25 23:50:23Z", None),
            ("1795650623.526", None),
            ("٢٠٢٦-11-25T23:50:23Z", None),
            ("0000-00-00T00:00:00Z", None),
            ("", None),
        ):
            self.assertEqual(server_time({"time": text}), expected, text)
        self.assertIsNone(server_time({}))

    @given(st.datetimes(timezones=st.just(UTC), min_value=datetime(1000, 1, 1)))
    def test_any_time(self, time: datetime) -> None:
        """Any time is read back."""
        text = time.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        self.assertEqual(server_time({"time": text}), time)


class BatchTests(SynchronousTestCase):
    """Batches that never end."""

    def test_memory(self) -> None:
        """The number of open batches is limited; messages in a dropped batch count as replayed."""
        replay = Replay()
        for number in range(10 * MOST_BATCHES):
            replay.batch([f"+{number}", "netsplit"], {})
        kept = [number for number in range(10 * MOST_BATCHES) if not replay.in_playback({"batch": str(number)})]
        self.assertEqual(kept, list(range(9 * MOST_BATCHES, 10 * MOST_BATCHES)))

    @given(
        st.lists(st.tuples(st.sampled_from("+-?"), st.sampled_from("ab"), st.sampled_from(["chathistory", "x", None])))
    )
    def test_any_order(self, lines: list[tuple[str, str, str | None]]) -> None:
        """A message is replayed if its batch is an open playback or isn't open."""
        replay, open_now = Replay(), {}
        for sign, reference, kind in lines:
            replay.batch([sign + reference, *([kind] if kind else [])], {})
            if sign == "+":
                open_now[reference] = kind == "chathistory"
            elif sign == "-":
                open_now.pop(reference, None)
            for name in "ab":
                self.assertEqual(replay.in_playback({"batch": name}), open_now.get(name, True))
        self.assertFalse(replay.in_playback({}))


class Listening(BotPlugin):
    """Records what it receives."""

    def activate(self) -> None:
        """Clear the record."""
        super().activate()
        self.heard: list[tuple[str, bool]] = []
        self.filtered: list[str | None] = []
        self.ran: list[str] = []

    @botcmd
    async def note(self, msg: Message, args: str) -> str:
        """A command."""
        self.ran.append(args)
        return f"noted {args}"

    @botmatch("note (.*)")
    async def overhear(self, msg: Message, match: object) -> str:
        """A pattern."""
        return "overheard"

    @botcmd
    async def name_it(self, msg: Message, args: str) -> str:
        """A question."""
        return f"so it is {await self.ask(msg, 'what is it called?', timeout=60)}"

    @cmdfilter(catch_unprocessed=True)
    def watch(self, msg: Message, cmd: str | None, args: str, dry_run: bool, emptycmd: bool = False) -> object:
        """A filter, for unknown commands too."""
        self.filtered.append(cmd)
        return "" if emptycmd else (msg, cmd, args)

    async def callback_message(self, message: Message) -> None:
        """A callback."""
        self.heard.append((message.body, message.delayed))


class BotTests(WholeBotCase):
    """A whole bot passes replayed messages to plugins, and does nothing else with them."""

    plugins = (Listening,)
    settings = {"BOT_PREFIX_OPTIONAL_ON_CHAT": True, "REVERSE_CHATROOM_RELAY": {"#ops": ("carol",)}}

    def replayed(self, *texts: bytes) -> list[str]:
        """Return the replies to texts in a playback, in the room and in private."""
        lines = [b"@batch=1 " + where + text for text in texts for where in (ALICE, PRIVATE)]
        return self.replies_to(b":i BATCH +1 chathistory #ops", *lines, b":i BATCH -1")

    def test_commands_patterns_and_filters(self) -> None:
        """No command, pattern, filter or relay runs; `callback_message` receives the message as delayed."""
        plugin = self.plugin(Listening)
        texts = [b"!note x", b"note y", b"!nothing", b"!!", b"just talk"]
        self.assertEqual(self.replayed(*texts), [])
        self.assertEqual((plugin.ran, plugin.filtered), ([], []))
        self.assertEqual(plugin.heard, [(text.decode(), True) for text in texts for _ in range(2)])
        self.assertEqual(sorted(self.replies_to(ALICE + b"!note z")), ["[alice] !note z", "noted z"])
        self.assertEqual(plugin.heard[-1], ("!note z", False))
        self.assertIn("1:!note z", self.replies_to(ALICE + b"!history"))

    def test_questions(self) -> None:
        """A replayed message answers no question."""
        self.assertEqual(self.replies_to(PRIVATE + b"!name it"), ["what is it called?"])
        self.assertEqual(self.replayed(b"Old Name"), [])
        self.assertEqual(self.replies_to(PRIVATE + b"Rosinante"), ["so it is Rosinante"])

    def test_flows(self) -> None:
        """A replayed command starts no flow, and takes no step."""
        root = FlowRoot("journey", "One step after the other.")
        root.connect("note", auto_trigger=True).connect("name_it")
        self.bot.flow_executor.add_flow(root)
        self.replayed(b"!note x")
        self.assertEqual(self.bot.flow_executor.in_flight, [])

    def test_own_messages(self) -> None:
        """The bot's own earlier messages aren't passed to plugins."""
        self.replies_to(b":i BATCH +1 chathistory #ops", b"@batch=1 :errklein!~e@host PRIVMSG #ops :I said this")
        self.assertEqual(self.plugin(Listening).heard, [])
