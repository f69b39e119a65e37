"""A program that was compiled before is not compiled again: what changes it, what is shown, and what happens to the disk."""

import base64
import contextlib
import fcntl
import json
import os
import pathlib
import shutil
import signal
import tempfile
import time
import uuid

import pytest
from farm import PUBLIC, SECRET, Farm, wait_for

# The compilers of these languages are the source, or what it includes.  Each run of this one makes a file that no other
# run makes, so that a program shows by which run it was made.
MAKES = "printf '#!/bin/sh\ncat id; cat; echo $* $E; cat x 2>/dev/null' > main; chmod 755 main; cat /proc/sys/kernel/random/uuid > id\n"
MB = 1 << 20


class Compiling(Farm):
    """With languages whose compile steps are shell scripts, of the job or of the host."""

    def _share(self):
        super()._share()
        records = self.dir / "share/languages.d"
        record = json.loads((records / "dash.json").read_text())
        record.update(aliases=[], shebangs=[], run=["./main"], hello="printf '#!/bin/sh\necho hello\n' > main; chmod 755 main\n")
        for old in pathlib.Path("/opt").glob("unfarm-test-*.tools"):  # of killed tests
            if not self.dir.with_name(old.stem).exists():
                shutil.rmtree(old)
        self.tools = pathlib.Path(f"/opt/{self.dir.name}.tools")
        self.tools.mkdir()
        for name, compiler in {"twostep": ["sh", "main.sh"], "flagged": ["sh", "-e", "main.sh"],
                               "tool": ["sh", f"{self.tools}/cc"], "hidden": ["sh", "-c", f". {self.tools}/cc"]}.items():
            (records / f"{name}.json").write_text(json.dumps(record | {"name": name, "compile": compiler}))
        self.tool("one")
        with open(self.dir / "share/sandbox.paths", "a") as f:
            f.write(f"tree {self.tools}\n")

    def tool(self, word):
        (self.tools / "cc").write_text(f". ./main.sh; echo {word} >> id\n")

    def stop(self):
        super().stop()
        shutil.rmtree(self.tools, ignore_errors=True)

    @property
    def folder(self):
        return self.dir / "data/compiled"

    def entries(self):
        return [self.folder / name for name in self.compiled()]


LIMITS = {"rate_per_minute": 100000, "burst": 10000}


@pytest.fixture(scope="module")
def farm():
    with Compiling(languages=["dash", "c"], conf={"key": LIMITS, "worker": {"processes": 2}}) as started:
        started.wait_canaries()
        assert started.entries() == [], "a canary asks whether the compiler works, and is not kept"
        yield started


def fresh(code):
    """Never sent before."""
    return f"{code}\n# {uuid.uuid4()}"


def run(farm, code, language="twostep", key=(PUBLIC, SECRET), **options):
    r = farm.post("/execute", {"language": language, "code": code, **options}, key=key).json()
    assert r["status"] == "completed" and (r["compile"]["exit_code"] != 0 or "run" in r), r
    return r


def cached(r):
    return r["compile"].get("cached", False)


def made(r):
    """By which run of the compiler."""
    return r["stdout"].split("\n")[0]


def store(farm, code, *args, **options):
    """A job that compiles, and the same when that was kept: both results."""
    before = farm.compiled()
    first = run(farm, code, *args, **options)
    wait_for("a program that is kept", lambda: farm.compiled() - before)
    again = run(farm, code, *args, **options)
    assert (cached(first), cached(again)) == (False, True)
    return first, again


# ---- the second time ----


def test_a_c_program_is_compiled_once(farm):
    source = f'#include <stdio.h>\nint main(int c, char **v) {{ char b[9] = ""; scanf("%8s", b); printf("%s %d %s\\n", v[1], c, b); }} // {uuid.uuid4()}\n'
    first, again = store(farm, source, "c", args=["a"], stdin="in")
    assert not cached(first) and first["compile"]["cpu_ms"] > 0
    assert again["compile"] == {"end_reason": "exited", "exit_code": 0, "wall_ms": again["compile"]["wall_ms"], "cpu_ms": 0, "memory_bytes": 0, "cached": True}
    same = ("stdout", "stderr", "exit_code", "status", "success", "end_reason", "artifacts")
    assert {k: first[k] for k in same} == {k: again[k] for k in same} and again["stdout"] == "a 2 in\n"
    assert run(farm, source, "c", args=["b", "c"], stdin="out")["stdout"] == "b 3 out\n"
    assert again["run"]["memory_bytes"] > 0 and set(again["run"]) == set(first["run"])


