"""Old addresses of the documentation's site, as an extension of its Sphinx build.

A page or a section that moves gets a line in `MOVED`, so that links and bookmarks still lead to it:

    "guides/old": "guides/new",                       a page, with the sections that it still has
    "guides/old#section": "guides/other#section",     a section of a page that has moved, or of one that is still there

Paths are those below docs/, without `.md`; anchors are those of the headings, as links have them. A line stays for good.
If a page moves once more, the targets of the earlier lines are changed, too. `tests/test_redirects.py` checks the lines.

The names of classes and functions need none: with the address of a page in `HAD_NAMES`, each leads to the page that has it
now. No page on a code host has a redirect.
"""

import html
import json
import posixpath
import re
from pathlib import Path

MOVED = {
    "benchmarks#kept": "optimization#kept",
    "benchmarks#rejected": "optimization#rejected",
    "benchmarks#the-cost-of-the-log": "optimization#the-cost-of-the-log",
    "benchmarks#what-was-tried": "optimization",
    "benchmarks#where-each-microsecond-goes": "optimization#where-each-microsecond-goes",
    "compatibility": "reference/errbot",
    "errbot": "reference/errbot",
    "faults": "reference/faults",
    "operators": "guides/service",
    "performance#50-b-of-json-32-connections-1-route-http": "measurements#50-b-of-json-32-connections-1-route-http",
    "performance#commands-on-irc": "measurements#commands-on-irc",
    "performance#connections": "measurements#connections",
    "performance#form-handlers": "measurements#form-handlers",
    "performance#raw-handlers": "measurements#raw-handlers",
    "performance#recorded-webhooks": "measurements#recorded-webhooks",
    "performance#routes": "measurements#routes",
    "performance#size-of-the-body": "measurements#size-of-the-body",
    "performance#tls": "measurements#tls",
    "performance#webhooks": "measurements#webhooks",
    "performance#what-is-measured": "measurements#what-is-measured",
    "plugins": "guides/commands",
    "reference": "reference/api",
    "testing": "guides/testing",
    "tutorial": "tutorials/first-bot",
    "guides/backups#directory-contents": "reference/data-directory#directory-contents",
    "guides/backups#format-of-a-backup": "reference/data-directory#format-of-a-backup",
    "guides/backups#other-storages": "reference/data-directory#other-storages",
    "guides/backups#show-and-change-values": "guides/stored-values",
    "guides/backups#values-from-outside": "reference/data-directory#values-from-outside",
    "guides/configuration#a-damaged-environment": "guides/install-plugins#a-damaged-environment",
    "guides/configuration#install-packages-again": "guides/install-plugins#install-packages-again",
    "guides/configuration#install-plugins": "guides/install-plugins",
    "guides/configuration#packages-that-plugins-require": "guides/install-plugins#packages-that-plugins-require",
    "guides/configuration#repositories-of-plugins": "guides/install-plugins#repositories-of-plugins",
    "guides/does-not-start": "reference/troubleshooting",
    "guides/does-not-start#errors-that-check-doesnt-find": "guides/problems#errors-that-check-doesnt-find",
    "guides/logs#look-up-a-problem": "guides/notices#look-up-a-problem",
    "guides/logs#messages-to-administrators": "guides/notices#messages-to-administrators",
    "guides/logs#when-chat-is-down": "guides/notices#when-chat-is-down",
    "guides/messages#use-reactions": "guides/edit-and-react#change-a-message",
    "guides/messages#receive-files": "guides/edit-and-react#receive-files",
    "guides/messages#send-files": "guides/edit-and-react#send-files",
    "guides/messages#guarantees": "reference/message-guarantees",
    "guides/messages#rooms-that-the-bot-is-outside-of": "reference/message-guarantees#rooms-that-the-bot-is-outside-of",
    "guides/monitoring#metrics": "reference/metrics",
    "guides/pages#behind-nginx": "guides/websockets#behind-nginx",
    "guides/pages#open-a-websocket": "guides/websockets",
    "guides/pages#send-events": "guides/event-streams",
    "guides/pages#slow-and-vanished-clients": "guides/websockets#slow-and-vanished-clients",
    "guides/pages#who-may-connect": "guides/websockets#who-may-connect",
    "guides/problems#the-handler-doesnt-run-or-fails": "guides/webhook-problems#the-handler-doesnt-run-or-fails",
    "guides/problems#the-request-is-refused": "guides/webhook-problems#the-request-is-refused",
    "guides/problems#there-is-no-response": "guides/webhook-problems#there-is-no-response",
    "guides/recipes#alertmanager": "guides/recipes/alertmanager",
    "guides/recipes#github": "guides/recipes/github",
    "guides/recipes#gitlab": "guides/recipes/gitlab",
    "guides/recipes#grafana": "guides/recipes/grafana",
    "guides/recipes#sentry": "guides/recipes/sentry",
    "guides/recipes#stripe": "guides/recipes/stripe",
    "guides/testing#replay-a-recorded-delivery": "guides/testing-webhooks#replay-a-recorded-delivery",
    "guides/testing#run-tests-written-for-errbot": "guides/testing-errbot",
    "guides/testing#send-requests": "guides/testing-webhooks#send-requests",
    "guides/testing#sign-requests": "guides/testing-webhooks#sign-requests",
    "guides/testing#test-a-stream": "guides/testing-webhooks#test-a-stream",
    "guides/trusted-webhooks#while-the-plugin-is-inactive": "reference/deliveries#while-the-plugin-is-inactive",
    "guides/webhooks#call-another-service": "guides/webhook-responses#call-another-service",
    "guides/webhooks#receive-a-form-field": "guides/webhook-responses#receive-a-form-field",
    "guides/webhooks#reject-a-request": "guides/webhook-responses#reject-a-request",
    "guides/webhooks#set-status-headers-and-cookies": "guides/webhook-responses#set-status-headers-and-cookies",
    "guides/webhooks#stream-a-response": "guides/webhook-responses#stream-a-response",
    "guides/webhooks#use-the-raw-request": "guides/webhook-responses#use-the-raw-request",
    "reference/api#arguments-of-commands": "reference/api/decorators#arguments-of-commands",
    "reference/api#contracts": "reference/api/contracts",
    "reference/api#decorators": "reference/api/decorators",
    "reference/api#errors-and-checks": "reference/api/decorators#errors-and-checks",
    "reference/api#flows": "reference/api/flows",
    "reference/api#messages-and-identifiers": "reference/api/messages",
    "reference/api#requests-and-responses": "reference/api/requests",
    "reference/api#settings": "reference/api/settings",
    "reference/api#storage": "reference/api/storage",
    "reference/api#testing": "reference/api/testing",
    "reference/api#tests-written-for-errbot": "reference/api/testing-errbot",
    "reference/api#text-and-templates": "reference/api/text",
    "reference/api#verification": "reference/api/verification",
    "reference/api/plugins": "reference/api/botplugin",
    "reference/api/plugins#arguments-of-commands": "reference/api/decorators#arguments-of-commands",
    "reference/api/plugins#decorators": "reference/api/decorators",
    "reference/api/plugins#errors-and-checks": "reference/api/decorators#errors-and-checks",
    "reference/api/testing#contracts": "reference/api/contracts",
    "reference/api/testing#tests-written-for-errbot": "reference/api/testing-errbot",
}
"""Old addresses, and where they lead."""

