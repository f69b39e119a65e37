"""A job sees its own files and the host's toolchains, and hands out only regular files of its own."""

import base64
import collections
import concurrent.futures
import contextlib
import fcntl
import json
import os
import pathlib
import time
import uuid

import pytest
from attack import TOKEN, artifacts, probe, run_all, run_c
from farm import wait_for

# ---- the host's files ----


def test_no_file_of_the_host_is_seen_by_any_path(farm, canaries):
    found = probe(farm, f"paths = {canaries!r}\ntoken = {TOKEN!r}\n" + '''
roots = ["", "/proc/self/root", "/proc/1/root", "/proc/self/cwd", "/proc/thread-self/root", "/" + "../" * 40,
         "/dev/fd/0/..", "/proc/self/fd/0/../../..", "/proc/1/cwd", "/usr/../..", "/dev/shm/../.."]
seen = [root + p for root in roots for p in paths if os.path.lexists(root + p)]
for p in paths:  # by links and by directory descriptors
    os.symlink(p, "/tmp/link"); seen += ["link " + p] * os.path.exists("/tmp/link"); os.unlink("/tmp/link")
    for d in ("/", "/usr", "/etc", "/dev", "/proc", "/dev/pts"):
        fd = os.open(d, os.O_RDONLY)
        for up in ("", "../" * 20):
            try: os.close(os.open(up + p.lstrip("/"), os.O_RDONLY, dir_fd=fd)); seen.append((d, up, p))
            except OSError: pass
        os.close(fd)
entries = 0
for top, dirs, files in os.walk("/"):
    if top == "/": dirs[:] = [d for d in dirs if d not in ("proc", "usr")]
    entries += len(files)
    seen += [top + "/" + f for f in dirs + files if token in f]
found.update(seen=seen, entries=entries)
attempt("shadow", lambda: read("/etc/shadow"))
attempt("gshadow", lambda: read("/etc/gshadow"))
attempt("ssh", lambda: os.listdir("/etc/ssh"))
attempt("machine-id", lambda: read("/etc/machine-id"))
attempt("resolv", lambda: read("/etc/resolv.conf"))
attempt("run", lambda: os.listdir("/run"))
attempt("sys", lambda: os.listdir("/sys"))
attempt("root", lambda: sorted(os.listdir("/root") + os.listdir("/home") + os.listdir("/var/lib/")))
attempt("passwd", lambda: len(read("/etc/passwd").splitlines()))
''')
    assert found["seen"] == [] and found["entries"] > 100
    assert found["shadow"] == found["gshadow"] == found["ssh"] == found["machine-id"] == "ENOENT"
    assert found["resolv"] == "# no network\n" and found["run"] == ["lock"] and found["sys"] == []
    assert not {"dpkg", "unfarm", "redis"} & set(found["root"]) and found["passwd"] == 4


def test_what_only_root_reads_in_a_shown_tree_of_etc_is_not_there(farm):
    """The skeleton copies only what every user of the host may read."""
    found = probe(farm, '''
secret = []
for top, dirs, files in os.walk("/etc"):
    for f in dirs + files:
        st = os.lstat(top + "/" + f)
        if not stat.S_ISLNK(st.st_mode) and not st.st_mode & stat.S_IROTH: secret.append(top + "/" + f)
found["secret"] = secret
found["private"] = os.path.lexists("/etc/ssl/private")
''')
    assert found == {"secret": [], "private": False}


def test_mounts_of_a_sandbox(farm):
    """Nothing of the host is mounted writable, nothing allows setuid, and six harmless devices are all there are."""
    mounts = farm.run("bash", "cat /proc/self/mountinfo")["stdout"].splitlines()
    kinds = {}
    for line in mounts:
        left, right = line.split(" - ")
        root, point, options = left.split()[3:6]
        kinds.setdefault(right.split()[0], []).append((root, point, set(options.split(","))))
    assert set(kinds) == {"tmpfs", "overlay", "devpts", "proc"}
    devices = {}
    for root, point, options in kinds["tmpfs"] + kinds["overlay"]:
        assert "nosuid" in options, point
        if "nodev" not in options:
            assert {"ro", "noexec"} <= options, point
            devices.setdefault(root, set()).add(point)
    assert devices.keys() == {"/null", "/zero", "/full", "/random", "/urandom", "/tty"}
    assert devices["/null"] >= {"/dev/null", "/proc/kallsyms", "/proc/keys"}
    for _, point, options in kinds["proc"]:
        assert {"nosuid", "nodev", "noexec"} <= options and (point == "/proc" or "ro" in options)
    assert {p for _, p, _ in kinds["proc"]} >= {"/proc", "/proc/sys", "/proc/irq", "/proc/bus", "/proc/fs"}


