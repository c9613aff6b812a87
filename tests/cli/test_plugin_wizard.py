"""`errklein new-plugin` writes plugins that work."""

from __future__ import annotations

import io
import os
import shlex
import sys
import unittest
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from errklein import cli
from errklein.cli import new_plugin_wizard, plugin_files, write_new_files
from errklein.plugins.plug_file import PlugFile
from tests import needs_network
from tests.processes import run


class WizardTests(SynchronousTestCase):
    def setUp(self) -> None:
        """Choose a directory that doesn't exist, and keep the output."""
        self.directory = Path(self.mktemp()).absolute()
        self.out = io.StringIO()
        self.patch(sys, "stdout", self.out)

    def ask(self, *answers: str) -> None:
        """Run the wizard with these replies."""
        waiting = list(answers)

        def answer(question: str) -> str:
            if not waiting:
                raise EOFError
            return waiting.pop(0)

        new_plugin_wizard(self.directory, answer)

    def test_written_plugin_works(self) -> None:
        """A new plugin passes its tests, whatever its name."""
        for number, name in enumerate(("Deploy", "my new-plugin_2", "class", "None", "Bot Plugin")):
            directory = self.directory / str(number)
            _, files = plugin_files(name, 'Says "hi" \\ and more')
            write_new_files({directory / file: text for file, text in files.items()})
            plug = PlugFile.load(next(directory.glob("*.plug")))
            self.assertEqual((plug.name, plug.description), (name, 'Says "hi" \\ and more'))
            path = next(directory.glob("test_*.py"))
            spec = spec_from_file_location(f"new_plugin_{number}", path)
            assert spec is not None
            assert spec.loader is not None
            module = module_from_spec(spec)
            spec.loader.exec_module(module)
            result = unittest.TestResult()
            [case] = [one for name, one in vars(module).items() if name.endswith("Tests")]
            unittest.defaultTestLoader.loadTestsFromTestCase(case).run(result)
            self.assertEqual((result.testsRun, result.errors, result.failures), (2, [], []), name)

    def test_questions(self) -> None:
        """An invalid name is asked for again, the description may be empty, and the plugin gets a folder of its own."""
        self.ask("my plugin!", "", "My Plugin", "")
        folder = self.directory / "my_plugin"
        self.assertEqual(
            sorted(path.name for path in folder.iterdir()),
            ["my_plugin.plug", "my_plugin.py", "test_my_plugin.py"],
        )
        self.assertIn("invalid name 'my plugin!': expected a letter", self.out.getvalue())
        self.assertIn("class MyPlugin(BotPlugin)", (folder / "my_plugin.py").read_text())

    def test_end_of_input(self) -> None:
        """If the input ends, nothing is written."""
        self.assertIn("the input ended", str(self.assertRaises(SystemExit, self.ask).code))
        self.assertFalse(self.directory.exists())

    def test_nothing_is_overwritten(self) -> None:
        """An existing plugin isn't changed."""
        folder = self.directory / "mine"
        folder.mkdir(parents=True)
        (folder / "mine.py").write_text("mine")
        text = str(self.assertRaises(SystemExit, self.ask, "Mine", "").code)
        self.assertIn("mine.py exists already", text)
        self.assertEqual([path.name for path in folder.iterdir()], ["mine.py"])

    def test_without_questions(self) -> None:
        """With a name nothing is asked; an invalid name, description or directory is an error of one line."""
        self.assertEqual(cli.main(["new-plugin", f"{self.directory}/watch", "--description", "x"]), 0)
        plug = PlugFile.load(self.directory / "watch" / "watch.plug")
        self.assertEqual((plug.name, plug.description), ("watch", "x"))
        self.assertIn("class Watch(BotPlugin)", (self.directory / "watch" / "watch.py").read_text())
        for name, description in (("7", ""), ("A\n", ""), ("A", "x\ny")):
            arguments = ["new-plugin", f"{self.directory}/{name}", "--description", description]
            self.assertIn("expected", str(self.assertRaises(SystemExit, cli.main, arguments).code))
        file = self.directory / "watch" / "watch.plug" / "below"
        self.assertRaises(SystemExit, cli.main, ["new-plugin", str(file / "Deploy")])

    def test_directory_of_plugins(self) -> None:
        """A directory of plugins isn't taken for the name of a plugin."""
        cli.main(["new-plugin", f"{self.directory}/watch"])
        error = self.assertRaises(SystemExit, cli.main, ["new-plugin", f"{self.directory}/"])
        self.assertEqual(
            str(error.code),
            f"errklein: {self.directory} is a directory of plugins; append the name of the new one: "
            f"errklein new-plugin {self.directory}/NAME",
        )
        self.assertEqual([path.name for path in self.directory.iterdir()], ["watch"])

    def test_printed_command(self) -> None:
        """The command that is printed runs the tests, from any directory; a folder of the plugin's name is used itself."""
        needs_network()
        self.addCleanup(os.chdir, Path.cwd())
        for name, plugin in (
            ("plugins", "Deploy"),
            ("deploy", "."),
            ("deploy", "./"),
            ("deploy", "deploy"),
            ("my plugins", "in here/deploy"),
        ):
            directory = Path(self.mktemp()).absolute() / name
            directory.mkdir(parents=True)
            os.chdir(directory)
            cli.main(["new-plugin", plugin])
            [path] = directory.rglob("deploy.plug")
            self.assertEqual((path.parent.name, path.parent.parent.name == "deploy"), ("deploy", False))
            command = shlex.split(self.out.getvalue().splitlines()[-1])
            self.assertEqual(command[0], "trial")
            result = run([sys.executable, "-m", "twisted.trial"], *command[1:], cwd=directory)
            self.assertEqual(result.returncode, 0, result.stdout)
            self.assertIn("PASSED (successes=2)", result.stdout)
