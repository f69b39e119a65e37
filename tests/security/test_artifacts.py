"""What is planted where a worker reads or writes later; names that are swapped while they are read."""

import pathlib
import shutil
import subprocess
import tempfile

import pytest
from attack import ROOT, TOKEN, artifacts, build, input_file, run_all
from farm import BUILD, remove_groups

NAMES = 56  # of flip.c


@pytest.fixture(scope="module")
def folder():
    """By its name its control groups are swept, should this be killed."""
    path = tempfile.mkdtemp(prefix="unfarm-test-race-")
    yield pathlib.Path(path)
    remove_groups(pathlib.Path(path).name)
    shutil.rmtree(path)


@pytest.fixture(scope="module")
def flip(folder):
    return build(folder, "flip.c", "-static")


def test_init_alone_holds_when_names_are_swapped_while_it_reads(folder, flip):
    """Six processes flip files with links, FIFOs and folders during 100,000 reads: the second line, without the first."""
    race = build(folder, "race.c", libs=True)
    (folder / "etc").mkdir()
    r = subprocess.run([race, folder / "etc", folder.name, ROOT / "conf/sandbox.paths", BUILD, flip, "100000"],
                       capture_output=True, text=True, timeout=100)
    assert r.returncode == 0, r.stderr
    reads, own, other, _ = map(int, r.stdout.split())
    assert other == 0, r.stderr
    assert reads >= 100000 and 0.02 * reads < own < 0.98 * reads  # both kinds were met


def test_what_a_taken_over_init_says_is_not_believed(folder):
    """Only a regular file, with one descriptor and a short name, passes, and a folder's name; and none is kept open."""
    said = subprocess.run([build(folder, "hostile_init.c", libs=True)], capture_output=True, text=True, check=True, timeout=60)
    rows = dict(line.split(": ") for line in said.stdout.splitlines())
    passed = {what for what, came in rows.items() if not came.startswith("gone")}
    assert passed == {"a file", "a folder by its name"} and rows["a file"] == "file 0" and rows["a folder by its name"] == "folder 0"
    assert {came for what, came in rows.items() if what not in passed} == {"gone 0"} and len(rows) >= 40


def test_ten_thousand_artifacts_of_jobs_that_swap_names(farm, canaries, flip):
    """Six processes in each job; a name is a file of the job or does not come out.  Counts what became of each."""
    secret = canaries[-1]
    code = f"""cp input/flip f; chmod 755 f; rmdir artifacts; ./f 9 /tmp/artifacts {secret} >/dev/null 2>&1 &
until [ -e artifacts/d0 ]; do sleep 0.002; done; sleep 0.00$((RANDOM % 10))"""
    options = {"return_artifacts": True, "ttl": 20, "input_files": [input_file("flip", flip.read_bytes())]}
    whole = out = swapped = 0
    while whole * NAMES < 10000:
        assert swapped < 400
        for r in run_all(farm, [("bash", code, options)] * 8):
            got = artifacts(r)
            assert r["end_reason"] == "exited" and set(got.values()) <= {b"own\n"}, r
            if not got:  # the folder itself was something else, or was not there yet
                swapped += 1
                continue
            assert not r.get("artifacts_truncated") and len(got) <= NAMES
            whole, out = whole + 1, out + len(got)
    refused = whole * NAMES - out
    assert out > 1000 and refused > 200, (whole, out, refused)


GROW = '''
import os
files = [os.open(f"/tmp/artifacts/{i}", os.O_CREAT | os.O_WRONLY | os.O_APPEND) for i in range(60)]
ready, told = os.pipe()
if os.fork() == 0:
    os.setsid(); os.dup2(os.open("/dev/null", os.O_RDWR), 1); os.dup2(1, 2)
    for n in range(15000):
        for fd in files: os.write(fd, b"%016d" % n)
        if n == 100: os.write(told, b"x")
    os._exit(0)
os.read(ready, 1)
'''


def test_files_that_grow_are_those_of_one_moment(farm):
    """One process appends to all in turn until it is killed: when the first file is read it must be dead."""
    for r in run_all(farm, [("python", GROW, {"return_artifacts": True, "ttl": 20})] * 6):
        sizes = [len(data) // 16 for data in artifacts(r).values()]
        assert len(sizes) == 60 and 100 <= min(sizes) and max(sizes) - min(sizes) <= 1, sizes


# In the compiler's step, where the program's and the collector's names are still to come.
BEFORE = "cd /tmp; printf '#!/bin/sh\\necho ran; ls -l /tmp > artifacts/list\\n' > main; chmod 755 main; "
PLANTS = {  # name: (what the first step does with $s, a secret of the host; end_reason; output)
    "source, input and results become links": ("for n in main.sh stdin stdout stderr meta input/x; do ln -sfn $s $n; done", "exited", "ran\n"),
    "they become hard links": ("for n in main.sh stdin input/x; do ln -f /usr/bin/env $n || ln -f artifacts/../main $n; done", "exited", "ran\n"),
    "they become FIFOs": ("for n in main.sh stdin stdout stderr input/x; do rm -f $n; mkfifo $n; done", "exited", "ran\n"),
    "they become devices": ("for n in main.sh stdin stdout input/x; do ln -sfn /dev/zero $n; done", "exited", "ran\n"),
    "they become folders": ("for n in main.sh stdin stdout input/x; do rm -rf $n; mkdir $n; done", "exited", "ran\n"),
    "the folder of results becomes a link": ("rmdir artifacts; ln -s ${s%/*} artifacts", "exited", "ran\n"),
    "the working folder becomes a link": ("cd /; mv /tmp /t; ln -s ${s%/*} /tmp", "unstartable", ""),
    "the working folder becomes a link to the system": ("cd /; mv /tmp /t; ln -s /usr/bin /tmp", "unstartable", ""),
    "the program becomes a link": ("ln -sfn $s main", "unstartable", ""),
    "the program becomes a link to a device": ("ln -sfn /dev/zero main", "unstartable", ""),
    "the program becomes init": ("ln -sfn /proc/1/exe main", "unstartable", ""),
    "the program becomes its own shell": ("ln -sfn /proc/self/exe main", None, ""),
    "the program becomes a FIFO": ("rm main; mkfifo main; chmod 755 main", "unstartable", ""),
    "the program becomes a folder": ("rm main; mkdir main", "unstartable", ""),
    "the path of programs": ("mkdir /usr/local/bin/x; rm -rf /usr/bin/sh; ln -s $s /usr/bin/sh", None, ""),
}


def test_names_are_planted_before_the_program_runs(farm, canaries):
    """A compiler that works for the attacker; nothing outside is read, changed, owned or opened to all by it."""
    secret = "/tmp/" + TOKEN
    jobs = [("twostep", BEFORE + f"s={secret}; " + plant, {"return_artifacts": True, "ttl": 10, "stdin": "in", "input_files": [input_file("x", b"x")]})
            for plant, _, _ in PLANTS.values()]
    for (name, (_, reason, out)), r in zip(PLANTS.items(), run_all(farm, jobs), strict=True):
        assert r["compile"]["exit_code"] == 0, (name, r)
        assert reason in (None, r["end_reason"]) and r["stdout"] == out, (name, r)
        assert TOKEN not in r["stderr"].replace(secret, "") and r.get("run", {}).get("wall_ms", 0) < 5000, (name, r)
        for data in artifacts(r).values():
            assert not data.startswith(TOKEN.encode()) and b"root:" not in data and data[:4] != b"\x7fELF", (name, data)