def test_the_compiler_does_not_run(farm):
    """It would make another file."""
    first, again = store(farm, fresh(MAKES))
    assert made(first) == made(again) and len(made(first)) == 36


def test_an_asynchronous_job_and_its_artifacts(farm):
    source = f"int main(void) {{ return 3; }} // {uuid.uuid4()}"
    first, _ = store(farm, source, "c", return_artifacts=True)
    job = farm.wait_job(farm.submit("c", source, return_artifacts=True, ttl=7))
    assert cached(job) and job["exit_code"] == 3 and job["artifacts"] == first["artifacts"]
    assert base64.b64decode(job["artifacts"][0]["content_base64"])[:4] == b"\x7fELF"


def test_what_the_compiler_said_is_said_again(farm):
    source = f"int main(void) {{ char *p = 1; return !p; }} // {uuid.uuid4()}"
    first, again = store(farm, source, "c")
    assert "warning" in first["compile"]["output"] and again["compile"]["output"] == first["compile"]["output"]
    assert (first["stderr"], again["stderr"]) == ("", "")
    both = store(farm, fresh(MAKES + "echo out; echo err >&2"))
    assert both[0]["compile"]["output"] == both[1]["compile"]["output"] == "err\nout\n"


def test_limits_are_those_of_the_second_job(farm):
    source = f"int main(int c, char **v) {{ while (c > 1); return 0; }} // {uuid.uuid4()}"
    store(farm, source, "c")
    for options, reason in (({"cpu_limit": 1}, "cpu"), ({"ttl": 1}, "timeout")):
        r = farm.run("c", source, args=["loop"], **options)
        assert cached(r) and r["end_reason"] == r["run"]["end_reason"] == reason


# ---- what is another program ----

INPUT = {"input_files": [{"filename": "x", "content_base64": base64.b64encode(b"one").decode()}], "env": {"E": "1"}, "args": ["a"]}
OTHERS = {
    "its input": {"input_files": [{"filename": "x", "content_base64": base64.b64encode(b"two").decode()}]},
    "its input's name": {"input_files": [{"filename": "y", "content_base64": base64.b64encode(b"one").decode()}]},
    "another input": {"input_files": [*INPUT["input_files"], {"filename": "y", "content_base64": ""}]},
    "no input": {"input_files": []},
    "its environment": {"env": {"E": "2"}},
    "a name in its environment": {"env": {"F": "1"}},
    "its memory": {"memory_mb": 256},
}
SAME = {"its arguments": {"args": ["b"]}, "its standard input": {"stdin": "text"}, "its time": {"ttl": 9}, "its processor time": {"cpu_limit": 9},
        "its artifacts": {"return_artifacts": True}}


@pytest.mark.parametrize("what", OTHERS)
def test_a_change_of(farm, what):
    code = fresh(MAKES)
    first, _ = store(farm, code, **INPUT)
    other = run(farm, code, **INPUT | OTHERS[what])
    assert not cached(other) and made(other) != made(first)
    assert made(run(farm, code, **INPUT)) == made(first)


@pytest.mark.parametrize("what", SAME)
def test_no_change_of(farm, what):
    code = fresh(MAKES)
    first, _ = store(farm, code, **INPUT)
    other = run(farm, code, **INPUT | SAME[what])
    assert cached(other) and made(other) == made(first)
    if "args" in SAME[what] or "stdin" in SAME[what]:
        assert other["stdout"] != first["stdout"]


def test_a_change_of_the_source_or_the_command(farm):
    code = fresh(MAKES)
    first, _ = store(farm, code)
    for other in (run(farm, code + " "), run(farm, code, "flagged")):
        assert not cached(other) and made(other) != made(first)


def test_a_failed_compile_is_not_kept(farm):
    for end in ("exit 1", "kill -9 $$", "kill -15 $$"):
        code = fresh(MAKES + f"cat id >&2; {end}")
        first, again = run(farm, code), run(farm, code)
        assert "run" not in first and not cached(again) and first["stderr"] != again["stderr"]


