from pathlib import Path

BACKENDS = Path(__file__).parent / "backend_fixtures"
"""A directory of backends written for errbot."""
