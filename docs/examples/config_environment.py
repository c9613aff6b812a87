import os

BACKEND = "IRC"
BOT_IDENTITY = {
    "nickname": "errklein",
    "server": "irc.libera.chat",
    "port": 6697,
    "ssl": True,
    "sasl_password": os.environ.get("ERRKLEIN_SASL_PASSWORD", ""),
}
BOT_ADMINS = ("alice!*@user/alice",)

BOT_DATA_DIR = "/var/lib/errklein"
BOT_PREFIX_OPTIONAL_ON_CHAT = True
DIVERT_TO_PRIVATE = ("help", "status_plugins")
