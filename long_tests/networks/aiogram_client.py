"""What aiogram, the most used client of Telegram's Bot API for Python, makes of the double: `aiogram_client.py URL TOKEN`, in its own environment."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from aiogram import Bot
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.client.telegram import TelegramAPIServer
from aiogram.exceptions import TelegramBadRequest, TelegramMigrateToChat, TelegramRetryAfter, TelegramUnauthorizedError
from aiogram.types import (
    BotCommand,
    BotCommandScopeDefault,
    BufferedInputFile,
    InlineKeyboardButton,
    InlineKeyboardMarkup,
    ReactionTypeEmoji,
    ReplyParameters,
)

GROUP, LIMITED, MOVED = -1009001, -1009002, -77
KINDS = ["message", "edited_message", "message_reaction", "callback_query", "my_chat_member"]


async def use(bot: Bot, url: str) -> dict[str, Any]:
    """Call what errklein calls, and return what came of it."""
    found: dict[str, Any] = {"me": (await bot.get_me()).username, "updates": []}
    for update in await bot.get_updates(allowed_updates=KINDS, timeout=0):
        content = getattr(update, update.event_type)
        found["updates"].append([update.event_type, getattr(content, "text", None) or getattr(content, "data", None)])
    buttons = [
        [InlineKeyboardButton(text="yes", callback_data="0"), InlineKeyboardButton(text="no", callback_data="1")]
    ]
    reply = ReplyParameters(message_id=1, allow_sending_without_reply=True)
    markup = InlineKeyboardMarkup(inline_keyboard=buttons)
    sent = await bot.send_message(GROUP, "<b>hello</b>", parse_mode="HTML", reply_parameters=reply, reply_markup=markup)
    found["sent"] = [sent.text, sent.entities[0].type, sent.reply_to_message.message_id]
    await bot.edit_message_text("edited", chat_id=GROUP, message_id=sent.message_id, parse_mode="HTML")
    await bot.set_message_reaction(GROUP, 1, [ReactionTypeEmoji(emoji="\N{FIRE}")])
    file = await bot.send_document(GROUP, BufferedInputFile(b"\xff\x00", "a.bin"))
    found["file"] = list((await bot.download(file.document.file_id)).read())
    await bot.delete_message(GROUP, file.message_id)
    found["chat"] = [(await bot.get_chat(GROUP)).title, (await bot.get_chat_member(GROUP, bot.id)).status]
    await bot.set_my_commands([BotCommand(command="status", description="x")], BotCommandScopeDefault())
    found["commands"] = [one.command for one in await bot.get_my_commands(BotCommandScopeDefault())]
    await bot.set_webhook("https://bot.example.org/x", secret_token="s", allowed_updates=KINDS, max_connections=1)
    found["webhook"] = (await bot.get_webhook_info()).url
    await bot.delete_webhook()
    found["errors"] = []
    wrong = Bot(f"{bot.token[:-1]}9", session=bot.session)
    for call in (
        lambda: bot.send_message(LIMITED, "x"),
        lambda: bot.send_message(MOVED, "x"),
        lambda: bot.send_message(GROUP, "<b>x", parse_mode="HTML"),
        lambda: wrong.get_me(),
    ):
        try:
            await call()
        except (TelegramBadRequest, TelegramMigrateToChat, TelegramRetryAfter, TelegramUnauthorizedError) as error:
            more = getattr(error, "retry_after", None) or getattr(error, "migrate_to_chat_id", None)
            found["errors"].append([type(error).__name__, more])
    return found


async def main(url: str, token: str) -> None:
    """Print the result as JSON."""
    async with Bot(token, session=AiohttpSession(api=TelegramAPIServer.from_base(url))) as bot:
        print(json.dumps(await use(bot, url)))


asyncio.run(main(*sys.argv[1:]))
