"""Whatever a job takes, it is stopped for the right reason, at its time, and others go on."""

import threading
import time

import pytest
from attack import probe, run_all

MB = 1 << 20
SLACK_MS = 500  # three bombs at a time; test_limits.py measures it

FORK = "import os, time\nwhile True:\n  try: os.fork()\n  except OSError: time.sleep(0.01)\n"
BOMBS = {  # name: (language, code, options, reasons, exact time)
    "fork bomb": ("bash", "b() { b | b & }; b; while :; do :; done", {"ttl": 2}, {"timeout"}, True),
    "fork bomb that gives up": ("python", "import os, time\nwhile True:\n  if os.fork() == 0: time.sleep(60)", {"ttl": 5}, {"processes"}, False),
    "fork bomb in python": ("python", FORK, {"ttl": 2}, {"timeout"}, True),
    "exec bomb": ("bash", "while :; do bash -c 'exec bash -c :' & done", {"ttl": 2}, {"timeout"}, True),
    "fork bomb of sessions": ("python", FORK.replace("os.fork()", "os.fork() or os.setsid()"), {"ttl": 2}, {"timeout"}, True),
    "thread bomb": ("python", "import threading, time\nwhile True:\n  try: threading.Thread(target=time.sleep, args=(60,)).start()\n  except RuntimeError: time.sleep(0.1)", {"ttl": 2}, {"timeout"}, True),
    "busy loop": ("python", "while True: pass", {"ttl": 1}, {"timeout"}, True),
    "ignores every signal": ("python", "import signal, time\nfor s in set(range(1, 65)) - {9, 19, 32, 33}: signal.signal(s, signal.SIG_IGN)\nwhile True: time.sleep(9)", {"ttl": 1}, {"timeout"}, True),
    "stops itself": ("bash", "kill -STOP $$", {"ttl": 1}, {"timeout"}, True),
    "daemon": ("bash", "(setsid sh -c 'while :; do :; done' </dev/null >/dev/null 2>&1 &) ; (setsid sleep 99 &)", {"ttl": 9}, {"exited"}, False),
    "double fork that holds the output": ("python", "import os, time\nif os.fork() == 0:\n  os.setsid()\n  if os.fork() == 0: time.sleep(60)\n  os._exit(0)", {"ttl": 9}, {"exited"}, False),
    "memory": ("python", "a = []\nwhile True: a.append(bytearray(1 << 20))", {"memory_mb": 64}, {"memory"}, False),
    "memory by children": ("python", "import os, time\nfor i in range(50):\n  if os.fork() == 0:\n    a = bytearray(b'x') * (8 << 20); time.sleep(60)\nos.wait()\nraise SystemExit(3)", {"memory_mb": 64, "ttl": 40}, {"memory"}, False),
    "memory by tmpfs": ("python", "f = open('/dev/shm/f', 'wb')\nwhile True: f.write(bytes(1 << 20)); f.flush()", {"memory_mb": 64}, {"memory"}, False),
    "memory by memfd": ("python", "import os\nf = os.memfd_create('x')\nwhile True: os.write(f, bytes(1 << 20))", {"memory_mb": 64}, {"memory"}, False),
    "memory by SysV shm": ("python", "import ctypes\nc = ctypes.CDLL(None); c.shmat.restype = ctypes.c_void_p\nwhile True:\n  p = c.shmat(c.shmget(0, 1 << 20, 0o1600), None, 0); ctypes.memset(p, 1, 1 << 20)", {"memory_mb": 64}, {"memory"}, False),
    "memory by sockets": ("python", "import socket\nk = []\nwhile True:\n  c, d = socket.socketpair(); c.setblocking(False); k += [c, d]\n  try:\n    while True: c.send(bytes(1 << 16))\n  except BlockingIOError: pass", {"memory_mb": 64}, {"memory"}, False),
    "memory by pipes": ("python", "import os, time\nfor u in range(1, 100):\n  if os.fork() == 0:\n    os.setresuid(u, u, u); k = []\n    try:\n      while True:\n        r, w = os.pipe(); k += [r, w]; os.set_blocking(w, False)\n        try:\n          while True: os.write(w, bytes(65536))\n        except BlockingIOError: pass\n    except OSError: time.sleep(60)\nos.wait()\nraise SystemExit(3)", {"memory_mb": 64, "ttl": 40}, {"memory"}, False),
    "memory by holes of a file": ("python", "import mmap, os\nf = os.open('/tmp/f', 66); os.ftruncate(f, 200 << 20)\nm = mmap.mmap(f, 200 << 20)\ns = sum(m[i] for i in range(0, len(m), 4096))", {"memory_mb": 64}, {"memory"}, False),
    "memory by a huge array": ("c", "#include <stdio.h>\nstatic char a[1 << 30];\nint main(void){for(long i=0;i<sizeof a;i+=4096)a[i]=1;puts(a+5);return 0;}", {"memory_mb": 64}, {"memory"}, False),
    "memory by passed descriptors": ("python", "import array, os, socket\nk = []\nwhile True:\n  a, b = socket.socketpair(1, 2); k += [a, b]; f = os.memfd_create('x'); os.write(f, bytes(1 << 20))\n  a.sendmsg([b'x'], [(1, 1, array.array('i', [f]))]); os.close(f)", {"memory_mb": 64}, {"memory"}, False),
    "memory by page tables": ("python", "import mmap\nk = []\nwhile True:\n  m = mmap.mmap(-1, 1 << 34, flags=0x4022); k.append(m)\n  for i in range(0, 1 << 34, 2 << 20): m[i]", {"memory_mb": 64}, {"memory"}, False),
    "memory by mapped holes": ("python", "import mmap\nk = []\nwhile True:\n  m = mmap.mmap(-1, 4 << 20); k.append(m)\n  for i in range(0, 4 << 20, 4096): m[i] = 1", {"memory_mb": 64}, {"memory"}, False),
    "output flood": ("bash", "yes", {"ttl": 20}, {"output"}, False),
    "error flood": ("bash", "yes >&2", {"ttl": 20}, {"output"}, False),
    "flood by many": ("bash", "for i in $(seq 50); do yes & done; wait", {"ttl": 20}, {"output"}, False),
    "open files": ("python", "import os\nk = []\ntry:\n  while True: k.append(os.open('/dev/null', 0))\nexcept OSError as e: print(len(k))", {}, {"exited"}, False),
    "processor": ("python", "while True: pass", {"ttl": 20, "cpu_limit": 1}, {"cpu"}, False),
    "kills init": ("bash", "kill -9 1; kill -STOP 1; sleep 60", {"ttl": 1}, {"timeout"}, True),
}


