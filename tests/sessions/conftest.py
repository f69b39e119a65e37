"""Tests of long-lived sandboxes: they mostly wait for terminals, so they run beside the others (scripts/run-tests)."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
