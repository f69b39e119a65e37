"""The worker processes under valgrind: no error and nothing lost, over all that a job can do to them."""

import pathlib
import re
import shutil
import signal
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "lib"))

from farm import Farm, wait_for  # noqa: E402

MEMCHECK = ("--leak-check=full --show-leak-kinds=definite,indirect --errors-for-leak-kinds=definite,indirect --track-fds=no "
            "--child-silent-after-fork=yes --num-callers=30")
LARGE = 400 << 10  # a result that a thread writes

# language, code, options, what the end is
JOBS = [
    ("bash", "echo hi", {}, "exited"),
    ("bash", "exit 3", {}, "exited"),
    ("bash", "kill -9 $$", {}, "signaled"),
    ("bash", "cat; echo $A $1 >&2", {"stdin": "in", "env": {"A": "é"}, "args": ["x"]}, "exited"),
    ("bash", "cat a/b; ls", {"input_files": [{"filename": "a/b", "content": "aGk="}, {"filename": "c", "content": ""}]}, "exited"),
    ("bash", "cd /tmp/artifacts; mkdir d; echo 1 >d/x; ln -s /etc/passwd y; echo 2 >z", {"return_artifacts": True}, "exited"),
    ("bash", f"head -c {LARGE} /dev/urandom", {}, "exited"),
    ("bash", f"head -c {LARGE} /dev/zero >/tmp/artifacts/big", {"return_artifacts": True}, "exited"),
    ("bash", "yes | head -c 3000000", {}, "exited"),
    ("bash", "sleep 60", {"ttl": 1}, "timeout"),
    ("bash", "while :; do :; done", {"cpu_limit": 1, "ttl": 30}, "cpu"),
    ("bash", "sleep 60 & echo left", {}, "exited"),
    ("python", "print(6 * 7)", {}, "exited"),
    ("python", "x = bytearray(1 << 30)", {"memory_mb": 64}, "memory"),
    ("python", "import os\nwhile 1: os.write(1, b'x' * 65536)", {"ttl": 60}, "output"),
    ("c", "#include <stdio.h>\nint main(void) { puts(\"c\"); }", {}, "exited"),
    ("c", "int main(void) { return x; }", {}, "exited"),
    ("c", "int main(void) { *(volatile int *)0 = 1; }", {}, "signaled"),
]


@pytest.fixture(scope="module")
def preload(tmp_path_factory):
    path = tmp_path_factory.mktemp("valgrind") / "instead.so"
    subprocess.run(["cc", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-O1", "-o", path, HERE / "instead.c"], check=True)
    return path


def test_the_worker_makes_no_error_and_loses_nothing(preload):
    wrap = ["env", f"LD_PRELOAD={preload}", f"VALGRIND_COMMAND={shutil.which('valgrind')} {MEMCHECK}"]
    conf = {"worker": {"processes": 1, "slots": 8, "warm": 4, "drain_seconds": 2}}
    with Farm(languages=["bash", "python", "c"], conf=conf, wrap={"worker": wrap}) as farm:
        farm.wait_languages("bash", "python", "c", seconds=300)
        worker = farm.workers()
        assert len(worker) == 1 and "valgrind" in pathlib.Path(f"/proc/{worker[0]}/exe").readlink().parts[-2]
        ids = [farm.submit(language, code, **options) for language, code, options, _ in JOBS]
        ends = [farm.wait_job(job, 300) for job in ids]
        assert [e["end_reason"] for e in ends] == [end for *_, end in JOBS], [(e["end_reason"], e.get("stderr", "")[:200]) for e in ends]
        assert [len(e["artifacts"]) for e in ends if e["artifacts"]] == [2, 1] and max(len(e["stdout"]) for e in ends) >= LARGE
        running = farm.submit("bash", "sleep 100", ttl=200)
        wait_for("it to run", lambda: farm.get(f"/jobs/{running}").json()["status"] == "running")
        assert farm.delete(f"/jobs/{running}").json()["status"] == "cancelled"
        farm.procs["worker"].send_signal(signal.SIGHUP)
        wait_for("the reload", lambda: farm.log("worker").count("languages tried") == 2, 300)
        farm.redis("CLIENT", "KILL", "TYPE", "normal")  # it connects again
        wait_for("a job", lambda: farm.post("/execute", {"language": "bash", "code": "echo back"}).status_code == 200, 60)
        given_back = farm.submit("bash", "sleep 100", ttl=200)
        wait_for("it to run", lambda: farm.get(f"/jobs/{given_back}").json()["status"] == "running")
        assert farm.stop_one("worker", seconds=120) == 0
        assert farm.get(f"/jobs/{given_back}").json()["status"] == "pending"
        farm.delete(f"/jobs/{given_back}")
        assert re.findall(r"ERROR SUMMARY: (\d+) errors", farm.log("worker")) == ["0"]
