"""Packages errklein. The settings of the tools are in pyproject.toml; everything else is here."""

import gzip
import io
import os
import shutil
import stat
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

from setuptools import find_packages, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.sdist import sdist

HERE = Path(__file__).parent

NEXT = "0.2.0"
"""The next release. Builds of the commits before it are its development versions."""


def version() -> str:
    """The version of the commit, such as 0.2.0.dev1137+g622e6a42d, from git, `git archive` or a source distribution.

    Without any of them, it is the first development version: a build must not fail for lack of git.
    """
    try:
        from setuptools_scm import get_version

        return get_version(str(HERE), version_scheme=_scheme, local_scheme=lambda found: "")
    except Exception as error:
        sys.stderr.write(f"setup.py: the commit is unknown, so this is version {NEXT}.dev0: {error}\n")
        return f"{NEXT}.dev0"


def _scheme(found: Any) -> str:
    # Without any tag, setuptools-scm assumes 0.0.
    if found.exact and str(found.tag) != "0.0":
        return str(found.tag)
    from packaging.version import Version

    # Between the tag of a release and the commit that names the one after it.
    following = NEXT if Version(NEXT) > found.tag else f"{found.tag.major}.{found.tag.minor + 1}.0"
    # git has a "g" before the hash, an archive doesn't.
    commit = f"+g{found.node.removeprefix('g')[:9]}" if found.node else ""
    # The distance counts from the newest release, or from the first commit; an archive without releases has none.
    return f"{following}.dev{found.distance}{commit}" + (f".d{found.time:%Y%m%d}" if commit and found.dirty else "")


class ReproducibleSdist(sdist):
    """Writes the same bytes for the same files, whoever builds them, wherever. Times are SOURCE_DATE_EPOCH, if it is set."""

    def make_archive(self, *arguments: Any, **options: Any) -> str:
        """Write the archive again, sorted and without what the machine adds, and return its path."""
        path = Path(super().make_archive(*arguments, **options))
        if path.suffix != ".gz":
            return str(path)
        epoch = os.environ.get("SOURCE_DATE_EPOCH")
        with tarfile.open(path) as archive:
            files = [(entry, archive.extractfile(entry).read() if entry.isfile() else b"") for entry in archive]
        # The header of gzip has neither a name nor, with SOURCE_DATE_EPOCH, the time of the build.
        with (
            path.open("wb") as file,
            gzip.GzipFile("", "wb", fileobj=file, mtime=int(epoch) if epoch else None) as packed,
            tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
        ):
            for entry, content in sorted(files, key=lambda file: file[0].name):
                new = tarfile.TarInfo(entry.name)
                new.type, new.size, new.mode = entry.type, len(content), _mode(entry.mode, entry.isdir())
                new.mtime = int(epoch or entry.mtime)
                archive.addfile(new, io.BytesIO(content))
        return str(path)


class ReproducibleWheel(bdist_wheel):
    """Writes the same bytes for the same files: setuptools has the order and the times, but keeps the modes of files."""

    def run(self) -> None:
        """Build the wheel, without what an earlier build has left, and write it again with equal modes."""
        shutil.rmtree(HERE / "build" / "lib", ignore_errors=True)
        super().run()
        for path in [path for kind, _, path in self.distribution.dist_files if kind == "bdist_wheel"]:
            with zipfile.ZipFile(path) as archive:
                files = [(entry, archive.read(entry)) for entry in archive.infolist()]
            with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
                for entry, content in files:
                    entry.external_attr = (stat.S_IFREG | _mode(entry.external_attr >> 16)) << 16
                    archive.writestr(entry, content)


def _mode(mode: int, is_directory: bool = False) -> int:
    """Return the mode of an entry, whatever the umask of the checkout was."""
    return 0o755 if is_directory or mode & stat.S_IXUSR else 0o644


