"""A configuration with every setting of errklein.

Write it to a file with `errklein config-template > config.py`, change what you need, and check the result with
`errklein check --config config.py`. A setting in a comment shows its default; indented lines in comments are examples.
"""

import logging

##########################################################################
# Networks

# The chat network: "Text" (this terminal), "IRC", "Null" (webhooks only), "Test", or the Name of a backend in
# BOT_EXTRA_BACKEND_DIR or of an installed one.
# BACKEND = "Text"

# How the bot logs in. The keys depend on the network. "Text" and "Test" take a username; IRC needs nickname and server.
BOT_IDENTITY = {"username": "@errbot"}
# The operators' guide lists the other keys for IRC.
#     BOT_IDENTITY = {"nickname": "errklein", "server": "irc.libera.chat", "port": 6697, "ssl": True}

# Several networks at once. A setting in an entry takes precedence over the one in this file.
#     BACKENDS = {
#         "libera": {"BACKEND": "IRC", "BOT_IDENTITY": {"nickname": "errklein", "server": "irc.libera.chat"}},
#         "console": {"BACKEND": "Text", "BOT_ADMINS": ("@admin",)},
#     }
# BACKENDS = {}

# Directories with backends that were written for errbot; one string or a list.
# BOT_EXTRA_BACKEND_DIR = []

##########################################################################
# People and rooms

# Administrators, as `!whoami` shows them in aclattr. `*` and `?` are wildcards.
BOT_ADMINS = ("@admin",)

# Recipients of the bot's warnings: names, not patterns. Default: the administrators.
# BOT_ADMINS_NOTIFICATIONS = ("@admin",)

# The rooms that the bot enters: names, or pairs of name and password.
# CHATROOM_PRESENCE = ()

# The bot's nick in rooms, on networks where a room has nicks of its own.
# CHATROOM_FN = "Errbot"

# Messages that a person sends to the bot are repeated in rooms.
#     CHATROOM_RELAY = {"alice": ("#builds",)}
CHATROOM_RELAY = {}

# Messages in a room are repeated to people.
#     REVERSE_CHATROOM_RELAY = {"#builds": ("alice",)}
REVERSE_CHATROOM_RELAY = {}

##########################################################################
# Data and storage

# The directory for values, certificates, repositories and the lock. It is created if it is missing.
BOT_DATA_DIR = "/var/lib/errklein"

# "Shelf" keeps values in a SQLite file in BOT_DATA_DIR, "Memory" keeps them until the process ends. Other storages are
# plugins in BOT_EXTRA_STORAGE_PLUGINS_DIR or installed.
# STORAGE = "Shelf"
# STORAGE_CONFIG = {}
# BOT_EXTRA_STORAGE_PLUGINS_DIR = None

##########################################################################
# Plugins

# Directories with plugins, one string or a list; directories below them are searched too.
BOT_EXTRA_PLUGIN_DIR = None

# URLs or paths of the indexes in which `!repos search` and `!repos install` look.
# BOT_PLUGIN_INDEXES = ("https://errbot.io/repos.json",)

# The core plugins to load; None loads all of them.
# CORE_PLUGINS = None

# The order in which plugins get callbacks; None stands for all that aren't named.
PLUGINS_CALLBACK_ORDER = (None,)

# Whether pip installs the requirements of plugins.
# AUTOINSTALL_DEPS = True

##########################################################################
# Logs

BOT_LOG_FILE = None
BOT_LOG_LEVEL = logging.INFO

# A logging.Formatter for the lines of the log.
# BOT_LOG_FORMATTER = None

# Report errors to Sentry.
BOT_LOG_SENTRY = False
BOT_LOG_SENTRY_FLASK = False
SENTRY_DSN = ""
SENTRY_LOGLEVEL = logging.INFO
SENTRY_EVENTLEVEL = logging.ERROR

# More arguments of sentry_sdk.init().
SENTRY_OPTIONS = {}

# A class of sentry_sdk.transport, or the pair of its name and module.
# SENTRY_TRANSPORT = None

