"""`errklein person forget`, which the running bot performs."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from errklein.bot.persons import ForgottenPerson
from errklein.cli._control import perform
from errklein.cli._output import print_lines
from errklein.service import errors_end_program, load_with_options


def forget_person(known: argparse.Namespace) -> int:
    """Run the command, and return the exit status."""
    with errors_end_program():
        directory = Path(known.data_dir or load_with_options(known.config).BOT_DATA_DIR)
    if known.deliveries:
        done = perform(directory, "persons.forget_deliveries", person=known.person, ids=known.deliveries)
        return print_lines(done)
    found = ForgottenPerson(**perform(directory, "persons.forget", person=known.person))
    return print_lines(found.lines(f"errklein person forget {shlex.quote(known.person)}"))
