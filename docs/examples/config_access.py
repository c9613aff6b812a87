BACKEND = "IRC"
BOT_IDENTITY = {"nickname": "errklein", "server": "irc.example.net"}
BOT_ADMINS = ("alice!*@alice.example.net",)

ACCESS_CONTROLS_DEFAULT = {"denyusers": ("*!*@spam.example.net",)}
ACCESS_CONTROLS = {
    "hello": {
        "allowusers": ("alice!*", "bob!*"),
        "allowrooms": ("#ops",),
        "denyargs": ("*everyone*",),
    },
    "Plugins:*": {"allowmuc": True},
    "ChatRoom:*": {"allowusers": ("carol!*",)},
}
