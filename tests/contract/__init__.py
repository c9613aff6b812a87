"""The contract with plugins written for errbot: a test for each guarantee, and a module for each chapter.

The same tests run on errklein, as part of its suite, and on errbot itself (`tox -e against-errbot`), where errklein
isn't installed. A test of a deliberate difference is marked with `decided`; it is expected to fail on errbot.
"""

from importlib.util import find_spec

IS_ERRKLEIN = find_spec("errklein") is not None

if IS_ERRKLEIN:
    from errklein import compat

    # errbot is replaced even if it is installed. Flask isn't, since other tests use the real one.
    compat.stand_in_for("errbot")
    compat.install()
