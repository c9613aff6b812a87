BACKEND = "Null"
BOT_ADMINS = ("alice",)

ERRKLEIN_DATABASE = "postgresql://errklein@db.example.net/errklein"
