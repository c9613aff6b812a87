BACKEND = "Null"

TRUSTED_PROXIES = {"127.0.0.1": ["X-Forwarded-For", "X-Forwarded-Proto"]}
