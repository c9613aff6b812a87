"""`errbot.logs`."""

from __future__ import annotations

import logging

from twisted.trial.unittest import SynchronousTestCase

from errklein.compat import _utils as logs


class LogsTests(SynchronousTestCase):
    """The handler on standard error."""

    def test_format_logs(self) -> None:
        """`format_logs` sets the format of the handler on standard error, and adds no second handler."""
        before = list(logging.getLogger().handlers)
        formatter = logging.Formatter("%(message)s")
        self.addCleanup(logs.console_hdlr.setFormatter, None)
        self.addCleanup(setattr, logs.root_logger, "handlers", before)
        logs.root_logger.handlers = []
        logs.format_logs(formatter)
        self.assertEqual((logs.root_logger.handlers, logs.console_hdlr.formatter), ([logs.console_hdlr], formatter))
        logs.format_logs()
        self.assertEqual(logs.root_logger.handlers, [logs.console_hdlr])
