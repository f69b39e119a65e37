"""`make run` and `make install`: what a newcomer and a packager use, and no farm of the other tests does."""

import json
import os
import re
import subprocess
import tempfile

import pytest
from farm import BUILD, ROOT, free_port


def programs():
    """What the Makefile builds."""
    text = re.search(r"^PROGRAMS := (.*?[^\\])$", (ROOT / "Makefile").read_text(), re.M | re.S)[1]
    return set(re.findall(r"\$\(B\)/([\w.-]+)", text))


@pytest.fixture
def state():
    with tempfile.TemporaryDirectory(prefix="unfarm-run-") as folder:
        os.chmod(folder, 0o755)
        yield {"FARM_STATE": f"{folder}/farm", "PORT": str(free_port()), "BUILD": str(BUILD)}


def farm(state, what):
    return subprocess.run([ROOT / "scripts/farm", what], env=os.environ | state, capture_output=True, text=True, timeout=200)


def test_a_farm_is_started_tried_and_stopped(state):
    """As `make run` and `make stop` do, in a folder and with a port of its own."""
    try:
        started = farm(state, "start")
        assert started.returncode == 0, started.stdout + started.stderr
        example = farm(state, "example")
        assert example.returncode == 0 and "Status:     completed" in example.stdout, example.stdout + example.stderr
        assert {p for p in programs() if not os.path.exists(f"{state['FARM_STATE']}/libexec/{p}")} == set()
    finally:
        stopped = farm(state, "stop")
    assert stopped.returncode == 0, stopped.stdout + stopped.stderr
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert state["FARM_STATE"] not in listed


def test_everything_that_is_built_is_installed(tmp_path):
    env = {k: v for k, v in os.environ.items() if not k.startswith("MAKE")}
    subprocess.run(["make", "-s", f"B={os.path.relpath(BUILD, ROOT)}", f"DESTDIR={tmp_path}", "install"], cwd=ROOT, env=env, check=True)
    there = {name for _, _, names in os.walk(tmp_path) for name in names}
    assert programs() <= there
    records = tmp_path / "usr/share/unfarm/languages.d"
    assert json.loads((records / "python.json").read_text())["name"] == "python"
