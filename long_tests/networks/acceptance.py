"""What a whole bot does on a chat network, as the people there see it: one script for all networks, and what each lacks.

`AcceptanceCase` is the script. A `Site` is one network for it: a server, an administrator named alice, and bob.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import treq
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from errklein.config import ConfigError, load_config
from errklein.config.networks import find_network
from errklein.http_client import HTTPClients
from errklein.networks.context import NetworkContext
from errklein.networks.errors import Unusable
from errklein.wiring import wire
from tests.processes import free_port, write_plugin

LACKS: Mapping[str, Mapping[str, str]] = {
    "Matrix": {"button": "a line with numbers, of which one is the answer"},
    "Slack": {},
    "Telegram": {
        "deletion by people": "Telegram tells bots nothing of deletions",
        "mention": "an @username in a text always notifies its holder",
        "occupants": "Telegram doesn't tell bots who is in a group; the command says so",
    },
    "Test": {
        "password": "people and bot are in one process",
        "mention": "the recipients of a message are all who see it",
        "unknown room": "joining makes the room",
    },
    "XMPP": {
        "button": "a line with numbers, of which one is the answer",
        "mention": "a nick in a text always notifies its holder",
        "unknown room": "joining makes the room",
    },
    "IRC": {
        "button": "a line with numbers, of which one is the answer",
        "deletion": "what was sent stays; the plugin gets Unsupported",
        "edit": "a further message that begins with (corrected)",
        "edit by people": "people can't edit",
        "file": "the text of a small one",
        "file by people": "people can't send any",
        "mention": "a name in a text always notifies its holder",
        "reaction": "a message with the emoji",
        "reaction by people": "people can't react",
        "thread": "a quote of one line",
        "unknown room": "joining makes the room",
    },
}
"""What a network lacks, and what happens instead, by network and feature."""

PLUGIN = """\
from errklein import BotPlugin, botcmd

class Acceptance(BotPlugin):
    def activate(self):
        super().activate()
        self.events = []

    @botcmd
    def repeat(self, message, args):
        return args

    @botcmd(admin_only=True)
    def restricted(self, message, args):
        return "for administrators"

    @botcmd
    def guarded(self, message, args):
        return "by an administrator"

    @botcmd
    def listing(self, message, args):
        code = "\\n".join(f"line {number:03} = <{number}> & *it*" for number in range(140))
        return f"The code:\\n\\n```python\\n{code}\\n```\\n\\nThat was **all**."

    @botcmd
    def emoji(self, message, args):
        return "begin " + "\\N{GRINNING FACE}" * 10_000 + " end"

    @botcmd
    async def branch(self, message, args):
        self.send(message.to, "in the thread", thread=message)

    @botcmd
    async def progress(self, message, args):
        sent = self.send(message.to, "the build runs")
        await sent
        await self.edit(sent, "the build *passed*")

    @botcmd
    async def withdraw(self, message, args):
        sent = self.send(message.to, "nobody reads this")
        await sent
        try:
            await self.delete(sent)
        except Exception as error:
            return f"not deleted: {type(error).__name__}"
        return "deleted"

    @botcmd
    async def like(self, message, args):
        await self.react(message, "\\N{THUMBS UP SIGN}")

    @botcmd
    async def attach(self, message, args):
        await self.send_file(message.to, b"one\\ntwo\\n", name="log.txt")

    @botcmd
    async def poke(self, message, args):
        self.send(message.to, f"wake up {args}", mentions=True)

    @botcmd
    async def tell(self, message, args):
        try:
            await self.send(await self.resolve(args), "is anybody there?")
        except Exception as error:
            return f"not sent: {type(error).__name__}"

    @botcmd
    async def decide(self, message, args):
        answer = await self.choose(message, "Deploy to *production*?", ["yes", "no"], timeout=30)
        return f"decided: {answer} by {answer.by.nick}"

    @botcmd
    def noted(self, message, args):
        return "; ".join(self.events) or "nothing"

    async def callback_message(self, message):
        for attachment in message.attachments:
            content = await attachment.read()
            self.events.append(f"{attachment.name} has {len(content)} bytes")

    async def callback_message_edited(self, message):
        self.events.append(f"edited to {message.body}")

    async def callback_message_deleted(self, ref, by):
        self.events.append("deleted")

    async def callback_reaction(self, reaction):
        self.events.append(f"{reaction.action} {reaction.reaction_name}")
