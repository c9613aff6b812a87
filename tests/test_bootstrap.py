"""errbot.bootstrap, errbot.backend_plugin_manager, errbot.utils and errbot.logs."""

from __future__ import annotations

import logging
import shelve
import subprocess
import sys
import types
from importlib import import_module
from pathlib import Path
from typing import Any

from errklein import bootstrap
from errklein.compat import logs, utils
from errklein.compat.backends.errbot import ErrBot
from errklein.compat.backends.manager import (
    BackendPluginManager,
    PluginNotFoundException,
    enumerate_backend_plugins,
)
from errklein.config.settings import BACKEND_NAMES
from tests.compat.backends.kit import FIXTURES
from tests.plugins.plugin_files import PluginFilesTestCase


class BackendPluginManagerTests(PluginFilesTestCase):
    """One plugin by its name."""

    def config(self) -> Any:
        config = types.SimpleNamespace(BOT_ADMINS=("me",), BOT_IDENTITY={})
        bootstrap.bot_config_defaults(config)
        return config

    def test_it_is_found_and_made(self) -> None:
        """The plugin is found in the directory, or in the others; an instance gets the configuration."""
        for search in ((str(FIXTURES), ()), (bootstrap.CORE_BACKENDS, [str(FIXTURES)]), ("/nowhere", str(FIXTURES))):
            manager = BackendPluginManager(self.config(), "errbot.backends", "Once", ErrBot, *search)
            self.assertEqual((manager.plugin_info.name, manager.plugin_info.module), ("Once", "once"))
            made = manager.load_plugin()
            self.assertEqual((type(made).__name__, made.prefix), ("OnceBackend", "!"))

    def test_networks_of_errklein(self) -> None:
        """Tools find errklein's own networks by .plug files, whose modules have their classes."""
        found = list(enumerate_backend_plugins([bootstrap.CORE_BACKENDS]))
        self.assertEqual(sorted(info.name for info in found), sorted(BACKEND_NAMES.values()))
        for info in found:
            module = import_module(f"errklein.compat.core_backends.{info.module}")
            (name,) = module.__all__
            self.assertEqual(name, f"{info.name}Backend")

    def test_it_is_not_there(self) -> None:
        """A name that nobody has is told with the places."""
        error = self.assertRaises(
            PluginNotFoundException, BackendPluginManager, self.config(), "x", "Nope", ErrBot, str(FIXTURES)
        )
        self.assertIn("Nope", str(error))
        self.assertIn(str(FIXTURES), str(error))

    def test_enumeration(self) -> None:
        """All that can be read in the directories."""
        self.write("bad.plug", "nonsense")
        names = sorted(info.name for info in enumerate_backend_plugins([FIXTURES, self.directory]))
        self.assertEqual(names, ["Forever", "Looping", "Once"])


