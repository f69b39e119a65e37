"""The execute path through real HTTP, Redis, worker and sandbox."""

import base64
import hashlib
import json
import time

import pytest
import requests
from farm import redis_script, wait_for


def test_a_program_runs_and_its_result_has_every_documented_field(farm):
    r = farm.run("python", 'print("hi")')
    assert r["stdout"] == "hi\n" and r["stderr"] == "" and r["output"] == "hi\n"
    assert r["success"] is True and r["exit_code"] == 0 and r["status"] == "completed"
    assert r["id"] == r["job_id"] and r["language"] == "python"
    assert r["network_mode"] == "zerotrust" and r["artifacts"] == []
    assert r["execution_mode"] == "pooled"
    for field in ("total_time_ms", "execution_time_ms", "execution_time", "duration_ms"):
        assert isinstance(r[field], int)
    assert r["end_reason"] == "exited"
    assert {"user", "mount", "pid", "net", "seccomp"} <= set(r["isolation"].split(","))
    assert r["run"]["wall_ms"] >= 0 and r["run"]["memory_bytes"] > 0


def test_the_answer_is_compact_with_the_scalars_before_nested_objects(farm):
    text = farm.post("/execute", {"language": "bash", "code": "echo x"}).text
    assert '": ' not in text and "null" not in text and '"error"' not in text
    keys = list(json.loads(text))
    assert keys[:8] == ["job_id", "id", "status", "success", "stdout", "stderr", "output", "exit_code"]
    nested = [k for k, v in json.loads(text).items() if isinstance(v, dict)]
    assert keys.index(nested[0]) > keys.index("duration_ms")


def test_a_failed_program_is_a_success_of_the_farm(farm):
    r = farm.run("python", "import sys\nprint('e', file=sys.stderr)\nsys.exit(5)")
    assert r["status"] == "completed" and r["success"] is False
    assert r["exit_code"] == 5 and r["stderr"] == "e\n"


def test_a_job_is_readable_afterwards_flat_and_nested(farm):
    job_id = farm.run("bash", "echo one")["job_id"]
    job = farm.get(f"/jobs/{job_id}").json()
    assert job["stdout"] == "one\n" and job["result"]["stdout"] == "one\n"
    assert job["created_at"].endswith("Z") and job["completed_at"].endswith("Z")


def test_async_then_poll(farm):
    answer = farm.post("/execute/async", {"language": "bash", "code": "sleep 0.3; echo done"}).json()
    assert answer["status"] == "pending" and answer["id"] == answer["job_id"]
    assert "result" not in farm.get(f"/jobs/{answer['id']}").json()
    assert farm.wait_job(answer["id"])["stdout"] == "done\n"


def test_long_poll_comes_back_when_the_job_ends(farm):
    job_id = farm.submit("bash", "sleep 0.5; echo x")
    began = time.monotonic()
    job = farm.get(f"/jobs/{job_id}?wait=20").json()
    assert job["status"] == "completed" and time.monotonic() - began < 10


def calls_during(farm, names, work):
    """How often Redis ran these scripts, inner calls not counted."""
    sha = {name: hashlib.sha1(redis_script(name).encode()).hexdigest() for name in names}
    farm.redis("CONFIG", "SET", "slowlog-max-len", "10000")
    farm.redis("CONFIG", "SET", "slowlog-log-slower-than", "0")
    farm.redis("SLOWLOG", "RESET")
    work()
    farm.redis("CONFIG", "SET", "slowlog-log-slower-than", "-1")
    log = farm.redis("SLOWLOG", "GET", "-1")
    return {name: log.count(sha[name]) for name in names}


def test_a_synchronous_job_is_three_calls_of_redis(farm):
    """enqueue, the take behind its worker's BLPOP, and finish, whose news have the result."""
    def work():
        for _ in range(10):
            assert farm.run("bash", "echo 1")["stdout"] == "1\n"

    seen = calls_during(farm, ("enqueue", "take", "finish", "read"), work)
    assert (seen["enqueue"], seen["finish"], seen["read"]) == (10, 10, 0)
    assert 10 <= seen["take"] <= 15  # the scheduler's tokens wake idle workers, too


