"""Move the fragments in newsfragments/ to the entry of a version in CHANGELOG.md: `venv/bin/python .ci/news.py 0.2.0`.

If the entry exists already, since the version isn't released yet, they are added to it. Needs `towncrier`.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MARKER = "<!-- towncrier release notes start -->\n\n"


def added(changelog: str, draft: str) -> str:
    """Return the changelog with the drafted entry, or with its news in the entry that the version has."""
    head, marker, entries = changelog.partition(MARKER)
    title, _, text = draft.strip().partition("\n\n")
    newest, _, earlier = entries.partition("\n## ")
    if newest.split(" (")[0] != title.split(" (")[0]:
        return f"{head}{marker}{draft.strip()}\n\n{entries}"
    newest = newest.rstrip("\n").replace(newest.partition("\n")[0], title, 1)
    for heading, news in re.findall(r"^(### [^\n]+\n\n)(.+?)\n*(?=^### |\Z)", text, re.MULTILINE | re.DOTALL):
        if heading in newest:
            newest = newest.replace(heading, f"{heading}{news}\n", 1)
        else:
            newest += f"\n\n{heading}{news}"
    return f"{head}{marker}{newest}\n\n## {earlier}"


def main() -> None:
    """Write the changelog, and remove the fragments."""
    if not re.match(r"\d", sys.argv[-1]):
        sys.exit(__doc__)
    fragments = [path for path in (ROOT / "newsfragments").iterdir() if path.name != "README.md"]
    if not fragments:
        sys.exit("newsfragments/ has no news")
    command = [sys.executable, "-m", "towncrier", "build", "--draft", "--version", sys.argv[1]]
    draft = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout
    changelog = ROOT / "CHANGELOG.md"
    changelog.write_text(added(changelog.read_text("utf-8"), draft), "utf-8")
    for path in fragments:
        path.unlink()


if __name__ == "__main__":
    main()
