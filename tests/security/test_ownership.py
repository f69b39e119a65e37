"""A key sees its own jobs and nobody else's: over every route there is.

The table is the gateway's own: a route that is not sorted in here makes a test fail. Another key's job is
answered to the byte as one that never was, so that not even its being there is told.
"""

import http.client
import json
import re
import subprocess

import pytest
from farm import BUILD, PUBLIC, SECRET, wait_for

# (method, path): what it could show or touch of another key.
MAKES, LISTS, ONE_JOB, PUBLIC_FIGURES, OWN_KEY = "makes a job", "lists jobs", "one job", "figures", "its own key"
SESSIONS, ONE_SESSION, TERMINAL = "makes or lists sessions", "one session", "its terminal, also with a ticket"
SCOPES = {PUBLIC_FIGURES: "public", TERMINAL: "maybe"}
ROUTES = {
    ("POST", "/execute"): MAKES,
    ("POST", "/execute/async"): MAKES,
    ("POST", "/run"): MAKES,
    ("POST", "/run/async"): MAKES,
    ("GET", "/jobs"): LISTS,
    ("GET", "/jobs/{id}"): ONE_JOB,
    ("GET", "/jobs/{id}/wait"): ONE_JOB,
    ("DELETE", "/jobs/{id}"): ONE_JOB,
    ("POST", "/jobs/{id}/cancel"): ONE_JOB,
    ("GET", "/languages"): PUBLIC_FIGURES,
    ("GET", "/shells"): PUBLIC_FIGURES,
    ("GET", "/health"): PUBLIC_FIGURES,
    ("GET", "/ready"): PUBLIC_FIGURES,
    ("GET", "/cluster"): PUBLIC_FIGURES,
    ("GET", "/pools"): PUBLIC_FIGURES,
    ("GET", "/stats"): PUBLIC_FIGURES,
    ("GET", "/system/stats"): PUBLIC_FIGURES,
    ("GET", "/system"): PUBLIC_FIGURES,
    ("GET", "/pool"): PUBLIC_FIGURES,
    ("GET", "/status"): PUBLIC_FIGURES,
    ("GET", "/metrics"): PUBLIC_FIGURES,
    ("POST", "/keys/validate"): OWN_KEY,
    # tests/sessions/test_sessions.py asks for each of these with another key, too.
    ("POST", "/sessions"): SESSIONS,
    ("GET", "/sessions"): SESSIONS,
    ("GET", "/sessions/{id}"): ONE_SESSION,
    ("DELETE", "/sessions/{id}"): ONE_SESSION,
    ("PATCH", "/sessions/{id}"): ONE_SESSION,
    ("GET", "/sessions/{id}/shell"): TERMINAL,
    ("POST", "/sessions/{id}/shell"): ONE_SESSION,
    ("POST", "/sessions/{id}/execute"): ONE_SESSION,
    ("POST", "/sessions/{id}/freeze"): ONE_SESSION,
    ("POST", "/sessions/{id}/unfreeze"): ONE_SESSION,
    ("POST", "/sessions/{id}/boost"): ONE_SESSION,
    ("POST", "/sessions/{id}/unboost"): ONE_SESSION,
    ("POST", "/sessions/{id}/tickets"): ONE_SESSION,
}
PLACES = [route for route, kind in ROUTES.items() if kind == ONE_JOB]
MARK = "only-for-its-owner"


def create_key(farm):
    out = subprocess.run([BUILD / "unfarm", "-c", farm.dir / "unfarm.conf", "key", "create", "--json"],
                         capture_output=True, text=True, check=True)
    key = json.loads(out.stdout)
    return key["public_key"], key["secret_key"]


@pytest.fixture(scope="module")
def keys(farm):
    """One with jobs, and one that wants them."""
    return create_key(farm), create_key(farm)


@pytest.fixture(scope="module")
def jobs(farm, keys):
    """Of the first key: one that runs, one that is done, one that was cancelled; none that ends by itself."""
    made = {}
    for name, code in (("running", "sleep 300"), ("done", f"echo {MARK}"), ("cancelled", "sleep 300")):
        body = {"language": "bash", "code": f": {MARK}; {code}", "ttl": 600, "env": {"SECRET": MARK}}
        made[name] = farm.post("/execute/async", body, key=keys[0]).json()["job_id"]

    def state(name):
        return farm.get("/jobs/" + made[name], key=keys[0]).json()["status"]

    farm.delete("/jobs/" + made["cancelled"], key=keys[0])
    wait_for("the states", lambda: (state("running"), state("done"), state("cancelled")) == ("running", "completed", "cancelled"))
    yield made
    farm.delete("/jobs/" + made["running"], key=keys[0])


