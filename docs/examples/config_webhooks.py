BACKEND = "Text"

WEBHOOKS = {
    "Github:notification": {
        "verify": "github",
        "secret": "env:GH_SECRET",
        "ack": "now",
        "rate": "10/s",
        "methods": ["POST"],
    },
    "Orders:push": {"verify": "github", "secret": ["file:/etc/errklein/orders_new", "file:/etc/errklein/orders"]},
}
