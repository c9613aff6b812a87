BACKEND = "Null"

WEB = "tcp:3141:interface=127.0.0.1"
PUBLIC_URL = "https://bot.example.net"
TRUSTED_PROXIES = {"127.0.0.1": ["X-Forwarded-For", "X-Forwarded-Proto"]}
