"""The pytest fixture `testbot`."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from errklein.testing.full_stack import BlockingTestBot

_OPTIONS = {"extra_plugin_dir": None, "extra_config": None, "loglevel": logging.DEBUG}


@pytest.fixture
def testbot(request: pytest.FixtureRequest) -> Iterator[BlockingTestBot]:
    """Provide a `BlockingTestBot` with your plugins, which is started before the test and stopped after it, as in
    :doc:`/guides/testing-errbot`. The test's class, or else its module, may have the attributes `extra_plugin_dir` (a directory or a list),
    `extra_config` (settings by name), `loglevel` (by default `logging.DEBUG`) and `secrets` (variables of the environment,
    such as `{"GH_SECRET": "x"}`)."""

    def option(name: str, default: object = None) -> Any:
        return getattr(request.cls, name, getattr(request.module, name, default))

    bot = BlockingTestBot(**{name: option(name, default) for name, default in _OPTIONS.items()})
    bot.secrets = option("secrets", {})
    try:
        bot.start()
        yield bot
    finally:
        if bot.bot_thread is not None:
            bot.stop()
