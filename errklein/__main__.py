"""Entry point of `python -m errklein`, which is the command `errklein`."""

import sys

from errklein.cli import main

sys.exit(main())
