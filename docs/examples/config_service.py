import logging

BACKEND = "IRC"
BOT_IDENTITY = {
    "nickname": "errklein",
    "server": "irc.libera.chat",
    "port": 6697,
    "ssl": True,
}
BOT_ADMINS = ("alice!*@user/alice",)
CHATROOM_PRESENCE = ("#builds",)

BOT_DATA_DIR = "/var/lib/errklein"
BOT_LOG_FILE = "/var/log/errklein/errklein.log"
BOT_LOG_LEVEL = logging.INFO