def test_a_result_too_large_for_the_news_is_read(farm):
    def work():
        assert len(farm.run("bash", "head -c 20000 /dev/zero | tr '\\0' x")["stdout"]) == 20000

    assert calls_during(farm, ("finish", "read"), work) == {"finish": 1, "read": 1}


def test_what_fills_the_pipe_at_once_arrives_whole(farm):
    """More than a pipe holds, on both, before anybody looks; and what comes late."""
    code = "head -c 300000 /dev/zero | tr '\\0' o; head -c 200000 /dev/zero | tr '\\0' e >&2; sleep 0.1; echo late"
    r = farm.run("bash", code)
    assert r["stdout"] == "o" * 300000 + "late\n" and r["stderr"] == "e" * 200000


def test_jobs_that_sleep_do_not_occupy_a_process(farm):
    """Eight at once on two worker processes: far less than eight seconds."""
    began = time.monotonic()
    for job_id in [farm.submit("bash", "sleep 1") for _ in range(8)]:
        assert farm.wait_job(job_id)["status"] == "completed"
    assert time.monotonic() - began < 6


def test_env_args_and_stdin_arrive_byte_exact(farm):
    odd = 'a "b" $c `d` \\ \n\t;|& é 漢'
    code = "import sys, os, json\nprint(json.dumps([sys.argv[1:], os.environ['ODD'], sys.stdin.read()]))"
    r = farm.run("python", code, args=[odd, "", "x y"], env={"ODD": odd}, stdin=odd)
    assert json.loads(r["stdout"]) == [[odd, "", "x y"], odd, odd]


def test_binary_stdin_and_binary_stdout(farm):
    data = bytes(range(256))
    r = farm.run("bash", "cat", stdin_base64=base64.b64encode(data).decode())
    assert base64.b64decode(r["stdout_base64"]) == data
    assert "�" in r["stdout"]


def test_input_files_are_in_both_places_with_both_content_keys(farm):
    files = [
        {"filename": "data.csv", "content": base64.b64encode(b"a,b\n").decode()},
        {"filename": "sub/dir/x.bin", "content_base64": base64.b64encode(b"\0\1").decode()},
        {"content": base64.b64encode(b"nameless").decode()},
    ]
    code = (
        "import os\n"
        "print(open('data.csv').read(), open('/tmp/input/data.csv').read())\n"
        "print(open('sub/dir/x.bin','rb').read(), sorted(os.listdir('/tmp/input')))\n"
        "print(open('2').read())"
    )
    r = farm.run("python", code, input_files=files)
    assert r["stdout"] == "a,b\n a,b\n\nb'\\x00\\x01' ['2', 'data.csv', 'sub']\nnameless\n", r


def test_a_five_megabyte_file_arrives_whole(farm):
    data = bytes(i * 7 % 256 for i in range(5 << 20))
    r = farm.run("bash", "sha256sum < big", input_files=[
        {"filename": "big", "content": base64.b64encode(data).decode()}])
    import hashlib

    assert r["stdout"].split()[0] == hashlib.sha256(data).hexdigest()


def test_artifacts_come_back_with_the_compiled_binary(farm):
    code = (
        '#include <stdio.h>\nint main(){FILE*f=fopen("/tmp/artifacts/out.txt","w");'
        'fputs("kept",f);fclose(f);puts("ran");return 0;}'
    )
    r = farm.run("c", code, return_artifact=True)
    found = {a["filename"]: base64.b64decode(a["content_base64"]) for a in r["artifacts"]}
    assert found["out.txt"] == b"kept" and found["main"].startswith(b"\x7fELF")
    assert farm.run("c", code)["artifacts"] == []


def test_empty_and_nested_artifacts(farm):
    r = farm.run("bash", "cd /tmp/artifacts; : > flag; mkdir -p a/b; echo x > a/b/c; ln -s /etc/passwd link",
                 return_artifacts=True)
    found = {a["filename"]: base64.b64decode(a["content_base64"]) for a in r["artifacts"]}
    assert found == {"flag": b"", "a/b/c": b"x\n"}


def test_a_compile_error_is_told_with_the_compilers_words(farm):
    r = farm.run("c", "int main(){oops")
    assert r["success"] is False and r["status"] == "completed" and r["exit_code"] == 1
    assert "oops" in r["stderr"] and r["compile"]["exit_code"] == 1 and "run" not in r


