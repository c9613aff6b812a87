NETWORKS = {
    "libera": {
        "BACKEND": "IRC",
        "BOT_IDENTITY": {
            "nickname": "errklein",
            "server": "irc.libera.chat",
            "port": 6697,
            "ssl": True,
        },
        "BOT_ADMINS": ("alice!*@user/alice",),
        "CHATROOM_PRESENCE": ("#builds", "#talk"),
    },
    "office": {
        "BACKEND": "IRC",
        "BOT_IDENTITY": {"nickname": "errklein", "server": "irc.example.net"},
        "BOT_ADMINS": ("*!*@10.0.0.7",),
        "CHATROOM_PRESENCE": (("#ops", "the room's password"),),
        "BOT_PREFIX": "?",
    },
}

BOT_DATA_DIR = "/var/lib/errklein"
BOT_EXTRA_PLUGIN_DIR = []
