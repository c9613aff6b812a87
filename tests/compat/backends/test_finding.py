"""Third-party backends are found and loaded, or the reason is reported in one line."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

from errklein import cli
from errklein.compat.backends.network import find_network, make_network
from errklein.compat.core import ErrBot
from errklein.config import ConfigError, load_config
from errklein.config.networks import known_networks
from tests.compat import BACKENDS as FIXTURES
from tests.compat.backends.legacy_network import QueueReactor
from tests.plugin_files import PluginFilesTestCase
from tests.processes import write_config

WORKS = """
    from errbot.core import ErrBot
    from errbot.backends.base import Person

    class Mine(ErrBot):
        mode = "mine"
"""


class FindingTests(PluginFilesTestCase):
    """BACKEND and BOT_EXTRA_BACKEND_DIR."""

    def config(self, backend: str, *directories: str | Path, **settings: Any) -> Any:
        overrides = {"BACKEND": backend, "BOT_EXTRA_BACKEND_DIR": [str(path) for path in directories]}
        return next(iter(load_config(None, {"BOT_ADMINS": ("me",), **overrides, **settings}).networks.values()))

    def refusal(self, config: Any) -> str:
        error = self.assertRaises(ConfigError, make_network, QueueReactor(), config)
        self.assertNotIn("\n", str(error))
        return str(error)

    def test_by_name(self) -> None:
        """BACKEND is the Name in a `.plug` file, in any case; the first directory takes precedence."""
        self.plugin("Mine", WORKS)
        for name in ("Mine", "mine"):
            self.assertEqual(find_network(self.config(name, self.directory)).path, self.directory / "mine/Mine.plug")
        self.write("other/Mine.plug", "[Core]\nName = Mine\nModule = main\n")
        self.write("other/main.py")
        found = find_network(self.config("Mine", self.directory / "other", self.directory / "mine"))
        self.assertEqual(found.path, self.directory / "other/Mine.plug")

    def test_what_there_is(self) -> None:
        """The error about an unknown BACKEND lists the known ones."""
        line = self.refusal(self.config("Zulip", FIXTURES))
        for fragment in ("'Zulip'", "IRC, ", "Null, ", "Forever, Looping, Once", "BOT_EXTRA_BACKEND_DIR"):
            self.assertIn(fragment, line)

    def test_guide(self) -> None:
        """The list of messages has the error."""
        guide = Path(__file__).resolve().parents[3] / "docs" / "reference" / "troubleshooting.md"
        message = self.refusal(self.config("Slak"))
        shown = message.replace(", ".join(network.name for network in known_networks()), "…")
        self.assertIn(f"### `{shown}`\n", guide.read_text(encoding="utf-8"))

    def test_list(self) -> None:
        """`errklein network list` has the files of backends, and the packages of others."""
        settings = {"NETWORKS": {"ops": {"BACKEND": "Null"}}, "BOT_EXTRA_BACKEND_DIR": str(FIXTURES)}
        write_config(self.directory, settings)
        out = io.StringIO()
        self.patch(sys, "stdout", out)
        self.assertEqual(cli.main(["network", "list", "--config", str(self.directory / "config.py")]), 0)
        _, available, missing = out.getvalue().split(":\n")[1:]
        lines = dict(line.split(None, 1) for line in available.splitlines()[:-1])
        self.assertIn(str(FIXTURES), lines["Once"])
        self.assertIn("SlackV3     pip install errbot-backend-slackv3\n", missing)

    def test_packages(self) -> None:
        """The error about a backend that isn't installed names the package that has it, if there is one."""
        for name, then in (
            ("SlackV3", "install the package errbot-backend-slackv3 into errklein's virtualenv."),
            ("discord", "install the package err-backend-discord into errklein's virtualenv."),
            ("Irk", "did you mean 'IRC'?"),
        ):
            line = self.refusal(self.config(name))
            self.assertTrue(
                line.startswith(f"BACKEND: unknown backend {name!r}; {then if name == 'Irk' else ''}"), line
            )
            self.assertIn(f"{then} Available: ", line)

    def test_without_admins(self) -> None:
        """A third-party backend needs BOT_ADMINS."""
        self.assertIn("BOT_ADMINS is missing", self.refusal(self.config("Once", FIXTURES, BOT_ADMINS=())))

    def test_directories(self) -> None:
        """BOT_EXTRA_BACKEND_DIR is one existing directory or several."""
        config = load_config(None, {"BACKEND": "Once", "BOT_EXTRA_BACKEND_DIR": str(FIXTURES), "BOT_ADMINS": ("me",)})
        self.assertEqual(config.directories("BOT_EXTRA_BACKEND_DIR"), [str(FIXTURES)])
        self.assertEqual(config.BOT_EXTRA_BACKEND_DIR, str(FIXTURES))
        error = self.assertRaises(ConfigError, self.config, "Once", "/no/where")
        self.assertIn("BOT_EXTRA_BACKEND_DIR", str(error))

    def test_backend_is_created(self) -> None:
        """A backend is loaded as plugins are, with errklein's errbot."""
        self.plugin("Mine", WORKS)
        network = make_network(QueueReactor(), self.config("Mine", self.directory))
        self.assertIsInstance(network.legacy, ErrBot)
        self.assertEqual((network.mode, network.network), ("mine", "mine"))
        self.successResultOf(network.disconnect())

    def test_backend_that_cannot_be_created(self) -> None:
        """The error of a backend's code is reported in one line, with its location."""
        for name, source, *fragments in (
            ("NoSdk", "import no_such_sdk", "main.py, line 2", "no_such_sdk"),
            ("Exits", "import sys\n    sys.exit(1)", "Exits could not be loaded", "SystemExit"),
            ("Empty", "", "no subclass of ErrBot"),
            (
                "Token",
                f"{WORKS}\n        def __init__(self, config):\n            config.BOT_IDENTITY['token']",
                "'token'",
            ),
            (
                "Quits",
                f"{WORKS}\n        def __init__(self, config):\n            raise SystemExit('no token')",
                "no token",
            ),
            (
                "Eager",
                f"{WORKS}\n        def __init__(self, config):\n            self.connect_callback()",
                "can't provide plugin_manager in its __init__",
            ),
            ("Mode", WORKS.replace('mode = "mine"', "pass"), "Mine doesn't implement mode"),
        ):
            self.plugin(name, "\n    " + source)
            line = self.refusal(self.config(name, self.directory))
            for fragment in ("BACKEND: ", *fragments):
                self.assertIn(fragment, line)

    def test_versions(self) -> None:
        """A backend for another version of errbot is refused."""
        self.write("old/old.py", WORKS)
        self.write("old/old.plug", "[Core]\nName = Old\nModule = old\n\n[Errbot]\nMax = 2.0.0\n")
        self.assertIn("2.0.0", self.refusal(self.config("Old", self.directory)))

    def test_what_cannot_be_read(self) -> None:
        """An invalid `.plug` file is skipped; its error is reported if no backend is found."""
        self.write("bad/bad.plug", "nonsense")
        self.plugin("Mine", WORKS)
        self.assertEqual(find_network(self.config("Mine", self.directory)).name, "Mine")
        self.assertIn("bad/bad.plug: line 1", self.refusal(self.config("Bad", self.directory)))
