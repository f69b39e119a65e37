"""What the farm's own processes may do, as the kernel says it; and where no secret is."""

import contextlib
import pathlib
import pwd
import re

import pytest
from attack import ROOT
from farm import BUILD, SECRET, wait_for

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
FILTERS = {"gateway": OWN, "scheduler": OWN, "master": 1, "worker": 1 + OWN, "init": 1 + 2}


def mask(names):
    return sum(1 << NUMBERS.index(n) for n in names.split())


def status(pid):
    rows = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (row.partition(":") for row in rows)}


def pids(farm):
    return {"gateway": [farm.procs["gateway"].pid], "scheduler": [farm.procs["scheduler"].pid],
            "master": [farm.procs["worker"].pid], "worker": farm.workers()}


def inits(farm):
    master = farm.procs["worker"].pid
    children = pathlib.Path(f"/proc/{master}/task/{master}/children").read_text().split()
    workers = farm.workers()
    found = {int(p): status(p) for p in children if int(p) not in workers}
    return [p for p, s in found.items() if s["State"][0] != "Z" and int(s["Seccomp_filters"]) == FILTERS["init"]]  # those set up


ACCOUNTS = {"gateway": "unfarm-gw", "scheduler": "unfarm-sched", "master": "root", "worker": "unfarm-wk"}


@pytest.mark.parametrize("name", TABLE)
def test_a_daemon_has_the_rights_of_the_table(farm, name):
    assert set(TABLE) == set(ACCOUNTS)
    found = pids(farm)[name]
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
        if name != "master":
            assert uid != 0 and s["Groups"].split() in ([], [str(pwd.getpwnam(ACCOUNTS[name]).pw_gid)])


@pytest.mark.parametrize("name", ["gateway", "scheduler", "master", "worker"])
def test_no_daemon_could_get_more_rights(farm, name):
    """The bounding set; a worker's is what its master left."""
    limit = mask(TABLE["master" if name == "worker" else name])
    for pid in pids(farm)[name]:
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
        assert pathlib.Path(f"/proc/{pid}/environ").read_bytes() == b""
        assert pathlib.Path(f"/proc/{pid}/exe").readlink().name.startswith("memfd:sandbox-init")
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
        assert fds.pop("3").startswith("socket:") and list(fds.values()) == ["anon_inode:"], fds


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
            if str(farm.dir).encode() in text or b"unfarm" in text:
                assert secret not in text and job not in text, (proc, part)
    for path in (farm.dir / "log").iterdir():
        text = path.read_bytes()
        assert text and secret not in text and job not in text, path
    for path in (farm.dir / "redis").rglob("*"):
        if path.is_file():
            assert secret not in path.read_bytes(), path
    assert any(p.is_file() and p.stat().st_size for p in (farm.dir / "redis").rglob("*"))


def test_files_of_the_farm_are_not_open_to_everybody(farm):
    """Keys are readable by their owner and the account that needs them."""
    for path in (farm.dir / "data").rglob("*"):
        if path.is_file() and "sandbox-etc" not in path.parts:
            assert path.stat().st_mode & 0o037 == 0, path
    assert (farm.dir / "run/worker.instances").stat().st_mode & 0o077 == 0
