"""Every system call that a sandbox is promised to refuse is refused by the filter."""

import errno
import re

import pytest
from attack import HERE, ROOT, probe, run_c

ROWS = re.findall(r"^DENY\((\w+), (\w+),", (ROOT / "sandbox/seccomp_denied.def").read_text(), re.M)
LAST_CALL = int(re.search(r"LAST_CALL = (\d+)", (ROOT / "sandbox/seccomp.c").read_text())[1])
ALLOWED = "EDOM"  # see probe_calls.c

NAMESPACES = {
    "CLONE_NEWTIME": 0x80, "CLONE_NEWNS": 0x20000, "CLONE_NEWCGROUP": 0x2000000,
    "CLONE_NEWUTS": 0x4000000, "CLONE_NEWIPC": 0x8000000, "CLONE_NEWUSER": 0x10000000,
    "CLONE_NEWPID": 0x20000000, "CLONE_NEWNET": 0x40000000,
}
FAMILIES = {  # refused ones, by the name in socket(2) or by number
    "AF_UNSPEC": 0, "AF_AX25": 3, "AF_IPX": 4, "AF_APPLETALK": 5, "AF_NETROM": 6, "AF_BRIDGE": 7,
    "AF_ATMPVC": 8, "AF_X25": 9, "AF_ROSE": 11, "AF_KEY": 15, "AF_NETLINK": 16, "AF_PACKET": 17,
    "AF_RDS": 21, "AF_PPPOX": 24, "AF_LLC": 26, "AF_IB": 27, "AF_MPLS": 28, "AF_CAN": 29,
    "AF_TIPC": 30, "AF_BLUETOOTH": 31, "AF_RXRPC": 33, "AF_PHONET": 35, "AF_IEEE802154": 36,
    "AF_CAIF": 37, "AF_ALG": 38, "AF_NFC": 39, "AF_VSOCK": 40, "AF_KCM": 41, "AF_QIPCRTR": 42,
    "AF_SMC": 43, "AF_XDP": 44, "AF_MCTP": 45, "number 46": 46, "number 1000": 1000, "number -1": -1,
}
STREAM, DGRAM, RAW, SEQPACKET, DCCP, PACKET = 1, 2, 3, 5, 6, 10
CLOEXEC = 0o2000000


def clone_and_unshare():
    for name, flag in NAMESPACES.items():
        yield f"unshare {name}", "SYS_unshare", (flag,), "EPERM"
        yield f"unshare {name} with CLONE_FILES", "SYS_unshare", (flag | 0x400,), "EPERM"
        if flag != 0x80:  # a part of the exit signal for clone
            yield f"clone {name}", "SYS_clone", (flag | 17,), "EPERM"
            yield f"clone {name} with bits above 32", "SYS_clone", (flag | 17 | 1 << 40,), "EPERM"
    yield "clone all flags", "SYS_clone", (sum(NAMESPACES.values()),), "EPERM"
    yield "clone as fork does", "SYS_clone", (17,), ALLOWED
    yield "clone as pthread_create does", "SYS_clone", (0x3d0f00,), ALLOWED
    yield "unshare CLONE_FILES", "SYS_unshare", (0x400,), ALLOWED


def sockets():
    for name, family in FAMILIES.items():
        yield f"socket {name}", "SYS_socket", (family, DGRAM, 0), "EAFNOSUPPORT"
        yield f"socketpair {name}", "SYS_socketpair", (family, DGRAM, 0), "EAFNOSUPPORT"
    for name, family in {"AF_UNIX": 1, "AF_INET": 2, "AF_INET6": 10}.items():
        for kind in (STREAM, DGRAM):
            yield f"socket {name} type {kind}", "SYS_socket", (family, kind | CLOEXEC, 0), ALLOWED
        yield f"socket {name} raw", "SYS_socket", (family, RAW, 1), "EPERM"
        yield f"socket {name} raw, close-on-exec", "SYS_socket", (family, RAW | CLOEXEC, 255), "EPERM"
    for name, family in {"AF_INET": 2, "AF_INET6": 10}.items():
        yield f"socket {name} SOCK_PACKET", "SYS_socket", (family, PACKET, 0x300), "EPERM"
        for kind, protocol in ((STREAM, 6), (DGRAM, 17)):
            yield f"socket {name} protocol {protocol}", "SYS_socket", (family, kind, protocol), ALLOWED
        for protocol, what in ((1, "ICMP"), (33, "DCCP"), (58, "ICMPv6"), (115, "L2TP"), (132, "SCTP"),
                               (136, "UDPLITE"), (256, "SMC"), (262, "MPTCP")):
            yield f"socket {name} {what}", "SYS_socket", (family, DGRAM, protocol), "EPROTONOSUPPORT"
            yield f"socket {name} {what} stream", "SYS_socket", (family, STREAM, protocol), "EPROTONOSUPPORT"


