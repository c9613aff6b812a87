"""Tests for the disclosure of exceptions' texts."""

from __future__ import annotations

import re
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any

from errklein import BotPlugin, CommandError, arg_botcmd, botcmd
from errklein.dispatch.replies import DetailedError
from tests.doubles import NetworksCase

TOKEN = "xoxb-0123456789"
WITHHELD = re.compile(r"Computer says nooo\. See logs for details \(error ([0-9a-f]{8})\)\.")


def split_badly(args: str) -> list[str]:
    """A splitter that has a bug or rejects the arguments."""
    if args == "bug":
        raise RuntimeError(f"no connection with {TOKEN}")
    raise ValueError(f"what is {args}?")


class Leaky(BotPlugin):
    """A plugin whose errors contain a secret of its configuration."""

    def get_configuration_template(self) -> dict[str, Any]:
        return {"TOKEN": "", "URL": ""}

    def check_configuration(self, configuration: Any) -> None:
        if configuration["URL"] == "refuse":
            raise RuntimeError(f"this can't be used: {configuration!r}")

    @botcmd
    def fails(self, msg: Any, args: str) -> str:
        raise RuntimeError(f"failed with {self.config}")

    @botcmd
    def fails_long(self, msg: Any, args: str) -> str:
        raise RuntimeError("x" * 1_000_000)

    @botcmd
    def fails_midway(self, msg: Any, args: str) -> Iterator[str]:
        yield "first"
        raise RuntimeError(str(self.config))

    @botcmd
    async def fails_later(self, msg: Any, args: str) -> AsyncIterator[str]:
        yield "first"
        raise RuntimeError(f"https://me:pw@example.org/?access_token={TOKEN[:5]}")

    @botcmd(template="nosuch")
    def fails_at_its_template(self, msg: Any, args: str) -> dict[str, str]:
        return {"a": "b"}

    @arg_botcmd("number")
    def counts(self, msg: Any, number: str) -> str:
        return str(uuid.UUID(number))

    @botcmd
    def refuses(self, msg: Any, args: str) -> str:
        raise CommandError(f"no login at https://me:pw@example.org with {TOKEN} today")

    @botcmd
    def refuses_in_detail(self, msg: Any, args: str) -> str:
        raise DetailedError(f"it failed: {TOKEN} isn't valid", "It failed")

    @botcmd(split_args_with=split_badly)
    def splits(self, msg: Any, args: list[str]) -> str:
        return "split"


