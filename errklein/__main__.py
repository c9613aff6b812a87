"""`python -m errklein` is the command `errklein`."""

import sys

from errklein.cli import main

sys.exit(main())
