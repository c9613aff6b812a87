import logging

BACKEND = "Null"

BOT_LOG_FILE = "/var/log/errklein.log"
BOT_LOG_FORMATTER = logging.Formatter(
    "%(asctime)s %(levelname)s %(name)s %(request_id)s %(message)s",
)

BOT_LOG_SENTRY = True
SENTRY_DSN = "https://key@sentry.example.net/1"
