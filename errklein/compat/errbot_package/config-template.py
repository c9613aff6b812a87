"""A configuration with every setting of errklein.

Write it to a file with `errklein config template > config.py`, change what you need, and check the result with
`errklein check --config config.py`. A setting in a comment shows its default; indented lines in comments are examples.
"""

import logging

### Networks

# The chat network: "Text" (the terminal), "IRC", "Null" (only webhooks), "Test" (only tests), or the name of an
# installed backend or of one in BOT_EXTRA_BACKEND_DIR. `errklein network list` lists them.
# BACKEND = "Text"

# The bot's account. The keys depend on the network: IRC requires nickname and server, "Text" and "Test" may have a
# username. The operators' guide for networks lists the other keys of IRC.
BOT_IDENTITY = {"username": "@errklein"}
#     BOT_IDENTITY = {"nickname": "errklein", "server": "irc.libera.chat", "port": 6697, "ssl": True}

# Several networks at once. A setting in an entry takes precedence over the one in this file.
#     NETWORKS = {
#         "libera": {"BACKEND": "IRC", "BOT_IDENTITY": {"nickname": "errklein", "server": "irc.libera.chat"}},
#         "console": {"BACKEND": "Text", "BOT_ADMINS": ("@admin",)},
#     }
# NETWORKS = {}

# BOT_EXTRA_BACKEND_DIR = []  # Directories with backends written for errbot, as a string or a list

### People and rooms

BOT_ADMINS = ("@admin",)  # The administrators, as `!whoami` shows them in aclattr; `*` and `?` are wildcards
# BOT_ADMINS_NOTIFICATIONS = ("@admin",)  # The people who are notified of problems, as names; default: BOT_ADMINS

# The second way for notices that reach none of them in chat within a minute: a mail address such as
# "ops@example.org", or a command and its arguments, which gets the notices on standard input.
#     BOT_ADMINS_FALLBACK = ["/usr/local/bin/page", "ops"]
# BOT_ADMINS_FALLBACK = None
# CHATROOM_PRESENCE = ()  # The rooms that the bot joins, as names or pairs of name and password
CHATROOM_FN = "errklein"  # The bot's name in rooms, on networks where each room has names of its own

CHATROOM_RELAY = {}  # Rooms for a person's private messages, by the person's name: {"alice": ("#builds",)}
REVERSE_CHATROOM_RELAY = {}  # People for the messages in a room, by the room's name: {"#builds": ("alice",)}

### Data and storage

BOT_DATA_DIR = "/var/lib/errklein"  # The directory for all data, which is created if it is missing
# STORAGE = "Shelf"  # "Shelf" (a SQLite file in BOT_DATA_DIR), "Memory", or the name of a storage plugin
# STORAGE_CONFIG = {}  # The options of the storage; their keys depend on it
# BOT_EXTRA_STORAGE_PLUGINS_DIR = None  # The directory with storage plugins
# ERRKLEIN_DATABASE = None  # The URL of a PostgreSQL database that several processes share: "postgresql://errklein@db.example.net/errklein"

### Plugins

BOT_EXTRA_PLUGIN_DIR = None  # Directories with plugins, as a string or a list; the folders in them are searched, too
# BOT_PLUGIN_INDEXES = ("https://errbot.io/repos.json",)  # URLs or paths of the indexes of `!repos search` and `install`
# CORE_PLUGINS = None  # The core plugins to load, as a tuple of names; None loads all
PLUGINS_CALLBACK_ORDER = (None,)  # The order in which plugins receive callbacks; None stands for all others
# AUTOINSTALL_DEPS = True  # Whether pip installs the requirements of plugins
# INSTALL_FROM_CHAT = True  # False: !repos install and !repos update are refused

### Logs

BOT_LOG_FILE = None  # None: standard output, or errklein.log in BOT_DATA_DIR with "Text"
BOT_LOG_LEVEL = logging.INFO  # The lowest level that is logged
# BOT_LOG_FORMATTER = None  # A logging.Formatter for log lines
BOT_LOG_SENTRY = False  # Whether errors are reported to Sentry; this requires `pip install sentry-sdk`
BOT_LOG_SENTRY_FLASK = False  # Whether Sentry's integration for Flask is used, if Flask is installed
SENTRY_DSN = ""  # The DSN that Sentry shows for the project
SENTRY_LOGLEVEL = logging.INFO  # The lowest level of log lines that are sent together with an error
SENTRY_EVENTLEVEL = logging.ERROR  # The lowest level of log lines that are reported as errors
SENTRY_OPTIONS = {}  # Other arguments of sentry_sdk.init
# SENTRY_TRANSPORT = None  # A class of sentry_sdk.transport, or its name and module. Deprecated: use SENTRY_OPTIONS

