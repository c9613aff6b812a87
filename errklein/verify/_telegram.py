"""Telegram: https://core.telegram.org/bots/api#setwebhook."""

from __future__ import annotations

from errklein.verify._delivery_ids import id_in_json
from errklein.verify._references import Secrets
from errklein.verify._tokens import token_in_header
from errklein.verify._verification import Verification


def telegram(*, secret: Secrets) -> Verification:
    """Return the verification of a Telegram bot's updates, by the `secret_token` that was given to setWebhook."""
    return token_in_header("telegram", b"x-telegram-bot-api-secret-token", secret, id_in_json("update_id"))