@pytest.fixture(scope="module")
def bombs(farm):
    """Three at a time, with a neighbour that must go on meanwhile."""
    jobs = {name: (b[0], b[1], b[2]) for name, b in BOMBS.items()}
    names, done, beside, over = list(jobs), {}, [], threading.Event()

    def neighbour():
        import requests

        own = requests.Session()
        while not over.is_set():
            began = time.monotonic()
            r = farm.post("/execute", {"language": "dash", "code": "echo alive"}, session=own).json()
            beside.append((r.get("stdout"), time.monotonic() - began))
            time.sleep(0.05)

    t = threading.Thread(target=neighbour)
    t.start()
    try:
        for i in range(0, len(names), 3):
            some = names[i : i + 3]
            done.update(zip(some, run_all(farm, [jobs[n] for n in some]), strict=True))
    finally:
        over.set()
        t.join()
    return done, beside


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_ends_for_the_right_reason(bombs, name):
    r = bombs[0][name]
    _, _, options, reasons, exact = BOMBS[name]
    assert r["end_reason"] in reasons, r
    limit = options.get("ttl", 60) * 1000
    if exact:
        assert limit <= r["run"]["wall_ms"] < limit + SLACK_MS
    else:
        assert r["run"]["wall_ms"] < limit
    if "memory_mb" in options:
        assert r["run"]["memory_bytes"] <= options["memory_mb"] * MB
        assert r["exit_code"] in (137, 3)
    if name == "open files":
        assert int(r["stdout"]) == 1024 - 3
    if reasons == {"timeout"}:
        assert r["status"] == "timeout" and r["exit_code"] == 124
    if reasons == {"output"}:
        assert r["stdout_bytes"] + r["stderr_bytes"] < 400 * MB and len(r["stdout"]) <= 4 * MB


def test_a_neighbour_goes_on_meanwhile(bombs):
    answers = [out for out, _ in bombs[1]]
    slowest = max(seconds for _, seconds in bombs[1])
    assert len(answers) >= 20 and set(answers) == {"alive\n"} and slowest < 5