##########################################################################
# Commands

# BOT_PREFIX = "!"

# Whether a direct message to the bot is a command without the prefix too.
# BOT_PREFIX_OPTIONAL_ON_CHAT = False

# Additional prefixes, such as the bot's name; the separators that may follow them; and whether they ignore case.
# BOT_ALT_PREFIXES = ()
# BOT_ALT_PREFIX_SEPARATORS = ()
# BOT_ALT_PREFIX_CASEINSENSITIVE = False

# Whether an unknown command gets no reply.
# SUPPRESS_CMD_NOT_FOUND = False

# With False, only one blocking command runs at a time.
# BOT_ASYNC = True

# Number of threads for commands, and also of those for the other methods of plugins.
# BOT_ASYNC_POOLSIZE = 10

# Seconds for running handlers to end, and for queued messages to be sent, when the bot stops.
# GRACE_PERIOD = 10.0

##########################################################################
# Access

# The default rule for commands, and rules by command pattern. The keys of the first rule whose pattern matches take
# precedence over those of the default rule. Keys: allowusers, denyusers, allowrooms, denyrooms, allowargs, denyargs,
# allowmuc, allowprivate.
#     ACCESS_CONTROLS = {"status": {"allowrooms": ("#ops",)}, "Deploy:*": {"allowusers": ("alice!*@*",)}}
# ACCESS_CONTROLS_DEFAULT = {}
# ACCESS_CONTROLS = {}

# Whether help leaves out commands that the user may not run, and whether a refused command gets no reply.
# HIDE_RESTRICTED_COMMANDS = False
# HIDE_RESTRICTED_ACCESS = False

##########################################################################
# Replies

# Commands whose replies go to the sender in private, or to a thread; "ALL_COMMANDS" stands for all.
DIVERT_TO_PRIVATE = ()
DIVERT_TO_THREAD = ()

# Whether a reply in a room begins with the sender's name.
# GROUPCHAT_NICK_PREFIXED = False

# The length at which messages are split (characters); None uses the network's own.
# MESSAGE_SIZE_LIMIT = None

# Whether tables have no borders. Default: True on IRC, False on other networks.
# COMPACT_OUTPUT = False

# The maximum number of messages in a network's outbox.
# OUTBOX_LIMIT = 10_000

##########################################################################
# Webhooks

# Seconds until a request whose handler has not finished gets the response 504.
# WEBHOOK_TIMEOUT = 60.0

# The number of threads for webhook handlers, the number of requests that may wait for one, and for how long (seconds).
# WEBHOOK_POOLSIZE = 20
# WEBHOOK_QUEUE = 200
# WEBHOOK_QUEUE_WAIT = 10.0

# The maximum size of a request body (bytes).
# WEBHOOK_MAX_BODY = 25 * 1024 * 1024

##########################################################################
# Settings of single networks

# IRC: seconds between lines to a room and to a person; None uses errklein's own pace.
# IRC_CHANNEL_RATE = None
# IRC_PRIVATE_RATE = None

# IRC: seconds until the bot returns to a room that it was kicked out of (None: it doesn't), and until the first attempt
# to connect again (None: about one second).
# IRC_RECONNECT_ON_KICK = 5
# IRC_RECONNECT_ON_DISCONNECT = None

# IRC: the form of names that patterns for people are compared with.
# IRC_ACL_PATTERN = "{nick}!{user}@{host}"

# Text: False shows each message as Markdown, XHTML, text and IM text. The theme is that of the log: "light", "dark" or "".
# TEXT_DEMO_MODE = True
# TEXT_COLOR_THEME = "light"

# XMPP: for third-party backends. errklein itself has no XMPP network.
# XMPP_CA_CERT_FILE = None
# XMPP_FEATURE_MECHANISMS = {}
# XMPP_KEEPALIVE_INTERVAL = None
# XMPP_USE_IPV6 = None
# XMPP_XHTML_IM = False
# XMPP_SSL_VERSION = None
