"""The benchmark works: its short form has every row, its tools tell errors.

Nothing here asserts a time; what is fast or slow is the benchmark's to say.
"""

import json
import os
import pathlib
import socket
import subprocess
import sys
import threading
import xml.etree.ElementTree as tree

import pytest
from farm import BUILD, PUBLIC, ROOT, SECRET

sys.path.insert(0, str(ROOT / "bench"))
import machine  # noqa: E402
import measure  # noqa: E402
import page  # noqa: E402
import svg  # noqa: E402
import where  # noqa: E402

# Every row of the targets, and what its value must be in: nothing that a
# machine could be too slow or too fast for.
ROWS = {
    "sync_python": (0.1, 60e3), "sync_bash": (0.1, 60e3), "sync_compiled": (0.1, 60e3), "sync_program": (0.1, 60e3),
    "throughput_python": (0.01, 1e6), "throughput_bash": (0.01, 1e6), "polling": (1, 1e7), "wall_limit": (0, 60e3),
    "queue_enqueue": (1, 1e7), "queue_take": (1, 1e7), "sandbox_private": (0.001, 50), "sandbox_charged": (0.001, 200),
    "session_create": (0.1, 60e3), "session_echo": (1e-3, 60e3), "session_freeze": (1e-4, 60e3), "session_thaw": (1e-4, 60e3),
    "session_wake": (0.01, 60e3), "session_memory": (-500, 500),  # of the whole machine, where others work
}  # fmt: skip
COMPARED = {"sync_python", "sync_bash", "sync_compiled", "throughput_python", "polling", "queue_enqueue", "queue_take"}
CURVES = {"throughput", "throughput-cpu", "latency", "size-cpu", "output", "files", "waiting",
          "queue", "ready-memory", "ready-latency"}  # fmt: skip


def run(*args, seconds=400):
    return subprocess.run(
        [ROOT / "bench/run", *map(str, args)], capture_output=True, text=True, timeout=seconds,
        env=os.environ | {"BUILD": str(BUILD)},
    )  # fmt: skip


def load(*args):
    done = subprocess.run(
        [BUILD / "bench-load", "-k", PUBLIC, "-s", SECRET, *map(str, args)], capture_output=True, text=True, timeout=200
    )
    return done, [json.loads(line) for line in done.stdout.splitlines()]


# ---- the whole ----


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    out = tmp_path_factory.mktemp("bench")
    done = run("--quick", "--out", out)
    assert done.returncode == 0, done.stdout + done.stderr
    return out, json.loads((out / "result.json").read_text()), done.stdout


def test_every_row_is_there_and_sane(quick):
    _, found, text = quick
    rows = {r["key"]: r for r in found["rows"]}
    assert set(rows) >= set(ROWS)
    for key, (low, high) in ROWS.items():
        assert low <= rows[key]["value"] <= high, rows[key]
        assert rows[key]["what"] in text
    for key in COMPARED:
        assert rows[key]["bare"] > 0 and rows[key]["ratio"] > 0, rows[key]
        assert rows[key]["pass"] in (True, False), rows[key]


def test_a_row_passes_when_its_limit_is_kept(quick):
    _, found, _ = quick
    for r in found["rows"]:
        if r["limit"] is None or r["judged"] is None:
            assert r["pass"] is None, r
        elif r["target"].startswith("≥"):
            assert r["pass"] == (r["judged"] >= r["limit"]), r
        else:
            assert r["pass"] == (r["judged"] <= r["limit"]), r


def test_curves_are_drawn(quick):
    out, found, _ = quick
    assert {c["key"] for c in found["curves"]} == CURVES
    for curve in found["curves"]:
        root = tree.parse(out / f"{curve['key']}.svg").getroot()
        lines = [e for e in root.iter() if e.tag.endswith("polyline")]
        assert len(lines) == len(curve["series"]) > 0
        for line, points in zip(lines, curve["series"].values()):
            assert len(line.get("points").split()) == len(points) >= 2
        text = {e.text for e in root.iter() if e.tag.endswith("text")}
        assert {curve["title"], curve["x"], curve["y"]} <= text


def test_machine_floor_and_others_are_stated(quick):
    _, found, text = quick
    assert found["machine"]["cores"] == os.cpu_count() and found["machine"]["kernel"] in text
    assert found["gate"]["batches"] > 10 and found["quick"] is True
    peers = found["peers"]
    assert {"bare", "farm"} <= set(peers["measured"])
    everyone = set(peers["measured"]) | set(peers["missing"])
    assert everyone >= {"bubblewrap", "runc", "firejail", "nsjail", "systemd-nspawn"}
    for by in peers["measured"].values():
        assert by["python"]["ms"] > 0 and by["bash"]["ratio"] > 0
    assert peers["measured"]["bare"]["python"]["ratio"] == 1


def test_profile_says_where_time_goes(quick):
    _, found, _ = quick
    used = found["profile"]["cpu"]["cpu_us"]
    assert {"gateway", "worker process", "worker master", "Redis", "client"} <= set(used)
    assert all(0 < v < 60e6 for v in used.values()), used
    for part in ("samples", "calls"):  # whether perf is there and allowed is the machine's to say
        assert found["profile"][part].get("unavailable") or found["profile"][part], found["profile"]


