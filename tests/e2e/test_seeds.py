"""The examples of the product documents, as written there."""

import base64
import hashlib
import hmac
import os
import re
import subprocess
import time

import pytest
import requests
from farm import BUILD, PUBLIC, ROOT, SECRET

UN = os.environ.get("UN_BIN", str(BUILD / "un"))


@pytest.fixture
def un(farm, tmp_path):
    env = {
        "PATH": os.environ["PATH"], "HOME": str(tmp_path),
        "UNSANDBOX_API_BASE": farm.url, "UNSANDBOX_PUBLIC_KEY": PUBLIC, "UNSANDBOX_SECRET_KEY": SECRET,
    }

    def call(*args, stdin=None):
        return subprocess.run([UN, *args], env=env, cwd=tmp_path, input=stdin, capture_output=True,
                              text=True, timeout=60)

    return call


def signed(farm, method, path, body=""):
    """The signature as the documents' C# and shell examples make it."""
    stamp = str(int(time.time()))
    message = f"{stamp}:{method}:{path}:{body}"
    return requests.request(method, farm.url + path, data=body, headers={
        "Authorization": f"Bearer {PUBLIC}", "X-Timestamp": stamp,
        "X-Signature": hmac.new(SECRET.encode(), message.encode(), hashlib.sha256).hexdigest(),
        "Content-Type": "application/json"})


def test_execute_of_the_documents(farm):
    r = signed(farm, "POST", "/execute", '{"language":"python","code":"print(\'Hello from unsandbox!\')"}').json()
    assert r["success"] and r["stdout"] == "Hello from unsandbox!\n" and r["stderr"] == ""
    assert r["exit_code"] == 0 and r["language"] == "python" and r["network_mode"] == "zerotrust"
    assert isinstance(r["total_time_ms"], int) and r["job_id"]


def test_a_syntax_error_is_in_stderr(farm):
    r = signed(farm, "POST", "/execute", '{"language":"python","code":"print((("}').json()
    assert r["success"] is False and r["exit_code"] == 1 and "SyntaxError" in r["stderr"]


def test_async_of_the_documents(farm):
    body = '{"language":"python","code":"import time; time.sleep(2); print(\'Hello after 2 seconds!\')"}'
    submitted = signed(farm, "POST", "/execute/async", body).json()
    assert submitted["status"] == "pending" and submitted["message"] == "Job accepted for execution"
    for _ in range(10):
        time.sleep(1)
        job = signed(farm, "GET", f"/jobs/{submitted['job_id']}").json()
        if job["status"] == "completed":
            break
    assert job["stdout"] == "Hello after 2 seconds!\n"
    assert job["result"]["stdout"] == job["stdout"] and job["result"]["execution_mode"] == "pooled"


def test_run_with_a_shebang_as_text_and_as_json(farm):
    code = '#!/usr/bin/env python3\nprint("Language auto-detected!")'
    assert signed(farm, "POST", "/run", code).json()["detected_language"] == "python"
    r = signed(farm, "POST", "/run", '{"code":"#!/usr/bin/env python3\\nprint(1)"}').json()
    assert r["stdout"] == "1\n" and r["detected_language"] == "python"
    job = signed(farm, "POST", "/run/async", code).json()
    assert job["status"] == "pending" and job["detected_language"] == "python"
    ended = farm.wait_job(job["job_id"])
    assert ended["stdout"] == "Language auto-detected!\n" and ended["detected_language"] == "python"


def test_list_and_cancel(farm):
    job = signed(farm, "POST", "/execute/async",
                 '{"language":"python","code":"import time; time.sleep(10); print(\'Done\')"}').json()["job_id"]
    jobs = signed(farm, "GET", "/jobs").json()["jobs"]
    assert {"job_id", "status", "language", "network_mode", "created_at"} <= set(jobs[0])
    cancelled = signed(farm, "DELETE", f"/jobs/{job}").json()
    assert cancelled["message"] == "Job cancelled" and cancelled["status"] == "cancelled"
    assert cancelled["artifacts"] == [] and cancelled["result"]["exit_code"] == -1


def test_input_file_of_the_documents(farm):
    r = signed(farm, "POST", "/execute",
               '{"language":"python","code":"print(open(\'data.csv\').read())",'
               '"input_files":[{"filename":"data.csv","content":"bmFtZSxhZ2UKQWxpY2UsMzAKQm9iLDI1"}]}').json()
    assert r["stdout"] == "name,age\nAlice,30\nBob,25\n"


def test_key_validation_of_the_documents(farm):
    for body in ("{}", ""):
        r = signed(farm, "POST", "/keys/validate", body).json()
        assert r["valid"] is True and r["public_key"] == PUBLIC and isinstance(r["tier"], str)
        assert {"rate_per_minute", "burst", "concurrency_limit", "expires_at"} <= set(r)


