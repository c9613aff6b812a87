"""Try the documentation's built site in Chromium, as a reader would: `python .ci/site.py DIRECTORY`.

- For all questions to the search but one, the first three results have the right page.
- No page is wider than a phone or a desktop, and no table with sentences is wider than its page.
- Old addresses lead to a page, with the section or name that they had.
- The copy button leaves out prompts and output.

Prints the results, and exits with 1 if anything is wrong. `site.js` is what Chromium runs.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent

SECONDS = 300
"""How long Chromium may take."""

RIGHT_ANSWERS = 10

QUESTIONS = {
    "grafana": ("guides/recipes/grafana", "guides/recipes", "guides/monitoring"),
    "docker": ("guides/container",),
    "send a message": ("guides/messages",),
    "backup": ("guides/backups",),
    "nginx": ("guides/proxy",),
    "test a webhook": ("guides/testing-webhooks", "guides/testing"),
    "github": ("guides/recipes/github", "guides/recipes", "tutorials/first-bot"),
    "systemd": ("guides/service",),
    "restart": ("guides/service",),
    "errbot": ("guides/moving-from-errbot",),
    "the signature or token does not match": ("reference/troubleshooting",),
}
"""What users look for, and the pages that answer it."""

PHONE, DESKTOP = 360, 1280

OTHER_PAGES = ("genindex", "py-modindex", "search")


class Handler(SimpleHTTPRequestHandler):
    """Serves the site, the program that tries it, and takes its report."""

    server: Server

    def do_GET(self) -> None:
        """Serve a page of the site, or one of the two that try it."""
        page = self.server.program.get(self.path)
        if page is None:
            super().do_GET()
            return
        body = page.encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/javascript" if self.path.endswith(".js") else "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        """Take the report."""
        self.server.report = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(204)
        self.end_headers()
        self.server.reported.set()

    def log_message(self, *args: Any) -> None:
        """Be silent."""


class Server(ThreadingHTTPServer):
    """A web server on a loopback port.

    :param site: The built site.
    :param task: What to try.
    """

    daemon_threads = True

    def __init__(self, site: Path, task: dict[str, Any]) -> None:
        super().__init__(("127.0.0.1", 0), partial(Handler, directory=str(site)))
        self.program = {
            "/_try.html": "<!doctype html><title>try</title><body><script src='/_try.js'></script></body>",
            "/_try.js": f"const TASK = {json.dumps(task)};\n" + (HERE / "site.js").read_text("utf-8"),
        }
        self.reported = threading.Event()
        self.report: dict[str, Any] = {}

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Be silent: a frame that is removed doesn't wait for all of its files."""


def old_addresses(site: Path) -> dict[str, str]:
    """Return old addresses and where they lead, from the table of the site's redirects and one name of the API for each page."""
    spec = spec_from_file_location("site_redirects", HERE.parent / "docs" / "site_redirects.py")
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    addresses = {old: new.partition("#")[0] for old, new in module.MOVED.items()}
    for page in sorted((site / "reference" / "api").glob("*.html")):
        for name in re.findall(r'id="(errklein\.[\w.]+)"', page.read_text("utf-8"))[-1:]:
            addresses[f"reference/api#{name}"] = f"reference/api/{page.stem}"
    return {old: new for old, new in addresses.items() if old != new}


def pages_of(site: Path, old: dict[str, str]) -> list[str]:
    """Return the pages of the site without their ending."""
    found = [
        str(path.relative_to(site).with_suffix(""))
        for path in sorted(site.rglob("*.html"))
        if "_static" not in path.parts
    ]
    return [page for page in found if page not in old and page not in OTHER_PAGES]


def try_site(site: Path) -> dict[str, Any]:
    """Return what Chromium found."""
    old = old_addresses(site)
    task = {"questions": list(QUESTIONS), "pages": pages_of(site, old), "old": old, "widths": [PHONE, DESKTOP]}
    with Server(site, task) as server, tempfile.TemporaryDirectory() as profile:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        command = [
            "chromium",
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--window-size=1600,1200",
            f"--user-data-dir={profile}",
            "--remote-debugging-port=0",
            f"http://127.0.0.1:{server.server_address[1]}/_try.html",
        ]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as browser:
            done = server.reported.wait(SECONDS)
            browser.terminate()
        server.shutdown()
    if not done:
        sys.exit(f"Chromium gave no report within {SECONDS} s")
    return server.report


def main() -> None:
    """Try the site in the directory that the command line names."""
    report = try_site(Path(sys.argv[1]).resolve())
    wrong = list(report["problems"])
    right = 0
    for question, results in report["answers"].items():
        found = any(result.partition("#")[0] in QUESTIONS[question] for result in results)
        right += found
        print("right" if found else "wrong", f"{question}:", ", ".join(results))
    if right < RIGHT_ANSWERS:
        wrong.append(f"{right} of {len(QUESTIONS)} questions have the right guide among the first three results")
    print(*(f"{number} {kind}" for kind, number in report["tried"].items()), sep="\n")
    print(*wrong, sep="\n")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
