"""Weights of words for the search of the documentation's site, as an extension of its Sphinx build.

Sphinx' search knows whether a page has a word, but not how often: pages with the word have the same rank, and are listed by the
alphabet. This writes a file that says for which pages a word is important; `site_search.js` ranks the results with it.
"""

import json
from collections import Counter
from pathlib import Path

from docutils import nodes
from sphinx.search.en import SearchEnglish
from sphinx.util.logging import getLogger

FILE = "search-weights.js"

KEYWORDS = {
    "guides/access-control": "admin permission authorization role acl",
    "guides/background-work": "schedule scheduler timer periodic cron",
    "guides/confinement": "sandbox hardening seccomp capabilities apparmor",
    "guides/container": "docker podman compose kubernetes helm caddy",
    "guides/install": "setup wheel package",
    "guides/messages": "lost mention",
    "guides/edit-and-react": "attachment upload thread emoji delete",
    "guides/monitoring": "prometheus alert healthcheck",
    "guides/moving-from-errbot": "migrate migration switch import",
    "guides/matrix": "element synapse homeserver dendrite",
    "guides/networks": "slack discord telegram mattermost matrix xmpp",
    "guides/slack": "socket mode events api workspace",
    "guides/telegram": "botfather bot api",
    "guides/service": "systemd daemon boot autostart",
    "guides/storage": "database persist save sqlite",
    "guides/testing": "unit unittest pytest mock",
    "guides/web-server": "certificate letsencrypt ssl tls",
    "tutorials/first-bot": "getting started quickstart hello write",
}
"""Words that readers look for, and that these pages lack or have seldom."""

IN_PAGE_TITLE = 12
IN_HEADING = 4
"""How often a word in a title or heading counts. A keyword counts as one in a heading."""

SATURATION = 3
LENGTH = 0.4
"""The parameters of the weight, which is that of Okapi BM25: how fast it grows with the number of occurrences, and how much less an
occurrence means in a long page."""

SCALE = 10
"""The weight of a word in all of a page's text is at most four times this."""


def counts(doctree, language):
    """Return how often each stem occurs in a page."""
    texts = [(text, 1) for text in doctree.findall(nodes.Text) if not isinstance(text.parent, nodes.comment)]
    texts += [
        (title, IN_HEADING if number else IN_PAGE_TITLE) for number, title in enumerate(doctree.findall(nodes.title))
    ]
    found = Counter()
    for node, times in texts:
        for word in language.split(node.astext()):
            found[language.stem(word)] += times
    return found


def weights(pages):
    """Return for each stem the weights in the pages that have it, by the numbers of the pages."""
    mean = sum(map(Counter.total, pages)) / len(pages)
    found = {}
    for number, page in enumerate(pages):
        shortness = SATURATION * (1 - LENGTH + LENGTH * page.total() / mean)
        for stem, count in page.items():
            # Words that a page has once would be most of the file.
            if count > 1:
                found.setdefault(stem, {})[number] = round(SCALE * (SATURATION + 1) * count / (count + shortness))
    return found


def add_keywords(app, doctree):
    """Give a page its keywords, which Sphinx indexes."""
    if words := KEYWORDS.get(app.env.docname):
        doctree.insert(0, nodes.meta("", name="keywords", content=words.replace(" ", ",")))


def check_keywords(app, env):
    """Warn of keywords for a page that isn't there."""
    for page in KEYWORDS.keys() - env.found_docs:
        getLogger(__name__).warning("docs/site_search.py has keywords for %s, which isn't there", page)


def add_weights(app, pagename, templatename, context, doctree):
    """Write the weights beside the search page, and let it load them."""
    if pagename != "search":
        return
    names = sorted(app.env.found_docs)
    language = SearchEnglish({})
    found = weights([counts(app.env.get_doctree(name), language) for name in names])
    path = Path(app.outdir, "_static", FILE)
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"pages": names, "words": found}, separators=(",", ":"), sort_keys=True)
    path.write_text(f"var WEIGHTS = {text};\n", "utf-8")
    app.add_js_file(FILE)


def setup(app):
    app.connect("doctree-read", add_keywords)
    app.connect("env-updated", check_keywords)
    app.connect("html-page-context", add_weights)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
