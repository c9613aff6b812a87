"""The conversations that guides show take place: each line that is typed gets the replies below it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from errklein.cli._check import describe
from errklein.testing import PluginTestCase, TestBot
from tests.processes import ROOT

GUIDES = ROOT / "docs" / "guides"
EXAMPLES = ROOT / "docs" / "examples"


def conversations(guide: str) -> Iterator[list[tuple[str, list[str]]]]:
    """Yield the guide's blocks with replies: each typed line with the lines of its replies, which are indented."""
    for block in re.findall(r"```text\n(.*?)```", (GUIDES / f"{guide}.md").read_text("utf-8"), re.DOTALL):
        if not re.search(r"^  \S", block, re.MULTILINE):
            continue
        turns: list[tuple[str, list[str]]] = []
        for line in block.splitlines():
            if line.startswith("  "):
                turns[-1][1].append(line.strip())
            else:
                turns.append((line, []))
        yield turns


class ConversationCase(PluginTestCase):
    """Has a bot with the examples of a guide."""

    bot: TestBot
    config = {"CHATROOM_PRESENCE": ("#builds",)}

    def replies(self, text: str) -> list[str]:
        """Type the text; return the lines that the terminal shows then, with the room's name before messages to rooms."""
        before = len(self.bot.messages)
        self.bot.say(text)
        self.bot.advance(0)
        lines = []
        for message in self.bot.messages[before:]:
            shown = f"{message.to}: {message.text}" if message.to.startswith("#") else message.text
            lines += [line.strip() for line in shown.splitlines() if line.strip()]
        return lines

    def follow(self, guide: str, count: int) -> None:
        """Check the guide's conversations, of which there are so many, on a network that has no buttons, like the terminal."""
        self.bot.backend.features_of_test = replace(self.bot.backend.features_of_test, choices=0, edits=False)
        found = list(conversations(guide))
        self.assertEqual(len(found), count)
        for turns in found:
            for typed, expected in turns:
                self.assertEqual(self.replies(typed), expected, typed)


class CommandsGuideTests(ConversationCase):
    plugin_dirs = (EXAMPLES / "commands",)

    def test_conversations(self) -> None:
        """docs/guides/commands.md."""
        self.follow("commands", 5)


class MessagesGuideTests(ConversationCase):
    plugin_dirs = (EXAMPLES / "messages", EXAMPLES / "weather")

    def test_conversations(self) -> None:
        """docs/guides/messages.md."""
        self.follow("messages", 2)


class StorageGuideTests(ConversationCase):
    plugin_dirs = (EXAMPLES / "reminders", EXAMPLES / "paging")

    def test_conversations(self) -> None:
        """docs/guides/storage.md."""
        self.follow("storage", 2)


class FlowsGuideTests(ConversationCase):
    plugin_dirs = (EXAMPLES / "releases", EXAMPLES / "publishing")

    def test_conversations(self) -> None:
        """docs/guides/flows.md."""
        self.follow("flows", 2)


class PlacesTests(ConversationCase):
    plugin_dirs = (EXAMPLES / "places",)

    def test_output_of_check(self) -> None:
        """docs/where-code-runs.md shows what `errklein check` prints about its example."""
        page = (ROOT / "docs" / "where-code-runs.md").read_text("utf-8")
        [shown] = re.findall(r"```text\nPlaces: can be activated\n(.*?)```", page, re.DOTALL)
        lines = describe(self.bot.plugin("Places"), "!")
        self.assertEqual(shown, "".join(f"    {line}\n" for line in lines))
