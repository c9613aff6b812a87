"""GitLab: who did what to what, for the events of projects and groups."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from errklein import verify
from errklein.sources._payloads import at, branch, found, items, json_object, lines_of, texts_beside
from errklein.verify import ImmediateResponse, Received, Verification
from errklein.webhooks.source import Source, header

__all__ = ["SOURCES"]

_SIGNING = b"whsec_"
_TEXTS = texts_beside(__file__)
_ACTION = "object_attributes.action or action or object_attributes.status or status or build_status or object_attributes.state"


def _event(received: Received, payload: Any) -> str:
    kind = at(payload, "object_kind or event_name")
    # GitLab documents an action of reactions, but sends it elsewhere.
    action = at(payload, f"{_ACTION} or event_type" if kind == "emoji" else _ACTION)
    return f"{kind}.{action}" if kind and action else kind


def _lines(event: str, payload: Any) -> Sequence[str]:
    kind, _, action = event.partition(".")
    verb = thing = ""
    if kind == "note":
        thing = _TEXTS["notes"].get(at(payload, "object_attributes.noteable_type"), "")
    elif kind == "feature_flag":
        verb = "turned on" if found(payload, "object_attributes.active") is True else "turned off"
    elif action == "update":
        verb = next((text for path, text in _TEXTS["updates"].items() if found(payload, path)), "")
    return [
        *lines_of(_TEXTS, payload, kind, action, verb, thing),
        *(
            f"- {{{job}.stage}}: {{{job}.name}}"
            for job in items(payload, "builds", 100)
            if at(payload, f"{job}.status") == "failed" and found(payload, f"{job}.allow_failure") is not True
        ),
    ]


def _verification(*, secret: str | Sequence[str]) -> Verification:
    """Return the verification by a token, or with a secret that begins with "whsec_" by the signature."""
    token, signed = verify.gitlab(secret=secret), verify.gitlab(secret=secret, signed=True)

    def check(received: Received, secrets: Sequence[bytes]) -> ImmediateResponse | None:
        signing = [one for one in secrets if one.startswith(_SIGNING)]
        if signing and header(received, b"webhook-signature"):
            return signed.check(received, signing)
        return token.check(received, [one for one in secrets if one not in signing])

    return replace(
        token,
        check=check,
        signer=lambda received, secret: (signed if secret.startswith(_SIGNING) else token).sign(received, secret),
        secret_headers=token.secret_headers | signed.secret_headers,
    )


SOURCES = {
    "gitlab": Source(
        "gitlab",
        "GitLab",
        _lines,
        _verification,
        event=_event,
        parse=json_object,
        values=branch,
        signs=True,
        setup=_TEXTS["setup"],
        example="merge_request.json",
    )
}
