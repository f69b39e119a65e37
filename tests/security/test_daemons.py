"""What the farm's own processes may do, as the kernel says it; and where no secret is."""

import ast
import base64
import contextlib
import errno
import fcntl
import json
import os
import pathlib
import pwd
import re
import resource
import signal
import subprocess
import sys
import time

import pytest
import requests
from attack import ROOT, input_file, probe, run_all
from farm import BUILD, SECRET, Farm, wait_for

TABLE = dict(re.findall(r'^PROC\((\w+), "([^"]*)",', (ROOT / "common/procs.def").read_text(), re.M))
NUMBERS = ("chown dac_override dac_read_search fowner fsetid kill setgid setuid setpcap linux_immutable net_bind_service "
           "net_broadcast net_admin net_raw ipc_lock ipc_owner sys_module sys_rawio sys_chroot sys_ptrace sys_pacct "
           "sys_admin sys_boot sys_nice sys_resource sys_time sys_tty_config mknod lease audit_write audit_control "
           "setfcap mac_override mac_admin syslog wake_alarm block_suspend audit_read perfmon bpf checkpoint_restore").split()
INSIDE = 0x4fb  # sandbox/init_setup.c: chown dac_override fowner fsetid kill setgid setuid net_bind_service
UID_BASE = 1879048192
# Seccomp filters: of its own, after those of whoever started it.  A sanitizer's runtime makes calls of its own, so
# with one the lists of common/call_sets.def are not loaded.
SANITIZED = b"__asan_init" in (BUILD / "unfarm-gateway").read_bytes() or b"__tsan_init" in (BUILD / "unfarm-gateway").read_bytes()
OWN = 0 if SANITIZED else 1
FILTERS = {"gateway_parent": OWN, "gateway": 2 * OWN, "scheduler": OWN, "master": 1, "worker": 1 + OWN, "caching_worker": 1 + OWN,
           "session_master": 1, "session_server": 1 + OWN, "shim": 1 + OWN, "nest": 1 + 1, "init": 1 + 1 + 1}


def mask(names):
    return sum(1 << NUMBERS.index(n) for n in names.split())


def status(pid):
    rows = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (row.partition(":") for row in rows)}


@pytest.fixture(scope="module")
def sessions():
    """One session that was begun, and some sandboxes for the next."""
    with Farm(daemons=("scheduler", "sessiond", "gateway"), languages=["bash"]) as started:
        def begun():
            with contextlib.suppress(requests.ConnectionError):
                return started.post("/sessions", {"shell": "bash"}).status_code == 200

        wait_for("a session", begun)
        yield started


