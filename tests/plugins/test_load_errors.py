"""Errors in plugins' code, as administrators read them."""

from __future__ import annotations

import time

from twisted.trial.unittest import SynchronousTestCase

from errklein.plugins.imports import PluginLoadError, described_error, load_module, located_error
from errklein.text.masking import masker
from tests.plugin_files import PluginFilesTestCase


class LoadErrorTests(PluginFilesTestCase):
    """Errors when a plugin is loaded."""

    def test_own_cause(self) -> None:
        """An exception that is its own cause is reported with its line."""
        plug = self.plugin(
            "Alpha", "try:\n import missing_one\nexcept ImportError as error:\n raise error from error\n"
        )
        error = self.assertRaises(PluginLoadError, load_module, plug)
        self.assertIn(f"{plug.module_path}, line 2: ModuleNotFoundError: No module named 'missing_one'", str(error))

    def test_own_exception(self) -> None:
        """The type of a plugin's own exception has the name of the plugin's module, without errklein's package."""
        plug = self.plugin("Alpha", "class OwnError(Exception): ...\n")
        error = load_module(plug).OwnError("no")
        self.assertEqual(located_error(plug, error), f"{plug.module_path}: main.OwnError: no")


class DescribedErrorTests(SynchronousTestCase):
    """`described_error`."""

    def test_long_text(self) -> None:
        """A text of 24 MB, such as a body in the message of an exception, is cut before it is masked."""
        began = time.thread_time()
        text = described_error(ValueError("token " + ";a=" * 8_000_000))
        self.assertLess(time.thread_time() - began, 1)
        self.assertTrue(text.startswith("ValueError: token ;a=;a="))
        self.assertEqual(len(text), 501)

    def test_secret_at_the_cut(self) -> None:
        """The beginning of a secret isn't shown, also if masking shortens the text before it."""
        masker.learn(self, "test", ["hunter2-of-the-bot"])
        text = described_error(ValueError("token='" + "x" * 4970 + "' hunter2-of-the-bot"))
        self.assertEqual(text, "ValueError: token='•••' •••")
