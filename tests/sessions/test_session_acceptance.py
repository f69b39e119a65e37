"""Sessions, against what broke elsewhere: output without end, lines that drop, viewers that sleep, daemons that are
killed, freezing without end, thousands at rest, guests who try, recordings that are changed.  SOAK=1: the long forms.

A bound in wall time forgives what this machine is late (Lateness); all others hold on a busy one, too.
"""
import base64
import contextlib
import gzip
import hashlib
import http.client
import json
import os
import pathlib
import random
import re
import signal
import statistics
import subprocess
import threading
import time

import pytest
import requests

from farm import ROOT, Farm, best, wait_for
from screen import Emulator, SessionScreen, see_the_same
from session_calls import end, files, rss_kb, run, servers, shims
from terminal import ACK, CLAIM, EXIT, NATIVE, OUT, Gone, Native, Refused, Terminal, WebSocket

LONG = bool(os.environ.get("SOAK"))
MIB = 1 << 20
RING_KB = 1 << 20 if LONG else 128 << 10  # whoever reads all of it may be late by so much


class Lateness(threading.Thread):
    """How late this machine wakes who sleeps, while others use it, too."""

    NAP = 0.002
    STEPS = 10  # processes that wake each other for one call

    def __init__(self):
        super().__init__(daemon=True)
        self.seen = []  # (when it woke, how late)
        self.over = threading.Event()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.join()

    def run(self):
        while not self.over.is_set():
            before = time.monotonic()
            time.sleep(self.NAP)
            now = time.monotonic()
            self.seen.append((now, now - before - self.NAP))

    def since(self, began):
        """What a call that began then may have been late."""
        time.sleep(2 * self.NAP)
        worst = 0
        for woke, late in reversed(self.seen):
            if woke < began:
                break
            worst = max(worst, late)
        return self.STEPS * worst

    def usual(self, share):
        return sorted(late for _, late in self.seen)[int(share * (len(self.seen) - 1))]


@contextlib.contextmanager
def own_farm(conf=None):
    merged = {"sessiond": {"grace_seconds": 5, "keep_seconds": 60, "warm": 2, "ring_kb": RING_KB}, "gateway": {"processes": 2}}
    for section, rows in (conf or {}).items():
        merged.setdefault(section, {}).update(rows)
    with Farm(conf=merged, daemons=("scheduler", "sessiond", "gateway")) as f:
        wait_for("a node for sessions", lambda: f.redis("HLEN", "{unfarm}:room") == "1")
        wait_for("the gateways", lambda: f.get("/sessions").status_code == 200)
        yield f


@pytest.fixture(scope="module")
def farm():
    with own_farm() as f:
        yield f


def create(f, **body):
    answer = f.post("/sessions", {"shell": "dash", "persist": True, **body})
    assert answer.status_code == 200, answer.text
    return answer.json()["id"]


def given(**files):
    return [{"filename": name.replace("_", "."), "content_base64": base64.b64encode(text.encode()).decode()} for name, text in files.items()]


def inside(f, container):
    """Pids of a session's sandbox."""
    name = f"{f.cgroup}-sessions/n{container.removeprefix('unsb-vm-').lstrip('0')}/cgroup.procs"
    for top in ("/sys/fs/cgroup/pids", "/sys/fs/cgroup"):
        with contextlib.suppress(FileNotFoundError):
            return {int(pid) for pid in pathlib.Path(top, name).read_text().split()}
    raise AssertionError(f"no group of {container}")


def pss_kb(pid):
    return int(re.search(r"^Pss:\s+(\d+)", pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text(), re.M)[1])


