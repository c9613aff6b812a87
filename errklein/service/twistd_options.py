"""The options of twistd or twist that the service depends on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class TwistdOptions:
    """How the process is run: in the background or not, its pid file, its user, and --logfile."""

    daemon: bool = False
    pid_file: Path | None = None
    uid: int | None = None
    gid: int | None = None
    chroot: str | None = None
    log_file: str | None = None

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> TwistdOptions:
        """Those of the command line that twistd or twist has parsed; twist has fewer."""
        pid_file = options.get("pidfile")
        return cls(
            daemon="nodaemon" in options and not options["nodaemon"] and not options["debug"],
            pid_file=Path(pid_file).absolute() if pid_file else None,
            uid=options.get("uid"),
            gid=options.get("gid"),
            chroot=options.get("chroot"),
            log_file=options.get("logfile"),
        )

    def why_no_restart(self) -> str:
        """The reason why this command line can't be run again from within the process; "" if it can."""
        if any((self.uid, self.gid, self.chroot)):
            return "root started errklein for another user, and has to do it again"
        return ""
