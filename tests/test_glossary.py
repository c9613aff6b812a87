"""Public texts use the words of docs/reference/glossary.md, and not their synonyms."""

from __future__ import annotations

import argparse
import ast
import contextlib
import importlib
import inspect
import io
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from errklein import tap
from errklein.cli._parser import make_parser
from errklein.commands import CommandDeclaration
from errklein.config import SETTINGS
from errklein.plugins.methods import handlers_once_active
from errklein.testing import PluginTestCase, TestBot
from tests.processes import ROOT
from tests.test_pages import TEXTS

WORDS = [
    "plugin",
    "command",
    "webhook",
    "webhook of a room",
    "source",
    "event",
    "placeholder",
    "delivery",
    "message",
    "handle",
    "choice",
    "network",
    "room",
    "person",
    "access rule",
    "console",
    "action",
    "role",
    "node",
    "owner",
    "secret",
]

LOG_CALLS = ("debug", "info", "warn", "warning", "error", "failure", "critical", "exception")

OTHERS_SETTINGS = ("BACKEND", "BOT_EXTRA_BACKEND_DIR", "IRC_CHANNEL_RATE")
"""Settings of errbot."""

OTHERS_NAMES = (
    *("UserDoesNotExistError", "UserNotUniqueError", "access_route"),
    *("Backend", "BackendEvents", "backend_connected", "backend_disconnected", "backend_ended", "route"),
)
"""Names in the API that are errbot's and Flask's, and those of the port of networks, whose authors know errbot's Backend."""


@dataclass(frozen=True)
class Synonym:
    """A word that isn't used for one of the glossary.

    :param instead: The word of the glossary.
    :param pattern: The synonym.
    :param allowed: Parts of lines in which it is another's word, or has another meaning.
    :param places: Beginnings of the places that are about what the word means there.
    """

    instead: str
    pattern: str
    allowed: tuple[str, ...] = ()
    places: tuple[str, ...] = ()

    def found_in(self, place: str, line: str) -> list[str]:
        """Return a description of each use in the line."""
        if any(map(place.startswith, self.places)) or any(re.search(use, line) for use in self.allowed):
            return []
        found = re.findall(rf"(?i)(?<![\w@./-])(?:{self.pattern})(?![\w/-])", line)
        return [f"{place}: {word!r} is {self.instead!r} here: {line.strip()}" for word in found]


SYNONYMS = (
    # In a chat, and of a mail, it is a person who has sent something.
    Synonym(
        "source",
        r"senders?",
        (
            r"senders? of (a|the|private) (message|command)s?|sender of `|(message|command)s?[\w ]*\bsenders?",
            r"sender's (name|thread)|sender (may|has|gets|sent)|the sender in private|(of|if) the sender\b",
            r"(?i)sender (and|or) recipient|recipient or else the sender|:param frm:|reply .* sender",
        ),
    ),
    # Programs that git and certbot start.
    Synonym("webhook", r"hooks?", (r"certbot|deploy hook|transports",)),
    # What Klein and Flask, or another server, has.
    Synonym(
        "webhook",
        r"routes?",
        (r"Klein|Flask|flask|application",),
        ("docs/design.md", "docs/benchmarks.md", "docs/measurements.md", "docs/optimization.md"),
    ),
    # An endpoint is an address to listen on. "Webhook endpoint" is a choice at Stripe.
    Synonym(
        "webhook",
        r"(?:webhook|URL) endpoints?|endpoints? (?:of|for) (?:a|the) (?:webhook|plugin)",
        (r"Stripe|Destination",),
    ),
    # errbot's word for the code that connects to a network.
    Synonym(
        "network",
        r"backends?",
        (r"errbot|BACKEND",),
        (
            "docs/design.md",
            "docs/reference/errbot.md",
            "docs/guides/networks.md, Backends written for errbot",
            "docs/guides/testing-errbot.md",
            "errklein/compat/",
            "errklein/testing/",
            "errklein.testing.",
        ),
    ),
    Synonym("room", r"channels?", (r"IRC|Slack|@channel",), ("docs/design.md",)),
    # An account of the system, the name of somebody at a server, and arguments of errbot.
    Synonym(
        "person",
        r"users?",
        (
            r"bot's user|(its|other|another|every|any|current|separate|which|known) users?\b|the user ?$|users other than",
            r"'user'|as a user that|user names?|user and|:param user:|nick!user|user,? flow",
        ),
        ("docs/guides/install.md", "docs/reference/troubleshooting.md", "docs/guides/service.md"),
    ),
)


