"""The table of errbot's and Flask's names that errklein provides, with the errklein module that defines each of them.

Any other name raises an ImportError or AttributeError.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

FACADES: Mapping[str, str] = {
    "errbot": "errklein.compat.errbot",
    "flask": "errklein.compat.flask",
}
"""The packages that errklein provides, and the names of its modules for them."""

_ERRBOT: Mapping[str, Mapping[str, str]] = {
    "errbot": {
        "errklein.chat": "AWAY DND OFFLINE ONLINE",
        "errklein.chat.messages": "Message",
        "errklein.commands": (
            "ARG_BOTCMD_CHARACTER_REPLACEMENTS ArgumentParseError ArgumentParser Command CommandError HelpRequested "
            "SeparatorArgParser ShlexArgParser arg_botcmd botcmd botmatch cmdfilter re_botcmd"
        ),
        "errklein.commands.flows": "FLOW_END Flow FlowRoot botflow",
        "errklein.compat._utils": "log",
        "errklein.compat.flask_app": "webroute=route",
        "errklein.plugins.botflow": "BotFlow",
        "errklein.plugins.botplugin": "BotPlugin",
        "errklein.plugins.configuration_check": "ValidationException",
        "errklein.webhooks": "webhook",
        "functools": "update_wrapper",
        # errbot imports these two, and plugins import them from it.
        "logging": "logging=",
    },
    "errbot.backend_plugin_manager": {
        "errklein.compat._utils": "BackendPluginManager PluginNotFoundException enumerate_backend_plugins",
    },
    "errbot.backends": {},
    "errbot.backends.base": {
        "errklein.chat": (
            "AWAY DND Identifier OFFLINE ONLINE Person REACTION_ADDED REACTION_REMOVED Room RoomOccupant Stream"
        ),
        "errklein.chat.cards": "Card",
        "errklein.chat.identifiers": (
            "RoomDoesNotExistError RoomError RoomNotJoinedError UserDoesNotExistError UserNotUniqueError"
        ),
        "errklein.chat.messages": "Message",
        "errklein.chat.presence": "Presence",
        "errklein.chat.reactions": "Reaction",
        "errklein.chat.streams": (
            "DEFAULT_REASON STREAM_ERROR STREAM_PAUSED STREAM_REJECTED STREAM_SUCCESSFULLY_TRANSFERED "
            "STREAM_TRANSFER_IN_PROGRESS STREAM_WAITING_TO_START"
        ),
        "errklein.compat.core": "Backend=BackendBase",
    },
    "errbot.backends.test": {
        "errklein.networks.test": (
            "QUIT_MESSAGE STZ_IQ STZ_MSG STZ_PRE TestBackend TestOccupant TestPerson TestRoom TestRoomAcl"
        ),
        "errklein.testing.fixture": "testbot",
        "errklein.testing.full_stack": "FullStackTest ShallowConfig TestBot=BlockingTestBot",
    },
    "errbot.backends.irc": {
        "errklein.networks.irc": "IRCBackend",
        "errklein.networks.irc.identifiers": "IRCPerson IRCRoom IRCRoomOccupant",
    },
    "errbot.backends.null": {"errklein.networks.null": "NullBackend"},
    "errbot.backends.text": {
        "errklein.networks.text": "TextBackend",
        "errklein.networks.text.identifiers": "TextOccupant TextPerson TextRoom",
    },
    "errbot.bootstrap": {
        "errklein.bootstrap": (
            "CORE_BACKENDS CORE_STORAGE bootstrap bot_config_defaults get_storage_plugin restore_bot_from_backup "
            "setup_bot"
        ),
    },
    "errbot.botplugin": {
        "errklein.commands": "ArgParserBase Command CommandError SeparatorArgParser ShlexArgParser",
        # One class stands for both, since plugins only subclass BotPlugin.
        "errklein.plugins.botplugin": "BotPlugin BotPluginBase=BotPlugin",
        "errklein.plugins.configuration_check": "ValidationException recurse_check_structure",
    },
    "errbot.logs": {"errklein.compat._utils": "console_hdlr format_logs root_logger"},
    "errbot.core": {"errklein.compat.core": "ErrBot"},
    "errbot.core_plugins": {"errklein.compat.flask_app": "flask_app"},
    "errbot.core_plugins.acls": {
        "errklein.core_plugins.acls": "ACLS BLOCK_COMMAND ciglob get_acl_room get_acl_usr glob",
    },
    "errbot.core_plugins.chatRoom": {"errklein.core_plugins.chatroom": "ChatRoom"},
    "errbot.core_plugins.health": {"errklein.core_plugins.health": "Health"},
    "errbot.core_plugins.help": {"errklein.core_plugins.help": "Help"},
    "errbot.core_plugins.textcmds": {"errklein.core_plugins.textcmds": "TextModeCmds=TextCmds"},
    "errbot.core_plugins.utils": {"errklein.core_plugins.utils": "Utils"},
    "errbot.core_plugins.vcheck": {"errklein.core_plugins.versionchecker": "VersionChecker"},
    "errbot.core_plugins.webserver": {
        "errklein.compat.flask_app": "flask_app make_ssl_certificate",
        "errklein.core_plugins.webserver": "Webserver",
        "errklein.webhooks": "webhook",
    },
    "errbot.core_plugins.wsview": {
        "errklein.compat.flask_app": "WebView reset_app route strip_path try_decode_json",
    },
    "errbot.plugin_info": {"errklein.compat.plugin_info": "PluginInfo"},
    "errbot.plugin_manager": {
        "errklein.compat.plugin_manager": (
            "BotPluginManager CORE_PLUGINS check_errbot_version check_python_plug_section"
        ),
        "errklein.plugins.manager": "BL_PLUGINS CONFIGS",
        "errklein.plugins.plugin": "IncompatiblePluginException PluginActivationException PluginConfigurationException",
        "errklein.compat._utils": "install_packages",
    },
    # Its submodules are the modules of plugins; see errklein.compat._facade.publish.
    "errbot.plugins": {},
    "errbot.rendering": {
        "errklein.compat._rendering": "ansi imtext md text xhtml",
        "errklein.text": "md_escape",
    },
    "errbot.rendering.ansiext": {
        "errklein.compat._rendering": "AnsiExtension AnsiPreprocessor enable_format",
        "errklein.text.styles": "ANSI_CHRS CharacterTable IMTEXT_CHRS NSC TEXT_CHRS",
    },
    "errbot.rendering.xhtmlim": {"errklein.text.xhtml": "unescape"},
    "errbot.repo_manager": {
        "errklein.compat._utils": "check_dependencies",
        "errklein.plugins.repos.index": "RepoEntry",
        "errklein.plugins.repos.manager": "BotRepoManager INSTALLED_REPOS LAST_UPDATE REPO_INDEX",
        "errklein.plugins.repos.sources": "RepoException human_name_for_git_url",
    },
    "errbot.cli": {"errklein.cli.errbot_options": "main"},
    "errbot.plugin_wizard": {"errklein.cli.plugin_wizard": "new_plugin_wizard"},
    "errbot.flow": {
        "errklein.commands.flows": "FLOW_END Flow FlowNode FlowRoot InvalidState Predicate",
        "errklein.dispatch.flow_executor": "FlowExecutor",
        "errklein.plugins.botflow": "BotFlow",
    },
    "errbot.streaming": {
        "errklein.bot.streams": "CHUNK_SIZE",
        "errklein.compat._utils": "Tee",
    },
    "errbot.storage": {
        "errklein.plugins.store_mixin": "StoreAlreadyOpenError StoreException StoreMixin StoreNotOpenError",
    },
    "errbot.storage.base": {"errklein.compat.storages.base": "StorageBase StoragePluginBase"},
    "errbot.storage.memory": {
        "errklein.compat.storages.base": "StorageBase StoragePluginBase MemoryStoragePlugin",
    },
    "errbot.storage.shelf": {
        "errklein.compat.storages.base": "StorageBase StoragePluginBase ShelfStoragePlugin",
    },
    "errbot.templating": {
        "errklein.text.templating": (
            "add_plugin_templates_path env make_templates_path md_table plugin_templates remove_plugin_templates_path "
            "template_path tenv"
        ),
        "jinja2": "Environment FileSystemLoader",
    },
    "errbot.utils": {
        "errklein.compat._utils": (
            "ON_WINDOWS PLUGINS_SUBDIR collect_roots deprecated entry_point_plugins find_roots format_timedelta "
            "global_restart rate_limited split_string_after"
        ),
        "errklein.plugins.repos.git": "git_clone git_pull git_tag_list",
        "errklein.plugins.plug_file": "version2tuple=parse_errbot_version",
    },
    "errbot.version": {"errklein.plugins.plug_file": "VERSION=ERRBOT_VERSION"},
}
"""For each module of errbot, its names by the errklein module that defines them. `name=other` is called `other` there,
and `name=` is the module itself."""


def _targets(names_by_module: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for module, names in names_by_module.items():
        for entry in names.split():
            name, renamed, there = entry.partition("=")
            yield name, module if renamed and not there else f"{module}:{there or name}"


ERRBOT: Mapping[str, Mapping[str, str]] = {module: dict(_targets(names)) for module, names in _ERRBOT.items()}
"""For each module of errbot, the location of each name: "module:name", or "module" for a module."""

_FLASK = {
    "errklein.web.facade": (
        "Flask Request Response after_this_request copy_current_request_context current_app g has_request_context "
        "has_app_context=has_request_context json=json_text jsonify make_response redirect request send_file "
        "send_from_directory stream_with_context url_for"
    ),
    "markupsafe": "Markup escape",
    "werkzeug.exceptions": "abort",
}

PROVIDED: Mapping[str, Mapping[str, str]] = {**ERRBOT, "flask": dict(_targets(_FLASK))}
"""The modules of errbot and Flask, in the form of ERRBOT."""

_ALL = (
    "BotFlow BotPlugin Command CommandError FLOW_END Flow FlowRoot arg_botcmd botcmd botflow botmatch cmdfilter re_botcmd "
    "webhook webroute"
)

EXPORTED: Mapping[str, tuple[str, ...]] = {"errbot": tuple(_ALL.split())}
"""`__all__` of the modules in which it doesn't contain every name."""
