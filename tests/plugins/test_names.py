"""Names of plugins as identifiers."""

from __future__ import annotations

import keyword
import re

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from errklein.plugins.names import slug

NAMES = st.text(min_size=1) | st.text(alphabet="_ab2d ", min_size=1) | st.sampled_from(keyword.kwlist)


class SlugTests(SynchronousTestCase):
    """`slug`, on which the names of stored objects' classes depend."""

    def test_fixed(self) -> None:
        """These never change: what plugins have stored names them."""
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
        """The name can be told from the slug, hence no two names share one."""
        self.assertEqual(re.sub("_([0-9a-f]+)_", lambda match: chr(int(match[1], 16)), slug(name)), name)

    @given(NAMES)
    def test_identifier(self, name: str) -> None:
        """It is an ASCII identifier, no keyword, and no name that modules have themselves."""
        self.assertTrue(slug(name).isidentifier() and slug(name).isascii())
        self.assertFalse(keyword.iskeyword(slug(name)) or slug(name).startswith("__"))