def test_compile_and_run_are_measured_apart(farm):
    r = farm.run("c", "int main(){for(volatile long i=0;i<100000000;i++);return 0;}")
    assert r["compile"]["cpu_ms"] > 0 and r["run"]["cpu_ms"] > 20
    assert r["compile"]["memory_bytes"] > r["run"]["memory_bytes"]


def test_the_documents_snippet_without_includes_compiles(farm):
    assert farm.run("c", 'int main() { printf("42"); return 0; }')["stdout"] == "42"


def test_wall_limit(farm):
    began = time.monotonic()
    r = farm.run("python", "print('before', flush=True)\nwhile True: pass", ttl=1)
    assert r["status"] == "timeout" and r["end_reason"] == "timeout" and r["exit_code"] == 124
    assert r["stdout"] == "before\n" and r["success"] is False
    assert 1000 <= r["run"]["wall_ms"] < 1500 and time.monotonic() - began < 5


def test_cpu_limit(farm):
    r = farm.run("python", "while True: pass", ttl=20, cpu_limit=1)
    assert r["end_reason"] == "cpu" and 1000 <= r["run"]["cpu_ms"] < 1300


def test_memory_limit(farm):
    r = farm.run("python", "a=[]\nwhile True: a.append('x'*1000000)", memory_mb=64)
    assert r["end_reason"] == "memory" and r["exit_code"] == 137 and r["signal"] == 9
    assert r["run"]["memory_bytes"] <= 64 << 20


def test_memory_limit_counts_files_too(farm):
    r = farm.run("python", "open('f','wb').write(b'x'*(100<<20))", memory_mb=64)
    assert r["end_reason"] == "memory"


def test_more_output_than_kept_is_cut_and_marked(farm):
    r = farm.run("python", "import sys\nsys.stdout.write('x'*(6<<20))")
    assert r["exit_code"] == 0 and r["stdout_truncated"] is True and r["stderr_truncated"] is False
    assert len(r["stdout"]) == 1 << 20 and r["stdout_bytes"] == 6 << 20


def test_a_flood_of_output_is_stopped(farm):
    r = farm.run("bash", "yes", ttl=20)
    assert r["end_reason"] == "output" and r["stdout_truncated"] is True


def test_process_limit(farm):
    r = farm.run("bash", "for i in $(seq 500); do sleep 5 & done; exit 1", ttl=10)
    assert r["end_reason"] == "processes"


def test_disk_limit(farm):
    r = farm.run("bash", "head -c 700M /dev/zero > big; echo $?; stat -c %s big")
    assert r["stdout"].split()[0] != "0"


def test_a_signal_is_told_as_itself(farm):
    r = farm.run("bash", "kill -9 $$")
    assert r["end_reason"] == "signaled" and r["signal"] == 9 and r["exit_code"] == 137


def test_a_grandchild_that_holds_stdout_does_not_hold_the_job(farm):
    began = time.monotonic()
    r = farm.run("bash", "(sleep 100 &)\necho out", ttl=30)
    assert r["stdout"] == "out\n" and time.monotonic() - began < 5


def test_vcpu_limits_the_speed(farm):
    r = farm.run("bash", "for i in 1 2 3 4; do (while :; do :; done) & done; sleep 1", vcpu=1, ttl=10)
    assert r["run"]["cpu_ms"] < 1500


def test_cancel_a_running_job_returns_its_output_so_far(farm):
    job_id = farm.submit("bash", "echo partial; sleep 60")
    wait_for("it to run", lambda: farm.get(f"/jobs/{job_id}").json()["status"] == "running")
    time.sleep(0.3)
    r = farm.delete(f"/jobs/{job_id}").json()
    assert r["status"] == "cancelled" and r["stdout"] == "partial\n" and r["exit_code"] == -1
    assert farm.get(f"/jobs/{job_id}").json()["status"] == "cancelled"
    again = farm.delete(f"/jobs/{job_id}")
    assert again.status_code == 200 and again.json()["status"] == "cancelled"


def test_cancel_by_post_and_list(farm):
    job_id = farm.submit("bash", "sleep 60")
    assert job_id in [j["id"] for j in farm.get("/jobs").json()["jobs"]]
    assert farm.post(f"/jobs/{job_id}/cancel").json()["status"] == "cancelled"