def errors(texts: Iterable[tuple[str, str]]) -> list[str]:
    """Return a line for each synonym in these texts, which come with their places."""
    return [error for text in texts for synonym in SYNONYMS for error in synonym.found_in(*text)]


def lines(place: str, text: str | None) -> Iterator[tuple[str, str]]:
    """Yield the lines of a text with their place."""
    for line in (text or "").splitlines():
        yield place, line


def words(name: str) -> str:
    """Return a name in snake_case or CamelCase as words."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|_", " ", name)


def prose(name: str, text: str) -> Iterator[tuple[str, str]]:
    """Yield the lines of a page with its name and chapter, without code and the targets of links."""
    text = re.sub(r"^ *(`{3,})(?!{list-table})[^\n]*\n.*?^ *\1$", "", text, flags=re.MULTILINE | re.DOTALL)
    place = name
    for line in re.sub(r"`[^`\n]*`|(?<=\])\([^)]*\)|<!--.*?-->", "…", text).splitlines():
        if line.startswith("## "):
            place = f"{name}, {line[3:]}"
        yield place, line


def literals(path: Path, whole: bool = False) -> Iterator[tuple[str, str]]:
    """Yield the texts of a module that are logged or raised, or all apart from docstrings."""
    tree = ast.parse(path.read_text("utf-8"))
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        is_log_call = isinstance(node, ast.Call) and getattr(node.func, "attr", "") in LOG_CALLS
        if is_log_call or isinstance(node, ast.Raise) or (whole and isinstance(node, ast.Module)):
            for part in ast.walk(node):
                if isinstance(part, ast.Constant) and isinstance(part.value, str) and id(part) not in docstrings:
                    yield f"{path.relative_to(ROOT)}:{part.lineno}", re.sub(r"{.*?}", "…", part.value)


def described(name: str) -> Iterator[tuple[str, str]]:
    """Yield the names and docstrings of an object and its public attributes."""
    module, _, path = name.rpartition(".")
    while importlib.util.find_spec(module) is None:
        module, _, outer = module.rpartition(".")
        path = f"{outer}.{path}"
    found: Any = importlib.import_module(module)
    for part in path.split("."):
        found = getattr(found, part)
    members = {path.rpartition(".")[2]: found}
    if inspect.isclass(found):
        own = {**dict.fromkeys(inspect.get_annotations(found)), **vars(found)}
        members |= {member: value for member, value in own.items() if not member.startswith("_")}
    for member, value in members.items():
        if member not in OTHERS_NAMES:
            yield name, words(member)
        yield from lines(f"{name}, {member}", inspect.getdoc(value))


class GlossaryCase(SynchronousTestCase):
    """Has the assertion."""

    maxDiff = None

    def check(self, texts: Iterable[tuple[str, str]]) -> None:
        """Check that there are texts, and no synonyms in them."""
        found = list(texts)
        self.assertTrue(found)
        self.assertEqual("\n".join(errors(found)), "")


class PageTests(GlossaryCase):
    """The pages of the documentation, and README.md."""

    def test_words(self) -> None:
        """The glossary has seventeen words, each in one row."""
        page = TEXTS["docs/reference/glossary.md"]
        self.assertEqual(re.findall(r"^\| \*\*(.+?)\*\* \|", page, re.MULTILINE), WORDS)

    def test_pages(self) -> None:
        """Pages have no synonyms outside of code."""
        others = ("docs/reference/glossary.md", "docs/reference/public-plugins.md")
        self.check(line for name, text in TEXTS.items() if name not in others for line in prose(name, text))

    def test_synonyms(self) -> None:
        """Synonyms are found."""
        for text in (
            "The sender signs its requests.",
            "Each hook has a name.",
            "The routes of a plugin are removed.",
            "Call the webhook endpoint.",
            "Users type commands.",
            "Join the channel.",
            "Choose a backend.",
        ):
            self.assertEqual(len(errors([("", text)])), 1, text)

    def test_words_of_others(self) -> None:
        """The words of errbot, IRC, Unix and Twisted may be used for what they mean there."""
        for text in (
            "The reply goes to the sender of the message.",
            "a Twisted endpoint",
            "Run it as the bot's user.",
            "a channel of IRC",
            "a backend written for errbot",
        ):
            self.assertEqual(errors([("", text)]), [], text)


class CodeTests(GlossaryCase):
    """Texts and names in the code that authors of plugins and administrators see."""

    def test_shell_commands(self) -> None:
        """The commands of the shell, with their options and help, have no synonyms."""

        def helps(command: argparse.ArgumentParser) -> Iterator[tuple[str, str]]:
            yield from lines(command.prog, command.format_help())
            for action in command._actions:
                if isinstance(action, argparse._SubParsersAction):
                    for nested in action.choices.values():
                        yield from helps(nested)

        self.check(helps(make_parser()))

    def test_options_of_run(self) -> None:
        """The options of `errklein run` and `twistd errklein` have no synonyms."""
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
            tap.Options().parseOptions(["--help"])
        self.check(lines("errklein run", printed.getvalue()))

    def test_settings(self) -> None:
        """The names of settings, and the template that explains them, have no synonyms."""
        self.check(("settings", words(name)) for name in SETTINGS if name not in OTHERS_SETTINGS)
        template = (ROOT / "errklein" / "cli" / "templates" / "config.py.txt").read_text("utf-8")
        self.check(("config.py.txt", line) for line in re.findall(r"^# .*", template, re.MULTILINE))

    def test_printed_texts(self) -> None:
        """Texts that the commands of the chat and of the shell print have no synonyms."""
        modules = [path for package in ("core_plugins", "cli") for path in (ROOT / "errklein" / package).glob("*.py")]
        # A text without a space is a key or a name.
        self.check(text for path in modules for text in literals(path, whole=True) if " " in text[1])

    def test_log_and_errors(self) -> None:
        """Lines of the log and messages of exceptions have no synonyms."""
        self.check(text for path in sorted((ROOT / "errklein").rglob("*.py")) for text in literals(path))

    def test_metrics_and_json(self) -> None:
        """Names, labels and help of metrics, and keys in JSON, have no synonyms."""
        # The status server is an optional part.
        modules = (*(ROOT / "errklein" / "status").glob("*.py"), ROOT / "errklein" / "webhooks" / "exported.py")
        self.check((place, words(text)) for path in modules for place, text in literals(path, whole=True))

    def test_public_names(self) -> None:
        """Names and docstrings of what the pages about the API list have no synonyms."""
        names = re.findall(r"^\.\. auto(?!attribute)\w+:: (errklein\.\S+)", "".join(TEXTS.values()), re.MULTILINE)
        self.assertGreater(len(names), 50)
        self.check(text for name in names for text in described(name))


class ChatTests(PluginTestCase, GlossaryCase):
    """What the bot says in a chat."""

    bot: TestBot

    def test_chat_commands(self) -> None:
        """Names, arguments and help of chat commands, and their templates, have no synonyms."""
        texts: list[tuple[str, str]] = []
        for plugin in self.bot.bot.plugin_manager.found:
            for _, handler in handlers_once_active(plugin.instance):
                command = CommandDeclaration.of(handler)
                if command is not None:
                    name = words(command.name)
                    texts += [(f"!{name}", name), *lines(f"!{name}", inspect.getdoc(handler))]
        for template in sorted((ROOT / "errklein").rglob("templates/*.md")):
            texts += lines(template.name, re.sub(r"{[{%].*?[%}]}", "…", template.read_text("utf-8")))
        self.check(texts)
