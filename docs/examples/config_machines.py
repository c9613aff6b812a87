BACKEND = "Null"
BOT_ADMINS = ("alice",)

BOT_DATA_DIR = "/var/lib/errklein"
ERRKLEIN_DATABASE = "postgresql://errklein@10.0.0.20/errklein"
TRUSTED_PROXIES = {"10.0.0.10": ["X-Forwarded-For", "X-Forwarded-Proto"]}