def test_proc_is_masked_and_read_only(farm):
    found = probe(farm, '''
for name in ("kcore", "kallsyms", "keys", "key-users", "kmsg", "kpagecount", "kpageflags", "kpagecgroup", "slabinfo",
             "timer_list", "vmallocinfo", "interrupts", "modules", "partitions", "sched_debug", "config.gz"):
    attempt(name, lambda: read("/proc/" + name))
for name in ("acpi", "asound", "scsi", "driver", "dynamic_debug"):
    attempt(name, lambda: os.listdir("/proc/" + name))
for name in ("sysrq-trigger", "sys/kernel/core_pattern", "sys/kernel/hostname", "sys/kernel/modprobe",
             "sys/vm/drop_caches", "sys/kernel/ns_last_pid", "sys/user/max_user_namespaces", "sys/fs/binfmt_misc/register",
             "sys/net/ipv4/ip_forward", "sys/kernel/randomize_va_space", "sys/net/ipv4/ping_group_range", "irq/default_smp_affinity", "mtrr", "1/oom_score_adj_not",
             "self/uid_map", "self/setgroups", "1/uid_map", "timer_stats"):
    attempt("write " + name, lambda: write("/proc/" + name, "1"))
attempt("chmod", lambda: os.chmod("/proc/sys/kernel/core_pattern", 0o777))
attempt("vmcore", lambda: read("/proc/vmcore"))
attempt("sys mount", lambda: os.listdir("/sys"))
attempt("create", lambda: os.mkdir("/proc/sys/x"))
''')
    writes = {k: v for k, v in found.items() if k.startswith("write ")}
    assert set(map(str, writes.values())) <= {"EROFS", "ENOENT", "EPERM", "EACCES"}, writes
    for name in ("core_pattern", "modprobe", "hostname"):
        assert writes[f"write sys/kernel/{name}"] in ("EACCES", "EROFS", "ENOENT")
    assert writes["write sys/net/ipv4/ping_group_range"] in ("EACCES", "EROFS")
    for name in ("kallsyms", "keys", "key-users", "kmsg", "slabinfo", "timer_list", "vmallocinfo", "interrupts",
                 "kpagecount", "kpageflags", "kpagecgroup", "partitions"):
        assert found[name] in ("", "ENOENT"), name
    assert found["kcore"] in ("", "ENOENT") and found["modules"] in ("", "ENOENT")
    for name in ("acpi", "driver", "scsi", "asound", "dynamic_debug"):
        assert found[name] in ([], "ENOENT"), name
    assert found["chmod"] in ("EROFS", "EPERM") and found["create"] in ("EROFS", "ENOENT", "EACCES", "EPERM")
    assert found["vmcore"] in ("ENOENT", "EACCES") and found["sys mount"] == []


def test_every_masked_and_read_only_path_of_the_plan_is_so(farm):
    """The list is the plan's own: a path that is there is /dev/null, empty, or read-only."""
    plan = (pathlib.Path(__file__).parents[2] / "sandbox/plan.c").read_text()
    masked = plan.split("masked[] = {")[1].split("}")[0].replace('"', "").replace(",", " ").split()
    readonly = plan.split("readonly[] = {")[1].split("}")[0].replace('"', "").replace(",", " ").split()
    assert len(masked) >= 20 and "/proc/kcore" in masked and "/proc/sys" in readonly
    found = probe(farm, f"masked = {masked!r}\nreadonly = {readonly!r}\n" + '''
null = os.stat("/dev/null").st_rdev
for p in masked:
    if not os.path.lexists(p): found[p] = "absent"
    elif os.path.isdir(p): found[p] = f"folder {len(os.listdir(p))} {os.statvfs(p).f_flag & 1}"
    else: found[p] = "null" if os.stat(p).st_rdev == null else "OPEN"
for p in readonly:
    found[p] = "absent" if not os.path.exists(p) else "ro" if os.statvfs(p).f_flag & 1 else "WRITABLE"
''')
    assert set(found.values()) <= {"absent", "folder 0 1", "null", "ro"}, found
    assert list(found.values()).count("null") >= 8 and found["/proc/sys"] == "ro"


def test_no_cgroup_file_system_and_no_sign_of_the_hosts(farm):
    found = probe(farm, '''
found["cgroup"] = sorted({line.split(":", 2)[2] for line in read("/proc/self/cgroup").split()})
found["fs"] = os.path.exists("/sys/fs/cgroup")
attempt("mount", lambda: call("mount", b"c", b"/mnt", b"cgroup2", 0, None))
found["pids"] = [int(p) for p in os.listdir("/proc") if p.isdigit()]
''')
    assert found["cgroup"] == ["/"] and found["fs"] is False and found["mount"] == "EPERM"
    assert found["pids"][0] == 1 and len(found["pids"]) == 2


# ---- what root inside can do ----


