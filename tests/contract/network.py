"""A bot on a third-party network: a subclass of ErrBot with a blocking `serve_once`."""

from __future__ import annotations

import logging
import queue
import shutil
import tempfile
import textwrap
import threading
import types
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar
from unittest import SkipTest

from tests.contract.kit import TestCase

WITHOUT_BACKENDS = find_spec("errklein") is not None and find_spec("errklein.compat.backends") is None
"""Whether the part of errklein that runs such networks was removed."""

PEOPLE = """
    import queue
    from errbot.backends.base import ONLINE, Message, Person, Presence, Room, RoomOccupant
    from errbot.core import ErrBot

    HEARD = queue.Queue()
    SAID = queue.Queue()


    class Somebody(Person):
        def __init__(self, name):
            self.name = name

        person = client = nick = aclattr = fullname = property(lambda self: self.name)

        def __eq__(self, other):
            return isinstance(other, Somebody) and self.name == other.name

        def __hash__(self):
            return hash(self.name)

        __str__ = lambda self: self.name
    """
"""The beginning of a network's module: a class of persons, and queues of incoming and outgoing messages."""


class NetworkCase(TestCase):
    """A test with a bot on the network whose module is the text `backend`, which runs the plugin of the text `plugin`.

    The module has the queues HEARD, where None ends the network, and SAID.
    """

    backend: ClassVar[str]
    plugin: ClassVar[str]
    config: ClassVar[Mapping[str, Any]] = {}

    def place(self, directory: str) -> str | list[str]:
        """Return BOT_EXTRA_BACKEND_DIR for a network in that directory."""
        return directory

    def setUp(self) -> None:
        """Start a bot on the network."""
        if WITHOUT_BACKENDS:
            raise SkipTest("errklein's part for backends written for errbot was removed")
        from errbot.bootstrap import setup_bot

        directory = Path(tempfile.mkdtemp(prefix="contract-"))
        self.addCleanup(shutil.rmtree, directory, ignore_errors=True)
        for name, text in (
            ("backend/contract.plug", "[Core]\nName = Contract\nModule = contract_backend\n"),
            ("backend/contract_backend.py", self.backend),
            ("plugins/tried.plug", "[Core]\nName = Tried\nModule = tried_there\n"),
            ("plugins/tried_there.py", self.plugin),
        ):
            path = directory / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(textwrap.dedent(text))
        (directory / "data").mkdir()
        config: Any = types.ModuleType("config")
        settings = {
            "BACKEND": "Contract",
            "BOT_DATA_DIR": str(directory / "data"),
            "BOT_EXTRA_PLUGIN_DIR": str(directory / "plugins"),
            "BOT_EXTRA_BACKEND_DIR": self.place(str(directory / "backend")),
            "BOT_ADMINS": ("admin",),
            "BOT_IDENTITY": {"username": "me"},
            "BOT_LOG_FILE": None,
            "BOT_LOG_LEVEL": logging.ERROR,
            "STORAGE": "Memory",
        }
        vars(config).update(settings, **self.config)
        self.bot = setup_bot("Contract", logging.getLogger("contract"), config)
        # The module's name depends on the implementation.
        self.module: dict[str, Any] = self.bot.serve_once.__func__.__globals__
        self.heard: queue.Queue[Any] = self.module["HEARD"]
        self.said: queue.Queue[Any] = self.module["SAID"]
        self.serving = threading.Thread(target=self.bot.serve_forever, daemon=True)
        self.serving.start()
        self.addCleanup(self.end)

    def end(self) -> None:
        """End the network and wait for its thread."""
        self.heard.put(None)
        self.serving.join(10)
        self.assertFalse(self.serving.is_alive())
