NETWORKS = {
    "libera": {
        "BACKEND": "IRC",
        "BOT_IDENTITY": {"nickname": "errklein", "server": "irc.libera.chat", "port": 6697, "ssl": True},
        "BOT_ADMINS": ("alice!*@user/alice",),
    },
    "push": {
        "BACKEND": "Apprise",
        "BOT_IDENTITY": {
            "targets": {
                "teams": "env:TEAMS_URL",
                "mail": "file:/etc/errklein/mail-url",
            },
        },
        "BOT_ADMINS_NOTIFICATIONS": ("#mail",),
    },
}

BOT_DATA_DIR = "/var/lib/errklein"
