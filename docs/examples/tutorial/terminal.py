BACKEND = "Text"
BOT_ADMINS = ("@you",)
CHATROOM_PRESENCE = ("#builds",)
WEB = "tcp:3141:interface=127.0.0.1"
