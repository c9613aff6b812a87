BACKEND = "Slack"
BOT_IDENTITY = {"token": "xoxb-…", "app_token": "xapp-…"}
BOT_ADMINS = ("U0123456789",)
CHATROOM_PRESENCE = ("#ops",)
BOT_DATA_DIR = "data"
