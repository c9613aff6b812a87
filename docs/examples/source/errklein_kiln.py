from functools import partial

from errklein.verify import hmac_signature
from errklein.webhooks.source import Source

ICONS = {"build.passed": "✅", "build.failed": "❌"}


def event(received, payload):
    state = payload.get("state") if isinstance(payload, dict) else None
    return f"build.{state}" if isinstance(state, str) else "build"


def lines(event, payload):
    return [
        f"{ICONS.get(event, '')} [{{project}} #{{number}}]({{url}}): {{state}}",
        "> {change.title|line} ({change.author})",
    ]


SOURCE = Source(
    "kiln",
    "Kiln",
    lines,
    partial(hmac_signature, header="X-Kiln-Signature", prefix="sha256=", id_header="X-Kiln-Build"),
    event=event,
    signs=True,
    setup=("In Kiln, open Settings > Outgoing requests, and add this URL with this secret.",),
)