class DefaultsTests(PluginFilesTestCase):
    """Settings that a configuration leaves out."""

    def test_they_are_filled_in(self) -> None:
        """What is there stays, what isn't gets errbot's default; without administrators there is no bot."""
        config = types.SimpleNamespace(BOT_ADMINS=("me",), BOT_PREFIX="?")
        bootstrap.bot_config_defaults(config)
        self.assertEqual((config.BOT_PREFIX, config.CHATROOM_FN, config.BOT_ASYNC), ("?", "Errbot", True))
        self.assertEqual(config.BOT_ADMINS_NOTIFICATIONS, ("me",))
        self.assertRaises(ValueError, bootstrap.bot_config_defaults, types.SimpleNamespace())

    def test_a_bot_without_twistd(self) -> None:
        """`setup_bot` makes a bot that serves until it is shut down, as programs do that embed one."""
        self.write(
            "program.py",
            f"""
            import logging, threading, types
            import errklein.compat
            errklein.compat.install(force=True)
            from errbot.bootstrap import setup_bot
            config = types.SimpleNamespace(
                BOT_ADMINS=("me",), BOT_DATA_DIR={str(self.directory)!r}, STORAGE="Memory", CORE_PLUGINS=(), BACKEND="Null",
                BOT_LOG_FILE={str(self.directory / "log.txt")!r}, BOT_LOG_LEVEL=logging.INFO,
            )
            bot = setup_bot("Null", logging.getLogger(), config)
            bot.reactor.callWhenRunning(lambda: bot.reactor.callLater(0, lambda: print(bot.mode, sorted(bot.backends))))
            threading.Timer(0.3, bot.shutdown).start()
            logging.getLogger("errbot.plugins.X").info("a plugin's\\nwords")
            bot.serve_forever()
            print("over")
            """,
        )
        ran = self.run_program()
        self.assertEqual((ran.stdout, ran.returncode), ("null ['null']\nover\n", 0), ran.stderr)
        log = (self.directory / "log.txt").read_text()
        self.assertIn("[errbot.plugins.X#info] a plugin's\\nwords\n", log)
        self.assertIn("Connected to null", log)

    def test_shelves_that_were_not_imported(self) -> None:
        """A program whose data directory has values of errbot's runs, and its log says how to import them."""
        with shelve.open(str(self.directory / "Greeter.db")) as shelf:
            shelf["a"] = 1
        self.write(
            "program.py",
            f"""
            import logging, threading, types
            from errklein.bootstrap import setup_bot
            config = types.SimpleNamespace(
                BOT_ADMINS=("me",), BOT_DATA_DIR={str(self.directory)!r}, CORE_PLUGINS=(), BACKEND="Null",
                BOT_LOG_FILE={str(self.directory / "log.txt")!r}, BOT_LOG_LEVEL=logging.INFO,
            )
            bot = setup_bot("Null", logging.getLogger(), config)
            threading.Timer(0.1, bot.shutdown).start()
            bot.serve_forever()
            print("over")
            """,
        )
        ran = self.run_program()
        self.assertEqual((ran.stdout, ran.returncode), ("over\n", 0), ran.stderr)
        self.assertIn(f"`errklein import-errbot --data-dir {self.directory}`", (self.directory / "log.txt").read_text())

    def run_program(self) -> subprocess.CompletedProcess[str]:
        """Run program.py in another process."""
        return subprocess.run(
            [sys.executable, str(self.directory / "program.py")],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
            cwd=Path(__file__).parents[2],
            env={"PYTHONPATH": str(Path(__file__).parents[2])},
        )


class UtilsTests(PluginFilesTestCase):
    """errbot.utils and errbot.logs."""

    def test_roots(self) -> None:
        """Directories with plugins, hidden ones left out, each once."""
        for path in ("a/x.plug", "a/b/y.plug", ".h/z.plug", "__pycache__/q.plug", "c/d/e.plug", "c/n.txt"):
            self.write(path)
        below = {name: str(self.directory / name) for name in ("a", "a/b", "c", "c/d")}
        self.assertEqual(utils.find_roots(self.directory), [below["a"], below["a/b"], below["c/d"]])
        self.assertEqual(utils.find_roots(self.directory, "*.txt"), [below["c"]])
        self.assertEqual(utils.find_roots("/nowhere"), [])
        nested = [below["a/b"], [self.directory / "a", None, [below["c"]]]]
        self.assertEqual(utils.collect_roots(nested), [below["a/b"], below["a"], below["c/d"]])
        self.assertEqual(utils.entry_point_plugins("no.such.group"), [])

    def test_logs(self) -> None:
        """`format_logs` gives standard error's handler a format, and leaves logs that there are alone."""
        before = list(logging.getLogger().handlers)
        formatter = logging.Formatter("%(message)s")
        self.addCleanup(logs.console_hdlr.setFormatter, None)
        self.addCleanup(setattr, logs.root_logger, "handlers", before)
        logs.root_logger.handlers = []
        logs.format_logs(formatter)
        self.assertEqual((logs.root_logger.handlers, logs.console_hdlr.formatter), ([logs.console_hdlr], formatter))
        logs.format_logs()
        self.assertEqual(logs.root_logger.handlers, [logs.console_hdlr])