def test_setuid_programs_and_device_nodes_have_no_effect(farm):
    found = probe(farm, '''
import shutil, subprocess
shutil.copy("/usr/bin/id", "/tmp/id"); os.chown("/tmp/id", 0, 0); os.chmod("/tmp/id", 0o6755)
def as_user(*argv):
    return subprocess.run(argv, capture_output=True, text=True, user=1000, group=1000, extra_groups=[]).stdout.strip()
found["mine"] = as_user("/tmp/id", "-u")
found["su"] = as_user("su", "-c", "id -u")
found["caps"] = as_user("grep", "CapEff", "/proc/self/status").split()[-1]
suid = subprocess.run("find /usr/bin /usr/sbin /usr/lib -xdev -perm -4000 | head -3", shell=True, capture_output=True, text=True).stdout
found["host has some"] = bool(suid)
attempt("null", lambda: os.mknod("/tmp/null", 0o20666, os.makedev(1, 3)))
attempt("mem", lambda: os.mknod("/usr/mem", 0o20666, os.makedev(1, 1)))
attempt("whiteout", lambda: os.mknod("/tmp/wh", 0o20666, 0))
attempt("fcaps", lambda: os.setxattr("/tmp/id", "security.capability", b"\\1\\0\\0\\2" + b"\\xff" * 16))
''')
    assert found["mine"] == "1000" and found["su"] != "0" and int(found["caps"], 16) == 0
    assert found["null"] == found["mem"] == "EPERM" and found["fcaps"] == "EPERM"
    assert found["whiteout"] in ("ok", None, "EPERM")  # 0:0 is no device, and none can open it


def test_writes_to_the_systems_folders_stay_in_their_sandbox(farm):
    before = {p: os.stat(p).st_mtime_ns for p in ("/usr/bin", "/usr/bin/env", "/etc", "/etc/passwd", "/usr/lib")}
    name = f"owned-{uuid.uuid4().hex}"
    code = f'''
echo evil > /usr/bin/{name} && echo evil > /etc/{name} && echo evil > /usr/lib/{name}
echo x >> /etc/passwd; rm -f /usr/bin/env; mv /usr/bin/id /usr/bin/id2; echo evil > /usr/bin/id; chmod 777 /usr
chown 1000 /usr/bin/ls; ls /usr/bin/{name}; cat /usr/bin/id
'''
    r = farm.run("bash", code)
    assert r["stdout"] == f"/usr/bin/{name}\nevil\n", r
    check = f"ls /usr/bin/{name} /etc/{name} /usr/lib/{name} 2>/dev/null; ls /usr/bin/env; id -u; stat -c %u /usr/bin/ls; stat -c %a /usr; ls /usr/bin/id*; wc -l < /etc/passwd"
    r = farm.run("bash", check)
    assert r["stdout"] == "/usr/bin/env\n0\n0\n755\n/usr/bin/id\n4\n"
    assert {p: os.stat(p).st_mtime_ns for p in before} == before
    assert not any(os.path.exists(f"{d}/{name}") for d in ("/usr/bin", "/etc", "/usr/lib"))


def test_overlay_attributes_set_by_a_job_are_inert(farm, canaries):
    """With userxattr the layers are steered by user.overlay.*: not from above."""
    found = probe(farm, f"canary = {canaries[0]!r}\ntoken = {TOKEN!r}\n" + '''
os.mkdir("/usr/a"); open("/usr/a/f", "w").close(); os.mkdir("/etc/a")
values = {"redirect": b"/../../../../root", "opaque": b"y", "metacopy": b"", "origin": b"\\0" * 20, "impure": b"y",
          "nlink": b"U+1", "upper": b"x", "uuid": b"\\0" * 16, "whiteout": b"y", "overlay.redirect": b"/"}
for key, value in values.items():
    for path in ("/usr/a", "/usr/a/f", "/usr/share", "/usr", "/etc", "/tmp"):
        for space in ("user.overlay.", "trusted.overlay."):
            attempt(f"{path} {space}{key}", lambda: os.setxattr(path, space + key, value))
os.setxattr("/tmp/x" if os.path.exists("/tmp/x") else "/usr/a", "user.plain", b"1")
seen = [top for top, dirs, files in os.walk("/usr/a") for f in dirs + files if token in f]
found["seen"] = seen
found["listed"] = sorted(os.listdir("/usr/a"))
found["share"] = len(os.listdir("/usr/share")) > 5
os.rename("/usr/a", "/usr/b"); found["renamed"] = os.listdir("/usr/b")
attempt("layers", lambda: os.listdir("/tmp/upper0"))
attempt("canary", lambda: read(canary))
''')
    trusted = {v for k, v in found.items() if "trusted." in k}
    assert trusted <= {"EPERM", "EOPNOTSUPP"}
    assert found["seen"] == [] and found["listed"] == found["renamed"] == ["f"] and found["share"] is True
    assert found["layers"] == found["canary"] == "ENOENT"