def test_buffers_of_the_network_are_part_of_the_memory(farm):
    """Loopback connections hold megabytes in the kernel; a 64 MiB job must not fill the host's share."""
    code = '''
s = socket.socket(); s.bind(("127.0.0.1", 0)); s.listen(1000)
total, keep = 0, []
for i in range(120):
    try:
        c = socket.socket(); c.settimeout(0.5); c.connect(s.getsockname()); s.settimeout(0.5); d, _ = s.accept()
    except OSError: break
    keep += [c, d]
    c.setblocking(False)
    c.setsockopt(1, socket.SO_SNDBUF, 1 << 24); d.setsockopt(1, socket.SO_RCVBUF, 1 << 24)
    try:
        while True: total += c.send(bytes(1 << 20))
    except OSError: pass
held = [line.split() for line in read("/proc/net/sockstat").splitlines()]
found["tcp"] = total
found["pages"] = [int(line[-1]) for line in held if line[0] == "TCP:"][0]
total = 0
for i in range(120):
    d = socket.socket(2, 2); d.setsockopt(1, socket.SO_RCVBUF, 1 << 24); d.bind(("127.0.0.1", 0))
    c = socket.socket(2, 2); c.connect(d.getsockname()); keep += [c, d]
    try:
        for k in range(8): c.send(bytes(60000))
    except OSError: pass
    d.setblocking(False)
    try:
        while True: total += len(d.recv(60000))
    except OSError: pass
found["udp"] = total
'''
    r = farm.run("python", _program(code), memory_mb=64, ttl=20)
    if r["end_reason"] == "memory":
        return
    import json

    found = json.loads(r["stdout"].splitlines()[-1])
    assert found["tcp"] <= 96 * MB and found["pages"] * 4096 <= 160 * MB, found


def _program(code):
    from attack import EPILOGUE, PROLOGUE

    return PROLOGUE + code + EPILOGUE


def test_the_number_of_processes_is_the_languages(farm):
    """init and the job itself are among them."""
    found = probe(farm, '''
n = 0
try:
    while n < 1000:
        if os.fork() == 0: time.sleep(60); os._exit(0)
        n += 1
except OSError as e: found["why"] = errno.errorcode[e.errno]
found["n"] = n
''')
    assert found == {"n": 127, "why": "EAGAIN"}


def test_pipes_are_limited(farm):
    found = probe(farm, '''
total, keep = 0, []
for i in range(500):
    r, w = os.pipe(); os.set_blocking(w, False)
    try: fcntl.fcntl(w, 1031, 1 << 20)
    except OSError: pass
    try:
        while True: total += os.write(w, bytes(65536))
    except OSError: pass
    keep += [r, w]
found["mb"] = total >> 20
''', memory_mb=256)
    assert found["mb"] <= 128


GREEDY = '''
def grab(per_user):
    """As many users as there are processes: what one may have is multiplied."""
    n = 0
    for uid in range(1, 40):
        pid = os.fork()
        if pid == 0:
            os.setresuid(uid, uid, uid)
            per_user(); sys.stdout.flush()
            time.sleep(4); os._exit(0)
def take_inotify():
    while libc.inotify_init() >= 0: pass
def take_signals():
    signal.pthread_sigmask(signal.SIG_BLOCK, range(34, 60))
    for i in range(100000):
        if libc.sigqueue(os.getpid(), 40, ctypes.c_void_p(1)) < 0: break
def take_queues():
    rt = ctypes.CDLL("librt.so.1")
    for i in range(100):
        if rt.mq_open(f"/q{os.getpid()}-{i}".encode(), os.O_CREAT | os.O_RDWR, 0o600, struct.pack("8q", 0, 10, 8192, 0, 0, 0, 0, 0)) < 0: break
def take_terminals():
    try:
        while True: os.open("/dev/ptmx", os.O_RDWR | os.O_NOCTTY)
    except OSError: pass
for take in (take_inotify, take_signals, take_queues): take()
grab(lambda: (take_inotify(), take_queues(), take_terminals(), take_signals()))
print("taken", flush=True)
time.sleep(4)
'''


