BACKEND = "Matrix"
BOT_IDENTITY = {
    "homeserver": "https://matrix.example.org",
    "user": "@errklein:example.org",
    "password": "the bot's password",
}
BOT_ADMINS = ("@alice:example.org",)
CHATROOM_PRESENCE = ("#ops:example.org",)
BOT_DATA_DIR = "data"
