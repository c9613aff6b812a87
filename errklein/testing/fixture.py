"""The fixture `testbot`, for pytest."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from errklein.testing.full_stack import BlockingTestBot

_OPTIONS = {"extra_plugin_dir": None, "extra_config": None, "loglevel": logging.DEBUG}


@pytest.fixture
def testbot(request: pytest.FixtureRequest) -> Iterator[BlockingTestBot]:
    """A BlockingTestBot, started, and stopped after the test.

    `extra_plugin_dir`, `extra_config` and `loglevel` are what the test's class has by these names, or else its module.
    """
    options: dict[str, Any] = {
        name: getattr(request.cls, name, getattr(request.module, name, default)) for name, default in _OPTIONS.items()
    }
    bot = BlockingTestBot(**options)
    try:
        bot.start()
        yield bot
    finally:
        if bot.bot_thread is not None:
            bot.stop()
