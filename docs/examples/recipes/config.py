from pathlib import Path

BACKEND = "Text"
BOT_ADMINS = ("@you",)
CHATROOM_PRESENCE = ("#ops",)
BOT_EXTRA_PLUGIN_DIR = str(Path(__file__).parent)

WEBHOOKS = {
    "GitHub:event": {
        "verify": "github",
        "secret": "env:GITHUB_SECRET",
        "ack": "now",
        "dedupe": "id",
    },
    "GitLab:pipeline": {
        "verify": "gitlab",
        "secret": "env:GITLAB_TOKEN",
        "ack": "now",
        "dedupe": "id",
    },
    "Alertmanager:alerts": {
        "verify": "bearer",
        "secret": "env:ALERTMANAGER_TOKEN",
        "ack": "now",
        "dedupe": "content",
    },
    "Grafana:alerts": {
        "verify": "hmac_signature",
        "secret": "env:GRAFANA_SECRET",
        "header": "X-Grafana-Alerting-Signature",
        "timestamp_header": "X-Grafana-Alerting-Timestamp",
        "signed": "{timestamp}:{body}",
        "ack": "now",
        "dedupe": "content",
    },
    "Sentry:alert": {
        "verify": "sentry",
        "secret": "env:SENTRY_SECRET",
        "ack": "now",
        "dedupe": "id",
    },
    "Stripe:event": {
        "verify": "stripe",
        "secret": "env:STRIPE_SECRET",
        "ack": "now",
        "dedupe": "id",
    },
}
