"""Configuration of the documentation's Sphinx build."""

import os
import re
import sys
from pathlib import Path

from errklein._version import __version__

# For the extensions below, whose names begin with "site".
sys.path.append(str(Path(__file__).parent))

project = "errklein"
author = "errklein developers"
copyright = "2026, errklein developers"
version = release = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx_copybutton",
    "site_names",
    "site_redirects",
    "site_search",
    "site_tables",
]
myst_heading_anchors = 4
exclude_patterns = ["_build", "examples"]

toc_object_entries_show_parents = "hide"
autodoc_member_order = "bysource"
autodoc_typehints = "description"
# There are none. From Python 3.13 on, Sphinx would look for them in the wrong file if a class has another __module__.
autodoc_use_type_comments = False
# Types of undescribed values, Any among them, add no facts.
autodoc_typehints_description_target = "documented"
# Docstrings are plain text that names code in single backticks, as Markdown does.
default_role = "code"

html_theme = "furo"
# The address of the site, for links that name the one address of a page. Read the Docs sets it.
html_baseurl = os.environ.get("READTHEDOCS_CANONICAL_URL", "")
html_title = f"errklein {__version__.partition('+')[0]}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_search_scorer = str(Path(__file__).with_name("site_search.js"))
pygments_style = "friendly"
pygments_dark_style = "monokai"

# The copy button leaves out the prompt and the output of a console block, and copies continued lines whole.
copybutton_prompt_text = "$ "
copybutton_copy_empty_lines = False
copybutton_line_continuation_character = "\\"
copybutton_here_doc_delimiter = "EOF"

# Local links and anchors are checked offline. A link to another host is checked only where that host is reachable:
# `sphinx-build -b linkcheck -D linkcheck_ignore= docs OUT`.
linkcheck_ignore = [r"https?://"]


def read(app, docname, source):
    """Add to a page what a code host doesn't show: the changelog, sources, docstrings, and the order of the pages."""
    if docname == "reference/changelog":
        source[0] = Path(app.srcdir, "..", "CHANGELOG.md").read_text("utf-8")
    if docname == "reference/sources":
        pages = Path(app.srcdir, "..", "errklein", "sources").glob("*/README.md")
        source[0] += "".join(f"\n#{text}" for text in sorted(page.read_text("utf-8") for page in pages))
    if docname in ("index", "reference/api"):
        source[0] += toctrees(source[0])
    elif Path(app.srcdir, docname).is_dir():
        source[0] += f"\n```{{toctree}}\n:hidden:\n:glob:\n\n{Path(docname).name}/*\n```\n"
    source[0] = re.sub(r"<!-- api\n(.*?)-->", r"```{eval-rst}\n\1```", source[0], flags=re.DOTALL)


def toctrees(text):
    """Return a hidden toctree for each section with a list of pages; each page belongs to the first list that has it.

    Pages in the folder of another one, such as guides/recipes/, belong to that.
    """
    found = {}
    for section in text.split("\n## ")[1:]:
        for page in re.findall(r"\]\(([^)#]+)\.md\)", "".join(re.findall(r"^- .*", section, re.MULTILINE))):
            if not any(page.startswith(f"{other}/") for other in found):
                found.setdefault(page, section.partition("\n")[0])
    parts = {title: [page for page in found if found[page] == title] for title in found.values()}
    return "".join(
        f"\n```{{toctree}}\n:hidden:\n:caption: {title}\n\n" + "\n".join(pages) + "\n```\n"
        for title, pages in parts.items()
    )


def setup(app):
    app.connect("source-read", read)
