BACKEND = "IRC"
BOT_IDENTITY = {
    "nickname": "errklein",
    "server": "irc.libera.chat",
    "port": 6697,
    "ssl": True,
}
BOT_ADMINS = ("your_nick!*@your.host",)
CHATROOM_PRESENCE = ("#your-room",)
BOT_DATA_DIR = "data"