def odd_ones():
    for high in (0, 1 << 32, -1 << 32):
        yield f"ioctl TIOCSTI high {high:#x}", "SYS_ioctl", (0, 0x5412 | high), "EPERM"
        yield f"ioctl TIOCLINUX high {high:#x}", "SYS_ioctl", (0, 0x541c | high), "EPERM"
    yield "setpriority of init", "SYS_setpriority", (0, 1, 19), "EPERM"
    yield "setpriority of its user", "SYS_setpriority", (2, 0, 19), "EPERM"
    yield "setpriority of itself", "SYS_setpriority", (0, 0, 19), ALLOWED
    yield "ioctl FIONREAD", "SYS_ioctl", (0, 0x541b), ALLOWED
    yield "personality ADDR_NO_RANDOMIZE", "SYS_personality", (0x40000,), "EPERM"
    yield "personality READ_IMPLIES_EXEC", "SYS_personality", (0x400000,), "EPERM"
    yield "personality PER_LINUX", "SYS_personality", (0,), ALLOWED
    for call in ("prlimit64", "sched_setaffinity", "sched_setscheduler", "sched_setparam", "sched_setattr"):
        yield f"{call} of init", f"SYS_{call}", (1,), "EPERM"
        yield f"{call} of init, bits above 32", f"SYS_{call}", (1 | 1 << 32,), "EPERM"
        yield f"{call} of itself", f"SYS_{call}", (0,), ALLOWED
    for number in (LAST_CALL + 1, LAST_CALL + 2, 460, 511, 1000, 0x3fffffff, 0x7fffffff, -2):
        yield f"number {number}", str(number), (), "ENOSYS"
    for number in (0, 39, 165, 257, 512, 520, 547):  # the x32 ABI's numbers
        yield f"x32 number {number}", str(0x40000000 | number), (), "ENOSYS"
    for high in (0, 1 << 32):
        yield f"mmap of huge pages, high {high:#x}", "SYS_mmap", (0, 4096, 3, 0x40022 | high), "ENOMEM"
        yield f"mmap of huge pages of 1 GiB, high {high:#x}", "SYS_mmap", (0, 4096, 3, 30 << 26 | 0x40022 | high), "ENOMEM"
        yield f"shmget of huge pages, high {high:#x}", "SYS_shmget", (0, 4096, 0o5600 | high), "ENOMEM"
        yield f"memfd_create of huge pages, high {high:#x}", "SYS_memfd_create", (0, 5 | high), "ENOMEM"
    yield "mmap as malloc does", "SYS_mmap", (0, 4096, 3, 0x22), ALLOWED
    yield "shmget", "SYS_shmget", (0, 4096, 0o1600), ALLOWED
    yield "memfd_create", "SYS_memfd_create", (0, 3), ALLOWED
    yield "getppid, to see that an allowed call is told", "SYS_getppid", (), ALLOWED


ASKED = [(name, f"SYS_{name}", (), error) for name, error in ROWS]
ASKED += [*clone_and_unshare(), *sockets(), *odd_ones()]


@pytest.fixture(scope="module")
def answers(farm):
    """One job asks everything: name -> name of the error."""
    lines = []
    for name, call, args, _ in ASKED:
        a, b, c, d = [f"{n}L" for n in (*args, 0, 0, 0, 0)[:4]]
        ask = f'\task("{name}", {call}, {a}, {b}, {c}, {d});'
        lines.append(f"#ifdef {call}\n{ask}\n#endif" if call.startswith("SYS_") else ask)
    source = (HERE / "probe_calls.c").read_text().replace("/*ASK*/", "\n".join(lines))
    r = run_c(farm, source, ttl=30)
    assert r["exit_code"] == 0, r
    rows = [line.rsplit(" ", 1) for line in r["stdout"].splitlines()]
    return {name: errno.errorcode.get(int(code), code) for name, code in rows}


def test_the_table_has_rows():
    assert len(ROWS) >= 60 and dict(ROWS)["mount"] == "EPERM" and len(ASKED) == len({a[0] for a in ASKED})


@pytest.mark.parametrize(("name", "promised"), [(a[0], a[3]) for a in ASKED], ids=[a[0] for a in ASKED])
def test_the_filter_answers(answers, name, promised):
    if name not in answers and dict(ROWS).get(name) is not None:
        pytest.skip(f"this machine's headers have no {name}")
    assert answers[name] == promised


