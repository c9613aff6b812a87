BACKEND = "Null"

TRUSTED_PROXIES = {"unix": ["X-Forwarded-For", "X-Forwarded-Proto"]}
WEBHOOK_BASE_PATH = "/bot"
PUBLIC_URL = "https://www.example.net"