setup(
    name="errklein",
    version=version(),
    description="A chatbot on Twisted for IRC, Matrix, Slack, Telegram and XMPP, with commands and webhooks; runs errbot plugins",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    author="errklein developers",
    license="MIT",
    license_files=["LICENSE"],
    keywords="chat bot chatops webhook errbot twisted klein irc",
    classifiers=[
        "Development Status :: 4 - Beta",
        "Environment :: Console",
        "Environment :: No Input/Output (Daemon)",
        "Framework :: Twisted",
        "Intended Audience :: Developers",
        "Intended Audience :: System Administrators",
        "Operating System :: POSIX",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3 :: Only",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Programming Language :: Python :: 3.14",
        "Topic :: Communications :: Chat",
        "Topic :: Communications :: Chat :: Internet Relay Chat",
        "Topic :: Internet :: WWW/HTTP",
        "Typing :: Typed",
    ],
    python_requires=">=3.11.4",
    install_requires=[
        "Twisted[tls]>=26.10",
        "klein>=24.8",
        "treq>=26.7",
        "service-identity>=24.1",
        "pyOpenSSL>=25.3",
        # Certificates and keys: pyOpenSSL requires it too.
        "cryptography>=46",
        "Werkzeug>=3.1",
        "Jinja2>=3.1",
        # Earlier versions need quadratic time for runs of backticks and other characters.
        "Markdown>=3.11",
        # Whether what plugins require is there.
        "packaging>=24",
        # The conversation on a terminal: history, editing and a prompt that output doesn't run through.
        "prompt_toolkit>=3.0.30",
        # The metrics for Prometheus.
        "prometheus_client>=0.22",
        # Columns of a terminal that text takes, and where it may be cut.
        "wcwidth>=0.5",
        # WebSockets, of networks and of plugins' pages: twisted.web.websocket.
        "wsproto>=1.2",
    ],
    extras_require={
        # What goes wrong is told to Sentry, if BOT_LOG_SENTRY says so.
        "sentry": ["sentry-sdk>=2"],
        # The Apprise network: messages to services that are only sent to.
        "apprise": ["apprise>=2.3"],
        # The XMPP network.
        "xmpp": ["slixmpp>=1.17"],
        # The database of a bot with several processes. pgmq is its queue's SQL, whose version is that of the tables.
        "postgres": ["psycopg[binary]>=3.3", "pgmq==1.1.4"],
        # What errbot 6.2 installs and its plugins may import, but for what errklein itself requires (Jinja2, Markdown, pyOpenSSL)
        # and what only errbot's program uses (daemonize, pygments-markdown-lexer).
        "errbot": [
            "Flask>=3.1",
            "requests>=2.32.5",
            "Pygments>=2.20",
            "WebTest>=3.0.7",
            "ansi>=0.3.7",
            "colorlog>=6.10.1",
            "deepmerge>=2.0",
            "dulwich>=1.2.1",
            "legacy-cgi>=2.6.4; python_version >= '3.13'",
            "setuptools>=78.1.1",
        ],
        "test": [
            "apprise>=2.3",
            "httptools>=0.7",
            "hypothesis>=6.100",
            "pgmq==1.1.4",
            "psycopg[binary]>=3.3",
            "pytest>=8",
            "requests>=2.31",
            "sentry-sdk>=2",
            "slixmpp>=1.17",
            # The versions of builds. Python 3.11's virtual environments have a setuptools that is too old.
            "setuptools>=77",
            "setuptools-scm>=10",
            # The senders' own libraries, as a second opinion about signatures.
            "slack_sdk>=3.30",
            "standardwebhooks>=1.1",
            "stripe>=12",
        ],
        "lint": [
            "ruff>=0.17,<0.18",
            "mypy>=2.4,<2.5",
            "mypy-zope>=1.0.17",
            "types-Markdown",
            "pytest>=8",
            "sentry-sdk>=2",
            # News: the fragments in newsfragments/ become entries of CHANGELOG.md.
            "towncrier>=26.9",
        ],
        # The guides are written in Markdown, as the README is; myst-parser lets Sphinx read them.
        "docs": ["Sphinx>=8", "myst-parser>=5", "furo>=2025.9", "sphinx-copybutton>=0.5.2"],
    },
    # There is no __init__.py in twisted/ or twisted/plugins/: Twisted finds the plugin beside its own. package_dir must
    # be spelled out, or an editable install hides it.
    packages=[*find_packages(include=["errklein", "errklein.*"]), "twisted.plugins"],
    # Apart from errklein, so that pytest has nothing to import where it isn't used.
    py_modules=["errklein_pytest"],
    package_dir={"": "."},
    package_data={
        "errklein": [
            "py.typed",
            "**/*.plug",
            "**/*.sql",
            "**/*.md",
            "**/*.toml",
            "**/*.txt",
            "**/payloads/*",
            "**/templates/*",
            "**/static/*",
            "examples/**",
        ],
        "twisted.plugins": ["errklein_plugin.py"],
    },
    entry_points={
        "console_scripts": ["errklein = errklein.cli:main"],
        "pytest11": ["errklein = errklein_pytest"],
        "errklein.databases": ["postgres = errklein.postgres", "postgresql = errklein.postgres"],
    },
    cmdclass={"sdist": ReproducibleSdist, "bdist_wheel": ReproducibleWheel},
    zip_safe=False,
)