def test_a_program_that_fails_is_kept(farm):
    first, again = store(farm, fresh("printf '#!/bin/sh\nkill -9 $$' > main; chmod 755 main"))
    assert again["end_reason"] == first["end_reason"] == "signaled" and again["signal"] == 9


# ---- the toolchain ----


def reload(farm):
    """Returns when the master and all its workers have looked again."""
    before = farm.log("worker").count('msg="reloaded"')
    farm.procs["worker"].send_signal(signal.SIGHUP)
    wait_for("the reload", lambda: farm.log("worker").count('msg="reloaded"') == before + 1 + len(farm.workers()))


def test_a_compiler_that_is_named_is_looked_at_each_time(farm):
    code = fresh(MAKES)
    farm.tool("one")
    first, _ = store(farm, code, "tool")
    farm.tool("two")
    other = run(farm, code, "tool")
    assert not cached(other) and "\ntwo\n" in other["stdout"] and made(other) != made(first)


def test_one_that_is_not_named_is_looked_at_with_a_reload(farm):
    code = fresh(MAKES)
    farm.tool("one")
    reload(farm)
    first, again = store(farm, code, "hidden")
    farm.tool("2")
    reload(farm)
    other, again = store(farm, code, "hidden")
    assert "\n2\n" in other["stdout"] and made(first) != made(other) == made(again)
    # And a reload alone changes nothing: what was kept stays of use.
    reload(farm)
    assert all(made(run(farm, code, "hidden")) == made(again) for _ in range(4))


# ---- the disk ----


def test_a_damaged_file_is_compiled_anew(farm):
    code = fresh(MAKES)
    before = farm.compiled()
    first, _ = store(farm, code)
    (name,) = farm.compiled() - before
    entry = farm.folder / name
    data = bytearray(entry.read_bytes())
    data[-10] ^= 1
    entry.write_bytes(data)
    other = run(farm, code)
    assert not cached(other) and made(other) != made(first)
    wait_for("it to be stored again", entry.exists)
    again = run(farm, code)
    assert cached(again) and made(again) == made(other)


