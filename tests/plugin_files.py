"""Plugins written to temporary directories."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

from twisted.trial.unittest import SynchronousTestCase

from errklein.plugins.imports import unload
from errklein.plugins.plug_file import PlugFile


class PluginFilesTestCase(SynchronousTestCase):
    """A test that writes plugins, which are unloaded after it."""

    def setUp(self) -> None:
        """Create the directory."""
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()

    def write(self, path: str, text: str = "") -> Path:
        """Write a file, dedented, below the test's directory."""
        file = self.directory / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(dedent(text), encoding="utf-8")
        return file

    def plugin(self, name: str, source: str, module: str = "main", folder: str | None = None) -> PlugFile:
        """Write a plugin into a folder, by default one with its name, and return its `.plug` file."""
        folder = name.lower() if folder is None else folder
        self.write(f"{folder}/{module}.py", source)
        plug = PlugFile.load(self.write(f"{folder}/{name}.plug", f"[Core]\nName = {name}\nModule = {module}\n"))
        self.addCleanup(unload, plug)
        return plug
