"""Chapter 1: the names that plugins, backends and their tests import."""

from __future__ import annotations

import importlib
import unittest
from collections.abc import Iterable

from tests.contract.kit import ContractTest

ALL = (
    "BotPlugin CommandError Command webhook webroute cmdfilter botcmd re_botcmd arg_botcmd botflow botmatch BotFlow "
    "FlowRoot Flow FLOW_END"
)

MODULES = {
    "errbot": ALL
    + " ONLINE OFFLINE AWAY DND Message ValidationException SeparatorArgParser ShlexArgParser ArgumentParser "
    "ArgumentParseError HelpRequested update_wrapper ARG_BOTCMD_CHARACTER_REPLACEMENTS log logging",
    "errbot.botplugin": "BotPlugin BotPluginBase Command CommandError ValidationException recurse_check_structure "
    "ArgParserBase SeparatorArgParser ShlexArgParser",
    "errbot.backends.base": "Identifier Person RoomOccupant Room Message Card Presence Reaction Stream Backend RoomError "
    "RoomNotJoinedError RoomDoesNotExistError UserDoesNotExistError UserNotUniqueError ONLINE OFFLINE AWAY DND "
    "REACTION_ADDED REACTION_REMOVED STREAM_WAITING_TO_START STREAM_TRANSFER_IN_PROGRESS STREAM_SUCCESSFULLY_TRANSFERED "
    "STREAM_PAUSED STREAM_ERROR STREAM_REJECTED DEFAULT_REASON",
    "errbot.backends.test": "TestBot TestBackend TestPerson TestOccupant TestRoom TestRoomAcl FullStackTest ShallowConfig "
    "testbot QUIT_MESSAGE STZ_MSG STZ_PRE STZ_IQ",
    "errbot.backends.text": "TextBackend TextPerson TextRoom TextOccupant",
    "errbot.backends.null": "NullBackend",
    "errbot.core": "ErrBot",
    "errbot.core_plugins": "flask_app",
    "errbot.core_plugins.webserver": "Webserver webhook make_ssl_certificate",
    "errbot.core_plugins.wsview": "route WebView reset_app try_decode_json strip_path",
    "errbot.core_plugins.acls": "ACLS glob ciglob get_acl_usr get_acl_room BLOCK_COMMAND",
    "errbot.flow": "FlowNode FlowRoot Flow BotFlow FlowExecutor FLOW_END InvalidState Predicate",
    "errbot.plugin_manager": "BotPluginManager PluginActivationException IncompatiblePluginException "
    "PluginConfigurationException check_errbot_version check_python_plug_section install_packages CORE_PLUGINS",
    "errbot.plugin_info": "PluginInfo",
    "errbot.backend_plugin_manager": "BackendPluginManager enumerate_backend_plugins PluginNotFoundException",
    "errbot.repo_manager": "BotRepoManager RepoException check_dependencies human_name_for_git_url REPO_INDEX LAST_UPDATE "
    "INSTALLED_REPOS",
    "errbot.storage": "StoreMixin StoreException StoreAlreadyOpenError StoreNotOpenError",
    "errbot.storage.base": "StorageBase StoragePluginBase",
    "errbot.storage.memory": "MemoryStoragePlugin",
    "errbot.storage.shelf": "ShelfStoragePlugin",
    "errbot.templating": "tenv template_path plugin_templates env Environment FileSystemLoader make_templates_path "
    "add_plugin_templates_path remove_plugin_templates_path",
    "errbot.rendering": "ansi text imtext xhtml md md_escape",
    "errbot.rendering.ansiext": "enable_format CharacterTable NSC ANSI_CHRS TEXT_CHRS IMTEXT_CHRS AnsiExtension "
    "AnsiPreprocessor",
    "errbot.rendering.xhtmlim": "unescape",
    "errbot.utils": "format_timedelta version2tuple split_string_after rate_limited deprecated find_roots collect_roots "
    "entry_point_plugins global_restart git_clone git_pull git_tag_list PLUGINS_SUBDIR ON_WINDOWS",
    "errbot.version": "VERSION",
    "errbot.bootstrap": "setup_bot bot_config_defaults get_storage_plugin restore_bot_from_backup bootstrap CORE_BACKENDS "
    "CORE_STORAGE",
    "errbot.streaming": "Tee CHUNK_SIZE",
    "errbot.logs": "root_logger console_hdlr format_logs",
    "errbot.cli": "main",
    "errbot.plugin_wizard": "new_plugin_wizard",
}


