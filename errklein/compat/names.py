"""The names of errbot and Flask that plugins import, and where errklein has each of them.

A value is "module:name", or "module" for a module itself. What isn't here, errklein doesn't have.
"""

from __future__ import annotations

from collections.abc import Mapping

FACADES: Mapping[str, str] = {
    "errbot": "errklein.compat.errbot",
    "flask": "errklein.compat.flask",
}
"""The packages that errklein stands for, and its modules for them."""

ERRBOT: Mapping[str, Mapping[str, str]] = {
    "errbot": {
        "ARG_BOTCMD_CHARACTER_REPLACEMENTS": "errklein.commands:ARG_BOTCMD_CHARACTER_REPLACEMENTS",
        "ArgumentParseError": "errklein.commands:ArgumentParseError",
        "ArgumentParser": "errklein.commands:ArgumentParser",
        "Command": "errklein.commands:Command",
        "HelpRequested": "errklein.commands:HelpRequested",
        "SeparatorArgParser": "errklein.commands:SeparatorArgParser",
        "ShlexArgParser": "errklein.commands:ShlexArgParser",
        "arg_botcmd": "errklein.commands:arg_botcmd",
        "botmatch": "errklein.commands:botmatch",
        "cmdfilter": "errklein.commands:cmdfilter",
        "re_botcmd": "errklein.commands:re_botcmd",
        "AWAY": "errklein.chat:AWAY",
        "BotPlugin": "errklein.plugins.botplugin:BotPlugin",
        "CommandError": "errklein.commands:CommandError",
        "DND": "errklein.chat:DND",
        "Message": "errklein.chat.messages:Message",
        "OFFLINE": "errklein.chat:OFFLINE",
        "ONLINE": "errklein.chat:ONLINE",
        "ValidationException": "errklein.plugins.configuration_check:ValidationException",
        "botcmd": "errklein.commands:botcmd",
        "holder": "errklein.compat.holder",
        "log": "errklein.compat.logs:log",
        # Plugins take these from errbot too, which happens to import them.
        "logging": "logging",
        "update_wrapper": "functools:update_wrapper",
        "webhook": "errklein.webhooks:webhook",
        "webroute": "errklein.compat.wsview:route",
        "BotFlow": "errklein.plugins.botflow:BotFlow",
        "FLOW_END": "errklein.commands.flows:FLOW_END",
        "Flow": "errklein.commands.flows:Flow",
        "FlowRoot": "errklein.commands.flows:FlowRoot",
        "botflow": "errklein.commands.flows:botflow",
    },
    "errbot.backend_plugin_manager": {
        "BackendPluginManager": "errklein.compat.backends.manager:BackendPluginManager",
        "PluginNotFoundException": "errklein.compat.backends.manager:PluginNotFoundException",
        "enumerate_backend_plugins": "errklein.compat.backends.manager:enumerate_backend_plugins",
    },
    "errbot.backends": {},
    "errbot.backends.base": {
        "AWAY": "errklein.chat:AWAY",
        "Card": "errklein.chat.cards:Card",
        "Backend": "errklein.compat.backends.base:Backend",
        "DND": "errklein.chat:DND",
        "Identifier": "errklein.chat:Identifier",
        "Message": "errklein.chat.messages:Message",
        "OFFLINE": "errklein.chat:OFFLINE",
        "ONLINE": "errklein.chat:ONLINE",
        "Person": "errklein.chat:Person",
        "Presence": "errklein.chat.presence:Presence",
        "Room": "errklein.chat:Room",
        "RoomDoesNotExistError": "errklein.chat.identifiers:RoomDoesNotExistError",
        "RoomError": "errklein.chat.identifiers:RoomError",
        "RoomNotJoinedError": "errklein.chat.identifiers:RoomNotJoinedError",
        "RoomOccupant": "errklein.chat:RoomOccupant",
        "UserDoesNotExistError": "errklein.chat.identifiers:UserDoesNotExistError",
        "UserNotUniqueError": "errklein.chat.identifiers:UserNotUniqueError",
        "DEFAULT_REASON": "errklein.chat.streams:DEFAULT_REASON",
        "REACTION_ADDED": "errklein.chat:REACTION_ADDED",
        "REACTION_REMOVED": "errklein.chat:REACTION_REMOVED",
        "Reaction": "errklein.chat.reactions:Reaction",
        "STREAM_ERROR": "errklein.chat.streams:STREAM_ERROR",
        "STREAM_PAUSED": "errklein.chat.streams:STREAM_PAUSED",
        "STREAM_REJECTED": "errklein.chat.streams:STREAM_REJECTED",
        "STREAM_SUCCESSFULLY_TRANSFERED": "errklein.chat.streams:STREAM_SUCCESSFULLY_TRANSFERED",
        "STREAM_TRANSFER_IN_PROGRESS": "errklein.chat.streams:STREAM_TRANSFER_IN_PROGRESS",
        "STREAM_WAITING_TO_START": "errklein.chat.streams:STREAM_WAITING_TO_START",
        "Stream": "errklein.chat:Stream",
        # What they were called once.
        "MUCOccupant": "errklein.chat:RoomOccupant",
        "MUCRoom": "errklein.chat:Room",
        "build_message": "errklein.compat.utils:build_message",
    },
    "errbot.backends.test": {
        "FullStackTest": "errklein.testing.full_stack:FullStackTest",
        "QUIT_MESSAGE": "errklein.backends.test:QUIT_MESSAGE",
        "STZ_IQ": "errklein.backends.test:STZ_IQ",
        "STZ_MSG": "errklein.backends.test:STZ_MSG",
        "STZ_PRE": "errklein.backends.test:STZ_PRE",
        "ShallowConfig": "errklein.testing.full_stack:ShallowConfig",
        "TestBackend": "errklein.backends.test:TestBackend",
        "TestBot": "errklein.testing.full_stack:TestBot",
        "TestOccupant": "errklein.backends.test:TestOccupant",
        "TestPerson": "errklein.backends.test:TestPerson",
        "TestRoom": "errklein.backends.test:TestRoom",
        "TestRoomAcl": "errklein.backends.test:TestRoomAcl",
        "testbot": "errklein.testing.fixture:testbot",
    },
    "errbot.backends.irc": {
        "IRCBackend": "errklein.backends.irc:IRCBackend",
        "IRCPerson": "errklein.backends.irc.identifiers:IRCPerson",
        "IRCRoom": "errklein.backends.irc.identifiers:IRCRoom",
        "IRCRoomOccupant": "errklein.backends.irc.identifiers:IRCRoomOccupant",
    },
    "errbot.backends.null": {
        "NullBackend": "errklein.backends.null:NullBackend",
    },
    "errbot.backends.text": {
        "TextBackend": "errklein.backends.text:TextBackend",
        "TextOccupant": "errklein.backends.text.identifiers:TextOccupant",
        "TextPerson": "errklein.backends.text.identifiers:TextPerson",
        "TextRoom": "errklein.backends.text.identifiers:TextRoom",
    },
    "errbot.backends.telegram_messenger": {
        name: f"errklein.compat.backends.telegram:{name}"
        for name in (
            "RoomsNotSupportedError",
            "TelegramIdentifier",
            "TelegramMUCOccupant",
            "TelegramPerson",
            "TelegramRoom",
        )
    },
    "errbot.backends.xmpp": {
        name: f"errklein.compat.backends.xmpp:{name}"
        for name in ("XMPPIdentifier", "XMPPPerson", "XMPPRoom", "XMPPRoomOccupant", "split_identifier")
    },
    "errbot.bootstrap": {
        "CORE_BACKENDS": "errklein.bootstrap:CORE_BACKENDS",
        "CORE_STORAGE": "errklein.compat.storages.bootstrap:CORE_STORAGE",
        "bootstrap": "errklein.bootstrap:bootstrap",
        "bot_config_defaults": "errklein.bootstrap:bot_config_defaults",
        "get_storage_plugin": "errklein.compat.storages.bootstrap:get_storage_plugin",
        "restore_bot_from_backup": "errklein.compat.storages.bootstrap:restore_bot_from_backup",
        "setup_bot": "errklein.bootstrap:setup_bot",
    },
    "errbot.botplugin": {
        "ArgParserBase": "errklein.commands:ArgParserBase",
        "Command": "errklein.commands:Command",
        "SeparatorArgParser": "errklein.commands:SeparatorArgParser",
        "ShlexArgParser": "errklein.commands:ShlexArgParser",
        "BotPlugin": "errklein.plugins.botplugin:BotPlugin",
        # There is one class of both, since nobody inherits from the other.
        "BotPluginBase": "errklein.plugins.botplugin:BotPlugin",
        "CommandError": "errklein.commands:CommandError",
        "ValidationException": "errklein.plugins.configuration_check:ValidationException",
        "recurse_check_structure": "errklein.plugins.configuration_check:recurse_check_structure",
    },
    # Modules of errbot's early versions.
    "errbot.builtins": {},
    "errbot.builtins.webserver": {
        "Webserver": "errklein.core_plugins.webserver:Webserver",
        "webhook": "errklein.webhooks:webhook",
    },
    "errbot.errBot": {
        "ErrBot": "errklein.compat.backends.errbot:ErrBot",
    },
    "errbot.holder": {
        "bot": "errklein.compat.holder:bot",
    },
    "errbot.jabberbot": {
        "botcmd": "errklein.commands:botcmd",
    },
    "errbot.logs": {
        "console_hdlr": "errklein.compat.logs:console_hdlr",
        "format_logs": "errklein.compat.logs:format_logs",
        "root_logger": "errklein.compat.logs:root_logger",
    },
    "errbot.core": {
        "ErrBot": "errklein.compat.backends.errbot:ErrBot",
    },
    "errbot.core_plugins": {
        "flask_app": "errklein.compat.flask_app:flask_app",
    },
    "errbot.core_plugins.acls": {
        "ACLS": "errklein.core_plugins.acls:ACLS",
        "BLOCK_COMMAND": "errklein.core_plugins.acls:BLOCK_COMMAND",
        "ciglob": "errklein.core_plugins.acls:ciglob",
        "get_acl_room": "errklein.core_plugins.acls:get_acl_room",
        "get_acl_usr": "errklein.core_plugins.acls:get_acl_usr",
        "glob": "errklein.core_plugins.acls:glob",
    },
    "errbot.core_plugins.chatRoom": {
        "ChatRoom": "errklein.core_plugins.chatroom:ChatRoom",
    },
    "errbot.core_plugins.health": {
        "Health": "errklein.core_plugins.health:Health",
    },
    "errbot.core_plugins.help": {
        "Help": "errklein.core_plugins.help:Help",
    },
    "errbot.core_plugins.textcmds": {
        "TextModeCmds": "errklein.core_plugins.textcmds:TextCmds",
    },
    "errbot.core_plugins.utils": {
        "Utils": "errklein.core_plugins.utils:Utils",
    },
    "errbot.core_plugins.vcheck": {
        "VersionChecker": "errklein.core_plugins.versionchecker:VersionChecker",
    },
    "errbot.core_plugins.webserver": {
        "Webserver": "errklein.core_plugins.webserver:Webserver",
        "flask_app": "errklein.compat.flask_app:flask_app",
        "make_ssl_certificate": "errklein.compat.webserver:make_ssl_certificate",
        "webhook": "errklein.webhooks:webhook",
    },
    "errbot.core_plugins.wsview": {
        "WebView": "errklein.compat.wsview:WebView",
        "reset_app": "errklein.compat.wsview:reset_app",
        "route": "errklein.compat.wsview:route",
        "strip_path": "errklein.compat.wsview:strip_path",
        "try_decode_json": "errklein.compat.wsview:try_decode_json",
    },
    "errbot.plugin_info": {
        "PluginInfo": "errklein.plugins.plugin_info:PluginInfo",
    },
    "errbot.plugin_manager": {
        "BL_PLUGINS": "errklein.compat.plugin_manager:BL_PLUGINS",
        "BotPluginManager": "errklein.compat.plugin_manager:BotPluginManager",
        "CONFIGS": "errklein.compat.plugin_manager:CONFIGS",
        "CORE_PLUGINS": "errklein.compat.plugin_manager:CORE_PLUGINS",
        "IncompatiblePluginException": "errklein.compat.plugin_manager:IncompatiblePluginException",
        "PluginActivationException": "errklein.compat.plugin_manager:PluginActivationException",
        "PluginConfigurationException": "errklein.compat.plugin_manager:PluginConfigurationException",
        "check_errbot_version": "errklein.compat.plugin_manager:check_errbot_version",
        "check_python_plug_section": "errklein.compat.plugin_manager:check_python_plug_section",
        "install_packages": "errklein.plugins.distributions:install_packages",
    },
    # What is in it are the modules of plugins; see errklein.compat.plugin_modules.
    "errbot.plugins": {},
    "errbot.rendering": {
        "ansi": "errklein.compat.rendering:ansi",
        "imtext": "errklein.compat.rendering:imtext",
        "md": "errklein.compat.rendering:md",
        "md_escape": "errklein.text:md_escape",
        "text": "errklein.compat.rendering:text",
        "xhtml": "errklein.compat.rendering:xhtml",
    },
    "errbot.rendering.ansiext": {
        "ANSI_CHRS": "errklein.text.characters:ANSI_CHRS",
        "AnsiExtension": "errklein.compat.ansiext:AnsiExtension",
        "AnsiPreprocessor": "errklein.compat.ansiext:AnsiPreprocessor",
        "CharacterTable": "errklein.text.characters:CharacterTable",
        "IMTEXT_CHRS": "errklein.text.characters:IMTEXT_CHRS",
        "NSC": "errklein.text.characters:NSC",
        "TEXT_CHRS": "errklein.text.characters:TEXT_CHRS",
        "enable_format": "errklein.compat.ansiext:enable_format",
    },
    "errbot.rendering.xhtmlim": {
        "unescape": "errklein.text.xhtml:unescape",
    },
    "errbot.repo_manager": {
        "BotRepoManager": "errklein.plugins.repos.manager:BotRepoManager",
        "INSTALLED_REPOS": "errklein.plugins.repos.manager:INSTALLED_REPOS",
        "LAST_UPDATE": "errklein.plugins.repos.manager:LAST_UPDATE",
        "REPO_INDEX": "errklein.plugins.repos.manager:REPO_INDEX",
        "RepoEntry": "errklein.plugins.repos.index:RepoEntry",
        "RepoException": "errklein.plugins.repos.manager:RepoException",
        "check_dependencies": "errklein.plugins.repos.manager:check_dependencies",
        "human_name_for_git_url": "errklein.plugins.repos.manager:human_name_for_git_url",
    },
    "errbot.cli": {
        "main": "errklein.cli.errbot:main",
    },
    "errbot.plugin_wizard": {
        "new_plugin_wizard": "errklein.cli.plugin_wizard:new_plugin_wizard",
    },
    "errbot.flow": {
        "BotFlow": "errklein.plugins.botflow:BotFlow",
        "FLOW_END": "errklein.commands.flows:FLOW_END",
        "Flow": "errklein.commands.flows:Flow",
        "FlowExecutor": "errklein.dispatch.flow_executor:FlowExecutor",
        "FlowNode": "errklein.commands.flows:FlowNode",
        "FlowRoot": "errklein.commands.flows:FlowRoot",
        "InvalidState": "errklein.commands.flows:InvalidState",
        "Predicate": "errklein.commands.flows:Predicate",
    },
    "errbot.streaming": {
        "CHUNK_SIZE": "errklein.running.tee:CHUNK_SIZE",
        "Tee": "errklein.running.tee:Tee",
    },
    "errbot.storage": {
        "StoreAlreadyOpenError": "errklein.plugins.store_mixin:StoreAlreadyOpenError",
        "StoreException": "errklein.plugins.store_mixin:StoreException",
        "StoreMixin": "errklein.plugins.store_mixin:StoreMixin",
        "StoreNotOpenError": "errklein.plugins.store_mixin:StoreNotOpenError",
    },
    "errbot.storage.base": {
        "StorageBase": "errklein.compat.storages.base:StorageBase",
        "StoragePluginBase": "errklein.compat.storages.base:StoragePluginBase",
    },
    "errbot.storage.memory": {
        "MemoryStorage": "errklein.compat.storages.bundled:MemoryStorage",
        "MemoryStoragePlugin": "errklein.compat.storages.bundled:MemoryStoragePlugin",
        "ROOTS": "errklein.compat.storages.bundled:ROOTS",
        "StorageBase": "errklein.compat.storages.base:StorageBase",
        "StoragePluginBase": "errklein.compat.storages.base:StoragePluginBase",
    },
    "errbot.storage.shelf": {
        "ShelfStoragePlugin": "errklein.compat.storages.bundled:ShelfStoragePlugin",
        "StorageBase": "errklein.compat.storages.base:StorageBase",
        "StoragePluginBase": "errklein.compat.storages.base:StoragePluginBase",
    },
    "errbot.templating": {
        "Environment": "jinja2:Environment",
        "FileSystemLoader": "jinja2:FileSystemLoader",
        "add_plugin_templates_path": "errklein.text.templating:add_plugin_templates_path",
        "env": "errklein.text.templating:env",
        "make_templates_path": "errklein.text.templating:make_templates_path",
        "md_table": "errklein.text.templating:md_table",
        "plugin_templates": "errklein.text.templating:plugin_templates",
        "remove_plugin_templates_path": "errklein.text.templating:remove_plugin_templates_path",
        "template_path": "errklein.text.templating:template_path",
        "tenv": "errklein.text.templating:tenv",
    },
    "errbot.utils": {
        "ON_WINDOWS": "errklein.compat.utils:ON_WINDOWS",
        "PLUGINS_SUBDIR": "errklein.compat.utils:PLUGINS_SUBDIR",
        "collect_roots": "errklein.compat.utils:collect_roots",
        "entry_point_plugins": "errklein.compat.utils:entry_point_plugins",
        "find_roots": "errklein.compat.utils:find_roots",
        "deprecated": "errklein.compat.utils:deprecated",
        "format_timedelta": "errklein.compat.utils:format_timedelta",
        "global_restart": "errklein.running.restart:restart",
        "git_clone": "errklein.plugins.repos.git:git_clone",
        "git_pull": "errklein.plugins.repos.git:git_pull",
        "git_tag_list": "errklein.plugins.repos.git:git_tag_list",
        "rate_limited": "errklein.compat.utils:rate_limited",
        "split_string_after": "errklein.compat.utils:split_string_after",
        "version2tuple": "errklein.compat.utils:version2tuple",
        # What plugins took from here once.
        "PY2": "errklein.compat.utils:PY2",
        "PY3": "errklein.compat.utils:PY3",
        "RateLimited": "errklein.compat.utils:RateLimited",
        "ValidationException": "errklein.plugins.configuration_check:ValidationException",
        "get_sender_username": "errklein.compat.utils:get_sender_username",
        "mess_2_embeddablehtml": "errklein.compat.utils:mess_2_embeddablehtml",
        "tail": "errklein.compat.utils:tail",
        "version2array": "errklein.compat.utils:version2array",
    },
    "errbot.version": {
        "VERSION": "errklein.plugins.requirements:ERRBOT_VERSION",
    },
}
"""For each module of errbot, its names."""

EXPORTED: Mapping[str, tuple[str, ...]] = {
    "errbot": (
        "BotFlow",
        "BotPlugin",
        "Command",
        "CommandError",
        "FLOW_END",
        "Flow",
        "FlowRoot",
        "arg_botcmd",
        "botcmd",
        "botflow",
        "botmatch",
        "cmdfilter",
        "re_botcmd",
        "webhook",
        "webroute",
    ),
}
"""What `from … import *` takes where it isn't everything."""
