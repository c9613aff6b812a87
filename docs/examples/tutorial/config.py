from pathlib import Path

HERE = Path(__file__).parent

BACKEND = "IRC"
BOT_IDENTITY = {
    "nickname": "errklein",
    "server": "irc.libera.chat",
    "port": 6697,
    "ssl": True,
}
BOT_ADMINS = ("your_nick!*@your.host",)
CHATROOM_PRESENCE = ("#your-room",)
BOT_DATA_DIR = str(HERE / "data")
BOT_EXTRA_PLUGIN_DIR = str(HERE / "plugins")
WEB = "tcp:3141:interface=127.0.0.1"