class NamesTests(unittest.TestCase):
    """The modules of errbot and their names."""

    def test_names(self) -> None:
        """Each module of errbot has all names in the table MODULES."""
        missing = [
            f"{module}.{name}" for module, names in MODULES.items() for name in missing_in(module, names.split())
        ]
        self.assertEqual(missing, [])

    def test_all(self) -> None:
        """`from errbot import *` imports exactly the names in ALL."""
        self.assertEqual(sorted(importlib.import_module("errbot").__all__), sorted(ALL.split()))

    def test_submodules_are_attributes(self) -> None:
        """Submodules are attributes of the package, so `from errbot import templating` works."""
        errbot = importlib.import_module("errbot")
        for name in [
            "templating",
            "utils",
            "backends",
            "rendering",
            "plugin_manager",
            "repo_manager",
            "core_plugins",
            "flow",
            "botplugin",
            "storage",
            "version",
        ]:
            self.assertIs(getattr(errbot, name), importlib.import_module(f"errbot.{name}"))

    def test_one_thing_one_object(self) -> None:
        """A name in two modules is the same object in both."""
        from errbot import BotPlugin, Message, botplugin
        from errbot.backends import base

        self.assertIs(BotPlugin, botplugin.BotPlugin)
        self.assertIs(Message, base.Message)

    def test_constants(self) -> None:
        """The constants for presence, reactions and streams have errbot's values."""
        from errbot.backends import base

        self.assertEqual((base.ONLINE, base.OFFLINE, base.AWAY, base.DND), ("online", "offline", "away", "dnd"))
        self.assertEqual((base.REACTION_ADDED, base.REACTION_REMOVED), ("added", "removed"))
        self.assertEqual(
            (
                base.STREAM_WAITING_TO_START,
                base.STREAM_TRANSFER_IN_PROGRESS,
                base.STREAM_SUCCESSFULLY_TRANSFERED,
                base.STREAM_PAUSED,
                base.STREAM_ERROR,
                base.STREAM_REJECTED,
                base.DEFAULT_REASON,
            ),
            ("pending", "in progress", "success", "paused", "error", "rejected", "unknown"),
        )

    def test_nothing_else(self) -> None:
        """There is no CommandBotPlugin, as in errbot."""
        self.assertFalse(hasattr(importlib.import_module("errbot"), "CommandBotPlugin"))


class AttributesTests(unittest.TestCase):
    """The attributes that decorators set on functions, which plugins and tests read."""

    def test_botcmd(self) -> None:
        """`botcmd` stores all its options on the function."""
        from errbot import botcmd

        @botcmd(name="other", split_args_with=" ", admin_only=True, historize=False, template="t", syntax="<x>")
        def command(self: object, msg: object, args: object) -> None:
            """Does something."""

        read = {name: value for name, value in vars(command).items() if name.startswith("_err_")}
        expected = {
            "_err_command": True,
            "_err_command_name": "other",
            "_err_command_split_args_with": " ",
            "_err_command_admin_only": True,
            "_err_command_historize": False,
            "_err_command_template": "t",
            "_err_command_syntax": "<x>",
            "_err_command_flow_only": False,
            "_err_command_hidden": False,
        }
        self.assertEqual({name: read.get(name) for name in expected}, expected)

    def test_defaults(self) -> None:
        """Without options, a command has the function's name, one string as arguments, and no restrictions."""
        from errbot import botcmd

        @botcmd
        def command(self: object, msg: object, args: object) -> None:
            """Does something."""

        self.assertEqual(command._err_command_name, "command")
        self.assertEqual(command._err_command_split_args_with, "")
        self.assertEqual((command._err_command_hidden, command._err_command_admin_only), (False, False))

    def test_webhook(self) -> None:
        """`webhook` stores the rule without its trailing slash, the methods, the form parameter and `raw`."""
        from errbot import webhook

        @webhook("/rule/", methods=("PUT",), form_param="payload")
        def hook(self: object, payload: object) -> None:
            """A hook."""

        self.assertEqual(hook._err_webhook_uri_rule, "/rule")
        self.assertEqual(tuple(hook._err_webhook_methods), ("PUT",))
        self.assertEqual((hook._err_webhook_form_param, hook._err_webhook_raw), ("payload", False))

    def test_filter_and_flow(self) -> None:
        """`cmdfilter` and `botflow` mark the function."""
        from errbot import botflow, cmdfilter

        @cmdfilter(catch_unprocessed=True)
        def checked(self: object, msg: object, cmd: object, args: object, dry_run: object) -> None:
            """A filter."""

        @botflow
        def flow(self: object, flow: object) -> None:
            """A flow."""

        self.assertTrue(checked._err_command_filter)
        self.assertTrue(checked.catch_unprocessed)
        self.assertTrue(flow._err_flow)


class ParserTests(unittest.TestCase):
    """The parsers for `split_args_with`."""

    def test_separator(self) -> None:
        """SeparatorArgParser splits as `str.split` does."""
        from errbot import SeparatorArgParser

        self.assertEqual(SeparatorArgParser().parse_args(" a  b "), ["a", "b"])
        self.assertEqual(SeparatorArgParser(",", maxsplit=1).parse_args("a,b,c"), ["a", "b,c"])

    def test_shlex(self) -> None:
        """ShlexArgParser splits as a shell does."""
        from errbot import ShlexArgParser

        self.assertEqual(ShlexArgParser().parse_args("a 'b c'"), ["a", "b c"])


class WhatPluginsImportTests(ContractTest):
    """Imports in public plugins."""

    plugin = """
        from config import CHATROOM_PRESENCE
        from errbot import BotPlugin, botcmd, webhook, logging, templating
        from errbot.backends.base import Message
        from errbot.templating import tenv
        from errbot.utils import format_timedelta

        class Tried(BotPlugin):
            @botcmd
            def presence(self, msg, args):
                return repr(CHATROOM_PRESENCE) + logging.__name__ + type(tenv()).__name__
        """
    files = {"config.py": "CHATROOM_PRESENCE = ('x',)\n"}

    def test_imported(self) -> None:
        """A plugin can import from errbot, its submodules, and a `config.py` beside it."""
        self.assertEqual(self.ask("!presence"), "('x',)loggingEnvironment")


def missing_in(module: str, names: Iterable[str]) -> list[str]:
    """Return the names that the module doesn't have."""
    try:
        found = importlib.import_module(module)
    except ImportError:
        return list(names)
    return [name for name in names if not hasattr(found, name)]