def test_run_finds_the_language_by_its_shebang(farm):
    for first, language in (("#!/usr/bin/env python3", "python"), ("#!/bin/bash", "bash"),
                            ("#!/usr/bin/env -S python3 -u", "python")):
        code = f"{first}\n" + ("print('x')" if language == "python" else "echo x")
        r = farm.post("/run?ttl=5", code, headers={"Content-Type": "text/plain"}).json()
        assert r["stdout"] == "x\n" and r["detected_language"] == language == r["language"]
    r = farm.post("/run/async", {"code": "#!/bin/sh\necho x"}).json()
    assert r["status"] == "pending" and r["detected_language"] in ("bash", "dash")
    assert farm.post("/run", "no idea", headers={"Content-Type": "text/plain"}).status_code == 400


def test_run_takes_env_from_the_query(farm):
    from urllib.parse import quote

    target = "/run?env=" + quote('{"A":"1 2"}')
    r = farm.post(target, "#!/bin/bash\necho $A", headers={"Content-Type": "text/plain"}).json()
    assert r["stdout"] == "1 2\n"


def test_an_idempotency_key_gives_the_same_job(farm):
    body = {"language": "bash", "code": "echo $RANDOM$RANDOM"}
    head = {"Idempotency-Key": f"k{time.time()}"}
    first = farm.post("/execute", body, headers=head).json()
    second = farm.post("/execute", body, headers=head)
    assert second.json()["id"] == first["id"] and second.json()["stdout"] == first["stdout"]
    other = farm.post("/execute", {**body, "ttl": 3}, headers=head)
    assert other.status_code == 409


def test_two_thousand_bytes_of_code_in_latin1_survive(farm):
    """/run takes bytes, not text."""
    code = b"#!/bin/bash\nprintf '\xe9\xff' | od -An -tx1"
    r = farm.post("/run", code, headers={"Content-Type": "text/plain"}).json()
    assert r["stdout"].split() == ["e9", "ff"]


def test_each_job_starts_in_a_clean_sandbox(farm):
    code = "ls -A /tmp /dev/shm /root /var/tmp | sort; touch /tmp/left /dev/shm/left /root/left /var/tmp/left"
    first = farm.run("bash", code)["stdout"]
    assert farm.run("bash", code)["stdout"] == first and "left" not in first


def test_identity_inside(farm):
    r = farm.run("bash", "id -u; echo $HOME; hostname; pwd; ls /tmp")
    uid, home, host, cwd, *_ = r["stdout"].split()
    assert (uid, home, cwd) == ("0", "/root", "/tmp") and host.startswith("unsb-vm-")


def test_shells_of_the_farm_are_listed_by_category(farm):
    shells = farm.get("/shells", sign=False).json()
    assert "bash" in shells["shells"] and "bash" in shells["categories"]["unix"]
    assert shells["count"] == len(shells["shells"])


@pytest.mark.parametrize("path", ["/health", "/ready", "/languages", "/shells", "/cluster", "/pools", "/stats", "/metrics"])
def test_open_endpoints_answer_get_and_head(farm, path):
    got = requests.get(farm.url + path)
    head = requests.head(farm.url + path)
    assert got.status_code == head.status_code == 200 and head.content == b"" and got.content


def test_cluster_and_pools_count_the_node(farm):
    cluster = farm.get("/cluster", sign=False).json()
    assert cluster["mode"] == "pooled" and cluster["pool_size"] > 0
    pools = farm.get("/pools", sign=False).json()
    assert pools["pool_count"] == 1 and pools["total_capacity"] == pools["pools"][0]["total"]


def test_more_vcpu_than_a_node_has_is_refused_clearly(farm):
    answer = farm.post("/execute", {"language": "bash", "code": "true", "vcpu": 8})
    import os

    if os.cpu_count() >= 8:
        pytest.skip("this machine offers eight")
    assert answer.status_code == 400 and "vcpu" in answer.json()["message"]


def test_semitrusted_is_refused_and_never_run(farm):
    answer = farm.post("/execute", {"language": "bash", "code": "true", "network_mode": "semitrusted"})
    assert answer.status_code == 400 and "semitrusted" in answer.json()["message"]