HAD_NAMES = ("reference/api", "reference/api/plugins", "reference/api/testing")
"""Addresses of pages that had names of the API that other pages have now."""

PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="canonical" href="{canonical}">
<script>{script}</script>
<noscript><meta http-equiv="refresh" content="0; url={url}"></noscript>
</head>
<body>
<p>This page has moved: <a href="{url}">{title}</a></p>
</body>
</html>
"""

SCRIPT = """\
(() => {{
  const anchor = location.hash.slice(1).replace(/^[\\d-]+|[-_]/g, "");
  const url = new Map({moved}).get(anchor) ?? {otherwise};
  if (url) location.replace(url);
}})();"""


def link(target, page):
    """Return the link to a target from a page."""
    path, _, anchor = target.partition("#")
    relative = posixpath.relpath(f"{path}.html", posixpath.dirname(page) or ".")
    return f"{relative}#{anchor}" if anchor else relative


def anchors(page, moved, names):
    """Return the links for the anchors that a page had, with the pages of the API's names."""
    links = {old.partition("#")[2]: link(new, page) for old, new in moved.items() if old.startswith(f"{page}#")}
    if page in HAD_NAMES:
        links |= {name: link(f"{path}#{name}", page) for name, path in names.items() if path != page}
    return links


def plain(anchor):
    """Return what an anchor has in common on a code host and on the site: `doesnt-start` and `doesn-t-start`, for example."""
    return re.sub(r"^[\d-]+|[-_]", "", anchor)


def script(links, otherwise="null"):
    """Return the script that leads from the old anchors of a page to where they are now, and from others by the expression."""
    links = [(plain(anchor), link) for anchor, link in links.items()]
    pairs = json.dumps(links, separators=(",", ":")).replace("<", "\\u003c")
    return SCRIPT.format(moved=pairs, otherwise=otherwise)


def built(app, target):
    """Return the target with the anchor that the heading has in the built page, which differs for some characters."""
    path, _, anchor = target.partition("#")
    slugs = app.env.metadata[path].get("myst_slugs", {})
    return f"{path}#{slugs[anchor][1]}" if anchor in slugs else target


def anchors_of(app, page):
    """Return the links for the anchors that a page of this site had."""
    moved = {old: built(app, new) for old, new in MOVED.items() if old.startswith(f"{page}#")}
    return anchors(page, moved, {name: entry.docname for name, entry in app.env.get_domain("py").objects.items()})


def add_script(app, pagename, templatename, context, doctree):
    """Let old anchors of a page that is still there lead to where they are now."""
    if pagename in app.env.found_docs and (links := anchors_of(app, pagename)):
        app.add_js_file(None, body=script(links))


def write_pages(app, error):
    """Write a page for each old address of a page."""
    if error is not None or app.builder.name != "html":
        return
    for page, target in MOVED.items():
        if "#" in page:
            continue
        url = link(built(app, target), page)
        # An anchor that isn't listed may be one of the new page, too.
        otherwise = f"(anchor ? {json.dumps(url.partition('#')[0])} + location.hash : {json.dumps(url)})"
        base = app.config.html_baseurl
        text = PAGE.format(
            title=html.escape(app.env.titles[target.partition("#")[0]].astext()),
            canonical=html.escape(posixpath.join(base, link(target, "index")) if base else url),
            script=script(anchors_of(app, page), otherwise),
            url=html.escape(url),
        )
        path = Path(app.outdir, f"{page}.html")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")


def setup(app):
    app.connect("html-page-context", add_script)
    app.connect("build-finished", write_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
