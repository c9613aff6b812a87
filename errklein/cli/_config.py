"""The commands `errklein config show` and `template`: the settings with their sources, and all of them with their defaults."""

from __future__ import annotations

import argparse
import sys
from importlib.resources import files


def print_template(_: argparse.Namespace) -> int:
    sys.stdout.write((files("errklein") / "compat" / "errbot_package" / "config-template.py").read_text("utf-8"))
    return 0


def show(known: argparse.Namespace) -> int:
    """Print each setting that is set, or with --all each one, with its value and its source. The options are those of `errklein run`."""
    from errklein.config.warnings import shown_settings
    from errklein.logs import escape
    from errklein.service import errors_end_program, load_with_options

    with errors_end_program():
        config = load_with_options(known.config, known.network, known.data_dir, known.plugin_dir)
    options = {
        "BACKEND": ("--network", known.network and config.BACKEND),
        "BOT_DATA_DIR": ("--data-dir", known.data_dir and config.BOT_DATA_DIR),
        "WEB": ("--web", known.web),
        "STATUS": ("--status", known.status),
    }
    lines = [*shown_settings(config, options, with_defaults=known.all)]
    lines = lines or ["# each setting has its default, which --all prints"]
    # Secrets are masked already, and references to them stay.
    sys.stdout.write("".join(f"{escape(line)}\n" for line in lines))
    return 0