def test_catalogue_and_system(farm):
    languages = requests.get(farm.url + "/languages").json()
    assert "python" in languages["languages"] and languages["count"] == len(languages["languages"])
    assert requests.get(farm.url + "/health").json() == {"status": "ok"}
    cluster = requests.get(farm.url + "/cluster").json()
    assert cluster["mode"] == "pooled" and cluster["network_mode"] == "zerotrust_only"
    assert {"allocated", "available", "total"} <= set(cluster["network_breakdown"]["zerotrust"])
    pools = requests.get(farm.url + "/pools").json()
    assert pools["pools"][0]["id"].startswith("pool_manager@")
    stats = requests.get(farm.url + "/stats").json()
    assert all(isinstance(stats[f"load_{n}min"], str) for n in (1, 5, 15)) and stats["containers"] >= 0


def test_an_error_has_the_documents_form(farm):
    r = requests.post(farm.url + "/execute", json={"language": "python", "code": "1"},
                      headers={"Authorization": "Bearer unsb-pk-none-0000-0000-0000",
                               "X-Timestamp": str(int(time.time())), "X-Signature": "0" * 64})
    assert r.status_code == 401 and r.json()["code"] == "INVALID_KEY" and "details" in r.json()
    assert "timestamp" not in r.text.lower()


def test_cli_examples(un, tmp_path):
    (tmp_path / "hello.py").write_text('print("Hello from unsandbox!")\n')
    r = un("hello.py")
    assert r.returncode == 0 and r.stdout == "Hello from unsandbox!\n"
    assert un("--ttl", "300", "hello.py").stdout == r.stdout
    assert un("-s", "python", 'print("Hello World")').stdout == "Hello World\n"
    assert un("-s", "bash", 'echo "Hello" && date').stdout.startswith("Hello\n")
    heredoc = 'import json\nprint(json.dumps({"name": "unsandbox", "version": 2}, indent=2))\n'
    assert '"version": 2' in un("-s", "python", stdin=heredoc).stdout
    assert un("-s", "c", 'int main() { printf("42"); return 0; }').stdout == "42"


def test_cli_environment(un, tmp_path):
    assert un("-e", "NAME=World", "-s", "python", 'import os; print(f"Hello {os.environ[\'NAME\']}")').stdout == "Hello World\n"
    assert un("-e", "X=10", "-e", "Y=20", "-s", "bash", 'echo "Sum: $((X + Y))"').stdout == "Sum: 30\n"


def test_cli_files_and_artifacts(un, tmp_path):
    (tmp_path / "data.csv").write_text("a,b\n")
    assert un("-f", "data.csv", "-s", "python", 'print(open("data.csv").read())').stdout == "a,b\n\n"
    (tmp_path / "generate_report.py").write_text(
        "import json, os\nos.makedirs('/tmp/artifacts', exist_ok=True)\n"
        "json.dump({'status': 'complete'}, open('/tmp/artifacts/report.json', 'w'))\nprint('Report generated!')\n")
    r = un("-a", "-o", "./reports", "generate_report.py")
    assert r.stdout == "Report generated!\n" and os.listdir(tmp_path / "reports") == ["report.json"]
    (tmp_path / "main.c").write_text('#include <stdio.h>\nint main(){puts("built");return 0;}\n')
    assert un("-a", "-o", "./bin", "main.c").stdout == "built\n"
    assert subprocess.run([tmp_path / "bin/main"], capture_output=True).stdout == b"built\n"


def test_cli_exit_code_is_the_programs(un):
    assert un("-s", "bash", "exit 7").returncode == 7
    assert un("--ttl", "1", "-s", "bash", "sleep 9").returncode == 124


def test_cli_network_and_languages_and_key(un):
    assert un("-n", "zerotrust", "-s", "python", 'print("Isolated execution")').stdout == "Isolated execution\n"
    refused = un("-n", "semitrusted", "-s", "python", "print(1)")
    assert refused.returncode == 1 and "semitrusted" in refused.stderr and refused.stdout == ""
    assert "python" in un("languages").stdout.split()
    assert un("key").stdout.startswith("Valid")


def test_the_readme_block_with_curl_and_openssl(farm):
    """The first shell block of the README that signs a request, word for word."""
    readme = (ROOT / "README.md").read_text()
    blocks = [b for b in re.findall(r"```(?:sh|bash)\n(.*?)```", readme, re.S) if "openssl dgst" in b]
    assert blocks, "README.md has no signed curl example"
    script = blocks[0].replace("http://127.0.0.1:8484", farm.url)
    out = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60)
    assert '"success":true' in out.stdout, out.stdout + out.stderr


def test_base64_of_the_documents_is_what_it_says():
    assert base64.b64decode("bmFtZSxhZ2UKQWxpY2UsMzAKQm9iLDI1") == b"name,age\nAlice,30\nBob,25"