def cpu_s(pids):
    ticks = 0
    for pid in pids:
        ticks += sum(map(int, pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")


class Reader(Native):
    """Hands on what it reads, when it has a take(), and keeps none of it."""

    take = None

    def step(self):
        super().step()
        if self.frames[-1][0] == OUT:
            self.frames.pop()
        if self.take and self.output:
            self.take(self.output)
            self.output = b""


class Memory:
    """Of some processes: none may grow by more than so much while it is watched."""

    def __init__(self, pids, most_kb):
        self.before, self.most_kb = {pid: rss_kb(pid) for pid in pids}, most_kb

    def look(self):
        grown = {pid: rss_kb(pid) - before for pid, before in self.before.items()}
        assert max(grown.values()) < self.most_kb, grown
        return max(grown.values())


# ---- 1: a time limit ----


def test_each_of_many_calls_ends_at_its_time_limit(farm):
    session = create(farm)
    container = farm.get(f"/sessions/{session}").json()["container_name"]
    t = Native(farm, session)
    t.until(b"# ")
    t.close()
    at_rest = inside(farm, container)
    took = []
    with Lateness() as late:
        for i in range(100 if LONG else 8):
            began = time.monotonic()
            done = run(farm, session, "(setsid sleep 1000 &); sleep 1000 & exec sleep 1000", timeout=1)
            took.append(time.monotonic() - began)
            assert (done["status"], done["timed_out"], done["exit_code"]) == ("timeout", True, 124)
            assert 1 <= took[-1] < 1.2 + late.since(began), (i, took[-1])
            after = run(farm, session, f"echo {i}; pgrep -x sleep")
            assert (after["stdout"], after["timed_out"]) == (f"{i}\n", False)
            wait_for("none to be left", lambda: inside(farm, container) == at_rest)
    print(f"{len(took)} calls: median {statistics.median(took):.3f} s, the longest {max(took):.3f} s")
    end(farm, session)


# ---- 2: output ----

PROMPT = b"prompt\0\xff\xfe>"
PRINT = """
import os, random, sys

def write(data):
    data = memoryview(data)
    while data:
        data = data[os.write(1, data):]

if sys.argv[1] == "bytes":
    block = random.Random(7).randbytes(1 << 20)
    write(b"prompt\\0\\xff\\xfe>")
    os.read(0, 1)
else:
    block = "".join(random.Random(7).choices("a\\u00e4\\u20ac\\U0001f600", k=1 << 18)).encode()
for i in range(int(sys.argv[2])):
    write(b"%08d" % i + block)
sys.exit(7)
"""


def printed(block, n):
    """Length and hash of what it prints."""
    total, whole = 0, hashlib.sha256()
    for i in range(n):
        whole.update(b"%08d" % i + block)
        total += 8 + len(block)
    return total, whole.hexdigest()


def print_much(f, mib, want):
    """Through a terminal; seconds of processor time that the farm took for it."""
    session = create(f, input_files=given(print_py=PRINT))
    ours = [shims(f)[session], *servers(f), *f.gateways()]
    t = Reader(f, session)
    t.until(b"# ")
    t.type(b"stty raw -echo; exec python3 /tmp/input/print.py bytes %d\r" % mib)
    t.until(PROMPT)  # it has no newline, and waits for a key
    memory, whole = Memory(ours, 8192), hashlib.sha256()
    begin, grown, looked, before = t.offset, 0, 0, cpu_s(ours)

    def take(data):
        nonlocal grown, looked
        whole.update(data)
        if t.offset - looked > 4 * MIB:
            looked, grown = t.offset, max(grown, memory.look())

    assert t.output.endswith(PROMPT)
    t.take, t.output = take, b""
    t.type(b"x")
    t.until(lambda: t.exit() is not None, 600)
    assert t.exit()["code"] == 7 and t.lost == []
    assert (t.offset - begin, whole.hexdigest()) == want
    last = next(body for kind, body in t.frames if kind == EXIT)
    assert int.from_bytes(last[:8], "little") == t.offset, "its end comes after all of it"
    used = cpu_s(ours) - before
    print(f"{mib} MiB: {used:.2f} s of processor time, {grown} KiB more memory")
    t.close()
    end(f, session)
    return used


def test_every_byte_of_much_output_comes_in_its_order(farm):
    few, many = (256, 1024) if LONG else (12, 48)
    block = random.Random(7).randbytes(MIB)
    used = [print_much(farm, n, printed(block, n)) for n in (few, many)]
    assert used[1] < 6 * used[0] + 0.3, "its time grows as the output does"


class Stream:
    """A command call whose output comes in pieces, read by hand."""

    def __init__(self, f, session, body):
        target = f"/sessions/{session}/execute"
        raw = json.dumps({**body, "stream": True}).encode()
        self.link = http.client.HTTPConnection("127.0.0.1", f.port, timeout=120)
        self.link.request("POST", target, raw, f.sign("POST", target, raw))
        self.answer = self.link.getresponse()
        assert self.answer.status == 200

    def events(self):
        rest = b""
        while piece := self.answer.read1(65536):
            *whole, rest = (rest + piece).split(b"\n\n")
            for event in whole:
                name, data = event.split(b"\n")
                yield name.removeprefix(b"event: ").decode(), json.loads(data.removeprefix(b"data: "))
        assert rest == b""

    def close(self):
        self.answer.close()
        self.link.close()


def bytes_read(pid):
    return int(re.search(r"rchar: (\d+)", pathlib.Path(f"/proc/{pid}/io").read_text())[1])


def test_a_streamed_command_waits_for_its_reader(farm):
    n = 1024 if LONG else 64
    block = "".join(random.Random(7).choices("a\u00e4\u20ac\U0001f600", k=1 << 18)).encode()
    want = printed(block, n)
    session = create(farm, input_files=given(print_py=PRINT))
    shim = shims(farm)[session]
    memory, begin = Memory([shim, *servers(farm), *farm.gateways()], 8192), bytes_read(shim)
    s = Stream(farm, session, {"argv": ["python3", "/tmp/input/print.py", "text", str(n)], "timeout": 600})

    def stands_still():
        before = bytes_read(shim)
        time.sleep(0.5)
        return before > begin + MIB and bytes_read(shim) - before < 4096

    wait_for("it to wait", stands_still)  # nobody has read a byte
    memory.look()
    assert bytes_read(shim) - begin < want[0] / 2
    total, whole, last = 0, hashlib.sha256(), None
    for name, data in s.events():
        assert last is None, "its end is the last event"
        if name == "exit":
            last = data
        else:
            piece = data["data"].encode()
            assert name == "stdout"
            whole.update(piece)
            if (total + len(piece)) // (4 * MIB) > total // (4 * MIB):
                memory.look()
            total += len(piece)
    assert last["exit_code"] == 7 and (total, whole.hexdigest()) == want
    s.close()
    end(farm, session)


@pytest.mark.parametrize("much", ["echo a", "head -c 30000000 /dev/zero | tr '\\0' x"], ids=["little", "much"])
def test_a_streamed_command_goes_on_without_its_reader(farm, much):
    session = create(farm)
    shim = shims(farm)[session]
    s = Stream(farm, session, {"command": much + "; for i in 1 2 3 4 5 6 7 8; do echo $i; sleep 0.1; done; : > /tmp/done; sleep 50"})
    s.answer.read1(20)
    s.close()
    wait_for("it to come so far", lambda: run(farm, session, "test -e /tmp/done")["exit_code"] == 0)
    before = cpu_s([shim])
    time.sleep(1)
    assert cpu_s([shim]) - before < 0.5, "it has nothing to do"
    end(farm, session)


# ---- 3: lines that drop ----


def test_a_line_that_drops_at_random_loses_and_doubles_nothing(farm):
    drops, last = (1000, 10_000_000) if LONG else (100, 1_000_000)
    dice = random.Random(3)
    session = create(farm)
    t = Reader(farm, session, client="c3")
    t.until(b"# ")
    # The numbers come from beside the shell, which notes each line that is typed meanwhile.
    t.type(b"stty -echo; seq 1 %d & while read -r x; do echo \"$x\" >> /tmp/artifacts/typed; [ \"$x\" != over ] || break; done; wait; echo DO''NE\r" % last)
    base, pieces, tail, typed, words = t.typed, [t.output], b"", b"", 0
    t.output = b""
    expected = sum(len(str(10 ** k)) * 9 * 10 ** k for k in range(len(str(last)) - 1)) + 2 * last
    cut_at = t.offset + dice.expovariate(drops / expected)
    done = 0

    def keep(reader):
        nonlocal tail
        pieces.append(reader.output)
        tail = (tail + reader.output)[-200:]
        reader.output = b""

    def type_more(data):
        nonlocal typed
        typed += data
        with contextlib.suppress(Gone, OSError):
            t.type(data)

    deadline = time.monotonic() + 600
    over = False
    while b"DONE" not in tail:
        assert time.monotonic() < deadline, (done, tail)
        if done < drops and dice.random() < 0.2:
            type_more(b"w%d %d\n" % (words, dice.randrange(10 ** 6)))
            words += 1
        elif done >= drops and not over:
            over = True
            type_more(b"over\n")
        gone = False
        try:
            t.ws.sock.settimeout(0.01)
            t.step()
        except TimeoutError:
            gone = done < drops and dice.random() < 0.5  # the numbers are all there: cut it while it is silent
        except (Gone, OSError):
            gone = True
        keep(t)
        if gone or (done < drops and t.offset >= cut_at):
            done += 1
            t.drop() if dice.random() < 0.5 else t.ws.sock.close()
            at = t.offset
            t = Reader(farm, session, client="c3", since=at)
            assert t.hello["since"] == at and not t.lost
            keep(t)
            cut_at = t.offset + dice.expovariate(drops / expected)
            if t.typed - base < len(typed):  # what it has not: again
                t.type(typed[t.typed - base:])
    t.close()
    output = b"".join(pieces).replace(b"\r\n", b"\n")
    start = output.index(b"\n1\n2\n") + 1
    whole = b"".join(b"%d\n" % i for i in range(1, last + 1))
    assert output[start:start + len(whole)] == whole
    assert done == drops and words > drops / 10
    assert files(end(farm, session))["typed"] == typed
    print(f"{done} drops, {len(whole)} bytes printed, {words} lines typed")


# ---- 4: a viewer that never reads ----


def flood_s(t, n):
    """How long a program takes to print n bytes, as long as somebody reads them."""
    tail = b""

    def take(data):
        nonlocal tail
        tail = (tail + data)[-300:]

    t.output, t.take = b"", take
    began = time.monotonic()
    t.type(b"yes yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy | head -c %d; echo; echo FLOO''DED\r" % n)
    t.until(lambda: tail.endswith(b"FLOODED\r\n# "), 60)
    t.take = None
    return time.monotonic() - began


def echo_s(t):
    times = []
    for i in range(30):
        began = time.monotonic()
        t.type(b"echo '<%d>'\r" % i)
        t.until(lambda i=i: t.output.endswith(b"\n<%d>\r\n# " % i))
        times.append(time.monotonic() - began)
    return statistics.median(times)


def test_a_viewer_that_never_reads_is_not_felt():
    much = 200 * MIB if LONG else 24 * MIB
    with own_farm({"sessiond": {"ring_kb": 1024}}) as f:
        session = create(f)
        shim = shims(f)[session]
        quick = Reader(f, session, client="quick")
        quick.until(b"# ")
        memory = Memory([shim, *f.gateways()], 8192)
        flood_s(quick, much)

        def measure():
            """Seconds of an echo and a flood, the best of three; then the same beside viewers that do not read."""
            times = []
            for _ in range(3):
                for viewers in ((), (lambda: Native(f, session, ack=False, client="slow"), lambda: Terminal(f, session))):
                    slow = [view() for view in viewers]
                    times.append((echo_s(quick), flood_s(quick, much)))
                    memory.look()
                    for t in slow:
                        t.drop()
            return [min(column) for rows in (times[::2], times[1::2]) for column in zip(*rows)]

        def is_not_felt(found):
            echo, flood, echo_beside, flood_beside = found
            return echo_beside < 2 * echo + 0.001 and flood_beside < 2 * flood + 0.2

        found = best(measure, is_not_felt, tries=5)
        print("{:.5f} s an echo, {:.2f} s a flood; beside: {:.5f} s, {:.2f} s".format(*found))
        assert is_not_felt(found), found

        # One that reads on after that is told what it lost, and has all else.
        slow = Native(f, session, ack=False, client="slow")
        while len(slow.output) < 64 << 10 and not slow.live:
            slow.step()
        quick.output = b""
        flood_s(quick, much)
        mark, quick.output = quick.offset, b""
        quick.type(b"seq 1 20000; echo RE''ADY\r")
        quick.until(lambda: b"READY" in quick.output[-100:])
        slow.ack = True
        slow._frame(ACK, slow.offset.to_bytes(8, "little"))
        slow.until(lambda: b"READY" in slow.output[-100:])
        assert len(slow.lost) == 1 and slow.lost[0][1] <= mark < slow.offset
        size = min(slow.offset, quick.offset) - mark
        assert size > 120_000 and slow.output[mark - slow.offset:][:size] == quick.output[:size]
        assert slow.offset - slow.lost[0][1] > 1 * MIB - 65536, "all that is kept"
        for t in (slow, quick):
            t.close()
        end(f, session)


def test_a_slow_viewer_is_shown_the_screen():
    """It stood in a full-screen program, in the middle of a sequence; the program goes on elsewhere."""
    with own_farm({"sessiond": {"ring_kb": 1024}}) as f:
        session = create(f, shell="sh")
        quick = Reader(f, session, client="quick")
        quick.until(b"# ")
        slow = Native(f, session, ack=False, client="slow", screen=True, since=1 << 60)
        quick.type(b"printf '\\033[?1049h\\033[5;9r\\033[1;31mat some place\\033[4'; seq 1 3000000 | tail -c 20000000\r")
        shown = Emulator(80, 24, lambda answer: None)
        quick.until(lambda: quick.offset > slow.hello["since"] + 20_000_000, 60)
        quick.type(b"clear; seq -w 1 5000; printf '\\033[12;30Hin the middle\\033[?25l'; echo RE''ADY\r")
        quick.until(lambda: b"READY" in quick.output[-100:])
        slow.until(lambda: len(slow.output) > 65536)
        shown.feed(slow.output)
        slow.ack = True
        slow._frame(ACK, slow.offset.to_bytes(8, "little"))
        slow.until(lambda: b"READY" in slow.output[-100:])
        ((cols, rows, clear),) = slow.screens
        assert (cols, rows) == (80, 24) and len(slow.lost) == 1 and len(slow.output) <= 65536
        assert slow.output == quick.output[-len(slow.output):]
        shown.feed(clear + slow.output)
        right = Emulator(80, 24, lambda answer: None)
        right.feed(slow.output)
        assert "in the middle" in right.display[11] and "4999" in "".join(right.display)
        assert shown.display == right.display and shown.margins == right.margins
        assert [[c.fg for c in row.values()] for row in shown.buffer.values()] == [[c.fg for c in row.values()] for row in right.buffer.values()]
        for t in (slow, quick):
            t.close()
        end(f, session)


# ---- 5: daemons that are killed ----


def test_vim_and_commands_go_on_when_sessiond_is_killed():
    with own_farm() as f:
        begun = f.log("sessiond").count('"serving"')
        editor = create(f, shell="sh", input_files=given(notes_txt="one\ntwo\nthree\n"))
        leaver = create(f)
        shown = SessionScreen(f, editor)
        shown.until(lambda: shown.before_cursor.endswith("# "))
        shown.type(b"cd /tmp/artifacts; cp /tmp/input/notes.txt .; vim notes.txt\r")
        shown.until_seen("one\ntwo\nthree\n~")
        shown.type(b"Gofour")  # and in the middle of a line
        shown.until_seen("three\nfour\n~")
        calls, answers = [], {}
        for stream in (False, True):
            body = {"command": f"echo begun; : > /tmp/begun-{stream}; until [ -e /tmp/go ]; do sleep 0.05; done; echo went on; exit 7",
                    "stream": stream}

            def call(stream=stream, body=body):
                answers[stream] = f.post(f"/sessions/{editor}/execute", body, session=requests.Session())

            calls.append(threading.Thread(target=call))
            calls[-1].start()
        wait_for("both calls to run", lambda: run(f, editor, "ls /tmp/begun-*")["stdout"].count("begun") == 2)
        t = Native(f, leaver)
        t.until(b"# ")

        os.kill(servers(f)[0], signal.SIGKILL)
        shown.type(b" five")
        shown.until_seen("three\nfour five\n~")
        wait_for("another server", lambda: f.log("sessiond").count('"serving"') == begun + 1)
        f.procs["sessiond"].kill()
        f.procs["sessiond"].wait()
        shown.type(b" six")
        shown.until_seen("three\nfour five six\n~")
        t.type(b"exit 5\r")  # while nobody is there who could be told
        t.until(lambda: t.exit() is not None)
        assert t.exit()["code"] == 5
        t.close()
        assert all(c.is_alive() for c in calls), answers
        f.start("sessiond")
        wait_for("another server", lambda: f.log("sessiond").count('"serving"') == begun + 2)
        wait_for("the other's end", lambda: f.get(f"/sessions/{leaver}").json()["status"] == "terminated")

        again = SessionScreen(f, editor)
        again.screen._answer = lambda data: None  # to questions that were answered
        see_the_same([shown, again], lambda s: "three\nfour five six\n~" in s.text)
        wait_for("a call", lambda: f.post(f"/sessions/{editor}/execute", {"command": "touch /tmp/go"}).status_code == 200)
        for c in calls:
            c.join()
        done = answers[False].json()
        assert (done["exit_code"], done["stdout"]) == (7, "begun\nwent on\n")
        assert '"exit_code":7' in answers[True].text and "went on" in answers[True].text
        again.type(b"\x1b:wq\r")
        again.until(lambda: again.before_cursor.endswith("# "))
        again.type(b"exit 9\r")
        assert again.end() == {"type": "exit", "code": 9} and shown.end() == {"type": "exit", "code": 9}
        assert files(end(f, editor)) == {"notes.txt": b"one\ntwo\nthree\nfour five six\n"}
        end(f, leaver)


# ---- 6: freezing ----

PAIR = """
import select, socket, sys
s = socket.create_server(("127.0.0.1", 0))
near = socket.create_connection(s.getsockname())
far, _ = s.accept()
i = 0
while not select.select([0], [], [], 0)[0]:
    near.sendall(b"%d\\n" % i)
    sys.stdout.write(far.recv(99).decode())
    i += 1
print("OVER", i, flush=True)
"""


def test_freezing_again_and_again_is_not_felt(farm):
    n = 10_000 if LONG else 300
    session = create(farm, input_files=given(pair_py=PAIR))
    ours = [shims(farm)[session], *servers(farm), *farm.gateways()]
    t = Reader(farm, session)
    t.until(b"# ")
    t.type(b"stty -echo; yes > /dev/null & python3 /tmp/input/pair.py\r")
    t.until(b"\n1\r\n2\r\n")
    pieces = [t.output]
    t.take = pieces.append
    t.output = b""
    caller = requests.Session()
    memory, took, frozen_s, thawed_s = None, [], 0.0, 0.0

    def call(what):
        asked = time.monotonic()
        answer = farm.post(f"/sessions/{session}/{what}", {}, session=caller)
        assert answer.status_code == 200, answer.text
        return asked, time.monotonic(), answer.json()

    first = farm.get(f"/sessions/{session}").json()["remaining_ttl"]
    began = answered = time.monotonic()
    with Lateness() as late:
        for i in range(n):
            asked, stopped, record = call("freeze")
            assert record["status"] == "frozen"
            thawed_s += asked - answered
            time.sleep(0.012 if not LONG else 0.001)
            asked, answered, record = call("unfreeze")
            frozen_s += asked - stopped
            took.append(record["unfreeze_time_us"] / 1e6)
            t.ws.sock.settimeout(0.003)
            with contextlib.suppress(TimeoutError):
                while time.monotonic() < answered + 0.003:
                    t.step()
            if i == n // 5:
                memory = Memory(ours, 4096)
        whole_s = time.monotonic() - began
        allowed = 0.005 + 2 * late.usual(0.99)
    used = first - farm.get(f"/sessions/{session}").json()["remaining_ttl"]
    assert thawed_s - 1 <= used <= whole_s - frozen_s + 1, (thawed_s, used, whole_s, frozen_s)
    grown = memory.look()
    p99 = sorted(took)[int(0.99 * n)]
    assert p99 < allowed, (p99, allowed)
    t.type(b"\r")
    t.until(lambda: b"OVER" in b"".join(pieces[-3:]), 120)
    output = b"".join(pieces).replace(b"\r\n", b"\n")
    start, stop = output.index(b"\n0\n1\n") + 1, output.index(b"OVER ")
    lines = int(output[stop + 5:].split()[0])
    assert output[start:stop] == b"".join(b"%d\n" % i for i in range(lines)) and lines > n
    print(f"{n} times: thaw p50 {1e6 * statistics.median(took):.0f} us, p99 {1e6 * p99:.0f} us; {lines} lines over the connection; "
          f"{used} of {whole_s:.0f} s counted; {grown} KiB more memory")
    t.close()
    end(farm, session)


# ---- 11: thousands at rest ----

COPY = """
local id, pk, n = ARGV[1], ARGV[2], tonumber(ARGV[3])
local record = redis.call('HGETALL', '{unfarm}:session:' .. id)
for i = 1, n do
  redis.call('HSET', '{unfarm}:session:' .. id .. '-' .. i, unpack(record))
  redis.call('ZADD', '{unfarm}:sessions:' .. pk, i, id .. '-' .. i)
end
return n
"""


def available_kb():
    return int(re.search(r"MemAvailable:\s+(\d+)", pathlib.Path("/proc/meminfo").read_text())[1])


def begin_many(f, key, n):
    made, errors, todo = [], [], iter(range(n))

    def work():
        caller = requests.Session()
        for _ in todo:
            answer = f.post("/sessions", {"shell": "bash", "persist": True}, key=key, session=caller)
            if answer.status_code != 200:
                errors.append(answer.text)
                return
            made.append(answer.json())

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert errors == []
    return made


def shell_of(f, made):
    for pid in inside(f, made["container_name"]):
        with contextlib.suppress(OSError):
            if pathlib.Path(f"/proc/{pid}/comm").read_text() == "bash\n":
                return pid
    return None


def test_thousands_of_idle_sessions_cost_little():
    listed = 2000
    n = listed if LONG else 40
    with own_farm({"gateway": {"frozen_sessions": n}, "sessiond": {"sessions": n + 20, "warm": 8, "keep_seconds": 0, "idle_seconds": 0}}) as f:
        key = f.new_key(concurrency=5000, rate=1000000, burst=1000000)
        before = available_kb()
        made = begin_many(f, key, n)
        wait_for("their shells", lambda: all(shell_of(f, s) for s in made), 120, 0.5)
        holders, shells, beyond = shims(f), {}, []
        for s in made:
            shells[s["id"]] = shell_of(f, s)
            others = inside(f, s["container_name"]) - {shells[s["id"]]}
            beyond.append(pss_kb(holders[s["id"]]) + sum(map(pss_kb, others)))
        shell = statistics.mean(map(pss_kb, shells.values()))
        print(f"{n} sessions: {statistics.mean(beyond):.0f} KiB each in processes beyond a shell of {shell:.0f} KiB; "
              f"the machine has {(before - available_kb()) / n:.0f} KiB less for each")
        assert statistics.mean(beyond) < 1024 and max(beyond) < 2048

        # A list of two thousand, of which most need not be there in a short test.
        if n < listed:
            assert f.redis("EVAL", COPY, 0, made[0]["id"], key[0], listed - n) == str(listed - n)
        with Lateness() as late:
            took, less = [], []
            for _ in range(15):
                began = time.monotonic()
                answer = f.get("/sessions", key=key)
                took.append(time.monotonic() - began)
                less.append(took[-1] - late.since(began))
                assert answer.json()["count"] == listed and len(answer.json()["sessions"]) == listed
            print(f"a list of {listed}: {1e3 * statistics.median(took):.1f} ms, {len(answer.content)} bytes")
            assert statistics.median(less) < 0.05, took

            for _ in range(3):  # once, but for what else this machine does
                for s in made:
                    assert f.post(f"/sessions/{s['id']}/freeze", {}, key=key).status_code == 200
                took, less = map(sorted, zip(*[wake_s(f, s["id"], late) for s in made]))
                p99 = int(0.99 * (n - 1))
                print(f"waking: median {1e3 * statistics.median(took):.1f} ms, p99 {1e3 * took[p99]:.1f} ms, {1e3 * less[p99]:.1f} ms without what is late here")
                if less[p99] < 0.02:
                    break
            assert less[p99] < 0.02
        for s in made:
            f.delete(f"/sessions/{s['id']}", key=key)


def wake_s(f, session, late):
    """From nothing to the echo of a key, in a session that is frozen."""
    began = time.monotonic()
    t = Native(f, session, sign=False)  # the id alone, as it is another key's
    t.type(b"Q")
    t.until(b"Q")
    took = time.monotonic() - began
    t.close()
    return took, took - late.since(began)


# ---- 13: guests ----


def opens(make):
    """The answer of one that is refused, or 101."""
    try:
        t = make()
    except Refused as e:
        return e.status
    t.close()
    return 101


def test_nothing_but_the_right_ticket_opens_a_session():
    with own_farm({"gateway": {"session_id_auth": "no", "origins": "https://good.example https://fine.example"}}) as f:
        session, other = create(f), create(f)
        name = f.get(f"/sessions/{session}").json()["container_name"]
        stranger = f.new_key(concurrency=5)
        theirs = f.post("/sessions", {"shell": "dash", "persist": True}, key=stranger).json()["id"]

        def ticket(at=session, key=None, **body):
            return f.post(f"/sessions/{at}/tickets", body, **({"key": key} if key else {})).json()["ticket"]

        def beside(text, at=session, **headers):
            return WebSocket(f.port, f"/sessions/{at}/shell", protocol=f"{NATIVE}, ticket.{text}", headers=headers)

        # The id, or the name, alone.
        for known in (session, name):
            for make in (lambda known=known: Terminal(f, known), lambda known=known: Native(f, known, sign=False)):
                assert opens(make) == 401
            for method, path in (("GET", ""), ("DELETE", ""), ("PATCH", ""), *(("POST", p) for p in
                                 ("/freeze", "/unfreeze", "/boost", "/execute", "/shell", "/tickets"))):
                for query in ("", "?ticket=" + ticket()):
                    assert f.call(method, f"/sessions/{known}{path}{query}", b'{"command":"id"}', sign=False).status_code == 401, path
        # Another key's signature, and ticket.
        target = f"/sessions/{session}/shell"
        assert opens(lambda: WebSocket(f.port, target, protocol=NATIVE, headers=f.sign("GET", target, b"", stranger))) == 404
        assert f.post(f"/sessions/{session}/tickets", {}, key=stranger).status_code == 404
        for at in (session, other):
            foreign = ticket(theirs, stranger)
            assert opens(lambda at=at, foreign=foreign: Native(f, at, sign=False, ticket=foreign)) in (401, 404)
        # Of many at the same moment one is let in, by the ticket in the query or beside the subprotocol.
        for round_ in range(20 if LONG else 3):
            text, answers, gate = ticket(), [], threading.Barrier(12)

            def guest(i, text=text, answers=answers, gate=gate):
                gate.wait()
                answers.append(opens(lambda: beside(text) if i % 2 else Native(f, name, sign=False, ticket=text)))

            guests = [threading.Thread(target=guest, args=(i,)) for i in range(12)]
            for g in guests:
                g.start()
            for g in guests:
                g.join()
            assert sorted(answers) == [101] + [401] * 11, (round_, answers)
        # Not quite the ticket.
        text = ticket()
        for wrong in (text[:-1], text[:-1] + ("0" if text[-1] != "0" else "1"), text.upper() if text.upper() != text else "", "*"):
            assert opens(lambda wrong=wrong: beside(wrong)) == 401, wrong
        assert opens(lambda: Native(f, session, sign=False, ticket=text + "0")) == 401
        assert opens(lambda: beside(text)) == 101
        # For another session, and after its session has ended.
        assert opens(lambda: beside(ticket(), at=other)) == 401
        late = ticket(other)
        end(f, other)
        assert opens(lambda: Native(f, other, sign=False, ticket=late)) != 101
        # Pages of other origins, with a good ticket.
        for origin in ("https://evil.example", "http://good.example", "https://good.example.evil.example", "https://good.exampl",
                       "https://good.example:8443", "null", "https://good.example https://fine.example", "https://good.example,"):
            assert opens(lambda origin=origin: beside(ticket(), Origin=origin)) == 403, origin
        assert opens(lambda: beside(ticket(), Origin="https://fine.example")) == 101
        # A reader's ticket does not write, whatever is asked for; a writer's may be for less.
        writer = Native(f, session, client="w")
        writer.until(b"# ")
        reader = Native(f, session, sign=False, ticket=ticket(role="ro"), role="rw", cols=33, rows=11)
        assert reader.hello["role"] == "ro"
        reader.type(b"echo intru''der\r")
        reader.resize(44, 12)
        reader.signal(signal.SIGINT)
        reader._frame(CLAIM, b"\0")
        writer.type(b"stty size; echo wri''ter\r")
        reader.until(b"writer")
        writer.until(b"writer")
        assert b"24 80" in writer.output and b"intruder" not in writer.output + reader.output
        less = Native(f, session, sign=False, ticket=ticket(), role="ro")
        assert less.hello["role"] == "ro"
        for t in (writer, reader, less):
            t.close()
        end(f, session)
        assert f.delete(f"/sessions/{theirs}", key=stranger).status_code == 200


# ---- 14: recordings ----


def documented():
    """How docs/api.md says that a recording is tried."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs/api.md").read_text(), re.S)
    return next(b for b in blocks if "session.chain" in b or "*.chain" in b)


def tried(folder):
    done = subprocess.run(["/usr/bin/python3", "-c", documented()], cwd=folder, capture_output=True, text=True)
    return done.stdout.split()[:2] if done.returncode == 0 else ["broken"]


def record_one(f):
    """A session with a secret, colours, bytes that are no text, and more than one hash covers; and its terminal."""
    session = create(f, shell="bash", audit=True, cols=90, rows=30)
    t = Terminal(f, session, cols=90, rows=30)
    t.until(b"$ ")
    t.type(b"read -s -p 'word: ' w\r")
    t.until(b"word: ")
    wait_for("no echo", lambda: run(f, session, "stty -F /dev/pts/0 -a | grep -c -e ' -echo '")["stdout"] == "1\n")
    t.type(b"secret-word\r")
    t.until(lambda: t.output.count(b"$ ") >= 2)
    t.type("printf '\\033[31mr\u00f6t\\033[0m\\377\\376\\n'; head -c 150000 /dev/urandom | base64\r".encode())
    t.until(lambda: t.output.count(b"$ ") >= 3)
    t.resize(70, 20)
    t.type(b"echo en''d\r")
    t.until(b"end\r\n")
    return session, t


def test_a_recording_plays_and_tells_of_each_flipped_bit(farm, tmp_path):
    session, t = record_one(farm)
    answer = end(farm, session, "?audit=1")
    t.end()
    kept = files(answer)
    for name in ("session.log.gz", "session.timing", "session.cast", "session.chain"):
        (tmp_path / name).write_bytes(kept[name])
    for data in (gzip.decompress(kept["session.log.gz"]), kept["session.cast"], kept["session.timing"], kept["session.chain"]):
        assert b"secret-word" not in data
    # Any locale with UTF-8 will do; it does not ask the terminal for keys that is not there.
    played = subprocess.run(["asciinema", "play", "-s", "1000", "-i", "0.001", tmp_path / "session.cast"], stdin=subprocess.DEVNULL,
                            capture_output=True, check=True, env=os.environ | {"LC_ALL": "C.UTF-8", "HOME": str(tmp_path)})
    assert t.output.decode(errors="replace") in played.stdout.decode()
    (tmp_path / "log").write_bytes(gzip.decompress(kept["session.log.gz"]))
    replayed = subprocess.run(["scriptreplay", "-d", "1000", "-t", tmp_path / "session.timing", tmp_path / "log"], capture_output=True, check=True)
    assert t.output.strip() in replayed.stdout

    assert answer["audit_intact"] is True and re.fullmatch("[0-9a-f]{64}", answer["audit_chain"])
    assert f"chain={answer['audit_chain']}" in farm.log("sessiond")
    alone = tmp_path / "alone"
    alone.mkdir()
    names = ["session.log.gz", "session.timing", "session.cast", "session.chain"]
    for name in names:
        os.link(tmp_path / name, alone / name)
    done = subprocess.run(["/usr/bin/python3", "-c", documented()], cwd=alone, capture_output=True, text=True, check=True)
    assert done.stdout == f"as it was {answer['audit_chain']}\n"
    assert kept["session.chain"].count(b"\n") > 4 and kept["session.chain"].endswith(answer["audit_chain"].encode() + b" session.cast\n")

    dice = random.Random(14)
    for name in names:
        whole = kept[name]
        places = [0, len(whole) - 1] + [dice.randrange(len(whole)) for _ in range(200 if LONG else 4)]
        for at in places:
            changed = bytearray(whole)
            changed[at] ^= 1 << dice.randrange(8)
            (alone / name).unlink()
            (alone / name).write_bytes(changed)
            assert tried(alone)[0] in ("changed", "broken"), (name, at)
        for cut in (whole[:-1], whole + b"\n", whole[:len(whole) // 2]):
            (alone / name).write_bytes(cut)
            assert tried(alone)[0] in ("changed", "broken"), name
        (alone / name).write_bytes(whole)
    assert tried(alone) == ["as", "it"]


def test_a_bit_that_flips_on_the_nodes_disk_is_told(farm):
    session, t = record_one(farm)
    fds = pathlib.Path(f"/proc/{shims(farm)[session]}/fd")
    stored = [fd for fd in fds.iterdir() if os.readlink(fd).startswith(f"{farm.dir}/data/sessions/")]
    assert len(stored) == 2
    record = next(fd for fd in stored if fd.read_bytes()[:8] != t.output[:8])  # the other one is what it printed
    with open(record, "r+b") as f:
        f.seek(1000)
        byte = f.read(1)[0]
        f.seek(1000)
        f.write(bytes([byte ^ 4]))
    answer = end(farm, session)
    assert answer["audit_intact"] is False
    assert f"chain={answer['audit_chain']} damaged=yes" in farm.log("sessiond")
    t.close()