def test_a_disk_that_hangs_is_waited_for_once(farm):
    """Whoever changes the folder needs its lock: reading a damaged file hangs, and so does storing."""
    code, large = fresh(MAKES), fresh("printf '#!/bin/sh\nyes | head -c 400000' > main; chmod 755 main")
    before = farm.compiled()
    store(farm, code)
    (name,) = farm.compiled() - before
    with open(farm.folder / name, "r+b") as f:
        f.truncate(50)
    folder = os.open(farm.folder, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    try:
        jobs = [farm.submit("twostep", source) for source in [code] * 16 + [fresh(MAKES) for _ in range(16)] + [large] * 4]
        done = [farm.wait_job(job) for job in jobs]
        assert {r["end_reason"] for r in done} == {"exited"} and not any(map(cached, done))
        assert [len(r["stdout"]) for r in done[-4:]] == [400000] * 4
        started = time.monotonic()
        for _ in range(30):
            assert not cached(run(farm, code))
        assert time.monotonic() - started < 15, "30 jobs that wait a second each"
    finally:
        os.close(folder)
    wait_for("a program that is kept again", lambda: cached(run(farm, code)))


def test_an_emptied_folder(farm):
    code = fresh(MAKES)
    first, _ = store(farm, code)
    for entry in farm.entries():
        entry.unlink()
    assert made(store(farm, code)[1]) != made(first)


def test_a_reload_that_takes_long_delays_nobody(farm):
    """The list of what is shown is a FIFO that nobody writes to: whoever reads it waits.  Both workers wait so; one is
    stopped, the other told to look again, when the list is a file as before."""
    paths, copy, fifo = (farm.dir / "share" / name for name in ("sandbox.paths", "copy", "fifo"))
    shutil.copy(paths, copy)
    os.mkfifo(fifo)
    os.chmod(fifo, 0o644)
    before = farm.log("worker").count('msg="reloaded"')
    workers = farm.workers()

    def waits(pid):
        return any(f.read_text() == "wait_for_partner" for f in pathlib.Path(f"/proc/{pid}/task").glob("*/wchan"))

    os.link(fifo, farm.dir / "share/other")
    os.rename(fifo, paths)
    try:
        for pid in workers:
            os.kill(pid, signal.SIGHUP)
        wait_for("the workers to read the list", lambda: all(map(waits, workers)))
        os.rename(copy, paths)
        os.kill(workers[0], signal.SIGHUP)
        for _ in range(8):
            run(farm, fresh(MAKES))
        os.kill(workers[1], signal.SIGTERM)
        wait_for("a worker to end", lambda: workers[1] not in farm.workers())
        assert farm.log("worker").count('msg="reloaded"') == before and waits(workers[0])
    finally:  # else they would never end
        wait_for("nobody to read", lambda: not any(map(waits, farm.workers())) or released(farm.dir / "share/other"))
    wait_for("two reloads", lambda: farm.log("worker").count('msg="reloaded"') == before + 2)
    wait_for("the other worker", lambda: len(farm.workers()) == len(workers))


def released(fifo):
    """Once opened for writing its readers go on; with none it cannot be."""
    with contextlib.suppress(OSError):
        os.close(os.open(fifo, os.O_WRONLY | os.O_NONBLOCK))
    return False


def test_without_room_programs_are_compiled_and_told_once():
    """On a small disk of its own that is full; then there is room again."""
    with Compiling(languages=["dash"], disks={"data": "2m"}, conf={"key": LIMITS}) as farm:
        farm.wait_languages("twostep")
        first, _ = store(farm, fresh(MAKES))
        ballast = farm.fill("data")
        for _ in range(5):
            code = fresh(MAKES)
            assert made(run(farm, code)) != made(run(farm, code))
        wait_for("a line in the log", lambda: "compiled programs cannot be kept" in farm.log("worker"))
        assert not (farm.folder / ".new").exists()
        ballast.unlink()
        for _ in farm.workers():
            store(farm, fresh(MAKES))
        assert 1 <= farm.log("worker").count("cannot be kept") <= len(farm.workers())


def test_the_folder_stays_within_its_limit_and_what_is_used_stays():
    """1 MB, which one key's programs fill several times; and all keys share, as the operator said."""
    with Compiling(languages=["dash"], conf={"key": LIMITS, "worker": {"cache_mb": 1, "cache_shared": "yes"}}) as farm:
        farm.wait_languages("twostep")
        used = fresh(MAKES)
        mine = made(store(farm, used)[1])
        for n in range(14):
            store(farm, fresh(MAKES + "head -c 100000 /dev/urandom > data"))
            assert sum(p.stat().st_blocks * 512 for p in farm.entries()) <= MB
            if n % 5 == 0:
                time.sleep(0.01)  # times of files go in such steps
                assert made(run(farm, used)) == mine
        assert 5 <= len(farm.entries()) <= 11
        another = run(farm, used, key=farm.new_key())
        assert cached(another) and made(another) == mine
        large = fresh(MAKES + "head -c 140000 /dev/urandom > data")  # an eighth is the most for one
        assert not any(cached(run(farm, large)) for _ in range(3))


def test_without_the_setting_nothing_is_kept():
    with Compiling(languages=["dash"], conf={"worker": {"cache_mb": 0}}) as farm:
        farm.wait_languages("twostep")
        code = fresh(MAKES)
        results = [run(farm, code) for _ in range(4)]
        assert not any(map(cached, results)) and len(set(map(made, results))) == 4
        assert not farm.folder.exists()


def test_a_folder_that_cannot_be_written_is_told_and_costs_nothing_else():
    """It was there, and belongs to somebody else: it stays as it is."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="unfarm-test-compiled-"))
    try:
        with Compiling(languages=["dash"], conf={"worker": {"cache_dir": folder}}) as farm:
            farm.wait_languages("twostep")
            code = fresh(MAKES)
            assert made(run(farm, code)) != made(run(farm, code))
            assert farm.log("worker").count("compiled programs are not kept: open") == len(farm.workers())
        assert list(folder.iterdir()) == [] and folder.stat().st_uid == os.getuid() and folder.stat().st_mode & 0o777 == 0o700
    finally:
        shutil.rmtree(folder)