def children(pid):
    return [int(p) for p in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def pids(farm):
    if "sessiond" in farm.procs:
        master = farm.procs["sessiond"].pid
        servers = [p for p in children(master) if b"--child" in pathlib.Path(f"/proc/{p}/cmdline").read_bytes()]
        shims = [p for p in children(master) if p not in servers]
        # One that makes its sandbox has not given up its rights yet.
        wait_for("shims that are set up", lambda: all(int(status(p)["Seccomp_filters"]) == FILTERS["shim"] for p in shims))
        return {"session_master": [master], "session_server": servers, "shim": shims}
    return {"gateway_parent": [farm.procs["gateway"].pid], "gateway": farm.gateways(), "scheduler": [farm.procs["scheduler"].pid],
            "master": [farm.procs["worker"].pid], "worker": farm.workers(), "caching_worker": farm.workers()}


def inits(farm):
    """Of sandboxes that are set up."""
    found = {}
    for pid in farm.inits():
        with contextlib.suppress(OSError):
            found[pid] = status(pid)
    return [p for p, s in found.items() if int(s["Seccomp_filters"]) == FILTERS["init"]]


def is_held(pid):
    """A fork of an interpreter: it has that program and the environment it was started with."""
    return "sandbox-init" not in pathlib.Path(f"/proc/{pid}/exe").readlink().name


# Which of the two lists a worker has is in the trace of its start, below; the rest of its rows is the same.
ACCOUNTS = {"gateway_parent": "unfarm-gw", "gateway": "unfarm-gw", "scheduler": "unfarm-sched", "master": "root", "worker": "unfarm-wk", "caching_worker": "unfarm-wk",
            "session_master": "root", "session_server": "unfarm-sd", "shim": "unfarm-sd"}


@pytest.fixture
def home(request):
    """Of a process of the table: the farm that has it."""
    return request.getfixturevalue("sessions" if request.node.callspec.params["name"] in ("session_master", "session_server", "shim") else "farm")


@pytest.mark.parametrize("name", TABLE)
def test_a_daemon_has_the_rights_of_the_table(home, name):
    assert set(TABLE) == set(ACCOUNTS)
    found = pids(home)[name]
    assert found
    for pid in found:
        s = status(pid)
        uid = pwd.getpwnam(ACCOUNTS[name]).pw_uid
        assert s["Uid"].split() == [str(uid)] * 4 and s["NoNewPrivs"] == "1"
        may = mask(TABLE[name])
        assert int(s["CapEff"], 16) == int(s["CapPrm"], 16) == may, (name, s["CapEff"])
        assert int(s["CapInh"], 16) == int(s["CapAmb"], 16) == 0
        assert (s["Seccomp"], int(s["Seccomp_filters"])) == ("2" if FILTERS[name] else "0", FILTERS[name])
        limits = pathlib.Path(f"/proc/{pid}/limits").read_text()
        assert re.search(r"^Max core file size +0 +0 ", limits, re.M)
        if not name.endswith("master"):
            assert uid != 0 and s["Groups"].split() in ([], [str(pwd.getpwnam(ACCOUNTS[name]).pw_gid)])


def test_a_nest_is_behind_filters_too(farm):
    """What its sandboxes inherit: all but what makes them."""
    farm.run("bash", "echo 1")
    found = [status(pid) for pid in farm.nests()]
    ready = [s for s in found if int(s["Seccomp_filters"]) == FILTERS["nest"] and s["NoNewPrivs"] == "1"]
    assert ready and {int(s["Seccomp_filters"]) for s in found} <= {1, FILTERS["nest"]}  # 1: it is being set up


@pytest.mark.parametrize("name", ["gateway", "scheduler", "master", "worker", "session_master", "session_server", "shim"])
def test_no_daemon_could_get_more_rights(home, name):
    """The bounding set; a worker's is what its master left."""
    limit = mask(TABLE["master" if name in ("worker", "session_server", "shim") else name])
    for pid in pids(home)[name]:
        assert int(status(pid)["CapBnd"], 16) & ~limit == 0


def test_every_sandbox_has_a_range_of_its_own_and_no_root(farm):
    job = farm.submit("bash", "sleep 3 & sleep 3", ttl=9)
    wait_for("it to run", lambda: farm.get(f"/jobs/{job}").json()["status"] == "running")
    found = inits(farm)
    bases = [int(status(p)["Uid"].split()[0]) for p in found]
    assert len(found) >= 4 and len(set(bases)) == len(bases)
    for pid, base in zip(found, bases, strict=True):
        s = status(pid)
        assert base >= UID_BASE and (base - UID_BASE) % 65536 == 0
        assert s["Uid"].split() == s["Gid"].split() == [str(base)] * 4 and s["Groups"] == ""
        assert s["NoNewPrivs"] == "1" and s["Seccomp"] == "2"
        for name in ("CapEff", "CapPrm", "CapBnd"):
            assert int(s[name], 16) == INSIDE
        names = {word.split(b"=")[0] for word in pathlib.Path(f"/proc/{pid}/environ").read_bytes().strip(b"\0").split(b"\0")}
        if is_held(pid):
            assert names == {b"PATH", b"HOME", b"USER", b"LOGNAME", b"TMPDIR", b"LANG"}
        else:
            assert names == {b""} and pathlib.Path(f"/proc/{pid}/exe").readlink().name.startswith("memfd:sandbox-init")
    farm.delete(f"/jobs/{job}")


def test_init_holds_few_descriptors(farm):
    """Standard streams, the control socket, its signals: nothing of Redis, cgroups or other sandboxes."""
    def descriptors(pid):
        """Without 0 to 2; none of one that is just ending."""
        with contextlib.suppress(OSError):
            fds = {p.name: str(p.readlink()) for p in pathlib.Path(f"/proc/{pid}/fd").iterdir()}
            return {k: v.split("[")[0] for k, v in fds.items() if k not in ("0", "1", "2")}
        return {}

    def settled():
        """All, once the sandboxes of earlier tests are gone and new ones are ready."""
        found = [descriptors(pid) for pid in inits(farm)]
        return found if found and all(len(fds) == 2 for fds in found) else None

    for fds in wait_for("sandboxes that are ready and hold two descriptors", settled):
        assert sorted(v.split(":")[0] for v in fds.values()) == ["anon_inode", "socket"], fds


def test_the_program_of_init_cannot_be_changed(farm, tmp_path):
    """It runs from a sealed copy in memory (CVE-2019-5736): not by root of the host, nor from inside."""
    pid = wait_for("a sandbox", lambda: [p for p in inits(farm) if not is_held(p)])[0]
    fd = os.open(f"/proc/{pid}/exe", os.O_RDONLY)
    seals = fcntl.fcntl(fd, fcntl.F_GET_SEALS)
    os.close(fd)
    assert seals == fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
    found = probe(farm, '''
for name, flags in (("read", os.O_RDONLY), ("write", os.O_WRONLY), ("both", os.O_RDWR), ("path", os.O_PATH), ("truncate", os.O_WRONLY | os.O_TRUNC)):
    attempt(name, lambda: os.open("/proc/1/exe", flags))
attempt("exec", lambda: os.execv("/proc/1/exe", ["x"]))
attempt("link", lambda: os.link("/proc/1/exe", "/tmp/x", follow_symlinks=True))
attempt("map", lambda: os.listdir("/proc/1/map_files"))
attempt("own", lambda: os.open("/proc/self/exe", os.O_WRONLY))
''')
    assert found.pop("own") in ("ETXTBSY", "EROFS"), found
    assert set(found.values()) <= {"EACCES", "EPERM", "EXDEV"}, found


# What a call names, and which daemon may name it; %s is the farm's control group, %c its folder of compiled programs.
KEPT = r"%c(/[0-9a-f]{80}|/\.new)?"
NAMED = re.compile(r'^(\w+)\((?:(-?\d+|AT_FDCWD)<([^>]*)>, )?(?:"((?:[^"\\]|\\.)*)")?(.*)')
MAY = {
    "master": (r"/proc/\d+/(uid_map|gid_map)", r"/proc/self/fdinfo/\d+", r"/sys/fs/cgroup/\w+/%s/[ns]\d+(/[\w.]+)?", r"/sys/devices/system/cpu/online"),
    "worker": (r"/dev/null", r"/sys/devices/system/cpu/online", r"/var/lib/dpkg/status", r"/(opt/langs|usr(/local)?|)/?s?bin/[^/]+", KEPT),
}
BY_DESCRIPTOR = {"master": ("open_tree", "mount_setattr", "fsconfig"), "worker": ("fchmod", "newfstatat", "fstat", "utimensat")}


def named(line):
    """The call of a line of strace, and the path that it leads to; "" when it has a descriptor only."""
    call, at, folder, path, _ = NAMED.match(line).groups()
    path = path or ""
    return call, os.path.normpath(f"{folder}/{path}") if path and not path.startswith("/") and at not in (None, "AT_FDCWD") else path


def trace_of(log):
    """Of a process; of a worker, one for each of its threads."""
    return [log] if log.exists() else sorted(log.parent.glob(log.name + ".*"))


def test_no_daemon_opens_changes_or_owns_a_path_in_a_sandbox(farm, tmp_path):
    """What worker and master ask of the kernel while files go in, programs run and plants are collected."""
    watched = [("master", farm.procs["worker"].pid)] + [("worker", pid) for pid in farm.workers()]
    logs = {pid: tmp_path / f"{name}.{pid}" for name, pid in watched}
    kept = re.escape(str(farm.dir / "data/compiled"))
    tracers = [subprocess.Popen(["strace", *["-ff"] * (name == "worker"), "-y", "-s", "300", "-o", logs[pid], "-p", str(pid), "-e",
                                 "trace=%file,fchmod,fchown,getdents64,getdents,fchdir,linkat,renameat,open_by_handle_at,name_to_handle_at"],
                                stderr=subprocess.PIPE, text=True) for name, pid in watched]
    try:
        for t in tracers:
            assert "attached" in t.stderr.readline()
        jobs = [("c", f"int main(void){{return 0;}} // {time.time()}", {"return_artifacts": True, "stdin": "abc", "input_files": [input_file("x", b"y" * 100000)]}),
                ("bash", "ln -s /etc/passwd artifacts/l; mkfifo artifacts/f; echo x > artifacts/x; rm main.sh; ln -s / main.sh; kill -9 $$", {"return_artifacts": True}),
                ("twostep", "cp /usr/bin/true main; ln -s /tmp artifacts/t; mkdir artifacts/d; echo x > artifacts/d/x", {"return_artifacts": True})]
        done = run_all(farm, jobs * 4)
        assert [len(r["artifacts"]) for r in done] == [1, 1, 2] * 4
    finally:
        for t in tracers:
            t.send_signal(signal.SIGINT)
            t.wait(10)
    lines = [(name, line) for name, pid in watched for trace in trace_of(logs[pid]) for line in trace.read_text().splitlines()
             if not line.startswith(("---", "+++"))]
    calls = [(name, *named(line)) for name, line in lines]
    assert {("worker", "openat"), ("worker", "fchmod"), ("worker", "renameat")} <= {c[:2] for c in calls}  # the master: when a nest is made
    for name, call, path in calls:
        if path == "":  # by a descriptor: pipes of its own, its own trees, a program that it keeps
            assert call in BY_DESCRIPTOR[name], (name, call)
            continue
        assert any(re.fullmatch(p.replace("%s", farm.cgroup).replace("%c", kept), path) for p in MAY[name]), (name, call, path)
        if name == "worker" and re.fullmatch(KEPT.replace("%c", kept), path):
            assert call in ("openat", "newfstatat", "unlinkat", "renameat"), (name, call, path)
        else:
            assert not re.search("chmod|chown|link|rename|symlink|mount|exec|access", call) or call == "unlinkat" and name == "master", (name, call, path)
    writes = [line for _, line in lines if re.search("O_WRONLY|O_RDWR|O_CREAT", line) and "<" + str(farm.dir) in line]
    assert writes and all('"/' not in line and "/.new>" in line for line in writes), writes
    changed = [line for _, line in lines if line.startswith(("fchmod", "fchown"))]
    assert changed and all("<pipe:[" in line for line in changed), changed


def test_namespaces_of_a_sandbox_are_all_its_own(farm):
    def spaces(pid):
        return {n: str(pathlib.Path(f"/proc/{pid}/ns/{n}").readlink()) for n in ("user", "mnt", "pid", "ipc", "uts", "cgroup", "net")}

    host = spaces("self")
    seen = {n: set() for n in host}

    def all_spaces():
        with contextlib.suppress(OSError):  # one ended while we looked: look again
            return [spaces(pid) for pid in inits(farm)]

    found = wait_for("sandboxes", all_spaces)
    for its in found:
        for n, value in its.items():
            assert value != host[n], n
            seen[n].add(value)
    assert all(len(values) == len(found) for values in seen.values())


def test_no_secret_is_where_others_could_read_it(farm):
    """Command lines, environments, logs, Redis: after a job with a secret in its code."""
    farm.run("bash", "echo done", env={"PASSWORD": "hunter2-of-the-job"})
    farm.get("/jobs")
    secret, job = SECRET.encode(), b"hunter2-of-the-job"
    for proc in pathlib.Path("/proc").glob("[0-9]*"):
        for part in ("cmdline", "environ"):
            try:
                text = (proc / part).read_bytes()
            except OSError:
                continue
            # Of another farm of the tests: its clients have the secret in their environment.
            if str(farm.dir).encode() in text or b"unfarm" in text and b"unfarm-test-" not in text:
                assert secret not in text and job not in text, (proc, part)
    for path in (farm.dir / "log").iterdir():
        text = path.read_bytes()
        assert text and secret not in text and job not in text, path
    for path in (farm.dir / "redis").rglob("*"):
        if path.is_file():
            assert secret not in path.read_bytes(), path
    assert any(p.is_file() and p.stat().st_size for p in (farm.dir / "redis").rglob("*"))


def memory_of(pid):
    """What a process has written to its memory, a mapping at a time."""
    with open(f"/proc/{pid}/mem", "rb") as mem:
        for line in pathlib.Path(f"/proc/{pid}/maps").read_text().splitlines():
            where, may = line.split()[:2]
            if may.startswith("rw"):
                start, end = (int(x, 16) for x in where.split("-"))
                with contextlib.suppress(OSError):
                    mem.seek(start)
                    yield mem.read(end - start)


def test_a_secret_key_is_printed_once_and_kept_sealed(farm):
    """Neither it nor the master key is in Redis' memory or files, in ours, in logs or in what `unfarm` tells later."""
    def unfarm(*args):
        return subprocess.run([BUILD / "unfarm", "-c", farm.dir / "unfarm.conf", *args], capture_output=True, text=True, check=True).stdout

    made = json.loads(unfarm("key", "create", "--json", "--note", "of this test"))
    public, secret = made["public_key"], made["secret_key"]
    master = (farm.dir / "data/master.key").read_bytes()
    farm.run("bash", "echo used", env={"A": "b"})
    assert farm.get("/jobs", key=(public, secret)).status_code == 200
    sealed = farm.redis("HGET", f"{{unfarm}}:key:{public}", "secret")
    assert len(base64.b64decode(sealed)) == 12 + len(secret) + 16
    needles = [w for text in (secret.encode(), SECRET.encode(), master) for w in (text, text.hex().encode(), base64.b64encode(text))]
    seen = False
    for part in memory_of(farm.redis_proc.pid):
        seen = seen or sealed.encode() in part
        assert not any(needle in part for needle in needles)
    assert seen, "the search finds nothing at all"
    names = farm.redis("KEYS", "*").split("\n")
    dumps = subprocess.run(["redis-cli", "-s", f"{farm.dir}/run/redis.sock"], input="".join(f'DUMP "{name}"\n' for name in names).encode(),
                           capture_output=True, check=True).stdout  # fmt: skip
    assert len(dumps) > 10 * len(names) and not any(needle in dumps for needle in needles)
    for path in farm.dir.rglob("*"):
        if path.is_file() and path.name != "master.key":
            assert not any(needle in path.read_bytes() for needle in needles), path
    for told in (unfarm("key", "list"), unfarm("key", "list", "--json"), unfarm("key", "show", public, "--json"), unfarm("status", "--json")):
        assert secret not in told and sealed not in told
    assert public in unfarm("key", "list")


def test_the_password_of_redis_is_in_no_message_and_no_command_line():
    """Neither while there is no Redis, nor when the address cannot be read."""
    word = "hunter2-of-redis"
    for url in (f"redis://:{word}@127.0.0.1:1", f"redis://:{word}@127.0.0.1:1:2", f"tcp://:{word}@127.0.0.1"):
        with Farm(daemons=(), languages=["bash"], conf={"farm": {"redis_url": url}}) as farm:
            commands = (["unfarm", "status"], ["unfarm", "key", "list"], ["unfarm-gateway"], ["unfarm-scheduler"], ["unfarm-worker"])
            procs = [subprocess.Popen([BUILD / name, "-c", farm.dir / "unfarm.conf", *more], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
                     for name, *more in commands]  # fmt: skip
            assert all(word.encode() not in pathlib.Path(f"/proc/{proc.pid}/cmdline").read_bytes() for proc in procs)
            said = []
            for proc in procs:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    proc.wait(1)
                proc.terminate()
                said.append(proc.communicate(timeout=30)[0])
            assert sum(map(bool, said)) >= 4 and word.encode() not in b"".join(said)


def test_programs_that_hold_secrets_start_no_others():
    """So their arguments and environment go nowhere: they do not even link the calls.  The gateway forks, into itself."""
    for name in ("un", "unfarm-gateway", "unfarm-scheduler"):
        calls = subprocess.run(["nm", "-D", "--undefined-only", BUILD / name], capture_output=True, text=True, check=True).stdout
        assert "HMAC" in calls or name == "unfarm-scheduler"
        found = {m[0] for m in re.findall(r"\b(exec\w+|fexecve|system|popen|posix_spawnp?|fork|vfork)(@|$)", calls, re.M)}
        assert found == ({"fork"} if name == "unfarm-gateway" else set()), name


# ---- memory of the daemons ----------------------------------------------------

LOOK = """
import ctypes, errno, os, sys
pid, libc, found = int(sys.argv[1]), ctypes.CDLL(None, use_errno=True), {}
for name in ("mem", "maps", "environ", "auxv", "syscall", "io", "cwd", "root", "exe", "fd/0", "map_files"):
    try:
        path = f"/proc/{pid}/{name}"
        if name in ("cwd", "root", "exe", "fd/0"):
            found[name] = os.readlink(path)
        elif name == "map_files":
            found[name] = os.readlink(path + "/" + os.listdir(path)[0])
        else:
            fd = os.open(path, os.O_RDONLY)
            found[name] = "opened" if name == "mem" else os.read(fd, 99)
    except OSError as e:
        found[name] = e.errno
own = ctypes.create_string_buffer(8)
iov = (ctypes.c_void_p * 2)(ctypes.addressof(own), 8)
for name, args in (("ptrace", (101, 16, pid, 0, 0)), ("process_vm_readv", (310, pid, iov, 1, iov, 1, 0)), ("pidfd_getfd", (438, os.pidfd_open(pid), 0, 0))):
    r = libc.syscall(*(ctypes.c_void_p(a) if isinstance(a, int) else a for a in args))
    found[name] = ctypes.get_errno() if r < 0 else r
print(found)
"""


def like(name, *command):
    """A command with the account and the capabilities of a daemon."""
    user, caps = ACCOUNTS[name], "".join(f",+{c}" for c in TABLE[name].split())
    return ["setpriv", "--reuid", user, "--regid", str(pwd.getpwnam(user).pw_gid), "--clear-groups", f"--bounding-set=-all{caps}", *command]


def looks_into(name, pid):
    """What another process with a daemon's rights gets out of one."""
    out = subprocess.run(like(name, sys.executable, "-c", LOOK, str(pid)), capture_output=True, text=True, check=True)
    return ast.literal_eval(out.stdout)


@pytest.mark.parametrize("name", ["gateway", "scheduler", "master", "worker", "session_master", "session_server", "shim"])
def test_nobody_of_the_same_account_looks_into_a_daemon(home, name):
    """A gateway that was taken over reads no keys out of its neighbour."""
    plain = subprocess.Popen(like(name, "sleep", "60"))
    try:
        wait_for("it to be that program", lambda: pathlib.Path(f"/proc/{plain.pid}/comm").read_text() == "sleep\n")
        assert looks_into(name, plain.pid)["mem"] == "opened", "else it proves nothing"
    finally:
        plain.kill()
        plain.wait()
    for pid in pids(home)[name]:
        assert pathlib.Path(f"/proc/{pid}/mem").stat().st_uid == pathlib.Path(f"/proc/{pid}/environ").stat().st_uid == 0
        found = looks_into(name, pid)
        if name.endswith("master"):  # who may make mounts may read these of everybody
            found = {k: v for k, v in found.items() if k not in ("maps", "environ", "auxv", "syscall", "io")}
        assert "mem" in found and {k: v for k, v in found.items() if v not in (errno.EACCES, errno.EPERM)} == {}


def may_dump(pid):
    """As far as we may: without cap_sys_resource a hard limit stays."""
    with contextlib.suppress(PermissionError):
        resource.prlimit(pid, resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def test_a_daemon_that_crashes_leaves_no_core_file(tmp_path, monkeypatch):
    """Though it could write one where it is. core_pattern is left as the host has it."""
    tmp_path.chmod(0o777)
    monkeypatch.chdir(tmp_path)
    for name in ("ASAN_OPTIONS", "TSAN_OPTIONS"):  # sanitizers catch these signals to print where they came from
        monkeypatch.setenv(name, os.environ.get(name, "") + ":handle_segv=0:handle_abort=0:disable_coredump=0")
    plain = subprocess.Popen(["sleep", "60"])
    may_dump(plain.pid)
    plain.send_signal(signal.SIGSEGV)
    assert os.WCOREDUMP(os.waitpid(plain.pid, 0)[1]), "this host makes no core files at all"
    plain.returncode = 0
    before = set(tmp_path.iterdir())
    with Farm(languages=["bash"]) as farm:
        for sig in (signal.SIGABRT, signal.SIGSEGV):
            for pid in farm.workers():
                may_dump(pid)
                os.kill(pid, sig)
                wait_for("its end", lambda pid=pid: not pathlib.Path(f"/proc/{pid}").exists())
            for name in ("gateway", "scheduler", "worker"):
                proc = farm.procs.pop(name)
                may_dump(proc.pid)
                proc.send_signal(sig)
                status = os.waitpid(proc.pid, 0)[1]
                proc.returncode = -os.WTERMSIG(status)
                assert os.WTERMSIG(status) == sig and not os.WCOREDUMP(status), name
                starts = farm.log(name).count('msg="started"')
                farm.start(name)
                wait_for("the next one", lambda name=name, n=starts: farm.log(name).count('msg="started"') > n)
    assert set(tmp_path.iterdir()) == before


def test_files_of_the_farm_are_not_open_to_everybody(farm):
    """Keys are readable by their owner and the account that needs them."""
    for path in (farm.dir / "data").rglob("*"):
        if path.is_file() and "sandbox-etc" not in path.parts:
            assert path.stat().st_mode & 0o037 == 0, path
    assert (farm.dir / "run/worker.instances").stat().st_mode & 0o077 == 0


@pytest.mark.skipif(SANITIZED, reason="a build with a sanitizer loads no list of calls")
@pytest.mark.parametrize("cache_mb", [1, 0])
def test_a_worker_that_may_write_is_confined_to_one_folder_first(tmp_path, cache_mb):
    """Before its list of calls, and long before it reads a byte of a job.  Without a cache it has the list that writes nothing."""
    with Farm(languages=["dash"], conf={"worker": {"cache_mb": cache_mb, "processes": 1}}) as farm:
        folder, (old,) = farm.dir / "data/compiled", farm.workers()
        assert folder.exists() == bool(cache_mb)
        tracer = subprocess.Popen(["strace", "-ff", "-y", "-o", tmp_path / "trace", "-p", str(farm.procs["worker"].pid), "-e",
                                   "trace=landlock_add_rule,landlock_restrict_self,seccomp,execve,openat"], stderr=subprocess.PIPE, text=True)
        assert "attached" in tracer.stderr.readline()
        os.kill(old, signal.SIGKILL)
        new = wait_for("another worker", lambda: [p for p in farm.workers() if p != old])[0]
        wait_for("it to be locked down", lambda: int(status(new)["Seccomp_filters"]) == FILTERS["worker"])
        tracer.send_signal(signal.SIGINT)
        tracer.wait(10)
        traced = (tmp_path / f"trace.{new}").read_text().split('"--child"')[1]
        doors = re.findall(r"^(landlock_restrict_self|seccomp)\((?:\d|SECCOMP_SET_MODE_FILTER, 0, \{).*= 0$", traced, re.M)
        assert doors == (["landlock_restrict_self"] if cache_mb else []) + ["seccomp"], traced
        rules = re.findall(r"^landlock_add_rule\(.* = 0$", traced, re.M)
        assert len(rules) == bool(cache_mb) and all(f"<{folder}>" in rule for rule in rules), rules
        written = [line for line in traced.splitlines() if re.search("O_WRONLY|O_RDWR", line)]
        assert [line for line in written if f"<{folder}>" not in line] == [], written
