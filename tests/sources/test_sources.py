"""Finding sources: those of errklein by their folders, and those of other packages by entry points."""

from __future__ import annotations

import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from errklein.sources import ALIASES, find_source, known_sources
from errklein.webhooks.option_values import HookError
from tests.processes import run
from tests.sources.events import body, received

SOURCE = """
import sys

from errklein.verify import github
from errklein.webhooks.source import Source

SOURCE = Source("build-farm", "Build farm", lambda event, payload: ["[{name}]({url})"], github)
"""
ENTRY_POINTS = """
[errklein.sources]
broken = build_farm.broken:SOURCE
build-farm = build_farm.source:SOURCE
github = build_farm.source:SOURCE
no-source = build_farm.source:sys
"""
PROGRAM = """
import sys

from errklein.sources import find_source, known_sources
from errklein.webhooks.option_values import HookError

print(sorted({"broken", "build-farm", "no-source"} & {*known_sources()}))
print(find_source("github").title)
print([name for name in sys.modules if name.startswith(("build_farm", "errklein.sources.gitlab"))])
print(find_source("build-farm").title)
for name in ("broken", "no-source"):
    try:
        find_source(name)
    except HookError as error:
        print(error)
"""


class SourcesTests(SynchronousTestCase):
    """`find_source` and `known_sources`."""

    def test_own_sources(self) -> None:
        """Each folder is a source, and each alias whose folder there is; all of them can be used."""
        names = known_sources()
        self.assertIn("github", names)
        self.assertEqual({name for name, folder in ALIASES.items() if folder in names} - {*names}, set())
        for name in names:
            source = find_source(name)
            self.assertEqual(source.name, name)
            self.assertTrue(source.title)

    def test_examples(self) -> None:
        """Each source has an example, for `!webhook test`, of which it makes a message."""
        for name in known_sources():
            source = find_source(name)
            verification = source.verification(secret="env:X")
            event = source.example.partition(".")[0] if verification.event_header else None
            given = body(ALIASES.get(name, name), source.example)
            self.assertTrue(source.read(received(given, verification.headers_of_source(event))).text(), name)

    def test_unknown_source(self) -> None:
        """An unknown source is an error with a suggestion."""
        error = self.assertRaises(HookError, find_source, "githib")
        self.assertIn("'githib'; did you mean 'github'?", str(error))

    def test_sources_of_other_packages(self) -> None:
        """A source of another package is imported when its name is used, and only then. It can't replace one of errklein's."""
        directory = Path(self.mktemp())
        for file, text in (
            ("build_farm/__init__.py", ""),
            ("build_farm/source.py", SOURCE),
            ("build_farm/broken.py", "import nothing_of_this_name"),
            ("build_farm-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: build-farm\nVersion: 1.0\n"),
            ("build_farm-1.0.dist-info/entry_points.txt", ENTRY_POINTS),
        ):
            (directory / file).parent.mkdir(parents=True, exist_ok=True)
            (directory / file).write_text(text, encoding="utf-8")
        ended = run([sys.executable, "-c", PROGRAM], cwd=directory, fresh=True)
        self.assertEqual(
            ended.stdout.splitlines(),
            [
                "['broken', 'build-farm', 'no-source']",
                "GitHub",
                "[]",
                "Build farm",
                (
                    "the source 'broken' of build_farm.broken:SOURCE can't be imported: ModuleNotFoundError:"
                    " No module named 'nothing_of_this_name'"
                ),
                "the source 'no-source' is no errklein.webhooks.source.Source but a module",
            ],
            ended.stderr,
        )
