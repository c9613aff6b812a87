"""The checks before a release, and the workflow that publishes it."""

from __future__ import annotations

import re
from pathlib import Path
from runpy import run_path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).parent.parent


class ReleaseTests(SynchronousTestCase):
    """`.ci/release.py`."""

    def problems(self, tag: str, newest: str = "0.2.0", news: str = "README.md") -> list[str]:
        """Return the problems of a commit whose changelog begins with a version, and that has one file of news."""
        root = Path(self.mktemp())
        (root / "newsfragments").mkdir(parents=True)
        (root / "newsfragments" / news).touch()
        (root / "CHANGELOG.md").write_text(f"# Changelog\n\n## {newest} (2026-11-30)\n\n## 0.1.0 (2026-11-26)\n")
        return list(run_path(str(ROOT / ".ci" / "release.py"))["problems"](tag, root))

    def test_ready(self) -> None:
        """A commit whose changelog has the version, and that has no other news, may be released."""
        self.assertEqual(self.problems("v0.2.0"), [])

    def test_tags_that_are_no_versions(self) -> None:
        """The tag is a version after a v."""
        for tag in ("0.2.0", "v0.2", "v0.2.0.dev1", "latest"):
            self.assertEqual(self.problems(tag), [f"invalid tag {tag!r}; expected one such as v0.2.0"])

    def test_changelog_without_the_version(self) -> None:
        """The error names the newest version of the changelog, and the command that adds one."""
        [line] = self.problems("v0.2.0", newest="0.1.0")
        self.assertIn("CHANGELOG.md begins with 0.1.0; run `venv/bin/python .ci/news.py 0.2.0`", line)

    def test_news_that_the_changelog_lacks(self) -> None:
        """Files of news that aren't in the changelog are named."""
        self.assertIn("late.feature.md", "".join(self.problems("v0.2.0", news="late.feature.md")))


class NameTests(SynchronousTestCase):
    """The name errklein at PyPI, which nobody has registered yet."""

    def test_nobody_is_told_to_install_the_name(self) -> None:
        """Pages and messages install a checkout or a file: a package with this name would be somebody else's."""
        by_name = re.compile(
            r"\b(pipx?|uv)\b[^\n`]*\b(install|add|run)\b[^\n`]* ['\"]?errklein(?![\w./-]|'s| \w)|\buvx errklein"
        )
        for text in (
            "pip install errklein",
            "pip install -U 'errklein[sentry]'",
            "pipx run errklein",
            "uvx errklein run",
        ):
            self.assertRegex(text, by_name)
        for text in ("pip install ./errklein-0.2.0-py3-none-any.whl", "uvx --from ./errklein.whl errklein run"):
            self.assertNotRegex(text, by_name)
        files = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "errklein").rglob("*.py")]
        self.assertGreater(len(files), 200)
        self.assertEqual([str(path) for path in files if by_name.search(path.read_text("utf-8"))], [])


class WorkflowTests(SynchronousTestCase):
    """`.github/workflows/release.yml`."""

    def setUp(self) -> None:
        """Read the jobs by their names."""
        text = (ROOT / ".github" / "workflows" / "release.yml").read_text().partition("\njobs:\n")[2]
        parts = re.split(r"^  (\w+):\n", text, flags=re.MULTILINE)
        self.jobs = dict(zip(parts[1::2], parts[2::2], strict=True))

    def test_nothing_leaves_before_the_name_is_registered(self) -> None:
        """What attests and publishes needs all checks, and that a person has registered the name."""
        trusted = {name for name, job in self.jobs.items() if "id-token: write" in job}
        self.assertEqual(trusted, {"attest", "publish"})
        self.assertIn("needs: [full, build, registered]\n", self.jobs["attest"])
        self.assertIn("needs: attest\n", self.jobs["publish"])
        self.assertIn('if [ "$PROJECT" != errklein ]; then', self.jobs["registered"])

    def test_trusted_jobs_run_no_code_of_the_repository(self) -> None:
        """What attests and publishes takes what was built, and runs no command."""
        for name in ("attest", "publish"):
            self.assertNotRegex(self.jobs[name], r"\brun:|actions/checkout", name)
