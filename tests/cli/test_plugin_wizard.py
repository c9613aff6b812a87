"""`errklein new-plugin` writes plugins that work."""

from __future__ import annotations

import io
import sys
import unittest
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from errklein import cli
from errklein.cli._new_files import write_new_files
from errklein.cli.plugin_wizard import NewPlugin, new_plugin_wizard
from errklein.plugins.plug_file import PlugFile


class WizardTests(SynchronousTestCase):
    def setUp(self) -> None:
        """A directory that isn't there yet; what is printed is kept."""
        self.directory = Path(self.mktemp()).absolute()
        self.out = io.StringIO()
        self.patch(sys, "stdout", self.out)

    def ask(self, *answers: str) -> None:
        """Let somebody answer the questions."""
        waiting = list(answers)

        def answer(question: str) -> str:
            if not waiting:
                raise EOFError
            return waiting.pop(0)

        new_plugin_wizard(self.directory, answer)

    def test_written_plugin_works(self) -> None:
        """A plugin of any name that is allowed passes the tests that are written with it."""
        for number, name in enumerate(("Deploy", "my new-plugin_2", "class", "None", "Bot Plugin")):
            directory = self.directory / str(number)
            plugin = NewPlugin(name, 'Says "hi" \\ and more')
            write_new_files(plugin.files(directory))
            plug = PlugFile.load(next(directory.glob("*.plug")))
            self.assertEqual((plug.name, plug.description), (name, 'Says "hi" \\ and more'))
            path = next(directory.glob("test_*.py"))
            spec = spec_from_file_location(f"new_plugin_{number}", path)
            assert spec is not None
            assert spec.loader is not None
            module = module_from_spec(spec)
            spec.loader.exec_module(module)
            result = unittest.TestResult()
            unittest.defaultTestLoader.loadTestsFromTestCase(getattr(module, f"{plugin.class_name}Tests")).run(result)
            self.assertEqual((result.testsRun, result.errors, result.failures), (1, [], []), name)

    def test_questions(self) -> None:
        """A name that can't be one is asked for again; the description may be left out."""
        self.ask("my plugin!", "", "My Plugin", "")
        self.assertEqual(
            sorted(path.name for path in self.directory.iterdir()),
            ["my_plugin.plug", "my_plugin.py", "test_my_plugin.py"],
        )
        self.assertIn("'my plugin!': expected a name", self.out.getvalue())
        self.assertIn("class MyPlugin(BotPlugin)", (self.directory / "my_plugin.py").read_text())

    def test_nobody_answers(self) -> None:
        """Without answers nothing is written."""
        self.assertIn("nobody answered", str(self.assertRaises(SystemExit, self.ask).code))
        self.assertFalse(self.directory.exists())

    def test_nothing_is_overwritten(self) -> None:
        """A plugin that is there already stays as it is."""
        self.directory.mkdir()
        (self.directory / "mine.py").write_text("mine")
        text = str(self.assertRaises(SystemExit, self.ask, "Mine", "").code)
        self.assertIn("mine.py is there already", text)
        self.assertEqual([path.name for path in self.directory.iterdir()], ["mine.py"])

    def test_without_questions(self) -> None:
        """The command line may say it all; what can't be done is one line."""
        self.assertEqual(cli.main(["new-plugin", str(self.directory), "--name", "Deploy", "--description", "x"]), 0)
        self.assertTrue((self.directory / "deploy.plug").exists())
        for name, description in (("7", ""), ("A\n", ""), ("A", "x\ny")):
            arguments = ["new-plugin", str(self.directory), "--name", name, "--description", description]
            self.assertIn("expected", str(self.assertRaises(SystemExit, cli.main, arguments).code))
        file = str(self.directory / "deploy.plug" / "below")
        self.assertRaises(SystemExit, cli.main, ["new-plugin", file, "--name", "Deploy"])