def test_exactly_the_rows_are_refused_with_every_argument_zero(farm):
    """All numbers: what is refused is in the table, has no socket family 0, is new, or is no call at all."""
    # uretprobe and uprobe kill whoever is no probe, and pass every filter (Linux 6.14).
    numbers = [n for n in range(LAST_CALL + 50) if n not in (335, 336)]
    lines = "\n".join(f'\task("{n}", {n}, 0L, 0L, 0L, 0L);' for n in numbers)
    for name in [row[0] for row in ROWS] + ["socket", "socketpair"]:
        lines += f'\n#ifdef SYS_{name}\n\tprintf("is %d\\n", SYS_{name});\n#endif'
    source = (HERE / "probe_calls.c").read_text().replace("/*ASK*/", lines)
    said = [line.split() for line in run_c(farm, source, ttl=30)["stdout"].splitlines()]
    expected = {int(n) for word, n in said if word == "is"} | set(range(LAST_CALL + 1, LAST_CALL + 50))
    expected |= set(range(337, 424))  # numbers that x86-64 never gave out: not in the launcher's list
    told = {int(word): int(code) for word, code in said if word != "is"}
    assert len(told) == len(numbers)
    assert {n for n, code in told.items() if code != errno.EDOM} == expected


def test_the_old_gate_is_closed(farm):
    """int 0x80 with numbers of harmless and of refused 32-bit calls."""
    body = "\n".join(f'\tprintf("%ld ", gate32({n}));' for n in (20, 21, 120, 183, 359))
    source = (HERE / "probe_calls.c").read_text().replace("/*ASK*/", body).replace("\tstart();\n", "")
    r = run_c(farm, source)
    if r.get("signal"):
        assert r["signal"] == 11 and r["stdout"] == ""  # a kernel without that gate
    else:
        assert r["stdout"].split() == [str(-errno.ENOSYS)] * 5


def test_real_calls_fail_too(farm):
    """A few for real: what the filter says is what a program gets."""
    found = probe(farm, '''
attempt("mount", lambda: call("mount", b"none", b"/mnt", b"tmpfs", 0, None))
attempt("umount", lambda: call("umount2", b"/proc", 2))
attempt("remount", lambda: call("mount", None, b"/proc/sys", None, 32 | 4096, None))
attempt("chroot", lambda: os.chroot("/tmp"))
attempt("setns", lambda: call("setns", os.open("/proc/self/ns/net", os.O_RDONLY), 0))
attempt("unshare", lambda: call("unshare", 0x10000000))
attempt("mknod block", lambda: os.mknod("/tmp/b", 0o60600, os.makedev(8, 0)))
attempt("mknod char", lambda: os.mknod("/tmp/c", 0o20600, os.makedev(1, 1)))
attempt("sethostname", lambda: socket.sethostname("x"))
attempt("netlink", lambda: socket.socket(16, 2, 0).close())
attempt("raise priority", lambda: os.setpriority(os.PRIO_PROCESS, 0, -5))
attempt("real time", lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)))
attempt("raise files", lambda: call("setrlimit", resource.RLIMIT_NOFILE, struct.pack("qq", 1 << 20, 1 << 20)))
attempt("raise core", lambda: call("setrlimit", resource.RLIMIT_CORE, struct.pack("qq", 1, 1)))
attempt("oom score", lambda: write("/proc/self/oom_score_adj", "-1000"))
attempt("set clock", lambda: time.clock_settime(time.CLOCK_REALTIME, 0))
''')
    assert found == {
        "mount": "EPERM", "umount": "EPERM", "remount": "EPERM", "chroot": "EPERM", "setns": "EPERM",
        "unshare": "EPERM", "mknod block": "EPERM", "mknod char": "EPERM", "sethostname": "EPERM",
        "netlink": "EAFNOSUPPORT", "raise priority": "EACCES", "real time": "EPERM",
        "raise files": "EPERM", "raise core": "EPERM", "oom score": "EACCES", "set clock": "EPERM",
    }


def test_programs_cannot_be_traced(farm):
    """Neither init nor a sibling, by any of the ways to look into a process."""
    found = probe(farm, '''
child = os.fork()
if child == 0:
    time.sleep(5); os._exit(0)
for who, pid in (("init", 1), ("sibling", child)):
    attempt(who + " attach", lambda: call("ptrace", 16, pid, 0, 0))
    attempt(who + " seize", lambda: call("ptrace", 0x4206, pid, 0, 0))
    pidfd = os.pidfd_open(pid)
    attempt(who + " pidfd_getfd", lambda: call("syscall", 438, pidfd, 0, 0))
    attempt(who + " kcmp", lambda: call("syscall", 312, pid, os.getpid(), 1, 0, 0))
control = max(n for n in range(3, 999) if os.path.lexists(f"/proc/1/fd/{n}"))
for name in ("mem", "environ", "maps", "auxv", "stack", "syscall", "pagemap", "map_files", f"fdinfo/{control}"):
    attempt("init " + name, lambda: os.listdir(f"/proc/1/{name}") if name == "map_files"
            else os.read(os.open(f"/proc/1/{name}", os.O_RDONLY), 8).hex())
for name in ("root", "cwd", "exe", f"fd/{control}", "fd/0", "ns/mnt", "ns/user", "ns/net"):
    attempt("init link " + name, lambda: os.readlink(f"/proc/1/{name}"))
attempt("init root", lambda: os.listdir("/proc/1/root/"))
attempt("init exe", lambda: os.open("/proc/1/exe", os.O_RDONLY))
attempt("init control", lambda: os.open(f"/proc/1/fd/{control}", os.O_RDWR))
attempt("write init mem", lambda: os.open("/proc/1/mem", os.O_RDWR))
os.kill(child, 9)
''')
    assert {str(v) for v in found.values()} <= {"EPERM", "EACCES"}, found
    assert found["init mem"] == found["init environ"] == found["init maps"] == "EACCES"


