"""Every installed language, over the registry: hello, Fibonacci, an input file,
an exit code of its own, the time limit, the memory limit, a compile error.

The programs are in tests/langs/NAME/; expect.json there tells what a language
truly cannot do, with the reason, and where its numbers differ.
"""

import base64
import concurrent.futures
import json
import pathlib
import subprocess

import pytest
from farm import ROOT, Farm

FIB = "".join(f"fib({n}) = {v}\n" for n, v in enumerate((0, 1, 1, 2, 3, 5, 8, 13, 21, 34, 55)))
KINDS = ("hello", "fib", "input", "exit", "spin", "memory", "broken")
DATA = base64.b64encode(b"hello input\n").decode()


def records():
    for path in sorted((ROOT / "conf/languages.d").glob("*.json")):
        yield json.loads(path.read_text())


def installed():
    """By the installer's own word, so that the tests are listed before a farm runs."""
    listing = subprocess.run(
        ["/usr/bin/python3", ROOT / "scripts/languages", "list"], capture_output=True, text=True, check=True
    ).stdout
    names = {line.split()[0] for line in listing.splitlines() if line.endswith(" installed")}
    return [r for r in records() if r["name"] in names]


LANGUAGES = {r["name"]: r for r in installed()}


def folder(name):
    return ROOT / "tests/langs" / name


def expectations(name):
    path = folder(name) / "expect.json"
    return json.loads(path.read_text()) if path.exists() else {}


def program(record, kind):
    if kind == "hello":
        return record["hello"]
    ext = pathlib.Path(record["source"]).suffix
    return (folder(record["name"]) / f"{kind}{ext}").read_text()


def options(record, kind):
    want = expectations(record["name"])
    opts = {"language": record["name"], "ttl": 30}
    if kind == "input":
        opts["input_files"] = [{"filename": "data.txt", "content": DATA}]
    if kind == "spin":
        opts["ttl"] = 2
    if kind == "memory":
        opts["memory_mb"] = max(want.get("memory_mb", 128), record["limits"]["min_memory_mb"])
    return opts


def missing_packages(record):
    """gcc is there for C, but not the part of it that Objective-C needs."""
    def absent(package):
        query = ["dpkg-query", "-W", "-f", "${Status}", package]
        out = subprocess.run(query, capture_output=True, text=True).stdout
        return out != "install ok installed"

    return [p for p in record["packages"]["apt"] if absent(p)]


@pytest.fixture(scope="module")
def results():
    """All programs of all languages, some at a time; collected once."""
    found = {}

    def one(farm, record, kind):
        body = {**options(record, kind), "code": program(record, kind)}
        job_id = farm.post("/execute/async", body).json()["job_id"]
        return farm.wait_job(job_id, 180)

    with Farm(conf={"worker": {"slots": 6}}) as farm:
        farm.wait_canaries()
        listed = farm.get("/languages", sign=False).json()["languages"]
        found["listed"] = set(listed)
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            jobs = {
                (name, kind): pool.submit(one, farm, record, kind)
                for name, record in LANGUAGES.items() if name in found["listed"]
                for kind in KINDS if kind not in expectations(name).get("skip", {})
            }
        found.update({key: job.exception() or job.result() for key, job in jobs.items()})
        yield found


@pytest.mark.parametrize("name", [r["name"] for r in records()])
def test_every_record_has_its_programs(name):
    want = expectations(name).get("skip", {})
    record = json.loads((ROOT / f"conf/languages.d/{name}.json").read_text())
    for kind in KINDS[1:]:
        assert kind in want or program(record, kind)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", LANGUAGES)
def test_language(results, name, kind):
    want = expectations(name)
    if kind in want.get("skip", {}):
        pytest.skip(f"{name} {kind}: {want['skip'][kind]}")
    if name not in results["listed"] and (missing := missing_packages(LANGUAGES[name])):
        pytest.skip(f"{name}: only half installed, without {' '.join(missing)}")
    assert name in results["listed"], "its canary failed; see the worker's log"
    r = results[name, kind]
    if isinstance(r, BaseException):
        raise r
    check(r, kind, want, LANGUAGES[name])


def same(r, text, want):
    """Some interpreters print a banner of their own around the program's output."""
    return text in r["stdout"] if want.get("banner") else r["stdout"] == text


def check(r, kind, want, record):
    shown = {k: r.get(k) for k in ("status", "end_reason", "exit_code", "stdout", "stderr", "error")}
    if kind == "hello":
        assert r["stdout"] == record["hello_output"], shown
    elif kind == "fib":
        assert same(r, FIB, want) and r["exit_code"] == want.get("fib_exit", 0), shown
    elif kind == "input":
        assert same(r, want.get("input_output", "hello input\n"), want), shown
    elif kind == "exit":
        assert r["exit_code"] == want.get("exit_code", 3) and r["end_reason"] == "exited", shown
    elif kind == "spin":
        assert r["status"] == "timeout" and r["exit_code"] == 124, shown
        assert want.get("banner") or r["stdout"] == "", shown
    elif kind == "memory":
        # Killed at the limit, or the runtime noticed and gave up by itself.
        assert r["status"] == "completed" and r["exit_code"] != 0, shown
    else:
        assert r["exit_code"] == want.get("broken_exit", r["exit_code"] or 1), shown
        assert r["stderr"] or r["stdout"], shown