def record(farm, job):
    """All that Redis has of it, but for how long it will."""
    return farm.redis("HGETALL", f"{{unfarm}}:job:{job}"), farm.redis("GET", f"{{unfarm}}:body:{job}")


def test_every_route_is_sorted_in():
    out = subprocess.run([BUILD / "unfarm-gateway", "--routes"], capture_output=True, text=True, check=True).stdout
    table = {tuple(line.split()[:2]): line.split()[2] for line in out.splitlines()}
    assert set(table) == set(ROUTES)
    for (method, path), kind in ROUTES.items():
        assert table[method, path] == SCOPES.get(kind, "signed"), (method, path)
        assert ("{" in path) == (kind in (ONE_JOB, ONE_SESSION, TERMINAL)), (method, path)


@pytest.mark.parametrize("name", ["running", "done", "cancelled"])
@pytest.mark.parametrize("method, path", PLACES)
def test_another_keys_job_is_as_one_that_never_was(farm, keys, jobs, name, method, path):
    before = record(farm, jobs[name])
    never = jobs[name][:-6] + ("abcdef" if not jobs[name].endswith("abcdef") else "fedcba")
    assert PUBLIC != keys[0][0] in before[0] and record(farm, never) == ("", "")
    for tail in ("", "/", "?wait=1", f"?key={keys[0][0]}", f"?public_key={keys[0][0]}"):
        for verb in (method, "HEAD") if method == "GET" else (method,):
            theirs, nobodys = (farm.call(verb, path.replace("{id}", job) + tail, b"", key=keys[1]) for job in (jobs[name], never))
            assert theirs.status_code == nobodys.status_code == 404, (verb, tail)
            assert theirs.content == nobodys.content and MARK not in theirs.text
            assert {k: v for k, v in theirs.headers.items() if k != "Date"} == {k: v for k, v in nobodys.headers.items() if k != "Date"}
    assert record(farm, jobs[name]) == before, "it left a trace in the job"


def test_its_owner_sees_it_by_the_same_calls(farm, keys, jobs):
    for method, path in PLACES:
        r = farm.call(method, path.replace("{id}", jobs["done"]), b"", key=keys[0])
        assert r.status_code == 200 and r.json()["id"] == jobs["done"] and MARK in r.text, (method, path)


@pytest.mark.parametrize("method, path", PLACES)
def test_ids_that_are_guessed_or_crooked_find_nothing(farm, keys, jobs, method, path):
    job = jobs["done"]
    head, number, tail = job.rsplit("_", 2)
    near = [f"{head}_{int(number) + d}_{tail}" for d in (-1, 1)] + [f"{head}_{number}_{tail[:-1]}{c}" for c in "0123456789abcdef" if c != tail[-1]]
    crooked = ["*", "job_*", "[a-z]", ".", "..", f"../jobs/{job}", f"{job}%00", f"{job}%2f", f"{job}.", f"{job}:", f"{job},{job}", job.upper(), job[:-1],
               job + "0", f"%6a{job[1:]}", "{unfarm}:job:" + job, "body:" + job, f"{job}%0d%0aX:%20y", "_", "-1", "0", "null", "undefined", "%ff", "é",
               "a" * 4000]  # fmt: skip
    for name in near + crooked:
        for key in keys if name in near else (keys[1],):
            status, body = raw_target(farm, method, path.replace("{id}", name), key)
            assert status in (404, 405) and MARK.encode() not in body, (name, body)


def raw_target(farm, method, target, key):
    """As it is written: a library would resolve `..` and quote the rest. Status and body."""
    sent = target.encode().decode("latin-1")
    connection = http.client.HTTPConnection("127.0.0.1", farm.port, timeout=20)
    connection._encode_request = lambda request: request.encode("latin-1")
    connection._validate_path = lambda url: None
    stamp = farm.sign(method, target, b"", key=key)
    connection.request(method, sent, headers=stamp)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, body