SIGNALS = '''
import os, signal, time
tried = []
for sig in (signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM, signal.SIGCHLD, signal.SIGSEGV, 40):
    for kill in (lambda: os.kill(1, sig), lambda: signal.pidfd_send_signal(os.pidfd_open(1), sig)):
        try:
            kill()
        except OSError:
            pass
print("alive", flush=True)
'''


def test_signals_do_not_reach_the_supervisor(farm):
    """Killing and stopping pid 1 and everybody: the limit of time stays exact."""
    wild = SIGNALS + '''
for i in range(20):
    if os.fork() == 0:
        time.sleep(0.2)
        for sig in (signal.SIGSTOP, signal.SIGKILL):
            os.kill(-1, sig)
        time.sleep(60)
time.sleep(0.1)
os.kill(-1, signal.SIGSTOP)
while True:
    time.sleep(1)
'''
    ids = {
        "sleeps": farm.submit("python", SIGNALS + "time.sleep(60)", ttl=1),
        "stops itself": farm.submit("bash", "kill -STOP 1; kill -STOP -1; kill -STOP 0; kill -STOP $$", ttl=1),
        "ends": farm.submit("python", SIGNALS, ttl=5),
    }
    done = {name: farm.wait_job(job_id) for name, job_id in ids.items()}
    for name in ("sleeps", "stops itself"):
        assert done[name]["end_reason"] == "timeout" and done[name]["exit_code"] == 124
        assert 1000 <= done[name]["run"]["wall_ms"] < 1500
    assert done["ends"]["end_reason"] == "exited" and done["ends"]["stdout"] == "alive\n"
    assert done["ends"]["run"]["wall_ms"] < 2000
    r = farm.run("python", wild, ttl=1)
    assert r["end_reason"] in ("timeout", "signaled") and r["run"]["wall_ms"] < 1500


def test_init_cannot_be_starved_or_limited(farm):
    """Limits, priorities and processors of pid 1 are not the job's to set."""
    found = probe(farm, '''
for name in ("RLIMIT_CPU", "RLIMIT_NOFILE", "RLIMIT_FSIZE", "RLIMIT_AS", "RLIMIT_STACK"):
    attempt(name, lambda: resource.prlimit(1, getattr(resource, name), (0, 0)))
attempt("affinity", lambda: os.sched_setaffinity(1, {0}))
attempt("idle", lambda: os.sched_setscheduler(1, os.SCHED_IDLE, os.sched_param(0)))
attempt("nice", lambda: os.setpriority(os.PRIO_PROCESS, 1, 19))
''')
    assert set(found.values()) == {"EPERM"}, found
    code = '''
import os
try: os.sched_setscheduler(1, os.SCHED_IDLE, os.sched_param(0))
except OSError: pass
for i in range(60):
    if os.fork() == 0:
        while True: pass
'''
    r = farm.run("python", code, ttl=8)
    assert r["end_reason"] == "exited" and r["run"]["wall_ms"] < 6000


def test_capabilities_and_flags_of_a_job(farm):
    found = probe(farm, '''
lines = read("/proc/self/status").splitlines()
found.update(line.split(":\\t", 1) for line in lines if line.startswith(("Cap", "NoNew", "Seccomp", "Uid", "Gid", "Groups")))
''')
    keep = 1 << 0 | 1 << 1 | 1 << 3 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 7 | 1 << 10
    for name in ("CapPrm", "CapEff", "CapBnd"):
        assert int(found[name], 16) == keep, name
    assert int(found["CapInh"], 16) == int(found["CapAmb"], 16) == 0
    assert found["NoNewPrivs"] == "1" and found["Seccomp"] == "2" and found["Seccomp_filters"] == "3"  # its launcher's, its nest's, and its own
    assert found["Uid"].split() == found["Gid"].split() == ["0"] * 4 and found["Groups"].strip() == ""
