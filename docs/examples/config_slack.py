BACKEND = "SlackV3"
BOT_IDENTITY = {"token": "xoxb-…", "signing_secret": "…", "app_token": "xapp-…"}
BOT_ADMINS = ("@alice",)