### Commands

# BOT_PREFIX = "!"  # The prefix of commands
# BOT_PREFIX_OPTIONAL_ON_CHAT = False  # Whether the prefix is optional in private messages to the bot
# BOT_ALT_PREFIXES = ()  # Additional prefixes, such as the bot's name
# BOT_ALT_PREFIX_SEPARATORS = ()  # Characters that may follow an additional prefix, such as ":"
# BOT_ALT_PREFIX_CASEINSENSITIVE = False  # Whether the case of additional prefixes is ignored
# BOT_NICK_PREFIX = True  # Whether the bot's nick and a colon or comma is a prefix, too
# COMMAND_RATE = "200/h"  # The limit of each person's commands; administrators have none. None: unlimited
# SUPPRESS_CMD_NOT_FOUND = False  # Whether an unknown command gets no reply
# BOT_ASYNC = True  # Whether several blocking commands may run at the same time
# BOT_ASYNC_POOLSIZE = 10  # The number of threads for blocking commands, and as many for plugins' other methods
# GRACE_PERIOD = 10.0  # The seconds that running handlers and queued messages have to finish when the bot stops
# The seconds after which the process ends if a plugin blocks the reactor, so that systemd starts it again. None: one second
# more than GRACE_PERIOD under systemd and with --processes, otherwise never. 0: never.
# REACTOR_DEADLINE = None

### Access

# The default access rule of commands. Its keys are allowusers, denyusers, allowrooms, denyrooms, allowargs, denyargs,
# allowmuc and allowprivate.
# ACCESS_CONTROLS_DEFAULT = {}
# Access rules by command pattern. The keys of the first matching rule take precedence over those of the default rule.
#     ACCESS_CONTROLS = {"status": {"allowrooms": ("#ops",)}, "Deploy:*": {"allowusers": ("alice!*@*",)}}
# ACCESS_CONTROLS = {}
# HIDE_RESTRICTED_COMMANDS = False  # Whether `!help` omits commands that the sender may not use
# HIDE_RESTRICTED_ACCESS = False  # Whether a command that the sender may not use gets no reply

### Replies

DIVERT_TO_PRIVATE = ()  # Commands whose replies are sent to the sender in private; "ALL_COMMANDS" stands for all
DIVERT_TO_THREAD = ()  # Commands whose replies are sent to a thread; "ALL_COMMANDS" stands for all
# GROUPCHAT_NICK_PREFIXED = False  # Whether a reply in a room begins with the sender's name
# MESSAGE_SIZE_LIMIT = None  # The length in characters at which messages are split; None uses the network's limit
# COMPACT_OUTPUT = False  # Whether tables have no borders. Default: True on IRC, False on other networks
# OUTBOX_LIMIT = 20_000  # The maximum number of parts of messages in a network's outbox
# OUTBOX_SIZE = 20_000_000  # The maximum number of characters in a network's outbox
# OUTBOX_MAX_AGE = 3600.0  # The number of seconds after which a message that could not be sent is dropped

### Webhooks

# The Twisted endpoints on which webhooks arrive: one, or a list. The option --web takes precedence.
#     WEB = "tcp:3141:interface=127.0.0.1"
# WEB = ()
# The Twisted endpoint of /health, /ready and /metrics, which must not be public. The option --status takes precedence.
#     STATUS = "tcp:9141:interface=127.0.0.1"
# STATUS = None
# The Twisted endpoint of the console for administrators. The option --console takes precedence.
#     CONSOLE = "tcp:9142:interface=127.0.0.1"
# CONSOLE = None
# CONSOLE_URL = ""  # The address by which people reach the console behind a proxy, such as "https://console.example.org"

