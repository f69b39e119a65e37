"""Shared by the end-to-end tests: one farm for those that leave it as it was."""

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))

from farm import Farm  # noqa: E402


@pytest.fixture(scope="session")
def farm():
    """A farm with few languages, for the tests of everything but languages."""
    with Farm(languages=["python", "bash", "c", "dash"]) as started:
        started.wait_languages("python", "bash", "c", "dash")
        yield started
