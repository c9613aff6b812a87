"""What plugins written for errbot rely on, sentence by sentence: a module for each chapter of that contract.

The same tests run against errklein, as part of its suite, and against errbot itself (`tox -e against-errbot`), where
errklein isn't installed. Where errklein differs on purpose a test says so with `decided`, and is expected to fail there.
"""

from importlib.util import find_spec

IS_ERRKLEIN = find_spec("errklein") is not None

if IS_ERRKLEIN:
    from errklein import compat

    # Also where errbot is installed beside it. Flask stays what it is: other tests look at the real one.
    compat.stand_in_for("errbot")
    compat.install()
