"""Data directories of earlier versions: `make.py` writes them, and `test_upgrades.py` opens each of them."""
