"""`errbot.utils.find_roots` and `errbot.logs`."""

from __future__ import annotations

import logging

from errklein.compat import logs, utils
from tests.plugin_files import PluginFilesTestCase


class RootsAndLogsTests(PluginFilesTestCase):
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
