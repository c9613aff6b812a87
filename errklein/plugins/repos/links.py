"""Symbolic links in what git has fetched, which may lead to anything on this machine."""

from __future__ import annotations

import os
from pathlib import Path

from errklein.plugins.repos.archives import DEEPEST
from errklein.plugins.repos.sources import RepoException, shown


def check_links(directory: Path) -> None:
    """Raise RepoException if a link in the directory leads out of it, or if something lies deeper than it may.

    Plugins are looked for behind links too: of one to `/` the repository would have each plugin on this machine.
    """
    top = Path(os.path.realpath(directory))
    for place, directories, files in os.walk(top):
        here = Path(place)
        if len(here.relative_to(top).parts) >= DEEPEST:
            raise RepoException(f"the repository has more than {DEEPEST} directories, one in the other")
        directories[:] = [name for name in directories if here != top or name != ".git"]
        for path in (here / name for name in (*directories, *files)):
            if path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(top):
                raise RepoException(f"{shown(str(path.relative_to(top)))} is a link that leads out of the repository")
