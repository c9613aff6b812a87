"""How Sphinx builds the documentation."""

from errklein._version import __version__

project = "errklein"
author = "errklein developers"
copyright = "2026, errklein developers"
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
exclude_patterns = ["_build", "examples"]

autodoc_member_order = "bysource"
autodoc_typehints = "description"
# Docstrings are plain text that names code in single backticks, as Markdown does.
default_role = "code"

html_theme = "alabaster"
html_theme_options = {"description": "Chat commands and webhooks on one Twisted reactor"}
