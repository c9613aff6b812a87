"""Tests for the look at a plugin's templates before they are needed."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from errklein.plugins.template_checks import broken_templates


class TemplateChecksTests(SynchronousTestCase):
    """One directory of templates."""

    def setUp(self) -> None:
        """Make the directory."""
        self.root = Path(self.mktemp()).absolute()
        (self.root / "templates" / "deep").mkdir(parents=True)

    def write(self, name: str, data: bytes) -> Path:
        """Write a template."""
        path = self.root / "templates" / name
        path.write_bytes(data)
        return path

    def test_good_ones(self) -> None:
        """Nothing is said of templates that can be used, nor where there are none."""
        self.write("a.md", b"{{ a }} {% include 'elsewhere.md' %}")
        self.assertEqual(broken_templates(self.root), [])
        self.assertEqual(broken_templates(self.root / "none"), [])

    def test_broken_ones(self) -> None:
        """Each that can't be used has a line, with its file and the line in it."""
        syntax = self.write("deep/b.md", b"fine\n{% if %}\n")
        unknown = self.write("c.md", b"{{ a|nosuchfilter }}")
        letters = self.write("d.md", b"\xff")
        lines = sorted(broken_templates(self.root))
        self.assertEqual(len(lines), 3)
        self.assertTrue(lines[0].startswith(f"{unknown}, line 1: "), lines[0])
        self.assertIn("nosuchfilter", lines[0])
        self.assertTrue(lines[1].startswith(f"{letters}: the template can't be read"), lines[1])
        self.assertTrue(lines[2].startswith(f"{syntax}, line 2: "), lines[2])
