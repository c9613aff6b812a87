"""The operations of administrators, and the chat commands that guard them."""

from __future__ import annotations

import contextlib
import inspect
import json
import re
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest.mock import Mock

from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactor
from twisted.trial.unittest import SynchronousTestCase

import errklein
from errklein import BotPlugin, cmdfilter, webhook
from errklein.chat import Message
from errklein.commands.operations import Actor, Guard, operation
from errklein.journal.operations import WebhookOperations
from errklein.service import DataDirectory
from errklein.service.control import ControlSocket
from errklein.testing import ADMIN, TestBot
from errklein.webhooks.deliveries import Action
from tests.service.test_control import Transport


def operations() -> Iterator[tuple[Any, str, Guard]]:
    """Yield each operation of errklein: the class or module with it, its name, and its guard."""
    top = Path(errklein.__file__).parent
    for path in sorted(top.rglob("*.py")):
        if "@operation(" not in path.read_text("utf-8"):
            continue
        module = import_module(".".join(("errklein", *path.relative_to(top).with_suffix("").parts)))
        owners = [module, *(one for one in vars(module).values() if inspect.isclass(one))]
        for owner in owners:
            for name, value in list(vars(owner).items()):
                guard = Guard.of(value) if inspect.isfunction(value) and value.__module__ == module.__name__ else None
                if guard is not None:
                    yield owner, name, guard


class Watch(BotPlugin):
    """Blocks a command with one argument."""

    asked: list[bool] = []

    @cmdfilter
    async def block(self, msg: Message, cmd: str, args: Any, dry_run: bool) -> Any:
        self.asked.append(dry_run)
        return (None, None, None) if (cmd, args) == ("webhook_pause", "Shop:order") else (msg, cmd, args)


class OperationsTests(SynchronousTestCase):
    """All operations, on a bot without plugins of its own."""

    def setUp(self) -> None:
        """Start a bot whose rules deny everything to one person."""
        self.bot = TestBot([Watch], config={"ACCESS_CONTROLS": {"*": {"denyusers": ("@mallory", "mallory")}}})
        self.bot.start()
        self.addCleanup(self.bot.stop)
        self.bot.command("!plugin config Webserver {'HOST': '127.0.0.1', 'PORT': 3141}")

    def test_all(self) -> None:
        """Each operation takes an actor and the parameters that its guard names, and the command that guards it exists."""
        found = list(operations())
        self.assertGreater(len(found), 8)
        for owner, name, guard in found:
            parameters = inspect.signature(getattr(owner, name)).parameters
            self.assertEqual(parameters["by"].annotation, "Actor", name)
            self.assertLessEqual({one for one in guard.parameters if one[0] != "-"}, {*parameters}, name)
            self.assertIsNotNone(self.bot.bot.registry.find(guard.command), name)

    def test_denied(self) -> None:
        """A person to whom the rules deny a command can't perform its operations, neither with it nor elsewhere."""
        mallory = Message(frm=self.bot.backend.build_identifier("mallory"), to=self.bot.backend.bot_identifier)
        for owner, name, guard in operations():
            called: list[object] = []
            values = dict.fromkeys(guard.parameters, "1")
            self.assertFalse(self.permitted(mallory, getattr(owner, name), **values), name)
            patch = self.patch(owner, name, lambda *args, called=called, **kwargs: called.append(args))
            text = f"!{guard.command.replace('_', ' ')} {guard.arguments(**values)}"
            [reply] = self.bot.say(text, frm="mallory")
            self.assertIn("not allowed", reply)
            self.assertEqual(called, [], name)
            patch.restore()

    def test_same_rules(self) -> None:
        """What a command may do with its arguments, its operation may, too: rules for arguments and filters apply."""
        admin = Message(frm=self.bot.backend.build_identifier(ADMIN), to=self.bot.backend.bot_identifier)

        @operation("webhook_pause", "webhook")
        def pause(by: Actor, webhook: str) -> None: ...

        @operation("no_such_command")
        def unknown(by: Actor) -> None: ...

        self.assertTrue(self.permitted(admin, pause, webhook="Shop:paid"))
        self.assertFalse(self.permitted(admin, pause, webhook="Shop:order"))
        self.bot.config.ACCESS_CONTROLS = {"webhook_pause": {"denyargs": ("*paid",)}}
        self.assertFalse(self.permitted(admin, pause, webhook="Shop:paid"))
        self.assertTrue(self.permitted(admin, pause, webhook="Shop:item"))
        self.assertFalse(self.permitted(admin, unknown))
        self.assertFalse(self.permitted(admin, operations))

    def test_page(self) -> None:
        """A page asks filters whether they would let it pass, and an action asks for real."""
        admin = Message(frm=self.bot.backend.build_identifier(ADMIN), to=self.bot.backend.bot_identifier)
        asked: list[bool] = []
        self.patch(Watch, "asked", asked)
        judge = self.bot.bot.dispatcher.permissions.judge
        for dry_run in (True, False):
            judging = judge(admin, WebhookOperations.pause, dry_run=dry_run, webhook="Shop:paid")
            self.assertEqual(self.successResultOf(Deferred.fromCoroutine(judging)), "")
        self.assertEqual(asked, [True, False])

    def permitted(self, message: Message, function: Callable[..., Any], **values: object) -> bool:
        """Return whether the sender may perform the operation."""
        permissions = self.bot.bot.dispatcher.permissions
        return not self.successResultOf(Deferred.fromCoroutine(permissions.judge(message, function, **values)))


