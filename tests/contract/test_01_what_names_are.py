"""Chapter 1: classes and functions behind errbot's names, and names of its early versions."""

from __future__ import annotations

import importlib
import io
import logging
import tempfile
import threading
import unittest
from pathlib import Path
from typing import Any

import jinja2

from tests.contract.kit import LONGEST, ContractTest, decided


class ClassesTests(unittest.TestCase):
    """The class hierarchy."""

    def test_exceptions(self) -> None:
        """Special exceptions are subclasses of general ones, such as RoomError and StoreException."""
        from errbot import ValidationException
        from errbot.backends import base
        from errbot.plugin_manager import (
            IncompatiblePluginException,
            PluginActivationException,
            PluginConfigurationException,
        )
        from errbot.storage import StoreAlreadyOpenError, StoreException, StoreNotOpenError

        self.assertTrue(issubclass(base.RoomNotJoinedError, base.RoomError))
        self.assertTrue(issubclass(base.RoomDoesNotExistError, base.RoomError))
        self.assertTrue(issubclass(IncompatiblePluginException, PluginActivationException))
        self.assertTrue(issubclass(PluginConfigurationException, PluginActivationException))
        self.assertTrue(issubclass(StoreAlreadyOpenError, StoreException))
        self.assertTrue(issubclass(StoreNotOpenError, StoreException))
        for kind in (base.RoomError, base.UserDoesNotExistError, base.UserNotUniqueError, ValidationException):
            self.assertTrue(issubclass(kind, Exception))

    def test_backends(self) -> None:
        """ErrBot is a subclass of Backend."""
        from errbot.backends.base import Backend
        from errbot.core import ErrBot

        self.assertTrue(issubclass(ErrBot, Backend))

    def test_parsers(self) -> None:
        """Both argument parsers are subclasses of ArgParserBase."""
        from errbot.botplugin import ArgParserBase, SeparatorArgParser, ShlexArgParser

        self.assertTrue(issubclass(SeparatorArgParser, ArgParserBase))
        self.assertTrue(issubclass(ShlexArgParser, ArgParserBase))


