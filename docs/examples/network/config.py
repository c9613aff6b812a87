BACKEND = "Parley"
BOT_IDENTITY = {"server": "https://parley.example.net/api", "token": "…"}
BOT_ADMINS = ("@alice",)
BOT_DATA_DIR = "data"
