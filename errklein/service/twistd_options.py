"""The options of twistd and twist that affect the service."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class TwistdOptions:
    """The options of twistd: daemon or foreground, pid file, user and group, root directory, log file, directory."""

    daemon: bool = False
    pid_file: Path | None = None
    uid: int | None = None
    gid: int | None = None
    chroot: str | None = None
    log_file: str | None = None
    directory: str | None = None

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> TwistdOptions:
        """Return the options that twistd or twist has parsed; twist has fewer of them."""
        pid_file = options.get("pidfile")
        return cls(
            daemon="nodaemon" in options and not options["nodaemon"] and not options["debug"],
            pid_file=Path(pid_file).absolute() if pid_file else None,
            uid=options.get("uid"),
            gid=options.get("gid"),
            chroot=options.get("chroot"),
            log_file=options.get("logfile"),
            directory=options.get("rundir"),
        )

    def enters_current_directory(self) -> bool:
        """Return whether twistd changes to the current directory; with --chroot it changes to the new root by default."""
        return self.directory == "." and not self.chroot

    def why_no_restart(self) -> str:
        """Return the reason why the process can't run its command line again; "" if it can."""
        if any((self.uid, self.gid, self.chroot)):
            return "root started errklein for another user, and must restart it"
        return ""