class FunctionsTests(unittest.TestCase):
    """The functions of errbot's modules."""

    def test_access(self) -> None:
        """`glob` matches patterns with case, `ciglob` without; BLOCK_COMMAND is three times None."""
        from errbot.core_plugins.acls import BLOCK_COMMAND, ciglob, glob

        self.assertEqual(BLOCK_COMMAND, (None, None, None))
        self.assertTrue(glob("gbin@localhost", ("nobody", "gbin@*")))
        self.assertTrue(glob("gbin@localhost", "gbin@*"))
        self.assertFalse(glob("GBIN@localhost", ("gbin@*",)))
        self.assertTrue(ciglob("GBIN@localhost", ("gbin@*",)))

    def test_who_access_rules_are_for(self) -> None:
        """Access rules use `aclattr`; without it, a person's `person` and a room's text."""
        from errbot.backends.base import Message
        from errbot.core_plugins.acls import get_acl_room, get_acl_usr

        class Known:
            aclattr, person = "for rules", "somebody"

            def __str__(self) -> str:
                return "text"

        class Unknown:
            person = "somebody"

            def __str__(self) -> str:
                return "text"

        self.assertEqual([get_acl_usr(Message("x", frm=who())) for who in (Known, Unknown)], ["for rules", "somebody"])
        self.assertEqual([get_acl_room(room()) for room in (Known, Unknown)], ["for rules", "text"])

    def test_logs(self) -> None:
        """`root_logger` is the root logger, `console_hdlr` a handler, and `errbot.log` the logger "errbot"."""
        from errbot import log
        from errbot.logs import console_hdlr, root_logger

        self.assertIs(root_logger, logging.getLogger())
        self.assertIsInstance(console_hdlr, logging.Handler)
        self.assertIs(log, logging.getLogger("errbot"))

    def test_versions(self) -> None:
        """VERSION is newer than 6.0.0, and `version2tuple` makes versions comparable."""
        from errbot.utils import version2tuple
        from errbot.version import VERSION

        self.assertGreater(version2tuple(VERSION), version2tuple("6.0.0"))

    def test_constants(self) -> None:
        """CHUNK_SIZE, PLUGINS_SUBDIR, CORE_PLUGINS and ARG_BOTCMD_CHARACTER_REPLACEMENTS have errbot's values."""
        from errbot import ARG_BOTCMD_CHARACTER_REPLACEMENTS
        from errbot.plugin_manager import CORE_PLUGINS
        from errbot.streaming import CHUNK_SIZE
        from errbot.utils import PLUGINS_SUBDIR

        self.assertEqual((CHUNK_SIZE, PLUGINS_SUBDIR), (4096, "plugins"))
        self.assertEqual(dict(ARG_BOTCMD_CHARACTER_REPLACEMENTS)["\u2014"], "--")
        self.assertEqual(Path(CORE_PLUGINS).name, "core_plugins")

    def test_templates(self) -> None:
        """`tenv()` returns a Jinja environment."""
        from errbot import templating

        self.assertIsInstance(templating.tenv(), jinja2.Environment)
        self.assertIsInstance(templating.template_path, list)
        self.assertIsInstance(templating.plugin_templates, dict)
        self.assertIs(templating.Environment, jinja2.Environment)
        self.assertIs(templating.FileSystemLoader, jinja2.FileSystemLoader)
        path = templating.make_templates_path(Path("/somewhere"))
        self.assertEqual(Path(path), Path("/somewhere/templates"))

    @decided("the released errbot has no md_table; a later version has")
    def test_table(self) -> None:
        """`md_table` returns rows as a Markdown table, and is available in templates."""
        from errbot import templating

        table = templating.md_table([[1, 2]], headers=["a", "b"])
        self.assertEqual([line.replace(" ", "") for line in str(table).splitlines()][::2], ["|a|b|", "|1|2|"])
        self.assertIn("md_table", templating.tenv().globals)

    def test_converters(self) -> None:
        """Each factory in `errbot.rendering` returns an object with the method `convert`."""
        from errbot import rendering

        for name in ("ansi", "text", "imtext", "xhtml", "md"):
            self.assertIn("word", getattr(rendering, name)().convert("word"))

    def test_tee(self) -> None:
        """`Tee` gives each client its own stream with the whole content; `start` copies in a thread."""
        from errbot.backends.base import Stream
        from errbot.streaming import Tee

        read = []
        done = threading.Semaphore(0)

        class Client:
            def callback_stream(self, stream: Any) -> None:
                stream.accept()
                read.append(stream.read())
                done.release()

        for go in (Tee.run, Tee.start):
            incoming: Any = Stream(None, io.BytesIO(b"x" * 10_000), name="name")
            go(Tee(incoming, [Client(), Client()]))
            for _ in range(2):
                self.assertTrue(done.acquire(timeout=LONGEST))
        self.assertEqual(read, [b"x" * 10_000] * 4)

    def test_webroute(self) -> None:
        """`webroute` is the function `wsview.route`, which takes an object; it isn't a decorator."""
        from errbot import webroute
        from errbot.core_plugins.wsview import route

        self.assertIs(webroute, route)

    def test_certificate(self) -> None:
        """`make_ssl_certificate` writes a private key and a certificate."""
        from errbot.core_plugins.webserver import make_ssl_certificate

        with tempfile.TemporaryDirectory() as directory:
            key, certificate = Path(directory, "key.pem"), Path(directory, "certificate.pem")
            make_ssl_certificate(str(key), str(certificate))
            self.assertIn("PRIVATE KEY", key.read_text())
            self.assertIn("BEGIN CERTIFICATE", certificate.read_text())


OLD_NAMES = (
    "jabberbot.botcmd",
    "builtins.webserver.webhook",
    "errBot.ErrBot",
    "holder.bot",
    "utils.ValidationException",
    "utils.PY2",
    "utils.PY3",
    "utils.tail",
    "utils.get_sender_username",
    "utils.mess_2_embeddablehtml",
    "utils.version2array",
    "utils.RateLimited",
    "backends.base.MUCRoom",
    "backends.base.MUCOccupant",
    "backends.base.build_message",
)


class OldNamesTests(unittest.TestCase):
    """Names of errbot's early versions."""

    def test_names(self) -> None:
        """None of these names can be imported."""
        for name in OLD_NAMES:
            module, _, attribute = name.rpartition(".")
            with self.assertRaises((ImportError, AttributeError), msg=name):
                getattr(importlib.import_module(f"errbot.{module}"), attribute)


class DocumentationTests(ContractTest):
    """The documentation of plugin classes."""

    plugin = '''
        from errbot import BotPlugin, Command, botcmd

        class Tried(BotPlugin):
            """About it."""

            def activate(self):
                super().activate()
                self.create_dynamic_plugin("made", [Command(lambda plugin, msg, args: "x", name="made")], doc="Made.")
        '''

    def test_doc(self) -> None:
        """The class of a plugin has its docstring in `__errdoc__`."""
        self.assertEqual(type(self.instance()).__errdoc__, "About it.")

    def test_doc_of_a_dynamic_plugin(self) -> None:
        """The class of a dynamic plugin has its `doc` in `__errdoc__`."""
        handler = self.bot.commands["made"]
        self.assertEqual(type(handler.__self__).__errdoc__, "Made.")
