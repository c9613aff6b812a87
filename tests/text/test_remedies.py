"""Remedies for common exceptions, and suggestions for misspelt names."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from errklein.text.errors import remedy
from errklein.text.suggestions import did_you_mean


class RemedyTests(SynchronousTestCase):
    """The remedy for an exception."""

    def remedy(self, source: str, quote: bool = False) -> str:
        """Return the remedy for the exception that the source raises."""
        namespace: dict[str, Any] = {"settings": 1}
        try:
            exec(source, namespace)
        except Exception as error:
            return remedy(error, quote=quote)
        return self.fail("no exception")

    def test_names(self) -> None:
        """For an unknown name: the import, the similar name, or quotes."""
        self.assertEqual(self.remedy("logging.INFO"), "add `import logging` at the top of the file")
        self.assertEqual(self.remedy("Path('x')"), "add `from pathlib import Path` at the top of the file")
        self.assertEqual(
            self.remedy("class A(BotPlugin): pass"), "add `from errbot import BotPlugin` at the top of the file"
        )
        self.assertEqual(self.remedy("setings"), "did you mean settings?")
        self.assertEqual(self.remedy("pritn(1)"), "did you mean print?")
        self.assertEqual(self.remedy("true"), "did you mean True?")
        self.assertEqual(self.remedy("zzz"), "")
        self.assertEqual(self.remedy("zzz", quote=True), "write 'zzz' in quotes if it is text")
        self.assertEqual(self.remedy("raise NameError('x')"), "")

    def test_modules(self) -> None:
        """For a missing module: the similar name, and the installation."""
        self.assertIn("did you mean twisted?", self.remedy("import twistedd"))
        self.assertTrue(self.remedy("import zzzzz.y").startswith("install the package that contains zzzzz, with `"))
        self.assertEqual(self.remedy("import json.zzz"), "")
        self.assertEqual(self.remedy("import errklein.zzz"), "")

    def test_environment(self) -> None:
        """For a missing environment variable: its name. Other missing keys have no remedy."""
        text = self.remedy("import os\nos.environ['NO_SUCH_TOKEN']")
        self.assertEqual(text, "set the environment variable NO_SUCH_TOKEN before errklein starts")
        self.assertEqual(self.remedy("{}['x']"), "")

    def test_others(self) -> None:
        """Other exceptions have no remedy."""
        self.assertEqual(self.remedy("1 / 0"), "")


class SuggestionTests(SynchronousTestCase):
    """Suggestions for misspelt names."""

    def test_similar(self) -> None:
        """The most similar name is suggested, regardless of case."""
        self.assertEqual(did_you_mean("Irk", ["IRC", "Null"]), "; did you mean 'IRC'?")
        self.assertEqual(did_you_mean("null", ["IRC", "Null"]), "; did you mean 'Null'?")
        self.assertEqual(did_you_mean("integer", ["float", "int", "string"]), "; did you mean 'int'?")
        self.assertEqual(did_you_mean("nothing", ["float", "int", "string"]), "")
        self.assertEqual(did_you_mean("Matrix", ["IRC", "Null"]), "")