# WEBHOOK_TIMEOUT = 60.0  # Seconds until a request whose handler has not finished gets the response 504
# WEBHOOK_POOLSIZE = 20  # The number of threads for blocking handlers, which webhooks share
# WEBHOOK_QUEUE = 200  # The number of requests that may wait for a thread
# WEBHOOK_QUEUE_WAIT = 10.0  # The seconds that a request waits for a thread before it gets the response 503
# WEBHOOK_MAX_BODY = 25 * 1024 * 1024  # The maximum size of a request body (bytes)

# Options of webhooks, by plugin and method. They take precedence over those of the plugin.
#     WEBHOOKS = {
#         "Github:notification": {"verify": "github", "secret": "env:GH_SECRET", "ack": "now", "methods": ["POST"]},
#     }
# A name without a colon shows in a room what a source sends:
#     WEBHOOKS = {"alerts": {"source": "grafana", "room": "#ops", "secret": "env:GRAFANA_TOKEN"}}
# WEBHOOKS = {}

# WEBHOOK_METHODS = ("POST", "GET")  # The HTTP methods of webhooks for which nobody names any
# WEBHOOK_CLIENT_RATE = "100/s"  # The limit of one client's requests that no verification has accepted. None: unlimited
# WEBHOOK_LOG = "bodies"  # The stored part of each request: "bodies", "heads" for all except the body, or "off"
# WEBHOOK_LOG_MASK = ()  # The names of fields whose values are masked in stored requests
# WEBHOOK_LOG_DAYS = 7  # The days for which requests are stored
# WEBHOOK_LOG_RATE = "100/s"  # The rate of a webhook's successes above which they are only counted. None: unlimited
# WEBHOOK_LOG_SIZE = 1_000_000_000  # The maximum size of all stored requests (bytes)
# The proxies in front of the bot, each with the forwarding headers that it overwrites. Other forwarding headers are ignored.
# TRUSTED_PROXIES = {}
#     TRUSTED_PROXIES = {"127.0.0.1": ["X-Forwarded-For", "X-Forwarded-Proto"]}

# WEBHOOK_BASE_PATH = ""  # The path below which a proxy serves the webhooks, such as "/bot"
# WEBHOOK_PREFIX = "/hooks"  # The path below which the webhooks of rooms are
# PUBLIC_URL = ""  # The scheme and host of links to webhooks, as "https://bot.example.net". Default: the request's
# WEBHOOK_MAX_CONNECTIONS = 10_000  # The number of connections that may be open at the same time
# WEBHOOK_MAX_CONNECTIONS_PER_CLIENT = 1_000  # The number of connections that a client may have open at the same time
# WEBHOOK_BODY_MEMORY = 256 * 1024 * 1024  # The memory for all bodies (bytes); others wait on disk. None: unlimited

### Settings of single networks

# IRC_CHANNEL_RATE = None  # IRC: the seconds between two lines to a room; None uses errklein's default
# IRC_PRIVATE_RATE = None  # IRC: the seconds between two lines to a person; None uses errklein's default
# IRC_RECONNECT_ON_KICK = 5  # IRC: the seconds until the bot rejoins a room that it was kicked out of; None: it doesn't
# IRC_RECONNECT_ON_DISCONNECT = None  # IRC: the seconds until the bot first reconnects; None: about one second
# IRC_ACL_PATTERN = "{nick}!{user}@{host}"  # IRC: the format of people's names that patterns are compared with
# TEXT_DEMO_MODE = True  # Text: True shows messages once, False shows each as Markdown, XHTML, text and IM text
# TEXT_COLOR_THEME = "light"  # The colours of log lines: "light" for dark terminals, "dark" for light ones, "" for none

# XMPP_CA_CERT_FILE = None  # XMPP: the file with authorities for the server's certificate, besides those of the system
# XMPP_FEATURE_MECHANISMS = {}  # XMPP: the options of slixmpp's feature_mechanisms
# XMPP_KEEPALIVE_INTERVAL = None  # XMPP: the seconds after which the server must show that it is there; None: 60
# XMPP_USE_IPV6 = None  # XMPP: False looks up only IPv4 addresses
# XMPP_XHTML_IM = False  # XMPP: whether messages also have formatted text
# XMPP_SSL_VERSION = None  # XMPP: without effect; TLS 1.2 or later is used
