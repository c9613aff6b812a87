"""The methods of the Bot API, and what its errors mean."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from errklein.networks._connection import Unusable
from errklein.networks.context import NetworkContext
from errklein.networks.json_client import TIMEOUT, File, RequestRefused, mapping, one_line
from errklein.networks.outbox import NotConfirmed, RetryLater
from errklein.networks.telegram import SERVER, SETTINGS
from errklein.text.masking import masker


class TelegramClient:
    """Calls methods with the bot's token, which is a part of each URL. Use it on the reactor. Failures are those of `JSONClient`;
    the `code` of one is the id of the supergroup that the group has become."""

    def __init__(self, context: NetworkContext) -> None:
        identity = SETTINGS.read_identity(context.config.BOT_IDENTITY)
        token, server = identity["token"], identity.get("server", SERVER)
        self.webhook: str = identity.get("webhook", "")
        self._files = f"{server}/file/bot{token}/"
        self._http = context.http(f"{server}/bot{token}", read_failure=_read_failure)
        masker.learn(self, "token", [token, token.partition(":")[2]])

    async def call(self, method: str, seconds: float = TIMEOUT, file: File | None = None, **fields: Any) -> Any:
        """Return the result of a method. Fields that are None are left out."""
        given = {name: value for name, value in fields.items() if value is not None}
        if file is None:
            answer = await self._http.call("POST", method, given, timeout=seconds)
        else:
            answer = await self._http.upload(
                "POST", method, file, {name: json.dumps(one) for name, one in given.items()}
            )
        if not isinstance(answer, dict) or "result" not in answer:
            raise NotConfirmed("the answer isn't by Telegram")
        return answer["result"]

    async def fetch(self, id: str, most: int) -> bytes:
        """Return the content of a file."""
        found = await self.call("getFile", file_id=id)
        return await self._http.fetch(self._files + quote(found["file_path"]), most)


def _read_failure(status: int, headers: Mapping[str, str], body: Any) -> Exception | None:
    reason, more = one_line(mapping(body).get("description")), mapping(mapping(body).get("parameters"))
    if not reason:
        # It isn't by Telegram, but for example by a proxy.
        return NotConfirmed(f"the answer has status {status}, and isn't by Telegram") if 300 <= status < 500 else None
    if status == 401 or (status == 404 and reason == "Not Found"):
        return Unusable(f"Telegram refuses BOT_IDENTITY['token'] ({reason}); @BotFather shows the current one")
    if status == 409:
        return Unusable(f"another program reads the messages of the same bot ({reason})")
    if status == 429:
        return RetryLater(float(more.get("retry_after", 5)))
    return RequestRefused(status, str(more["migrate_to_chat_id"]), reason) if "migrate_to_chat_id" in more else None
