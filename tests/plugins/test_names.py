"""Tests for identifiers made of plugins' names."""

from __future__ import annotations

import keyword
import re

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from errklein.plugins.names import slug

NAMES = st.text(min_size=1) | st.text(alphabet="_ab2d ", min_size=1) | st.sampled_from(keyword.kwlist)


class SlugTests(SynchronousTestCase):
    """`slug`, which is part of the names in pickled objects."""

    def test_fixed(self) -> None:
        """These slugs never change, since pickled objects contain them."""
        self.assertEqual(
            {name: slug(name) for name in ("Webserver", "My Plugin", "my_plugin", "2fa", "class", "Grüße")},
            {
                "Webserver": "Webserver",
                "My Plugin": "My_20_Plugin",
                "my_plugin": "my_5f_plugin",
                "2fa": "_32_fa",
                "class": "_63_lass",
                "Grüße": "Gr_fc__df_e",
            },
        )

    @given(NAMES)
    def test_reads_back(self, name: str) -> None:
        """The name can be computed from the slug, so different names have different slugs."""
        self.assertEqual(re.sub("_([0-9a-f]+)_", lambda match: chr(int(match[1], 16)), slug(name)), name)

    @given(NAMES)
    def test_identifier(self, name: str) -> None:
        """A slug is an ASCII identifier, not a keyword, and not an attribute of modules."""
        self.assertTrue(slug(name).isidentifier() and slug(name).isascii())
        self.assertFalse(keyword.iskeyword(slug(name)) or slug(name).startswith("__"))
