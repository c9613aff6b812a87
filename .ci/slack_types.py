"""Generate what the double of Slack checks calls against: a JSON schema of the arguments of the methods that the bot uses, from
the types of Slack's own client (npm `@slack/web-api`, MIT), and the table of names of emoji (npm `emoji-datasource`, MIT).

Run it in any directory after a new method is used; it needs npm: `python .ci/slack_types.py`."""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
PACKAGES = (
    "@slack/web-api@8.2.0",
    "ts-json-schema-generator@2.9.0",
    "typescript",
    "@types/node",
    "emoji-datasource@16.0.0",
)

METHODS = (
    "apps.connections.open",
    "apps.manifest.export",
    "apps.manifest.update",
    "auth.test",
    "bots.info",
    "chat.delete",
    "chat.postEphemeral",
    "chat.postMessage",
    "chat.update",
    "conversations.archive",
    "conversations.create",
    "conversations.info",
    "conversations.invite",
    "conversations.join",
    "conversations.leave",
    "conversations.list",
    "conversations.members",
    "conversations.open",
    "conversations.setTopic",
    "files.completeUploadExternal",
    "files.getUploadURLExternal",
    "reactions.add",
    "reactions.remove",
    "users.conversations",
    "users.info",
    "users.list",
)
BLOCKS = ("ActionsBlock", "HeaderBlock", "ImageBlock", "SectionBlock")
SHARED = {
    "blocks": {"type": "array", "items": {"$ref": "blocks"}},
    "attachments": {"type": "array", "items": {"type": "object"}},
    "metadata": {"type": "object"},
    "chunks": {"type": "array"},
}
"""Arguments that would make the schema large."""


def type_name(method: str) -> str:
    """Return the name of the type of a method's arguments, such as ChatPostMessageArguments."""
    return "".join(part[0].upper() + part[1:] for part in method.split(".")) + "Arguments"


def compact(schema: Any, name: str = "") -> Any:
    """Return a schema without descriptions, and without equal alternatives."""
    if name in SHARED and isinstance(schema, dict) and "not" not in schema:
        return SHARED[name]
    if isinstance(schema, list):
        return [compact(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    left = {key: value for key, value in schema.items() if key not in ("description", "deprecated", "$schema")}
    if "properties" in left:
        left["properties"] = {key: compact(value, key) for key, value in left["properties"].items()}
    made = {key: value if key == "properties" else compact(value) for key, value in left.items()}
    if "anyOf" in made:
        made["anyOf"] = [json.loads(one) for one in dict.fromkeys(json.dumps(one) for one in made["anyOf"])]
    return made


def main() -> None:
    """Install the packages in a temporary directory, and write both files."""
    with tempfile.TemporaryDirectory() as directory:
        here = Path(directory)
        subprocess.run(["npm", "install", "--silent", "--prefix", directory, *PACKAGES], check=True)
        fields = "\n".join(f"'{name}': api.{type_name(name)};" for name in METHODS)
        blocks = "\n".join(f"'{name}': types.{name};" for name in BLOCKS)
        (here / "types.ts").write_text(
            "import * as api from '@slack/web-api'; import * as types from '@slack/types';\n"
            f"export interface Methods {{ {fields} }}\nexport interface Blocks {{ {blocks} }}\n"
        )
        made = {}
        for name in ("Methods", "Blocks"):
            command = ["npx", "ts-json-schema-generator", "--path", "types.ts", "--type", name, "--no-type-check"]
            subprocess.run([*command, "--expose", "none", "-o", "out.json"], check=True, cwd=here)
            made[name] = json.loads((here / "out.json").read_text())["definitions"][name]["properties"]
        schema = {"methods": compact(made["Methods"]), "blocks": {"anyOf": list(compact(made["Blocks"]).values())}}
        text = json.dumps(schema, separators=(",", ":"), sort_keys=True)
        (ROOT / "tests/networks/slack/schema.json").write_text(text + "\n")
        emoji = json.loads((here / "node_modules/emoji-datasource/emoji.json").read_text())
        lines = [
            "".join(chr(int(code, 16)) for code in one["unified"].split("-")) + " " + " ".join(one["short_names"])
            for one in sorted(emoji, key=lambda one: one["unified"])
        ]
        (ROOT / "errklein/text/emoji.txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
