"""Shared by the attacks: one farm that every test leaves as it was."""

import json
import pathlib
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "lib"))
sys.path.insert(0, str(HERE))

import attack  # noqa: E402
from farm import Farm  # noqa: E402

LANGUAGES = ("python", "bash", "c", "cpp", "dash")


class Attacked(Farm):
    """With one more language, whose "compiler" is the program: hostile code in the first step, too.
    Compilers are stopped earlier, so that their bombs do not take long."""

    def _share(self):
        super()._share()
        records = self.dir / "share/languages.d"
        record = json.loads((records / "dash.json").read_text())
        record.update(name="twostep", title="two steps", aliases=[], extensions=[], shebangs=[], artifact="main",
                      compile=["sh", "main.sh"], run=["./main"], hello="printf '#!/bin/sh\necho hello\n' > main; chmod 755 main\n")
        (records / "twostep.json").write_text(json.dumps(record))
        for path in (records / "c.json", records / "cpp.json"):
            record = json.loads(path.read_text())
            record["limits"]["compile_seconds"] = 8
            path.write_text(json.dumps(record))


@pytest.fixture(scope="session")
def farm():
    """Room for 64 jobs at the same time, so that they can get in each other's way."""
    attack.sweep_canaries()
    conf = {"worker": {"slots": 64, "warm": 8}}
    with Attacked(conf=conf, languages=list(LANGUAGES)) as started:
        started.wait_languages(*LANGUAGES, "twostep")
        started.wait_canaries()
        yield started


@pytest.fixture(scope="module")
def canaries(farm):
    """Files of the host whose name and content nobody inside may learn, nor change."""
    with attack.canaries(farm) as paths:
        yield paths


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


@pytest.fixture(scope="module")
def few_nests():
    """One job at a time, so that one follows another in the same nest."""
    with Farm(languages=["python"], conf={"worker": {"processes": 1, "slots": 1, "warm": 1}}) as started:
        started.wait_languages("python")
        started.wait_canaries()
        yield started
