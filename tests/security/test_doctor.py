"""A host that cannot keep a promise: `unfarm doctor` says which, and the worker refuses in the same words.

Each row takes one ability away from a private farm's programs alone: in namespaces of their own, or by a
filter of system calls such as container runtimes set.
"""

import ctypes
import errno
import json
import os
import pathlib
import re
import signal
import struct
import subprocess

import pytest
from attack import ROOT
from farm import BUILD, Farm

GROUPS = pathlib.Path("/sys/fs/cgroup")
CALLS = {"seccomp": 317, "clone3": 435, "open_tree": 428, "move_mount": 429, "mount_setattr": 442, "pivot_root": 155, "unshare": 272}


@pytest.fixture(scope="module")
def bare():
    with Farm(daemons=(), languages=["bash"]) as started:
        yield started


def without_calls(*names, error=errno.ENOSYS):
    """For preexec_fn: those calls fail from now on, as an old kernel or a container would have it."""
    def load(code, jt, jf, k):
        return struct.pack("HBBI", code, jt, jf, k)

    numbers = [CALLS[n] for n in names]
    program = load(0x20, 0, 0, 0) + b"".join(load(0x15, len(numbers) - i, 0, nr) for i, nr in enumerate(numbers))
    program += load(0x06, 0, 0, 0x7fff0000) + load(0x06, 0, 0, 0x00050000 | error)
    text = ctypes.create_string_buffer(program, len(program))

    def install():
        libc = ctypes.CDLL(None, use_errno=True)
        prog = struct.pack("HxxxxxxQ", len(program) // 8, ctypes.addressof(text))
        if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, ctypes.create_string_buffer(prog, len(prog)), 0, 0):
            os._exit(99)

    return {"preexec_fn": install}


def in_namespace(script, *how):
    """The command of a row: the script, and then the program instead of it."""
    return {"before": ["unshare", *how, "sh", "-ec", script + '\nexec "$@"', "sh"]}


def no_namespaces(kind):
    return in_namespace(f"echo 0 > /proc/sys/user/max_{kind}_namespaces", "-Ur")


HAVE = [c for c in ("memory", "pids", "cpu") if (GROUPS / c / "cgroup.procs").exists()]
# what is taken away: (how, row of the doctor that fails, what it finds)
TAKEN = {
    "user namespaces, all used up": (no_namespaces("user"), "user namespaces", "No space left on device"),
    "clone3, by a policy": (without_calls("clone3", error=errno.EPERM), "user namespaces", "Operation not permitted"),
    "clone3, by an old runtime": (without_calls("clone3"), "user namespaces", "Function not implemented"),
    **{f"{kind} namespaces": (no_namespaces(kind), "other namespaces", f"{name}: No space left on device")
       for kind, name in (("mnt", "mount"), ("pid", "pid"), ("ipc", "ipc"), ("uts", "uts"), ("cgroup", "cgroup"), ("net", "net"))},
    "filters": (without_calls("seccomp", error=errno.EPERM), "seccomp", "Operation not permitted"),
    "filters, no such call": (without_calls("seccomp"), "seccomp", "Function not implemented"),
    "an old kernel": ({"before": ["setarch", "--uname-2.6"]}, "kernel", "Linux 2.6."),
    "root": ({"before": ["setpriv", "--reuid", "65534", "--clear-groups"]}, "root", "uid 65534"),
    "all control groups": (in_namespace("umount -R -l /sys/fs/cgroup", "-m"), "control groups", "control group"),
    **{f"the group {c}": (in_namespace(f"umount -l $(readlink -f /sys/fs/cgroup/{c})", "-m"), "control groups", f"no `{c}` control group") for c in HAVE},
    "writable groups": (in_namespace("for m in $(awk '$3 ~ /^cgroup/ { print $2 }' /proc/self/mounts); do mount -o remount,bind,ro $m; done", "-m"),
                        "control groups", "make control group"),
    "id-mapped mounts": (without_calls("mount_setattr"), "a whole sandbox", "Function not implemented"),
    "mounts by descriptor": (without_calls("open_tree", error=errno.EPERM), "a whole sandbox", "Operation not permitted"),
    "moving mounts": (without_calls("move_mount"), "a whole sandbox", "Function not implemented"),
    "another root": (without_calls("pivot_root", error=errno.EPERM), "a whole sandbox", "Operation not permitted"),
    "what a sandbox shows": ({"conf": {"sandbox": {"paths": "/nonexistent/paths"}}}, "a whole sandbox", "/nonexistent/paths"),
}  # fmt: skip


