"""Tells chat rooms what happens on GitHub, in one line for each event."""

import json

from flask import abort, request

from errklein import BotPlugin, webhook

LONGEST_NAME = 100


class GitHub(BotPlugin):
    """Listens at /github, which may be set as a webhook's URL with either of GitHub's content types."""

    @webhook("/github", methods=["POST"])
    def github(self, payload):
        """Post one line about the event to each room of CHATROOM_PRESENCE."""
        event = request.headers.get("X-GitHub-Event")
        if not event:
            abort(400, "There is no header X-GitHub-Event: this doesn't come from GitHub.")
        if request.mimetype != "application/json":
            payload = event_in_form(payload)
        if not isinstance(payload, dict):
            abort(400, "The payload has to be a JSON object.")
        line = describe(event, payload)
        for room in self.bot_config.CHATROOM_PRESENCE:
            self.send(self.build_identifier(room), line)


def event_in_form(fields):
    """The event inside a form's field `payload`, as GitHub sends it with application/x-www-form-urlencoded."""
    try:
        return json.loads(fields["payload"])
    except (KeyError, TypeError, ValueError):
        abort(400, "The form needs a field payload with JSON in it.")


def describe(event, payload):
    """The event in one line of Markdown: what happened, where, and who did it."""
    line = name(event)
    if payload.get("action"):
        line += f" {name(payload['action'])}"
    place = name_in(payload, "repository", "full_name") or name_in(payload, "organization", "login")
    sender = name_in(payload, "sender", "login")
    if place:
        line += f" in {place}"
    if sender:
        line += f" by {sender}"
    return line


def name_in(payload, part, key):
    """What a part of the payload is called; None if it isn't there."""
    found = payload.get(part)
    return name(found[key]) if isinstance(found, dict) and found.get(key) else None


def name(text):
    """The text as it is, whatever it would mean in Markdown, but in one line and not too long."""
    text = " ".join(str(text).split()).replace("`", "'")
    if len(text) > LONGEST_NAME:
        text = text[: LONGEST_NAME - 1] + "…"
    return f"`{text}`"
