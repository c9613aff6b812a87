BACKEND = "IRC"
BOT_IDENTITY = {"nickname": "errklein", "server": "irc.libera.chat", "port": 6697, "ssl": True}
BOT_ADMINS = ("your_nick!*@your.host",)
CHATROOM_PRESENCE = ("#your-dev", "#your-ops")
WEB = "tcp:3141:interface=127.0.0.1"
