"""Writes tests/networks/telegram/types.json, the types of Telegram's Bot API that the double checks calls and its own answers with.

They are those of the npm package telegram-bot-api-types (MIT), which is made from Telegram's documentation. Usage:

    npm pack telegram-bot-api-types && tar xzf telegram-bot-api-types-*.tgz
    python .ci/telegram_types.py package/index.d.ts
"""

import json
import re
import sys
from pathlib import Path

METHODS = (
    *(
        "answerCallbackQuery",
        "deleteMessage",
        "deleteWebhook",
        "editMessageText",
        "getChat",
        "getChatMember",
        "getFile",
    ),
    *(
        "getMe",
        "getMyCommands",
        "getUpdates",
        "getWebhookInfo",
        "leaveChat",
        "sendDocument",
        "sendMessage",
        "sendPhoto",
    ),
    *("setChatDescription", "setMessageReaction", "setMyCommands", "setWebhook"),
)
ANSWERS = (
    *(
        "AcceptedGiftTypes",
        "BotCommand",
        "CallbackQuery",
        "Chat",
        "ChatFullInfo",
        "ChatMember",
        "ChatMemberUpdated",
        "Document",
        "File",
    ),
    *("InaccessibleMessage", "Message", "MessageEntity", "MessageReactionUpdated", "PhotoSize", "Update", "User"),
    "WebhookInfo",
)
"""The types of answers. Others within them aren't checked."""

TARGET = Path(__file__).parent.parent / "tests/networks/telegram/types.json"


def types_in(text: str) -> dict[str, object]:
    """Return the fields of each interface, with a question mark after optional ones, and the members of each union."""
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    interfaces = re.findall(r"^export interface (\w+) \{\n(.*?)^\}", text, re.DOTALL | re.MULTILINE)
    found: dict[str, object] = {
        name: {field + mark: kind for field, mark, kind in re.findall(r"^ +(\w+)(\??): (.*);$", body, re.MULTILINE)}
        for name, body in interfaces
    }
    return found | dict(re.findall(r"^export type (\w+) = (.*);$", text, re.MULTILINE))


def main(source: str) -> None:
    """Write the types of the methods' parameters, with all that these refer to, and those of the answers."""
    text = Path(source).read_text(encoding="utf-8")
    found = types_in(text)
    methods = {name: found.get(f"{name[0].upper()}{name[1:]}Params", {}) for name in METHODS}
    kept: dict[str, object] = {name: found[name] for name in ANSWERS}
    queue = [json.dumps(fields) for fields in methods.values()] + [str(found["ChatMember"])]
    while queue:
        for name in set(re.findall(r"\b[A-Z]\w+", queue.pop())) & found.keys() - kept.keys():
            kept[name] = found[name]
            queue.append(json.dumps(found[name]))
    [emoji] = re.findall(r"Reaction emoji\. Currently, it can be one of (.*?) \*/", text)
    content: dict[str, object] = {**methods, **dict(sorted(kept.items())), "emoji": re.findall('"(.*?)"', emoji)}
    lines = (
        f'"{name}":{json.dumps(fields, ensure_ascii=False, separators=(",", ":"))}' for name, fields in content.items()
    )
    TARGET.write_text("{" + ",\n".join(lines) + "}\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