def test_chroot_and_descriptor_tricks_do_not_lead_out(farm, canaries):
    r = run_c(farm, '''
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
int main(void)
{
	struct stat a, b;
	char handle[128] = { 64 };
	int fd = open("/", O_RDONLY), mnt;
	mkdir("/tmp/jail", 0755);
	printf("chroot %d\\n", chroot("/tmp/jail") < 0 ? errno : 0);
	fchdir(fd);
	for (int i = 0; i < 100; i++) chdir("..");
	stat(".", &a); stat("/", &b);
	printf("same %d\\n", a.st_ino == b.st_ino && a.st_dev == b.st_dev);
	printf("handle %d\\n", (int)syscall(SYS_name_to_handle_at, fd, "", handle, &mnt, AT_EMPTY_PATH) < 0 ? errno : 0);
	printf("open_by_handle %d\\n", (int)syscall(SYS_open_by_handle_at, fd, handle, 0) < 0 ? errno : 0);
	printf("open_tree %d\\n", (int)syscall(SYS_open_tree, fd, "", AT_EMPTY_PATH | 1) < 0 ? errno : 0);
	printf("pivot_root %d\\n", (int)syscall(SYS_pivot_root, ".", ".") < 0 ? errno : 0);
	printf("stdin up %d\\n", openat(0, "..", O_RDONLY) < 0 ? errno : 0);
	return 0;
}''')
    assert dict(line.rsplit(" ", 1) for line in r["stdout"].splitlines()) == {
        "chroot": "1", "same": "1", "handle": "1", "open_by_handle": "1", "open_tree": "1", "pivot_root": "1",
        "stdin up": "20",
    }


# ---- artifacts ----

LINK = "ln -s /etc/passwd"
PLANTED = {  # name: (what the job does, what may come out)
    "symlink": (f"{LINK} $a/link", {}),
    "symlink to a folder": ("ln -s /etc $a/dir; ln -s / $a/root", {}),
    "symlink chain": (f"{LINK} /tmp/l1; ln -s /tmp/l1 $a/l2", {}),
    "magic links": ("ln -s /proc/1/root $a/r; ln -s /proc/1/exe $a/e; ln -s /proc/self/fd/0 $a/f; ln -s /proc/1/fd/3 $a/g", {}),
    "hard link to the system": ("ln /etc/passwd $a/h 2>/dev/null; ln /usr/bin/env $a/env 2>/dev/null; ln /proc/version $a/v 2>/dev/null", {}),
    "hard link to its own": ("echo own > /tmp/own; ln /tmp/own $a/own", {"own": b"own\n"}),
    "fifo": ("echo x > $a/x; mkfifo $a/fifo; echo y > $a/y", {"x": b"x\n", "y": b"y\n"}),
    "socket": ("cd $a; python3 -c 'import socket; socket.socket(1).bind(\"s\")'; echo x > x", {"x": b"x\n"}),
    "folder becomes symlink": ("rm -rf $a; ln -s /etc $a", {}),
    "folder becomes symlink with a slash": ("rm -rf $a; ln -s /etc/ $a; ln -s /etc b", {}),
    "folder becomes fifo": ("rm -rf $a; mkfifo $a", {}),
    "folder becomes file": ("rm -rf $a; echo file > $a", {"artifacts": b"file\n"}),
    "folder is gone": ("rm -rf $a", {}),
    "folder becomes a process": ("rm -rf $a; ln -s /proc/1 $a", {}),
    "its parent becomes symlink": ("cd /; mkdir /x; ln -s /etc /x/artifacts; mv /tmp /t; ln -s /x /tmp", {}),
    "its parent becomes proc": ("cd /; mv /tmp /t; ln -s /proc/1/root/etc /tmp", {}),
    "its parent is gone": ("cd /; mv /tmp /t", {}),
    "its parent moved to the system": ("cd /; mkdir /usr/artifacts; echo u > /usr/artifacts/u; mv /tmp /t; ln -s /usr /tmp", {"u": b"u\n"}),
    "not readable": ("echo x > $a/x; chmod 000 $a/x; chmod 000 $a", {"x": b"x\n"}),
    "of another user": ("echo x > $a/x; chown 1000:1000 $a/x $a; chmod 600 $a/x", {"x": b"x\n"}),
    "executable and setuid": ("echo x > $a/x; chmod 6755 $a/x", {"x": b"x\n"}),
}


@pytest.fixture(scope="module")
def planted(farm, canaries):
    jobs = [("bash", "a=/tmp/artifacts\n" + code, {"return_artifacts": True, "ttl": 10}) for code, _ in PLANTED.values()]
    return dict(zip(PLANTED, run_all(farm, jobs), strict=True))


@pytest.mark.parametrize("name", PLANTED)
def test_only_regular_files_of_its_own_come_out(planted, name):
    r = planted[name]
    assert r["end_reason"] == "exited", r
    assert artifacts(r) == PLANTED[name][1]
    assert r["run"]["wall_ms"] < 5000