SHOWING = (
    "actions configuration deliveries delivery failures form installed last_requests load log_file occupants paused plugin plugins "
    "repositories rooms search started_at status topic totals unusable waiting webhook webhooks why"
)
"""The operations that change nothing."""


class NoteTests(SynchronousTestCase):
    """What is noted of those who change something."""

    def setUp(self) -> None:
        """Start a bot whose journal hands out what it is to note."""
        self.bot = TestBot()
        self.bot.start()
        self.addCleanup(self.bot.stop)
        self.notes: list[Action] = []
        self.patch(self.bot.bot.journal, "note", self.notes.append)

    def test_marked(self) -> None:
        """Each operation that changes something notes its command, and passwords and secrets aren't in what it notes."""
        for owner, name, guard in operations():
            self.assertEqual(guard.changes, name not in SHOWING.split(), name)
            noted: list[tuple[str, str]] = []
            values = dict.fromkeys((one for one in guard.parameters if one[0] != "-"), "plain")
            by = Actor("alice", note=lambda *note, noted=noted: noted.append(note))  # type: ignore[misc]
            # Those that aren't coroutines begin, on nothing.
            with contextlib.suppress(TypeError):
                performed = getattr(owner, name)(Mock(), by, **values) if guard.changes else None
                if inspect.iscoroutine(performed):
                    performed.close()
            self.assertEqual([command for command, _ in noted], [guard.command] * guard.changes, name)
            hidden = {"content", "given", "password", "person", "value"} & {*values}
            if guard.changes:
                self.assertEqual(noted[0][1].count("…"), len(hidden), name)
                self.assertEqual(noted[0][1].count("plain"), len(values) - len(hidden), name)

    def test_ways(self) -> None:
        """The note says who has done it, and whether in a chat or in the shell."""
        host = self.bot.bot.core_host
        self.bot.command("!webhook pause Shop:order")
        connection: Any = ControlSocket(MemoryReactor(), DataDirectory(Path()), host).buildProtocol(None)
        connection.makeConnection(Transport())
        arguments = {"webhook": "Shop:paid"}
        connection.dataReceived(json.dumps({"operation": "webhooks.pause", "arguments": arguments}).encode() + b"\n")
        self.bot.advance(0)
        self.assertEqual(
            [(one.way, one.operation, one.arguments) for one in self.notes],
            [("chat", "webhook_pause", "Shop:order"), ("shell", "webhook_pause", "Shop:paid")],
        )
        self.assertIn(ADMIN, self.notes[0].who)
        self.assertIn("command line", self.notes[1].who)

    def test_commands(self) -> None:
        """Each command for administrators is that of an operation that is noted, notes itself, or changes nothing."""
        self.bot.command("!flows kill @bob Poll")
        self.bot.command("!generate certificate")
        self.bot.command("!console end")
        noting = {one.operation for one in self.notes} | {
            guard.command for _, _, guard in operations() if guard.changes
        }
        registry = self.bot.bot.registry
        admins = {one.name for one in registry if one.core and one.needs_admin}
        shows = "acl_explain console delivery delivery_list delivery_show log_tail message_list plugin_info room_list "
        self.assertEqual(admins - noting - {*(shows + "room_occupants webhook_show why console_end").split()}, set())

    def test_noted_everywhere(self) -> None:
        """Nobody performs an operation without a note, but the bot itself."""
        top = Path(errklein.__file__).parent
        made = {str(path.relative_to(top)) for path in top.rglob("*.py") if "Actor(" in path.read_text("utf-8")}
        self.assertEqual(made, {"bot/_operations.py", "bot/_roles.py", "bot/room_webhooks.py", "cli/_webhooks.py"})