class DisclosureTests(NetworksCase):
    """Errors of commands."""

    plugins = (Leaky,)
    failing = ("fails", "fails midway", "fails later", "fails at its template")

    def setUp(self) -> None:
        """Configure the plugin with a secret."""
        super().setUp()
        (done,) = self.say(f"!plugin config Leaky {{'TOKEN': {TOKEN!r}, 'URL': ''}}", frm="alice")
        self.assertEqual(done, "Plugin configuration done.")
        self.forget()

    def tearDown(self) -> None:
        """Drop the plugin's logged errors."""
        self.flushLoggedErrors()

    def test_administrators_in_private(self) -> None:
        """An administrator in a private chat gets the exception's text, type, file and line, with secrets masked."""
        (reply,) = self.say("!fails", frm="alice")
        text, place = reply.rsplit("\n", 1)
        self.assertEqual(text, "Computer says nooo. See logs for details:\nfailed with {'TOKEN': '•••', 'URL': ''}")
        line = Leaky.fails.__code__.co_firstlineno + 2
        self.assertRegex(place, rf"^RuntimeError in test_disclosure\.py, line {line} \(error [0-9a-f]{{8}}\)$")
        [logged] = [line for line in self.test_bot.log if line.endswith(place[-16:])]
        self.assertIn("The command fails of Leaky failed", logged)
        *_, reply = self.say("!fails later", frm="alice")
        self.assertIn("https://•••@example.org/?access_token=•••", reply)

    def test_long_text(self) -> None:
        """An administrator gets the beginning of an exception's text, which may contain the response of a server."""
        reply = "".join(self.say("!fails_long", frm="alice"))
        self.assertRegex(reply, r"for details:\s*x{10000}…\s*RuntimeError in test_disclosure\.py")

    def test_error_in_a_library(self) -> None:
        """The line is that of the plugin's code that called the library; arg_botcmd's wrapper makes no difference."""
        (reply,) = self.say("!counts many", frm="alice")
        self.assertRegex(
            reply,
            r"nooo.*:\nbadly formed hexadecimal UUID string\nValueError in test_disclosure\.py, line \d+ \(error \w{8}\)$",
        )

    def test_everyone_else(self) -> None:
        """Everyone else, and an administrator in a room, gets one sentence with an error id and nothing of the text."""
        for sender in ({"frm": "bob"}, {"frm": "bob", "to": "#ops"}, {"frm": "alice", "to": "#ops"}):
            for command in self.failing:
                *_, reply = self.say(f"!{command}", **sender)
                self.assertRegex(reply, WITHHELD)

    def test_error_id(self) -> None:
        """The log line above the traceback contains the id; each error has its own."""
        ids = {}
        for _ in range(3):
            (reply,) = self.say("!fails")
            found = WITHHELD.fullmatch(reply)
            assert found is not None
            [line] = [line for line in self.test_bot.log if found[1] in line]
            self.assertEqual(line, f"The command fails of Leaky failed for bob (error {found[1]})")
            ids[found[1]] = line
        self.assertEqual(len(ids), 3)

    def test_names_that_change_hands(self) -> None:
        """On a network where names pass to others, the holder at the time of the failure must be an administrator."""
        backend: Any = self.backends["libera"]
        for holder, told in ((None, False), ("mallory", False), ("alice", True)):
            backend.current_holder = lambda person, holder=holder: holder and backend.person_named(holder)
            (reply,) = self.say("!fails", frm="alice")
            self.assertEqual("failed with" in reply, told)

    def test_command_errors(self) -> None:
        """The text of a CommandError is sent to everyone; only secrets in it are masked."""
        for sender in ({"frm": "bob"}, {"frm": "alice"}, {"frm": "alice", "to": "#ops"}):
            self.assertEqual(self.say("!refuses", **sender), ["no login at https://•••@example.org with ••• today"])

    def test_detailed_errors(self) -> None:
        """The text of a DetailedError is sent to administrators in private; others get the summary and an id."""
        self.assertEqual(self.say("!refuses in detail", frm="alice"), ["it failed: ••• isn't valid"])
        (reply,) = self.say("!refuses in detail", frm="alice", to="#ops")
        self.assertRegex(reply, r"^It failed \(error [0-9a-f]{8}\)\.$")
        [line] = [line for line in self.test_bot.log if reply[-10:-2] in line]
        self.assertIn("isn't valid", line)

    def test_arguments(self) -> None:
        """Errors about arguments are sent to everyone; any other error of a splitter to administrators only."""
        self.assertEqual(self.say("!splits x", to="#ops"), ["Sorry, I couldn't parse your arguments. what is x?"])
        (reply,) = self.say("!splits bug")
        self.assertRegex(reply, r"^Sorry, I couldn't parse your arguments \(error [0-9a-f]{8}\)\.$")
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        (reply,) = self.say("!splits bug", frm="alice")
        self.assertEqual(reply, "Sorry, I couldn't parse your arguments. no connection with •••")

    def test_configuration_that_is_refused(self) -> None:
        """A new configuration's secrets are masked before it is in use, in the log too; rooms get no errors."""
        self.config.networks["libera"].ACCESS_CONTROLS = {"plugin_*": {"allowmuc": True}}
        command = "!plugin config Leaky {'TOKEN': 'another-token', 'URL': 'refuse'}"
        (reply,) = self.say(command, frm="alice")
        self.assertIn("this can't be used: {'TOKEN': '•••', 'URL': 'refuse'}", reply)
        (reply,) = self.say(command, frm="alice", to="#ops")
        self.assertRegex(reply, r"^Incorrect plugin configuration \(error [0-9a-f]{8}\)\.$")