def start(bare, how, program, *args):
    how = dict(how)
    conf = bare.dir / "unfarm.conf"
    for section, rows in how.pop("conf", {}).items():
        text = conf.read_text()
        conf = bare.dir / "other.conf"
        conf.write_text(text.replace(f"[{section}]", "\n".join([f"[{section}]", *(f"{k} = {v}" for k, v in rows.items())])))
    command = [*how.pop("before", []), BUILD / program, "-c", conf, *args]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **how)


def ended(proc, seconds=30):
    """Its status and what it said; one that starts in spite of all is ended."""
    try:
        out, err = proc.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        proc.send_signal(signal.SIGTERM)
        out, err = proc.communicate(timeout=30)
        return "started", out, err
    return proc.returncode, out, err


def test_the_doctor_finds_nothing_here_and_says_so(bare):
    """Else the rest would prove nothing; and the worker starts."""
    status, out, err = ended(start(bare, {}, "unfarm", "doctor"))
    assert status == 0 and "MISSING" not in out and out.endswith("A worker can start here.\n"), out + err
    status, out, _ = ended(start(bare, {}, "unfarm", "doctor", "--json"))
    rows = json.loads(out)
    assert status == 0 and all(r["ok"] and r["advice"] == r["without"] == "" for r in rows)
    status, out, _ = ended(start(bare, no_namespaces("net"), "unfarm", "doctor", "--json"))
    bad = [r for r in json.loads(out) if not r["ok"]]
    assert status == 1 and len(bad) == 2 and all(r["advice"] and r["without"] for r in bad)


@pytest.mark.parametrize("taken", TAKEN)
def test_what_is_missing_is_named_and_the_worker_refuses_in_the_same_words(bare, taken):
    how, row, found = TAKEN[taken]
    doctor, worker = start(bare, how, "unfarm", "doctor"), start(bare, how, "unfarm-worker")
    status, out, err = ended(doctor)
    assert status == 1 and out.endswith("A worker refuses to start here: nothing is weakened.\n"), (status, out, err)
    lines = re.search(rf"^MISSING  {row} +(.*)\n +without it: (.+)\n +(.+)$", out, re.M)
    assert lines and found in lines[1], out
    status, _, err = ended(worker)
    assert status not in ("started", 0) and "worker started" not in err, err
    if row == "root":
        assert "must be started as root" in err
    elif row == "a whole sandbox":
        assert err.startswith(f"unfarm-worker: {lines[1]}\n"), err
    else:
        words = lines[0].replace(f"{bare.cgroup}-check", f"{bare.cgroup}-start")  # groups for trials, of either program
        assert words in err and err.endswith("nothing is weakened: `unfarm doctor` says the same\n"), err
    assert not list(GROUPS.glob(f"*/{bare.cgroup}*")), "nothing is left behind"


def test_every_row_of_the_doctor_was_taken_away_once():
    rows = re.findall(r'^\t\{ "([^"]+)", try_\w+,', (ROOT / "sandbox/check.c").read_text(), re.M)
    assert len(rows) >= 8 and set(rows) - {row for _, row, _ in TAKEN.values()} == {"swap limit"}  # tests/unit/test_cgroup.c


def test_a_master_key_that_everybody_may_read_is_refused(bare):
    """What `unfarm doctor` cannot know is refused by the daemon that would read it."""
    subprocess.run([BUILD / "unfarm", "-c", bare.dir / "unfarm.conf", "key", "create"], check=True, capture_output=True)
    path = bare.dir / "data/master.key"
    assert path.stat().st_mode & 0o777 == 0o640
    for mode in (0o644, 0o642):
        path.chmod(mode)
        for command in (["unfarm-gateway"], ["unfarm", "key", "create"]):
            status, out, err = ended(start(bare, {}, command[0], *command[1:]), 20)
            assert status not in ("started", 0) and "everybody may read it" in err, (command, out, err)
    path.chmod(0o640)
    assert ended(start(bare, {}, "unfarm", "key", "create"))[0] == 0