def test_soak_tells_drift(tmp_path):
    done = run("--soak", 10, "--out", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "soak.json").read_text())
    assert found["whole"]["errors"] == 0 and found["whole"]["operations"] > 0
    assert found["rate"] == pytest.approx(0.8 * found["capacity"])
    # Open loop: as many as were due, however slow the machine.
    assert found["whole"]["operations"] == pytest.approx(10 * found["rate"], rel=0.05, abs=2)
    assert {"p50", "gateway", "worker", "redis", "scheduler"} <= set(found["drift"])
    assert all(v > 0 for v in found["drift"].values()), found["drift"]
    for name in ("soak-latency", "soak-memory"):
        tree.parse(tmp_path / f"{name}.svg")


def test_unknown_part_is_refused(tmp_path):
    done = run("--only", "nonsense", "--out", tmp_path)
    assert done.returncode != 0 and "nonsense" not in done.stdout and "latency" in done.stderr


# ---- load ----


def body(tmp_path, request):
    path = tmp_path / "body.json"
    path.write_text(json.dumps(request))
    return path


ECHO = {"language": "bash", "code": "echo 1"}


@pytest.mark.parametrize("wait", [20, 0], ids=["long poll", "plain polls"])
def test_async_runs_each_job_to_its_result(farm, tmp_path, wait):
    before = {j["job_id"] for j in farm.get("/jobs").json()["jobs"]}
    done, lines = load("-m", "async", "-P", farm.port, "-b", body(tmp_path, ECHO), "-n", 5, "-c", 2, "-w", wait,
                       "-e", '"stdout":"1\\n"')  # fmt: skip
    assert done.returncode == 0, done.stderr
    (line,) = lines
    assert line["operations"] == line["us"]["n"] == 5 and line["errors"] == 0
    assert line["requests"] >= 10 and line["statuses"] == {"200": line["requests"]}
    us = line["us"]
    assert 0 < us["min"] <= us["p50"] <= us["p90"] <= us["p99"] <= us["p99.9"] <= us["max"]
    jobs = {j["job_id"]: j for j in farm.get("/jobs").json()["jobs"]}
    new = set(jobs) - before
    assert len(new) == 5 and all(jobs[j]["status"] == "completed" for j in new)


def test_what_goes_wrong_is_no_measurement(farm, tmp_path):
    """Each of these would be fast; none may count."""
    failing = body(tmp_path, {"language": "bash", "code": "echo 2"})
    for how in (
        ("-m", "sync", "-b", failing, "-e", '"stdout":"1\\n"'),  # another answer
        ("-m", "async", "-b", failing, "-e", '"stdout":"1\\n"'),
        ("-m", "get", "-p", "/jobs/job_1_0"),  # 4xx
        ("-m", "get", "-k", "unsb-pk-none-0000-0000-0000", "-p", "/jobs"),  # 401
    ):
        done, lines = load("-P", farm.port, "-n", 3, *how)
        assert done.returncode == 1 and "3 errors" in done.stderr, (how, done)
        assert lines[0]["operations"] == 0 and lines[0]["errors"] == 3 and lines[0]["us"]["n"] == 0


def test_nobody_listens():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))  # bound, not listening: refused
        done, lines = load("-m", "hello", "-P", s.getsockname()[1], "-n", 2)
    assert done.returncode == 1 and lines[0]["errors"] == 2


def stalling_server(listener, stall):
    """Answers each request; the third one only after `stall` was set."""
    conn, _ = listener.accept()
    with conn:
        for i in range(1000):
            data = b""
            while not data.endswith(b"\r\n\r\n"):
                more = conn.recv(4096)
                if not more:
                    return
                data += more
            if i == 2:
                stall.wait(60)
            conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


def test_open_loop_counts_the_wait_behind_a_stall():
    """20 requests a second on one connection that stalls for a second: those
    that were due meanwhile waited too.  Counted from when they were sent, the
    median would be microseconds."""
    stall = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=stalling_server, args=(listener, stall), daemon=True)
        server.start()
        timer = threading.Timer(1.5, stall.set)
        timer.start()
        done, lines = load("-m", "hello", "-P", listener.getsockname()[1], "-r", 20, "-n", 24)
        timer.join()
    assert done.returncode == 0, done.stderr
    us = lines[0]["us"]
    assert us["n"] == 24 and us["max"] > 1_200_000
    assert us["p50"] > 300_000, us


def test_intervals_add_up(farm):
    done, lines = load("-m", "hello", "-P", farm.port, "-t", 1.2, "-r", 100, "-i", 0.3)
    assert done.returncode == 0, done.stderr
    whole = lines.pop()
    assert len(lines) >= 3 and sum(line["us"]["n"] for line in lines) <= whole["us"]["n"] == 120
    assert [line["at"] for line in lines] == sorted(line["at"] for line in lines)


# ---- floor, queue, hello ----


def floor(*args):
    return subprocess.run([BUILD / "bench-floor", *map(str, args)], capture_output=True, text=True, timeout=100)


