"""Shared by the attacks: one farm that every test leaves as it was."""

import pathlib
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "lib"))
sys.path.insert(0, str(HERE))

from farm import Farm  # noqa: E402

LANGUAGES = ("python", "bash", "c", "dash")


@pytest.fixture(scope="session")
def farm():
    """Room for 64 jobs at the same time, so that they can get in each other's way."""
    conf = {"worker": {"slots": 64, "warm": 8}}
    with Farm(conf=conf, languages=list(LANGUAGES)) as started:
        started.wait_languages(*LANGUAGES)
        started.wait_canaries()
        yield started


@pytest.fixture(autouse=True)
def healthy(request):
    """Whatever an attack did: the next job runs, in the same processes."""
    if "farm" not in request.fixturenames:
        yield
        return
    started = request.getfixturevalue("farm")
    before = (started.procs["worker"].pid, sorted(started.workers()))
    yield
    assert (started.procs["worker"].pid, sorted(started.workers())) == before