"""

HOSTILE = (
    "<script>alert(1)</script> [a](javascript:x) \x02bold\x1b[31m @room @everyone `code` \u202ereversed &amp; \x00"
)


class Post(NamedTuple):
    """A message of the bot, as people see it now."""

    text: str
    id: str = ""
    thread: str = ""
    is_edited: bool = False
    html: str = ""
    buttons: Sequence[str] = ()
    people: Sequence[str] = ()
    """Whom it notifies, where the network says so."""
    file: bytes | None = None


class Site(ABC):
    """A network with two people, alice and bob, and the rooms in which they are."""

    network: ClassVar[str]
    """The value of BACKEND."""
    room: str
    """The room of CHATROOM_PRESENCE."""
    other_room: str
    """A room with alice that the bot can join."""
    unknown_room: str
    """The name of a room that doesn't exist."""
    admin: str
    """The entry of BOT_ADMINS that is alice."""
    nick = "errklein"
    """The name by which people address the bot."""
    file_name = "!repeat a file.bin"
    """What the server makes of this name of a file."""

    def __init__(self, reactor: Any) -> None:
        self.reactor = reactor
        self.bot: Any = None

    @abstractmethod
    async def start(self) -> None:
        """Start the server, and let the people come."""

    @abstractmethod
    async def stop(self) -> None:
        """Stop all that `start` has started, after the bot."""

    @abstractmethod
    def identity(self, right: bool = True) -> Mapping[str, object]:
        """Return BOT_IDENTITY, or one with a wrong password."""

    @abstractmethod
    async def say(self, text: str, *, by: str = "alice", private: bool = False, thread: str = "") -> str:
        """Say something in the room, or to the bot; return its id."""

    @abstractmethod
    async def posts(self, private: bool = False) -> Sequence[Post]:
        """Return the messages of the bot in the room, or to alice."""

    async def press(self, post: Post, label: str, *, by: str = "alice") -> str:
        """Press a button of a message in the room. Return the text that only this person is shown; "" for none."""
        raise NotImplementedError

    @abstractmethod
    async def topic(self) -> str:
        """Return the topic of the room, as alice sees it."""

    @abstractmethod
    async def has_joined(self, room: str) -> bool:
        """Return whether alice sees the bot in a room."""

    async def edit(self, id: str, text: str) -> None:
        """Edit a message of alice."""
        raise NotImplementedError

    async def delete(self, id: str) -> None:
        """Delete a message of alice."""
        raise NotImplementedError

    async def react(self, id: str, emoji: str) -> None:
        """Let alice react to a message."""
        raise NotImplementedError

    async def reactions(self) -> Sequence[tuple[str, str]]:
        """Return the bot's reactions: the ids of messages, and the emoji."""
        raise NotImplementedError

    async def attach(self, name: str, content: bytes) -> None:
        """Let alice send a file into the room."""
        raise NotImplementedError

    def settings(self) -> Mapping[str, object]:
        """Return further settings of the network."""
        return {}