def test_floor_runs_what_it_says():
    done = floor("-n", 3, "-j", 2, "-e", "one", "--", "sh", "-c", "echo one")
    line = json.loads(done.stdout)
    assert done.returncode == 0 and line["operations"] == line["us"]["n"] == 6 and line["errors"] == 0


@pytest.mark.parametrize("argv", [["false"], ["/no/such"], ["sh", "-c", "echo two"]], ids=lambda a: a[0])
def test_floor_counts_no_failure(argv):
    done = floor("-n", 3, "-e", "one", "--", *argv)
    line = json.loads(done.stdout)
    assert done.returncode == 1 and line["operations"] == 0 and line["errors"] == 3


def test_queue_keeps_its_depth():
    with measure.BareRedis() as empty, measure.BareRedis() as full:
        lines = measure.tool("queue", "-d", "0,300", "-n", 100, "-k", 7, empty.url, full.url)

        def waiting(server):
            out = subprocess.run(
                ["redis-cli", "-s", server.url.removeprefix("unix:"), "HGET", "{unfarm}:stats", "waiting"],
                capture_output=True, text=True, check=True,
            )  # fmt: skip
            return int(out.stdout)

        assert (waiting(empty), waiting(full)) == (0, 300)
    assert [line["depth"] for line in lines] == [0, 300]
    assert all(line[q][s]["n"] == 100 for line in lines for q in ("empty", "full") for s in ("enqueue", "take", "finish"))


# ---- tables, charts, profiles ----


def test_drift_compares_the_last_third_with_the_middle():
    flat = [(i, 5.0) for i in range(30)]
    assert measure.drift(flat) == 1
    assert measure.drift([(i, 100.0) for i in range(10)] + flat[:20]) == 1  # the first third warms up
    assert measure.drift([(i, 1.0 + i) for i in range(30)]) > 1.3
    assert measure.drift(flat[:2]) is None


def test_gate_waits_no_longer_than_its_budget(monkeypatch):
    gate = machine.Gate(0.5)
    monkeypatch.setattr(gate, "QUIET", 2)  # no machine is that quiet
    for _ in range(20):
        gate()
    assert gate.left == 0 and gate.summary() == gate.summary() | {"batches": 20, "quiet": 0}


def test_stacks_are_folded_by_who_ran():
    text = (
        "unfarm-gateway  11 \n\t ffff do_syscall_64+0x1 ([kernel.kallsyms])\n\t 55 main+0x2 (/x/unfarm-gateway)\n\n"
        "memfd:sandbox-i  99 \n\t 40 [unknown] (/memfd:sandbox-init (deleted))\n\n"
        "unfarm-gateway  11 \n\t ffff do_syscall_64+0x9 ([kernel.kallsyms])\n\t 55 main+0x3 (/x/unfarm-gateway)\n\n"
    )
    assert where.stacks_of(text, {11: "gateway"}) == {
        ("gateway", "main", "do_syscall_64_[k]"): 2,
        ("sandbox: init", "in memfd:sandbox-init"): 1,
    }


def test_flame_graph_widths_are_shares(tmp_path):
    svg.flame(tmp_path / "f.svg", "t", {("a", "b"): 3, ("a", "c"): 1, ("<d>",): 4}, width=800)
    root = tree.parse(tmp_path / "f.svg").getroot()
    wide = {}
    for g in root.iter():
        if g.tag.endswith("}g"):
            title, rect = list(g)[:2]
            wide[title.text.rsplit(" ", 2)[0]] = float(rect.get("width"))
    assert wide == {"all": 800, "a": 400, "b": 300, "c": 100, "<d>": 400}


def test_chart_places_points_on_its_axes(tmp_path):
    svg.chart(tmp_path / "c.svg", "t", "x", "y", {"s": [(0, 1), (10, 10), (1000, 100)]}, logx=True, logy=True)
    line = next(e for e in tree.parse(tmp_path / "c.svg").getroot().iter() if e.tag.endswith("polyline"))
    xs, ys = zip(*(map(float, p.split(",")) for p in line.get("points").split()))
    assert xs[0] == svg.LEFT and xs[-1] == svg.W - svg.RIGHT  # 0 at the low end, the largest decade at the high one
    assert ys[0] - ys[1] == pytest.approx(ys[1] - ys[2], abs=0.2)  # equal ratios are equal distances
    assert ys[0] == svg.H - svg.BOTTOM and ys[2] == svg.TOP


def test_page_has_a_place_for_every_table():
    text = page.PAGE.read_text()
    for name in ("machine", "targets", "others", "curves", "profile", "soak"):
        changed = page.replace(text, name, "HERE")
        assert changed.count("HERE") == 1 and changed != text
    with pytest.raises(AssertionError):
        page.replace(text, "nothing", "HERE")


def test_page_shows_only_pictures_that_are_there():
    text = page.PAGE.read_text()
    shown = set(page.pictures(text))
    assert shown >= {"throughput.svg", "queue.svg", "flame.svg"}
    for name in shown:
        tree.parse(pathlib.Path(page.PICTURES, name))
