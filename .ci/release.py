"""Build the distributions of a tag, with a list of what they install: `python .ci/release.py v0.2.0 OUT`.

Writes the wheel and the source distribution to OUT/dist, and a software bill of materials in CycloneDX's format to
OUT/errklein.cdx.json. Needs `build` and `cyclonedx-bom`. Exits with 1, and a line for each problem, if the commit
doesn't have the tag, or isn't ready for it. Nothing is published.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def problems(tag: str, root: Path) -> Iterator[str]:
    """Yield what is missing for a release with this tag."""
    found = re.fullmatch(r"v(\d+\.\d+\.\d+)", tag)
    if found is None:
        yield f"invalid tag {tag!r}; expected one such as v0.2.0"
        return
    text = (root / "CHANGELOG.md").read_text("utf-8")
    newest = (re.findall(r"^## (\S+) \(", text, re.MULTILINE) or ["nothing"])[0]
    if newest != found[1]:
        yield f"CHANGELOG.md begins with {newest}; run `venv/bin/python .ci/news.py {found[1]}`, and commit"
    waiting = sorted(path.name for path in (root / "newsfragments").iterdir() if path.name != "README.md")
    if waiting:
        more = f" and {len(waiting) - 3} more" if len(waiting) > 3 else ""
        yield f"newsfragments/ has news that CHANGELOG.md lacks: {', '.join(waiting[:3])}{more}"


def build(tag: str, out: Path) -> Iterator[str]:
    """Build the distributions and the list, and yield what is wrong with them."""
    version = tag.removeprefix("v")
    committed = subprocess.run(
        ["git", "log", "-1", "--format=%ct"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    os.environ["SOURCE_DATE_EPOCH"] = committed.stdout.strip()
    subprocess.run([sys.executable, "-m", "build", "--outdir", out / "dist", ROOT], check=True)
    wheel = out / "dist" / f"errklein-{version}-py3-none-any.whl"
    expected = {wheel.name, f"errklein-{version}.tar.gz"}
    built = {path.name for path in (out / "dist").iterdir()}
    if built != expected:
        yield f"built {sorted(built)}, expected {sorted(expected)}: the commit lacks the tag, or files are changed"
        return
    with tempfile.TemporaryDirectory() as name:
        # Without pip, which errklein doesn't require.
        python = Path(name) / "bin" / "python"
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", name], check=True)
        subprocess.run([sys.executable, "-m", "pip", "--python", python, "install", "--quiet", wheel], check=True)
        # It has the path of the wheel on this machine.
        for path in Path(name).rglob("errklein-*.dist-info/direct_url.json"):
            path.unlink()
        bill = ["--output-reproducible", "--output-format", "JSON", "--output-file", out / "errklein.cdx.json"]
        subprocess.run([sys.executable, "-m", "cyclonedx_py", "environment", *bill, python], check=True)


def main() -> None:
    """Check, build, and print what was written."""
    tag, out = sys.argv[1], Path(sys.argv[2]).absolute()
    found = list(problems(tag, ROOT)) or list(build(tag, out))
    if found:
        sys.exit("\n".join(f"{tag}: {line}" for line in found))
    print(*sorted(path for path in out.rglob("*") if path.is_file()), sep="\n")


if __name__ == "__main__":
    main()