class Keeper(BotPlugin):
    """Has a secret in its configuration, and stores one."""

    def get_configuration_template(self) -> dict[str, str]:
        return {"token": ""}

    def activate(self) -> None:
        super().activate()
        self["session"] = "st0red"

    @webhook("/keep", ack="now", attempts=1)
    def keep(self, payload: Any) -> None:
        raise ValueError("at a certain place")


class DisclosureTests(SynchronousTestCase):
    """What operations return to people who may not read details."""

    def setUp(self) -> None:
        """Start a bot with a configured plugin, whose webhook has failed once."""
        self.bot = TestBot([Keeper])
        self.bot.start()
        self.addCleanup(self.bot.stop)
        self.bot.command("!plugin config Keeper {'token': 't0ken'}")
        self.bot.post("/keep")
        self.bot.advance(0)
        self.flushLoggedErrors(ValueError)
        self.host = self.bot.bot.core_host

    def returned(self, perform: Callable[[Actor], Any]) -> tuple[str, str]:
        """Return the representations of what somebody gets, and an administrator in private."""
        values = [perform(Actor("bob")), perform(Actor("admin", reads_details=True))]
        bob, admin = (self.successResultOf(Deferred.fromCoroutine(value)) for value in values)
        return repr(bob), repr(admin)

    def test_details(self) -> None:
        """Secrets, stored values and texts of exceptions are only in what an administrator gets in private."""
        webhooks, plugins = self.host.webhooks, self.host.plugins
        for perform, detail in (
            (lambda by: plugins.plugin(by, "Keeper"), "t0ken"),
            (lambda by: plugins.plugin(by, "Keeper"), "st0red"),
            (lambda by: plugins.configuration(by, "Keeper"), "t0ken"),
            (lambda by: webhooks.deliveries(by, []), "certain place"),
            (lambda by: webhooks.delivery(by, 1), "certain place"),
            (lambda by: webhooks.failures(by), "certain place"),
            (lambda by: webhooks.search(by, "1"), "certain place"),
            (lambda by: webhooks.last_requests(by), "certain place"),
            (lambda by: webhooks.webhook(by, "Keeper"), "certain place"),
            (lambda by: webhooks.why(by, "1"), "certain place"),
            (lambda by: self.host.process.status(by), "errors={'Keeper"),
        ):
            somebody, admin = self.returned(perform)
            self.assertIn(detail, admin)
            self.assertNotIn(detail, somebody)


class GuardTests(SynchronousTestCase):
    """The arguments that rules are checked with."""

    def test_arguments(self) -> None:
        """They are as a person would type them: texts, numbers, words, options, and nothing for None."""
        guard = Guard("x", ("name", "number", "words", "nothing", "--confirm"))
        arguments = guard.arguments(name="a b", number=7, words=["c", "d"], nothing=None, others="e")
        self.assertEqual(re.sub(" +", " ", arguments), "a b 7 c d --confirm")