def test_what_the_kernel_counts_by_user_is_not_shared_between_sandboxes(farm):
    """One job takes all inotify instances, queued signals, message queues and terminals it can get."""
    greedy = farm.submit("python", _program(GREEDY), ttl=12)
    time.sleep(2)
    found = probe(farm, '''
attempt("inotify", lambda: call("inotify_init"))
signal.pthread_sigmask(signal.SIG_BLOCK, [40])
attempt("signal", lambda: call("sigqueue", os.getpid(), 40, ctypes.c_void_p(1)))
rt = ctypes.CDLL("librt.so.1", use_errno=True)
def queue():
    if rt.mq_open(b"/q", os.O_CREAT | os.O_RDWR, 0o600, struct.pack("8q", 0, 10, 8192, 0, 0, 0, 0, 0)) < 0:
        raise OSError(ctypes.get_errno(), "mq_open")
attempt("queue", queue)
timer = ctypes.c_void_p()
attempt("timer", lambda: call("timer_create", 0, None, ctypes.byref(timer)))
attempt("terminal", lambda: os.close(os.open("/dev/ptmx", os.O_RDWR | os.O_NOCTTY)))
''')
    import ctypes

    mine = ctypes.CDLL(None).inotify_init()
    assert farm.get(f"/jobs/{greedy}").json()["status"] == "running"
    farm.delete(f"/jobs/{greedy}")
    assert {name: value for name, value in found.items() if isinstance(value, str)} == {}, found
    assert mine >= 0


COMPILER = {  # name: (code, what the compiler says or None, reasons)
    "include of a secret": ('#include "/etc/shadow"\nint main(void){}', "No such file", {"exited"}),
    "include of a secret by a path": ('#include "../../../../../../proc/1/environ"\nint main(void){}', "ermission denied", {"exited"}),
    "include of the passwords": ('#include "/etc/passwd"\nint main(void){}', "root:x:0:0", {"exited"}),
    "incbin of a secret": ('__asm__(".incbin \\"/etc/shadow\\"");int main(void){return 0;}', "/etc/shadow", {"exited"}),
    "include of itself": ('#include "main.c"\nint main(void){}', "In file included from main.c:1", {"exited"}),
    "huge array": ("char a[1ull<<40]={1};int main(void){return 0;}", None, {"exited", "signaled", "memory", "output"}),
    "huge object": ('__asm__(".fill 0x40000000,1,1");int main(void){return 0;}', None, {"exited", "signaled", "memory"}),
    "macro bomb": ("".join(f"#define X{i} X{i - 1} X{i - 1} X{i - 1} X{i - 1}\n" for i in range(1, 20)).replace("#define X1 X0 X0 X0 X0", "#define X1 a+a+a+") + "int main(void){int a=0;return X19 a;}", None, {"memory", "timeout", "signaled", "exited"}),
}


def test_the_compiler_is_attacked(farm):
    options = {"memory_mb": 128, "ttl": 5}
    for (name, (_, words, reasons)), r in zip(
        COMPILER.items(), run_all(farm, [("c", code, options) for code, _, _ in COMPILER.values()]), strict=True
    ):
        assert r["compile"]["end_reason"] in reasons and r["compile"]["exit_code"] != 0, (name, r)
        assert "run" not in r and r["compile"]["memory_bytes"] <= 128 * MB, (name, r)
        if words:
            assert words in r["stderr"], (name, r["stderr"])


def test_a_compiler_that_reads_for_ever_is_stopped(farm):
    """Devices without an end, and its own standard input, which is empty."""
    paths = ("/dev/random", "/dev/zero", "/dev/full", "/dev/tty", "/dev/stdin")
    jobs = [("c", f'#include "{p}"\nint main(void){{return 7;}}', {"memory_mb": 128, "ttl": 5}) for p in paths]
    *endless, empty = run_all(farm, jobs)
    for path, r in zip(paths, endless, strict=False):
        assert r["compile"]["end_reason"] in ("memory", "exited", "signaled"), (path, r)
        assert r["compile"]["exit_code"] != 0 and "run" not in r, (path, r)
        assert r["compile"]["wall_ms"] < 30000 + SLACK_MS and r["compile"]["memory_bytes"] <= 128 * MB
    assert empty["exit_code"] == 7


def test_the_farm_is_healthy_afterwards(farm):
    for r in run_all(farm, [("dash", "echo ok", {})] * 20 + [("c", 'int main(){puts("ok");}', {})] * 4):
        assert r["stdout"] == "ok\n"
    assert "died" not in farm.log("worker").replace("a ready sandbox died", "")
