BACKEND = "Text"
BOT_ADMINS = ("@admin",)
CHATROOM_PRESENCE = ("#releases",)
BOT_DATA_DIR = "data"
BOT_EXTRA_PLUGIN_DIR = "plugins"

WEBHOOKS = {
    "Releases:published": {
        "verify": "github",
        "secret": "env:GH_SECRET",
        "ack": "now",
        "dedupe": "id",
        "attempts": 2,
        "methods": ["POST"],
    },
}
