BACKEND = "IRC"
BOT_IDENTITY = {"nickname": "errklein", "server": "irc.example.net"}
BOT_ADMINS = ("alice!*@alice.example.net",)

ACCESS_CONTROLS_DEFAULT = {"denyusers": ("*!*@spam.example.net",)}
ACCESS_CONTROLS = {
    "deploy": {
        "allowusers": ("alice!*", "bob!*"),
        "allowrooms": ("#ops",),
        "denyargs": ("*production*",),
    },
    "Plugins:*": {"allowmuc": True},
    "ChatRoom:*": {"allowusers": ("carol!*",)},
}
