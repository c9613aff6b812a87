"""Configuration of the documentation's Sphinx build."""

from pathlib import Path

from errklein._version import __version__

project = "errklein"
author = "errklein developers"
copyright = "2026, errklein developers"
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx_copybutton"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 4
exclude_patterns = ["_build", "examples"]

autodoc_member_order = "bysource"
autodoc_typehints = "description"
# There are none. From Python 3.13 on, Sphinx would look for them in the wrong file if a class has another __module__.
autodoc_use_type_comments = False
# Types of undescribed values, Any among them, add no facts.
autodoc_typehints_description_target = "documented"
# Docstrings are plain text that names code in single backticks, as Markdown does.
default_role = "code"

html_theme = "furo"
html_title = f"errklein {__version__}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
pygments_style = "friendly"
pygments_dark_style = "monokai"

# The copy button leaves out the prompt and the output of a console block, and copies continued lines whole.
copybutton_prompt_text = "$ "
copybutton_line_continuation_character = "\\"
copybutton_here_doc_delimiter = "EOF"

# Local links and anchors are checked offline. A link to another host is checked only where that host is reachable:
# `sphinx-build -b linkcheck -D linkcheck_ignore= docs OUT`.
linkcheck_ignore = [r"https?://"]


def read(app, docname, source):
    """Replace the page that links the changelog by the changelog itself; on a code host, the link is enough."""
    if docname == "reference/changelog":
        source[0] = Path(app.srcdir, "..", "CHANGELOG.md").read_text("utf-8")


def setup(app):
    app.connect("source-read", read)