class AcceptanceCase(TestCase):
    """The script. Subclasses return their site; the class itself has no test."""

    timeout = 300

    site: Site
    failures: dict[str, str]

    def make_site(self, reactor: Any) -> Site:
        """Return the network."""
        raise NotImplementedError

    async def start(self) -> None:
        """Start the network, and a bot with the plugin."""
        from twisted.internet import reactor

        self.reactor: Any = reactor
        self.site = site = self.make_site(reactor)
        self.addCleanup(lambda: Deferred.fromCoroutine(site.stop()))
        await site.start()
        directory = Path(self.mktemp()).absolute()
        write_plugin(directory, "Acceptance", PLUGIN)
        (directory / "data").mkdir()
        self.port = free_port()
        config = {
            "NETWORKS": {"net": self.of_network()},
            "STORAGE": "Memory",
            "BOT_DATA_DIR": str(directory / "data"),
            "BOT_EXTRA_PLUGIN_DIR": str(directory),
        }
        _, make_bot = wire(reactor, load_config(None, config), ended=lambda: None)
        site.bot = bot = make_bot()
        await bot.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(bot.stop(1)))
        self.assertEqual([plugin.problem for plugin in bot.plugin_manager.found if plugin.problem], [])
        await self.until(lambda: self.has_joined(site.room), "the bot joins the room")

    def of_network(self, right: bool = True) -> dict[str, object]:
        """Return the settings of the network."""
        site = self.site
        return {
            "BACKEND": site.network,
            "BOT_IDENTITY": dict(site.identity(right)),
            "BOT_ADMINS": (site.admin,),
            "CHATROOM_PRESENCE": (site.room,),
            "ACCESS_CONTROLS": {"guarded": {"allowusers": (site.admin,)}},
            **site.settings(),
        }

    def lacks(self, feature: str) -> bool:
        """Return whether the network lacks a feature."""
        return feature in LACKS[self.site.network]

    async def has_joined(self, room: str) -> bool:
        """Return whether the bot is in a room: as it says, and as people see."""
        backend = next(iter(self.site.bot.backends.values()))
        return bool(backend.rooms()) and await self.site.has_joined(room)

    async def until(self, holds: Callable[[], Any], what: str, seconds: float = 60.0) -> Any:
        """Wait until something holds; fail with `what` if that takes too long. Return what it is."""
        until = self.reactor.seconds() + seconds
        while not (found := await holds()):
            if self.reactor.seconds() > until:
                shown = [post.text[:60] for post in await self.site.posts()][-5:]
                raise AssertionError(f"not within {seconds:g} s: {what}; the last posts were {shown}")
            await deferLater(self.reactor, 0.02)
        return found

    async def post(self, wanted: str, *, private: bool = False, seconds: float = 60.0) -> Post:
        """Return the first new post that contains a text."""

        async def found() -> Post | None:
            new = (await self.site.posts(private))[self.seen[private] :]
            return next((post for post in new if wanted in post.text), None)

        post: Post = await self.until(found, f"a post with {wanted!r}", seconds)
        return post

    async def answer(self, text: str, wanted: str, **options: Any) -> Post:
        """Say something, and return the post with a text that follows."""
        private = bool(options.get("private"))
        self.seen = {kind: len(await self.site.posts(kind)) for kind in (False, True)}
        self.said = await self.site.say(text, **options)
        return await self.post(wanted, private=private)

    async def quiet(self) -> Sequence[Post]:
        """Return the new posts in the room, after the answer to a command shows that no other follows."""
        seen = self.seen[False]
        await self.answer("!repeat and now", "and now")
        return [post for post in (await self.site.posts())[seen:] if post.text != "and now"]

    async def run_script(self) -> None:
        """Go through all steps, and fail with the list of those that failed."""
        await self.start()
        failed = {}
        self.seen = {False: 0, True: 0}
        for name in [name for name in vars(AcceptanceCase) if name.startswith("check_")]:
            try:
                await getattr(self, name)()
            except Exception:
                failed[name] = Failure().getErrorMessage()
        if failed:
            self.fail("\n".join(f"{name}: {reason}" for name, reason in failed.items()))

    # The steps

    async def check_room_and_private_commands(self) -> None:
        """Answers go where the command was given."""
        await self.answer(f"{self.site.nick}: repeat by name", "by name")
        await self.answer("!repeat in the room", "in the room")
        self.assertEqual(len((await self.site.posts())[self.seen[False] :]), 1)
        await self.answer("!repeat in private", "in private", private=True)
        self.assertEqual(await self.quiet(), [])

    async def check_webhook(self) -> None:
        """A webhook that is made in the room shows there what is posted to it."""
        address = {"HOST": "127.0.0.1", "PORT": self.port}
        await self.answer(f"!plugin config Webserver {address!r}", "configuration done", private=True)
        await self.answer("!webhook new post", "its address is in your private messages")

        async def found() -> str:
            texts = "\n".join(post.text for post in await self.site.posts(True))
            shown = re.findall(r"https?://[^\s`<>]+/[^\s`<>]+", texts)
            return shown[-1] if shown else ""

        url = re.sub(r"//[^/]+", f"//127.0.0.1:{self.port}", await self.until(found, "the address"))
        response = await treq.post(url, data=b"the backup *failed*", persistent=False)
        await response.content()
        self.assertLess(response.code, 300)
        await self.post("the backup")

    async def check_threads(self) -> None:
        """A plugin begins a thread, and the answer to a command in a thread goes there."""
        post = await self.answer("!branch", "in the thread")
        if self.lacks("thread"):
            posts = (await self.site.posts())[self.seen[False] :]
            self.assertIn("!branch", "\n".join(each.text for each in posts))
            return
        root = self.said
        self.assertEqual(post.thread, root)
        self.assertEqual((await self.answer("!repeat below", "below", thread=root)).thread, root)
        self.assertEqual((await self.answer("!repeat above", "above")).thread, "")

    async def check_edits(self) -> None:
        """A plugin edits a message."""
        if self.lacks("edit"):
            await self.answer("!progress", "(corrected) the build passed")
            return
        post = await self.answer("!progress", "the build passed")
        self.assertTrue(post.is_edited)
        self.assertEqual(len((await self.site.posts())[self.seen[False] :]), 1)

    async def check_edits_by_people(self) -> None:
        """An edited message runs no command; plugins get it."""
        if self.lacks("edit by people"):
            return
        await self.answer("!repeat first", "first")
        await self.site.edit(self.said, "!repeat second")
        self.assertEqual([post.text for post in await self.quiet()], ["first"])
        await self.answer("!noted", "edited to !repeat second")
        if not self.lacks("deletion by people"):
            await self.site.delete(self.said)
            await self.answer("!repeat third", "third")
            await self.answer("!noted", "deleted")

    async def check_deletions(self) -> None:
        """A plugin deletes a message of the bot."""
        await self.answer("!withdraw", "not deleted: Unsupported" if self.lacks("deletion") else "deleted")
        texts = [post.text for post in (await self.site.posts())[self.seen[False] :]]
        self.assertEqual("nobody reads this" in texts, self.lacks("deletion"))

    async def check_reactions(self) -> None:
        """The bot reacts to a message, and plugins get reactions of people."""
        self.seen = {kind: len(await self.site.posts(kind)) for kind in (False, True)}
        if self.lacks("reaction"):
            await self.answer("!like", "alice: \N{THUMBS UP SIGN}")
            return
        self.said = await self.site.say("!like")

        async def found() -> bool:
            return (self.said, "\N{THUMBS UP SIGN}") in await self.site.reactions()

        await self.until(found, "the reaction")
        post = await self.answer("!repeat react to this", "react to this")
        await self.site.react(post.id, "\N{ROCKET}")
        await self.answer("!repeat then", "then")
        await self.answer("!noted", "added \N{ROCKET}")

    async def check_choices(self) -> None:
        """Only the asked person may choose, and afterwards the question shows the choice."""
        post = await self.answer("!decide", "Deploy to production?")
        if self.lacks("button"):
            self.assertIn("Answer 1 (yes) or 2 (no).", "\n".join(each.text for each in await self.site.posts()))
            await self.site.say("yes", by="bob")
            await self.site.say("2")
            await self.post("decided: no by alice")
            return
        self.assertEqual([*post.buttons], ["yes", "no"])
        self.assertIn("may not", await self.site.press(post, "yes", by="bob"))
        self.assertEqual(await self.site.press(post, "no"), "")
        await self.post("decided: no by")
        changed = await self.post("no (")
        self.assertEqual((changed.id, [*changed.buttons]), (post.id, []))
        self.assertIn("isn't open any more", await self.site.press(post, "no"))

    async def check_files(self) -> None:
        """The bot sends a file, and reads those of people."""
        post = await self.answer("!attach", "log.txt")
        if self.lacks("file"):
            await self.post("two")
            return
        self.assertEqual(post.file, b"one\ntwo\n")
        await self.site.attach("!repeat a file.bin", b"x" * 1000)
        self.assertEqual([post.text for post in await self.quiet()], ["log.txt"])
        noted = f"{self.site.file_name} has 1000 bytes"

        async def is_noted() -> bool:
            return noted in (await self.answer("!noted", "")).text

        # The bot reads the file while it answers.
        await self.until(is_noted, noted)

    async def check_rooms(self) -> None:
        """Administrators let the bot join a room, set topics and list people."""
        name = self.site.other_room
        await self.answer(f"!room join {name}", "the room", private=True)
        await self.until(lambda: self.site.has_joined(name), "the bot in the other room")
        await self.answer(f"!room topic {self.site.room} Release day", "set", private=True)
        await self.until(self.has_topic, "the topic")
        wanted = "The command failed" if self.lacks("occupants") else "alice"
        await self.answer(f"!room occupants {self.site.room}", wanted, private=True)
        await self.answer("!room list", name, private=True)
        await self.answer(f"!room leave {name}", "Left", private=True)

    async def has_topic(self) -> bool:
        """Return whether alice sees the topic."""
        return await self.site.topic() == "Release day"

    async def check_unknown_room(self) -> None:
        """The bot says what is wrong with a room that doesn't exist."""
        if not self.lacks("unknown room"):
            await self.answer(f"!room join {self.site.unknown_room}", "there is no room", private=True)
            await self.answer(f"!tell {self.site.unknown_room}", "not sent: RoomDoesNotExistError")

    async def check_administrators(self) -> None:
        """Only alice may give commands of administrators."""
        await self.answer("!restricted", "for administrators", private=True)
        await self.answer("!guarded", "by an administrator")
        await self.answer("!guarded", "not allowed", by="bob")

    async def check_hostile_text(self) -> None:
        """Hostile text is shown as text, and the bot goes on."""
        post = await self.answer(f"!repeat x {HOSTILE}", "alert(1)")
        self.assertNotIn("<script", post.html)
        self.assertNotIn("javascript:", re.sub(r">[^<]*", "", post.html))
        self.assertFalse(any(one < " " for one in post.text.replace("\n", "")), ascii(post.text))
        await self.site.say("!" + "x" * 5000 if self.site.network != "IRC" else "!" + "x" * 300)
        await self.answer("!repeat still here", "still here")

    async def check_mentions(self) -> None:
        """A message notifies people only if the plugin asks for that."""
        if self.lacks("mention"):
            return
        self.assertEqual((await self.answer(f"!repeat to {self.site.admin} @room", "to")).people, ())
        self.assertEqual((await self.answer(f"!poke {self.site.admin}", "wake up")).people, (self.site.admin,))

    async def check_wrong_password(self) -> None:
        """A check of the connection says that the password is wrong."""
        network = find_network(self.site.network)
        if self.lacks("password") or network is None or network.check is None:
            return
        config = load_config(None, {"NETWORKS": {"net": self.of_network(right=False)}, "BOT_DATA_DIR": self.mktemp()})
        clients = HTTPClients(self.reactor)
        self.addCleanup(clients.close)
        with self.assertRaises((ConfigError, ConnectionError, Unusable)):
            await network.check(NetworkContext(self.reactor, config.networks["net"], clients=clients))

    # Last, since IRC servers slow down who has sent much

    async def check_long_code(self) -> None:
        """5,000 characters with code arrive whole and in order."""
        await self.answer("!listing", "That was")
        text = "\n".join(post.text for post in (await self.site.posts())[self.seen[False] :])
        numbers = [int(found) for found in re.findall(r"line (\d{3}) = <\d+> & \*it\*", text)]
        self.assertEqual(numbers, list(range(140)))

    async def check_emoji(self) -> None:
        """10,000 emoji arrive whole."""
        await self.answer("!emoji", "end")
        texts = [post.text for post in (await self.site.posts())[self.seen[False] :]]
        self.assertEqual(sum(text.count("\N{GRINNING FACE}") for text in texts), 10_000)
        self.assertTrue(texts[0].startswith("begin"), texts[0][:20])
        self.assertTrue(texts[-1].endswith("end"), texts[-1][-20:])
