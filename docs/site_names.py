"""Links between names of the API, as an extension of the Sphinx build of the documentation's site.

Docstrings name classes, functions and methods in backticks, without a role, since `help()` prints them, too. On the pages of the API
such a name is a link, if it is that of one object only.
"""

from collections import Counter

from docutils import nodes

KINDS = {"class", "exception", "function", "method"}
"""Attributes have names that parameters have, too, so they are left out."""


def names(app):
    """Return the objects that are meant by the last part of their name, or by all of it."""
    objects = {name: entry for name, entry in app.env.get_domain("py").objects.items() if entry.objtype in KINDS}
    times = Counter(name.rpartition(".")[2] for name in objects)
    return objects | {last: entry for name, entry in objects.items() if times[last := name.rpartition(".")[2]] == 1}


def add_links(app, doctree, docname):
    """Turn the names in docstrings into links."""
    if app.builder.format != "html" or not docname.startswith("reference/api/"):
        return
    known = names(app)
    for literal in list(doctree.findall(nodes.literal)):
        entry = known.get(literal.astext().removeprefix("@").removeprefix("self.").removesuffix("()"))
        if entry is None or isinstance(literal.parent, nodes.reference):
            continue
        uri = app.builder.get_relative_uri(docname, entry.docname)
        link = nodes.reference("", "", internal=True, refuri=f"{uri}#{entry.node_id}")
        literal.replace_self(link)
        link += literal


def setup(app):
    app.connect("doctree-resolved", add_links)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
