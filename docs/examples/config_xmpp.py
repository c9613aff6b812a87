BACKEND = "XMPP"
BOT_IDENTITY = {
    "username": "errklein@example.org",
    "password": "the bot's password",
}
BOT_ADMINS = ("alice@example.org",)
CHATROOM_PRESENCE = ("ops@conference.example.org",)
CHATROOM_FN = "errklein"
BOT_DATA_DIR = "data"
