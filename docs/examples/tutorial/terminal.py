BACKEND = "Text"
BOT_ADMINS = ("@you",)
CHATROOM_PRESENCE = ("#builds",)