def test_the_built_program_may_be_replaced_by_anything(farm, canaries):
    head = "#include <stdio.h>\n#include <stdlib.h>\n#include <unistd.h>\n#include <sys/stat.h>\nint main(void){unlink(\"main\");unlink(\"main.c\");"
    tricks = {
        "symlink": 'symlink("/etc/passwd","main");symlink("/etc/passwd","main.c");',
        "fifo": 'mkfifo("main",0666);mkfifo("main.c",0666);',
        "folder": 'mkdir("main",0777);chdir("main");symlink("/etc/passwd","x");',
        "self": 'symlink("/proc/self/exe","main");',
        "gone": "",
        "slash": 'symlink("/etc/","main");',
    }
    jobs = [("c", head + body + "return 0;}", {"return_artifacts": True, "ttl": 10}) for body in tricks.values()]
    for name, r in zip(tricks, run_all(farm, jobs), strict=True):
        assert r["end_reason"] == "exited" and r["artifacts"] == [], (name, r)
    kept = farm.run("c", "int main(void){return 0;}", return_artifacts=True)
    assert artifacts(kept)["main"][:4] == b"\x7fELF"


def test_a_race_of_links_and_files_leaks_nothing(farm, canaries):
    """Background processes flip names while the job ends; both forms go through many times."""
    code = '''
cd /tmp/artifacts
flip() { while :; do echo ok > $1.new; mv -T $1.new $1; ln -sfn /etc/passwd $1; rm -rf $1; mkdir $1; echo ok > $1/f; rm -rf $1; ln -s /etc $1; done; }
for i in 1 2 3 4; do flip f$i 2>/dev/null & done
(while :; do mv -T /tmp/artifacts /tmp/b; ln -s /etc /tmp/artifacts; rm /tmp/artifacts; mv -T /tmp/b /tmp/artifacts; done) 2>/dev/null &
sleep 0.$((RANDOM % 3))5
'''
    for r in run_all(farm, [("bash", code, {"return_artifacts": True, "ttl": 10})] * 16):
        assert r["end_reason"] == "exited"
        assert set(artifacts(r).values()) <= {b"ok\n", b""}, r["artifacts"]


def test_sizes_and_counts_of_artifacts_are_capped(farm):
    codes = {
        "terabyte": "truncate -s 1T a/t || truncate -s 250M a/t; echo x > a/x",
        "sparse": "truncate -s 250M a/s; echo x > a/x",
        "growing": "(while :; do head -c 4M /dev/zero >> a/g; done) & sleep 0.3; exec 3>&-",
        "many": "for i in $(seq 200); do echo $i > a/$i; done",
        "big": "for i in 1 2 3 4 5 6; do head -c 4M /dev/zero > a/$i; done",
        "deep": "p=a; for i in $(seq 40); do p=$p/d; mkdir $p; echo $i > $p/f; done",
        "crowd": "cd a; mkdir d; cd d; for i in $(seq 30); do mkdir $i; (cd $i; seq 1000 | xargs touch) & done; wait",
    }
    jobs = [("bash", "cd /tmp; ln -s artifacts a; " + c, {"return_artifacts": True, "ttl": 20}) for c in codes.values()]
    got = dict(zip(codes, run_all(farm, jobs), strict=True))
    sizes = {name: {a["filename"]: len(base64.b64decode(a["content_base64"])) for a in r["artifacts"]} for name, r in got.items()}
    assert all(r["end_reason"] == "exited" for r in got.values())
    assert sizes["terabyte"] == sizes["sparse"] == {"x": 2}
    assert got["terabyte"]["artifacts_truncated"] is got["sparse"]["artifacts_truncated"] is True
    assert sum(sizes["growing"].values()) <= 16 << 20
    assert len(sizes["many"]) == 64 and got["many"]["artifacts_truncated"] is True
    assert len(sizes["big"]) == 4 and sum(sizes["big"].values()) == 16 << 20 and got["big"]["artifacts_truncated"] is True
    assert 1 <= len(sizes["deep"]) <= 9 and len(sizes["crowd"]) <= 64 and got["crowd"]["artifacts_truncated"] is True


def test_odd_names_of_artifacts_cannot_break_the_answer(farm):
    r = farm.run("python", '''
import os
os.chdir(b"/tmp/artifacts")
names = [b"new\\nline", b"quote\\"back\\\\slash", b"\\xff\\xfe bad", b"n" * 255, b"-rf", b"<script>", b"\\x01\\x7f", "漢".encode(),
         b"a/" + b"b" * 255, b"c" * 255 + b"/" + b"d" * 250, b"..x", b"%2e%2e%2f", b" ", b"{}", b"\\r\\nSet-Cookie: x"]
for n in names:
    if b"/" in n: os.mkdir(os.path.dirname(n))
    with open(n, "wb") as f: f.write(b"1")
''', return_artifacts=True)
    names = [a["filename"] for a in r["artifacts"]]
    assert "new\nline" in names and 'quote"back\\slash' in names and "漢" in names and "n" * 255 in names
    assert len(names) == 15 and all(not n.startswith("/") and ".." not in n.split("/") for n in names)
    assert all(base64.b64decode(a["content_base64"]) == b"1" for a in r["artifacts"])


