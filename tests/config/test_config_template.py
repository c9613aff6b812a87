"""The template that `errklein config template` prints, which is also `errbot.config-template`."""

from __future__ import annotations

import pkgutil
import re
import sys
from importlib import import_module
from importlib.resources import files
from pathlib import Path
from typing import Any
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from errklein import compat
from errklein.bootstrap import bot_config_defaults
from errklein.compat._facade import PACKAGE_DIRECTORY
from errklein.config import SETTINGS, Config, load_config
from errklein.config._settings import DEPENDENT, checked

TEMPLATE = PACKAGE_DIRECTORY / "config-template.py"

GIVEN = {"BOT_ADMINS", "BOT_DATA_DIR", "BOT_IDENTITY", "CHATROOM_FN"}
"""Settings whose value in the template isn't the default, since a bot needs another, or is called errklein."""


class ImportTests(SynchronousTestCase):
    """The ways in which tests of third-party backends reach the template."""

    def setUp(self) -> None:
        """Make `errbot` errklein's package, whatever is installed."""
        self.enterContext(mock.patch.dict(sys.modules))
        compat.stand_in_for("errbot")
        self.errbot = import_module("errbot")

    def test_as_data(self) -> None:
        """importlib.resources and pkgutil read the template."""
        text = TEMPLATE.read_bytes()
        self.assertEqual(files("errbot").joinpath("config-template.py").read_bytes(), text)
        self.assertEqual(pkgutil.get_data("errbot", "config-template.py"), text)

    def test_defaults(self) -> None:
        """`bot_config_defaults` completes the template, as tests of backends do."""
        config: Any = import_module("errbot.config-template")
        bot_config_defaults(config)
        self.assertEqual(set(SETTINGS) - {"BACKEND", "NETWORKS"} - set(vars(config)), set())

    def test_from_a_plugin(self) -> None:
        """errklein's name of the package leads to the same file."""
        module = import_module("errklein.compat.errbot.config-template")
        self.addCleanup(sys.modules.pop, module.__name__)
        self.assertEqual(module.__file__, str(TEMPLATE))


class ContentTests(SynchronousTestCase):
    """The content of the template."""

    def setUp(self) -> None:
        """Write the template with all defaults uncommented."""
        self.patch(sys, "path", list(sys.path))
        self.enterContext(mock.patch.dict(sys.modules))
        self.whole = Path(self.mktemp())
        self.whole.mkdir()
        self.whole /= "whole_template.py"
        self.whole.write_text(
            re.sub(r"^# ([A-Z][A-Z0-9_]* = )", r"\1", TEMPLATE.read_text("utf-8"), flags=re.MULTILINE)
        )

    def given(self, path: Path) -> dict[str, Any]:
        """Return the settings in the file."""
        config: Config = load_config(path)
        module = sys.modules[path.stem]
        names = {name for name in vars(module) if name.isupper()}
        return {name: getattr(config, name) for name in names}

    def test_valid(self) -> None:
        """The template is a valid configuration, also with all defaults uncommented."""
        for path in (TEMPLATE, self.whole):
            self.assertEqual(load_config(path).BACKEND, "Text")

    def test_every_setting(self) -> None:
        """The template has all settings of errklein, and no others."""
        self.assertEqual(set(self.given(self.whole)), set(SETTINGS) | set(DEPENDENT))

    def test_defaults(self) -> None:
        """The defaults in the template are errklein's."""
        given = self.given(self.whole)
        defaults = {name: checked(name, SETTINGS[name].default) for name in set(SETTINGS) - GIVEN}
        self.assertEqual({name: checked(name, given[name]) for name in defaults}, defaults)

    def test_examples(self) -> None:
        """The examples in the template are valid settings."""
        examples = re.findall(r"(?:^#     .*\n)+", TEMPLATE.read_text("utf-8"), re.MULTILINE)
        self.assertGreater(len(examples), 3)
        for example in examples:
            values: dict[str, Any] = {}
            exec(re.sub(r"^#     ", "", example, flags=re.MULTILINE), values)
            ((name, value),) = [item for item in values.items() if item[0].isupper()]
            self.assertIn(name, SETTINGS)
            load_config(
                None, {"BACKEND": "Null", name: value} if name != "NETWORKS" else {"BOT_ADMINS": ("a",), name: value}
            )
