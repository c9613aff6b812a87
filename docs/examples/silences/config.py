BACKEND = "Text"
BOT_ADMINS = ("@admin",)
CHATROOM_PRESENCE = ("#ops",)
BOT_DATA_DIR = "data"
BOT_EXTRA_PLUGIN_DIR = "."

WEBHOOKS = {"Silences:announce": {"secret": "env:ALERTMANAGER_TOKEN"}}