# ---- filling up ----


def test_disk_and_inodes_run_out_inside_only(farm):
    free = os.statvfs("/").f_bfree, os.statvfs("/tmp").f_ffree
    disk = '''
import errno
total = 0
try:
    for i in range(1000):
        with open(f"{['/tmp','/var/tmp','/dev/shm','/root','/usr','/etc','/run','/'][i % 8]}/fill{i}", "wb") as f:
            total += f.write(bytes(8 << 20))
except OSError as e: print(errno.errorcode[e.errno], total >> 20)
'''
    inodes = '''
import errno, os
n = 0
try:
    while n < 200000:
        os.close(os.open(f"/dev/shm/{n}", os.O_CREAT)); n += 1
except OSError as e: print(errno.errorcode[e.errno], n)
'''
    at_once = "fallocate -l 100G /tmp/x; echo $?; fallocate -l 255M /tmp/y && fallocate -l 255M /tmp/z; echo $?; fallocate -l 255M /dev/shm/x; echo $?"
    one, two, three = run_all(farm, [("python", disk, {"ttl": 30}), ("python", inodes, {"ttl": 30}), ("bash", at_once, {})])
    assert three["stdout"].split() in (["1", "0", "1"], ["153", "0", "1"]) and "No space left" in three["stderr"], three
    why, mb = one["stdout"].split()
    assert why == "ENOSPC" and 400 <= int(mb) <= 512
    why, n = two["stdout"].split()
    assert why == "ENOSPC" and 50000 <= int(n) <= 65536
    after = os.statvfs("/").f_bfree, os.statvfs("/tmp").f_ffree
    assert free[0] - after[0] < 100 << 8 and free[1] - after[1] < 5000  # others use the disk too


# ---- between jobs ----

LEAVE = '''
import ctypes.util
places = [top for top, dirs, files in os.walk("/") if not top.startswith(("/proc", "/sys")) and top.count("/") < 4]
left = 0
for d in places:
    try: os.mkdir(d + "/left-behind"); left += 1
    except OSError: pass
found["places"] = left
attempt("shm", lambda: call("shmget", 0x5afe, 4096, 0o1666))
attempt("msg", lambda: call("msgget", 0x5afe, 0o1666))
attempt("sem", lambda: call("semget", 0x5afe, 1, 0o1666))
rt = ctypes.CDLL("librt.so.1", use_errno=True)
attempt("mq", lambda: rt.mq_open(b"/left", os.O_CREAT | os.O_RDWR, 0o666, None))
attempt("key", lambda: call("syscall", 248, b"user", b"left", b"x", 1, -3))
attempt("abstract", lambda: keep.append(socket.socket(1)) or keep[-1].bind("\\0left") or keep[-1].listen())
attempt("port", lambda: keep.append(socket.socket()) or keep[-1].bind(("127.0.0.1", 7777)) or keep[-1].listen())
os.umask(0o777); os.nice(3)
if os.fork() == 0:
    os.setsid(); time.sleep(60)
'''
LOOK = '''
seen = []
for top, dirs, files in os.walk("/"):
    if top == "/": dirs.remove("proc")
    seen += [top for d in dirs if d == "left-behind"]
found["seen"] = seen
attempt("shm", lambda: call("shmget", 0x5afe, 4096, 0))
attempt("msg", lambda: call("msgget", 0x5afe, 0))
attempt("sem", lambda: call("semget", 0x5afe, 1, 0))
rt = ctypes.CDLL("librt.so.1", use_errno=True)
attempt("mq", lambda: rt.mq_open(b"/left", os.O_RDWR) if rt.mq_open(b"/left", os.O_RDWR) >= 0 else (_ for _ in ()).throw(OSError(ctypes.get_errno(), "")))
attempt("abstract", lambda: socket.socket(1).connect("\\0left"))
attempt("port", lambda: socket.socket().connect(("127.0.0.1", 7777)))
found["sysvipc"] = sum(len(read("/proc/sysvipc/" + n).splitlines()) - 1 for n in ("shm", "msg", "sem"))
found["unix"] = len(read("/proc/net/unix").splitlines()) - 1
found["pids"] = len([p for p in os.listdir("/proc") if p.isdigit()])
found["pid"] = os.getpid()
found["umask"] = os.umask(0); found["nice"] = os.nice(0)
'''