def test_a_list_holds_the_keys_own_jobs_only(farm, keys, jobs):
    mine = farm.post("/execute/async", {"language": "bash", "code": "true"}, key=keys[1]).json()["job_id"]
    for tail in ("", "?limit=100", f"?key={keys[0][0]}", f"?limit=100&public_key={keys[0][0]}", "?all=true", "?status=running"):
        listed = farm.get("/jobs" + tail, key=keys[1]).json()
        assert [j["job_id"] for j in listed["jobs"]] == [mine] and listed["count"] == 1
    owned = farm.get("/jobs?limit=100", key=keys[0]).json()["jobs"]
    assert {j["job_id"] for j in owned} == set(jobs.values())
    assert farm.get("/jobs", key=create_key(farm)).json() == {"jobs": [], "count": 0}


@pytest.mark.parametrize("path", [path for (_, path), kind in ROUTES.items() if kind == MAKES])
def test_an_idempotency_key_belongs_to_its_api_key(farm, keys, path):
    """The same word of another key is another word: it neither finds the job nor learns that it is there."""
    body = f"#!/bin/bash\necho {MARK}" if path.startswith("/run") else json.dumps({"language": "bash", "code": f"echo {MARK}"})
    word = {"Idempotency-Key": "order-1-" + path}
    first = farm.call("POST", path, body, key=keys[0], headers=word)
    assert first.status_code == 200
    again = farm.call("POST", path, body, key=keys[0], headers=word)
    assert again.json()["job_id"] == first.json()["job_id"] and again.headers["Idempotent-Replayed"] == "true"
    for other in (body, body.replace(MARK, "else")):
        theirs = farm.call("POST", path, other, key=create_key(farm), headers=word)
        assert theirs.status_code == 200 and "Idempotent-Replayed" not in theirs.headers
        assert theirs.json()["job_id"] != first.json()["job_id"]


@pytest.mark.parametrize("path", [path for (_, path), kind in ROUTES.items() if kind == PUBLIC_FIGURES])
def test_public_figures_name_no_job_and_no_key(farm, keys, jobs, path):
    for sign in (False, True):
        r = farm.get(path, sign=sign, **({"key": keys[1]} if sign else {}))
        assert r.status_code == 200
        text = r.text + str(r.headers)
        for secret in (MARK, keys[0][0], keys[0][1], PUBLIC, "unsb-pk-", "unsb-sk-", *jobs.values(), str(farm.dir)):
            assert secret not in text, secret
        assert not re.search(r"job_\d{6,}_|/var/|/tmp/|redis\.sock", text)


def test_validate_speaks_of_the_caller_only(farm, keys):
    for body in (b"{}", json.dumps({"public_key": keys[0][0], "key": keys[0][0]}).encode()):
        r = farm.post("/keys/validate", body, key=keys[1])
        assert r.json()["public_key"] == keys[1][0] and keys[0][0] not in r.text and keys[1][1] not in r.text


def test_the_jobs_of_a_deleted_key_are_nobodys(farm):
    gone = create_key(farm)
    job = farm.post("/execute/async", {"language": "bash", "code": f"echo {MARK}"}, key=gone).json()["job_id"]
    wait_for("it to end", lambda: farm.get(f"/jobs/{job}", key=gone).json()["status"] == "completed")
    subprocess.run([BUILD / "unfarm", "-c", farm.dir / "unfarm.conf", "key", "delete", gone[0]], check=True, capture_output=True)
    wait_for("the key to be gone", lambda: farm.get("/jobs", key=gone).status_code == 401)
    assert farm.get(f"/jobs/{job}", key=gone).status_code == 401 and farm.get(f"/jobs/{job}").status_code == 404


def test_what_operators_do_has_no_route(farm):
    """Keys, settings and the queue are for `unfarm` on a machine with the master key and Redis."""
    for path in ("/keys", f"/keys/{PUBLIC}", "/admin", "/config", "/settings", "/workers", "/leases", "/queue", "/redis", "/debug", "/debug/pprof", "/.env", "/unfarm.conf",
                 "/data/master.key", "/../data/master.key", "/%2e%2e/data/master.key", "//etc/passwd", "/jobs/../keys"):
        for method in ("GET", "POST", "PUT", "DELETE", "PATCH"):
            status, body = raw_target(farm, method, path, key=(PUBLIC, SECRET))
            assert status in (404, 405) and b"unsb-sk" not in body, (method, path)
