"""Runs git in ways that execute nothing from the repository. For use in threads. The git program knows the operator's
proxies, keys and credentials. As a separate process it can be stopped and can't block the bot."""

from __future__ import annotations

import os
from pathlib import Path

from errklein.plugins.repos._archives import DEEPEST
from errklein.plugins.repos.sources import RepoException, check_url, shown
from errklein.plugins.subprocesses import ProgramError, run

_SECONDS = 300
_CAREFUL = (
    f"git -c core.hooksPath={os.devnull} -c core.fsmonitor=false -c protocol.ext.allow=never -c submodule.recurse=false"
).split()
_ENVIRONMENT = {
    "GIT_ALLOW_PROTOCOL": "https:http:ssh:file",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ASKPASS": "true",
    "SSH_ASKPASS_REQUIRE": "never",
    "GIT_SSH_COMMAND": os.environ.get("GIT_SSH_COMMAND", "ssh -o BatchMode=yes -o ConnectTimeout=20"),
    "LC_ALL": "C",
}


def git_clone(url: str, path: str | Path) -> None:
    """Clone the newest commit of the repository into a new directory. Raises RepoException."""
    check_url(url, local=True)
    options = ["--quiet", "--depth", "1", "--no-local", "--no-recurse-submodules", "--template="]
    _git("clone", *options, "--", url, str(Path(path).absolute()))


def git_pull(repo_path: str | Path) -> None:
    """Update the repository to the newest commit. Raises RepoException if local changes conflict, or if the
    repository's history was rewritten."""
    _git("pull", "--quiet", "--ff-only", "--no-recurse-submodules", directory=Path(repo_path))


def git_tag_list(repo_path: str | Path) -> list[str]:
    """Return the names of the tags in the remote repository, sorted. Raises RepoException."""
    lines = _git("ls-remote", "--tags", "--refs", "--quiet", directory=Path(repo_path)).splitlines()
    return sorted(line.partition("refs/tags/")[2] for line in lines if "refs/tags/" in line)


def head(directory: Path) -> str:
    """Return the commit that is checked out."""
    return _git("rev-parse", "--verify", "HEAD", directory=directory).strip()


def go_back(directory: Path, commit: str) -> None:
    """Check the commit out again. Raises RepoException if that would overwrite local changes."""
    _git("reset", "--quiet", "--keep", commit, directory=directory)


def _git(*arguments: str, directory: Path | None = None) -> str:
    # Without --git-dir, git would use a repository in a parent directory.
    there = () if directory is None else (f"--git-dir={directory / '.git'}", f"--work-tree={directory}")
    try:
        return run([*_CAREFUL, *there, *arguments], seconds=_SECONDS, env=_ENVIRONMENT, directory=directory)
    except ProgramError as error:
        raise RepoException(f"git: {error}") from error


def check_links(directory: Path) -> None:
    """Raise RepoException if a link leads out of the directory, or if directories are nested too deep."""
    top = Path(os.path.realpath(directory))
    for parent, directories, files in os.walk(top):
        here = Path(parent)
        if len(here.relative_to(top).parts) >= DEEPEST:
            raise RepoException(f"directories in the repository are nested more than {DEEPEST} deep")
        directories[:] = [name for name in directories if here != top or name != ".git"]
        for path in (here / name for name in (*directories, *files)):
            if path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(top):
                raise RepoException(f"{shown(str(path.relative_to(top)))} is a link that leads out of the repository")