def test_nothing_is_left_for_the_next_job_or_shared_with_a_neighbour(farm):
    r = probe(farm, "keep = []\n" + LEAVE)
    assert r["places"] >= 40 and r["key"] == "EPERM"
    assert all(isinstance(r[k], int) for k in ("shm", "msg", "sem", "mq")) and r["abstract"] in (None, "ok")
    neighbour = farm.submit("python", "import time\n" + "keep = []\n" + _whole(LEAVE) + "\ntime.sleep(3)", ttl=10)
    looks = [probe(farm, LOOK) for _ in range(4)]
    for found in looks:
        assert found["seen"] == [] and found["sysvipc"] == 0 and found["unix"] <= 1
        assert found["shm"] == found["msg"] == found["sem"] == found["mq"] == "ENOENT"
        assert found["abstract"] == found["port"] == "ECONNREFUSED"
        assert found["pids"] == 2 and found["umask"] == 0o22 and found["nice"] == 0
    assert len({found["pid"] for found in looks}) == 1
    farm.delete(f"/jobs/{neighbour}")


def _whole(code):
    from attack import EPILOGUE, PROLOGUE

    return PROLOGUE + code + EPILOGUE


def first_id(pid):
    """The host's uid that is root of a sandbox."""
    with contextlib.suppress(OSError):
        return pathlib.Path(f"/proc/{pid}").stat().st_uid
    return None


def test_descriptors_are_three_and_ranges_distinct_with_64_at_once(farm):
    code = '''
import os, time
fds = sorted(int(f) for f in os.listdir("/proc/self/fd"))
print(fds[:-1], open("/proc/self/uid_map").read().split(), open("/proc/self/gid_map").read().split(), flush=True)
time.sleep(2)
'''
    bases, most = [], 0
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        running = pool.submit(run_all, farm, [("python", code, {"ttl": 30})] * 64)
        while not running.done():
            bases = [base for pid in farm.inits() if (base := first_id(pid))]
            assert len(set(bases)) == len(bases) and all(b % 65536 == bases[0] % 65536 for b in bases)
            most = max(most, len(bases))
            time.sleep(0.05)
    results = running.result()
    assert most >= 64 and min(bases) >= 1879048192 and max(bases) < 1879048192 + (128 + 64) * 65536
    assert all(r["end_reason"] == "exited" for r in results)
    lines = [r["stdout"] for r in results]
    assert {line.split("]")[0] for line in lines} == {"[0, 1, 2"}
    assert {line.split("] ", 1)[1] for line in lines} == {"['0', '0', '65536'] ['0', '0', '65536']\n"}, "no id of the host"


def test_descriptors_of_a_compiled_program_are_three(farm):
    code = '''
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
int main(void){for(int i=0;i<4096;i++)if(fcntl(i,F_GETFD)>=0)printf("%d ",i);return 0;}'''
    assert run_c(farm, code)["stdout"] == "0 1 2 "


def test_standard_streams_lead_nowhere(farm):
    """Input is a sealed copy or null; the pipes cannot be turned around to read."""
    found = probe(farm, '''
attempt("seals", lambda: fcntl.fcntl(0, 1034))
attempt("write input", lambda: os.write(os.open("/proc/self/fd/0", os.O_RDWR), b"x"))
attempt("grow input", lambda: os.ftruncate(os.open("/proc/self/fd/0", os.O_RDWR), 4096))
attempt("read output", lambda: os.open("/proc/self/fd/1", os.O_RDONLY | os.O_NONBLOCK))
found["text"] = sys.stdin.read()
''', stdin="abc")
    assert found["seals"] == 0xF and found["text"] == "abc"
    assert found["write input"] in ("EPERM", "EACCES") and found["grow input"] in ("EPERM", "EACCES")
    assert found["read output"] == "EACCES"


def test_terminals_are_private_and_limited(farm):
    """A job with every pseudo-terminal it can get does not take them from the others."""
    found = probe(farm, '''
keep = []
try:
    while len(keep) < 900: keep.append(os.open("/dev/ptmx", os.O_RDWR | os.O_NOCTTY))
except OSError as e: found["why"] = errno.errorcode[e.errno]
found["n"] = len(keep)
found["names"] = len([n for n in os.listdir("/dev/pts") if n != "ptmx"])
attempt("tty", lambda: os.open("/dev/tty", os.O_RDWR))
''')
    assert 16 <= found["n"] <= 128 and found["why"] == "ENOSPC" and found["names"] == found["n"]
    assert found["tty"] == "ENXIO"


SHOWN = ["/", "/usr", "/usr/bin", "/usr/bin/env", "/usr/lib", "/etc", "/etc/passwd", "/etc/alternatives", "/tmp", "/dev", "/dev/shm", "/dev/pts",
         "/proc", "/proc/version", "/proc/self/mountinfo", "/proc/sys", "/var/lib", "/root"]
