"""Tests for the commands of the Text network."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.processes import TWISTD, run, write_config


class ConversationTests(SynchronousTestCase):
    """A conversation through pipes with a complete bot."""

    def talk(self, *lines: str, **settings: object) -> list[str]:
        """Return the bot's output for these lines."""
        directory = Path(self.mktemp()).absolute()
        directory.mkdir()
        configuration = {"BACKEND": "Text", "BOT_ADMINS": ("gbin",), "GROUPCHAT_NICK_PREFIXED": True}
        write_config(directory, configuration | settings)
        answers = run(TWISTD, "-n", "errklein", cwd=directory, stdin="".join(f"{line}\n" for line in lines)).stdout
        return answers.splitlines()

    def test_who_and_where(self) -> None:
        """Each command affects the lines after it, and nothing else."""
        answers = self.talk(
            "!inroom",
            "!echo in a room",
            "!asuser bob",
            "!echo in a room",
            "!room list",
            "!inperson",
            "!echo alone",
            "!room list",
            "!asadmin",
            "!room list",
            "!asuser a b",
            "!inroom nowhere",
        )
        for expected in (
            "Messages now go to the room #testroom.",
            "@gbin in a room",
            "@bob in a room",
            "@bob This command requires bot-admin privileges",
            "@bob Messages now go to the bot in private.",
            "alone",
            "This command requires bot-admin privileges",
            "You are now @gbin, an administrator.",
            "• #testroom",
        ):
            self.assertIn(expected, answers)
        self.assertEqual("".join(answers).count("expected @user, #room or #room/user"), 2)

    def test_several_lines(self) -> None:
        """An empty line ends a message, and so does the end of the input."""
        answers = self.talk(
            "!ml", "!echo one", "two", "", "", "!ml", "", "!echo three", "", "!ml", "!echo four", "five"
        )
        self.assertEqual(
            [line for line in answers if line in {"one", "two", "three", "four", "five"}][:3], ["one", "two", "three"]
        )
        self.assertEqual(answers[-2:], ["four", "five"])

    def test_relays(self) -> None:
        """Relays name people as on errbot, and `!asuser` changes the sender."""
        answers = self.talk(
            "a", "!asuser bob", "b", CHATROOM_RELAY={"gbin": ("#ops",), "@gbin": ("#no",), "bob": ("#ops", "#dev")}
        )
        self.assertEqual((answers.count("a"), answers.count("b")), (1, 2), answers)

    def test_history(self) -> None:
        """The history in a room contains only its commands; leaving the room shows the private history again."""
        answers = self.talk(
            "!echo alone", "!inroom #ops", "!history", "!echo aloud", "!history", "!inperson", "!history"
        )
        self.assertIn("@gbin 1:!echo aloud", answers)
        self.assertIn("2:!echo alone", answers)
        self.assertNotIn("@gbin 2:!echo alone", answers)
