from pathlib import Path

HERE = Path(__file__).parent

BACKEND = "Text"
BOT_ADMINS = ("@admin",)
CHATROOM_PRESENCE = ("#builds",)
BOT_EXTRA_PLUGIN_DIR = str(HERE)