HOLD = """
signal.signal(signal.SIGIO, signal.SIG_IGN)
found["locked"], watch = 0, call("inotify_init1", os.O_NONBLOCK)
keep = []
for p in SHOWN:
    fd = os.open(p, os.O_RDONLY); keep.append(fd)
    fcntl.flock(fd, fcntl.LOCK_EX); found["locked"] += 1
    for act in (lambda: fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK), lambda: fcntl.fcntl(fd, fcntl.F_NOTIFY, 0x8000003f)):
        try: act()
        except OSError: pass
    call("inotify_add_watch", watch, p.encode(), 0xfff)
while True:  # what this job does itself is over by now
    try: os.read(watch, 65536)
    except BlockingIOError: break
print("held", flush=True)
time.sleep(4)
try: found["seen"] = os.read(watch, 65536).hex()
except BlockingIOError: found["seen"] = ""
"""


def test_locks_leases_and_watches_on_shown_files_are_not_shared(farm):
    """One job holds and watches all that both see, while the other takes the same and reads, lists and changes it."""
    holder = farm.submit("python", _whole(f"SHOWN = {SHOWN!r}\n" + HOLD), ttl=15)
    wait_for("all locks to be held", lambda: max(collections.Counter(
        line.split()[4] for line in pathlib.Path("/proc/locks").read_text().splitlines() if "FLOCK" in line).values(), default=0) >= len(SHOWN))
    found = probe(farm, f"SHOWN = {SHOWN!r}\n" + """
for p in SHOWN:
    fd = os.open(p, os.O_RDONLY)
    attempt("flock " + p, lambda: fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB))
    if os.path.isdir(p):
        os.listdir(p); attempt("make in " + p, lambda: os.close(os.open(p + "/made", os.O_CREAT)))
    else:
        os.read(fd, 10)
        if not p.startswith("/proc"):
            attempt("lockf " + p, lambda: fcntl.lockf(os.open(p, os.O_RDWR), fcntl.LOCK_EX | fcntl.LOCK_NB))
            attempt("chmod " + p, lambda: os.chmod(p, 0o755))
""")
    taken = {k: v for k, v in found.items() if v is not None}
    assert set(taken) <= {"make in /dev/pts", "make in /proc", "make in /proc/sys"} and set(taken.values()) <= {"EACCES", "EROFS", "ENOENT", "EPERM"}, taken
    r = farm.wait_job(holder)
    assert r["end_reason"] == "exited", r
    assert json.loads(r["stdout"].splitlines()[-1]) == {"locked": len(SHOWN), "seen": ""}


# By its standard input a job reaches /dev/null, too.
DEVICES = ["/proc/self/fd/0", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"]


def test_locks_on_devices_are_not_shared(farm):
    """Not with the host, not with others: what a job sees, and its standard input."""
    with contextlib.ExitStack() as files:
        for path in ["/dev/null", *DEVICES[1:]]:
            fcntl.flock(files.enter_context(open(path)), fcntl.LOCK_EX)
        holder = farm.submit("python", f"""
import fcntl, os, time
files = [os.open(p, 0) for p in {DEVICES}]
for fd in files: fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
print("held", flush=True)
time.sleep(3)
""", ttl=15)
        found = probe(farm, f"""
import fcntl
for p in {DEVICES}: attempt(p, lambda: fcntl.flock(os.open(p, 0), fcntl.LOCK_EX | fcntl.LOCK_NB))
found["same"] = os.path.samestat(os.stat(0), os.stat("/dev/null"))
""")
        assert found.pop("same") is True and set(found.values()) == {None}, found
        assert farm.wait_job(holder)["stdout"] == "held\n"


def test_the_times_of_a_device_are_not_changed(farm):
    """The next job in the same place would see it."""
    found = probe(farm, """
for p in ("/dev/null", "/dev/tty"):
    attempt("touch " + p, lambda: os.utime(p))
    attempt("chmod " + p, lambda: os.chmod(p, 0o777))
    attempt("own " + p, lambda: os.chown(p, 0, 0))
    attempt("write " + p, lambda: os.write(os.open("/dev/null", os.O_RDWR), b"x"))
""")
    assert {v for k, v in found.items() if not k.startswith("write")} <= {"EROFS", "EPERM"}, found
    assert found["write /dev/null"] == found["write /dev/tty"] == 1


@pytest.mark.xfail(strict=True, reason="known: id-mapped trees show root inside what only root may read on the host")
def test_what_only_root_reads_in_a_shown_tree_is_not_readable(farm):
    """Of /etc such files are left out; /usr/local of a host may hold some, too."""
    path = pathlib.Path("/usr/local/share") / TOKEN
    path.write_text(TOKEN)
    path.chmod(0o600)
    try:
        r = farm.run("bash", f"cat {path}")
    finally:
        path.unlink()
    assert TOKEN not in r["stdout"]
