"""Start, stop, reload, drain: what an operator does, and what it must not lose."""

import pathlib
import random
import signal
import subprocess
import time

from farm import BUILD, ROOT, Farm, wait_for


def test_drain_finishes_what_runs_and_gives_back_the_rest():
    with Farm(languages=["bash"], conf={"worker": {"drain_seconds": 2}}) as farm:
        farm.wait_languages("bash")
        short = farm.submit("bash", "sleep 1; echo finished")
        long = farm.submit("bash", "sleep 30; echo never")
        wait_for("both to run", lambda: all(
            farm.get(f"/jobs/{j}").json()["status"] == "running" for j in (short, long)))
        assert farm.stop_one("worker") == 0
        assert farm.get(f"/jobs/{short}").json()["stdout"] == "finished\n"
        job = farm.get(f"/jobs/{long}").json()
        assert job["status"] == "pending"
        farm.delete(f"/jobs/{long}")
        farm.start("worker")
        farm.wait_ready()
        assert farm.run("bash", "echo again")["stdout"] == "again\n"


def test_a_new_language_is_there_after_sighup():
    with Farm(languages=["bash"]) as farm:
        farm.wait_languages("bash")
        assert farm.post("/execute", {"language": "gnusort", "code": "x"}).status_code == 400
        record = (ROOT / "conf/languages.d/bash.json").read_text()
        record = record.replace('"name": "bash"', '"name": "gnusort"')
        import json

        data = json.loads(record)
        data.update(aliases=[], extensions=["sortme"], shebangs=["gnusort"], run=["sort", "main.sh"],
                    hello="b\na\n", hello_output="a\nb\n")
        (farm.dir / "share/languages.d/gnusort.json").write_text(json.dumps(data))
        for name in ("worker", "gateway"):
            farm.procs[name].send_signal(signal.SIGHUP)
        farm.wait_languages("gnusort", "bash")
        assert farm.run("gnusort", "c\nb\n")["stdout"] == "b\nc\n"


def test_a_bad_language_record_keeps_the_old_ones():
    with Farm(languages=["bash"]) as farm:
        farm.wait_languages("bash")
        (farm.dir / "share/languages.d/broken.json").write_text("{")
        farm.procs["worker"].send_signal(signal.SIGHUP)
        wait_for("the refusal", lambda: "keeping what was" in farm.log("worker"))
        assert farm.run("bash", "echo fine")["stdout"] == "fine\n"


def test_a_killed_master_leaves_nothing_that_its_successor_does_not_clean():
    with Farm(languages=["bash"]) as farm:
        farm.wait_languages("bash")
        job = farm.submit("bash", "sleep 2; echo survived")
        wait_for("it to run", lambda: farm.get(f"/jobs/{job}").json()["status"] == "running")
        farm.stop_one("worker", signal.SIGKILL)
        farm.start("worker")
        assert farm.wait_job(job, 60)["stdout"] == "survived\n"


def test_a_master_killed_at_any_moment_leaves_no_process():
    """Also while it makes a sandbox: its child holds none of its sockets."""
    rng = random.Random(3)
    with Farm(daemons=("scheduler",), languages=["bash"], conf={"worker": {"warm": 12}}) as farm:
        for _ in range(12):
            farm.start("worker")
            time.sleep(rng.uniform(0.01, 0.15))
            farm.stop_one("worker", signal.SIGKILL)
        wait_for("the workers and sandboxes to end", lambda: not strays(farm), 15)
        tried = farm.log("worker").count("languages tried")
        farm.start("worker")
        wait_for("a worker", lambda: farm.log("worker").count("languages tried") > tried, 20)


def test_a_stop_while_it_starts_leaves_nothing_either():
    rng = random.Random(4)
    with Farm(daemons=("scheduler",), languages=["bash"]) as farm:
        for _ in range(8):
            farm.start("worker")
            time.sleep(rng.uniform(0.05, 0.2))  # after exec, at some point of the start
            assert farm.stop_one("worker") == 0
            assert not any("/sys/fs/cgroup" in path for path in farm.leftovers())


def strays(farm):
    """Processes of a worker, or in its control group."""
    found = [p for p in farm.leftovers() if "/proc/" in p and b"unfarm-worker" in pathlib.Path(p).read_bytes()]
    for procs in pathlib.Path(f"/sys/fs/cgroup/pids/{farm.cgroup}").glob("*/cgroup.procs"):
        found += procs.read_text().split()
    return found


def test_redis_killed_and_restarted_loses_nothing_that_was_accepted():
    with Farm(languages=["bash"]) as farm:
        farm.wait_languages("bash")
        jobs = [farm.submit("bash", f"sleep 0.2; echo {n}") for n in range(40)]
        farm.redis_proc.kill()
        farm.redis_proc.wait()
        answer = farm.post("/execute/async", {"language": "bash", "code": "true"})
        assert answer.status_code == 503
        assert int(answer.headers["Retry-After"]) >= 1
        farm.start_redis()
        farm.wait_ready()
        assert [farm.wait_job(j)["stdout"] for j in jobs] == [f"{n}\n" for n in range(40)]


def test_the_gateway_restarts_and_any_gateway_answers():
    with Farm(languages=["bash"]) as farm:
        farm.wait_languages("bash")
        job = farm.submit("bash", "sleep 1; echo x")
        farm.stop_one("gateway")
        farm.start("gateway")
        farm.wait_ready()
        assert farm.wait_job(job)["stdout"] == "x\n"


def test_the_development_key_is_refused_on_a_public_address():
    with Farm(daemons=(), conf={"gateway": {"listen": "0.0.0.0"}}) as farm:
        out = subprocess.run([BUILD / "unfarm-gateway", "-c", farm.dir / "unfarm.conf"],
                             capture_output=True, text=True, timeout=20)
        assert out.returncode != 0 and "dev_key" in out.stderr and "127.0.0.1" in out.stderr


def test_a_bad_setting_stops_every_daemon_with_file_and_line():
    with Farm(daemons=(), conf={"job": {"default_ttl": 901}}) as farm:
        for name in ("gateway", "worker", "scheduler"):
            out = subprocess.run([BUILD / f"unfarm-{name}", "-c", farm.dir / "unfarm.conf"],
                                 capture_output=True, text=True, timeout=20)
            assert out.returncode != 0
            assert "unfarm.conf:" in out.stderr and "default_ttl" in out.stderr and "900" in out.stderr


def test_a_second_worker_on_the_same_control_group_is_refused():
    with Farm(languages=["bash"]) as farm:
        farm.wait_languages("bash")
        job = farm.submit("bash", "sleep 1; echo unharmed")
        out = subprocess.run([BUILD / "unfarm-worker", "-c", farm.dir / "unfarm.conf"],
                             capture_output=True, text=True, timeout=20)
        assert out.returncode != 0 and "belongs to a farm that runs" in out.stderr
        assert farm.wait_job(job)["stdout"] == "unharmed\n" and farm.wait_job(job)["attempts"] == 1


def test_the_doctor_disturbs_no_running_farm():
    with Farm(languages=["bash"]) as farm:
        farm.wait_languages("bash")
        job = farm.submit("bash", "sleep 2; echo unharmed")
        for options in (["--plan"], [], ["--json"]):
            out = subprocess.run([BUILD / "unfarm", "-c", farm.dir / "unfarm.conf", "doctor", *options],
                                 capture_output=True, text=True, timeout=30)
            assert out.returncode == 0, out.stdout + out.stderr
        assert farm.wait_job(job)["stdout"] == "unharmed\n" and farm.wait_job(job)["attempts"] == 1


def test_a_worker_that_cannot_make_sandboxes_does_not_start():
    with Farm(daemons=(), languages=["bash"]) as farm:
        out = subprocess.run(
            ["unshare", "-Ur", "sh", "-c",
             'echo 0 > /proc/sys/user/max_user_namespaces; exec "$@"', "sh",
             BUILD / "unfarm-worker", "-c", farm.dir / "unfarm.conf"],
            capture_output=True, text=True, timeout=20)
        assert out.returncode != 0 and out.stderr.splitlines()[-1].startswith("unfarm-worker: ")


def test_a_reload_takes_no_language_away_while_it_is_tried_again():
    with Farm(languages=["bash", "dash", "c", "cpp", "python", "perl", "awk", "sed", "ash", "bc", "dc"]) as farm:
        farm.wait_canaries()
        before = farm.get("/languages", sign=False).json()["languages"]
        assert len(before) >= 8
        farm.procs["worker"].send_signal(signal.SIGHUP)
        for _ in range(15):
            assert farm.get("/languages", sign=False).json()["languages"] == before
            time.sleep(0.1)
        wait_for("the second trial", lambda: farm.log("worker").count("languages tried") == 2)


def test_a_job_stops_when_its_lease_is_over_and_runs_once_more():
    """Redis away for longer than the lease: the job ends by itself, not as cancelled."""
    with Farm(languages=["bash"], conf={"job": {"lease_seconds": 2}}) as farm:
        farm.wait_languages("bash")
        job = farm.submit("bash", "sleep 7; echo done")
        wait_for("it to run", lambda: farm.get(f"/jobs/{job}").json()["status"] == "running")
        farm.redis_proc.kill()
        farm.redis_proc.wait()
        wait_for("it to be stopped", lambda: "lease is over" in farm.log("worker"), 10)
        farm.start_redis()
        farm.wait_ready()
        ended = farm.wait_job(job)
        assert (ended["status"], ended["stdout"]) == ("completed", "done\n")


def test_two_farms_on_one_machine_do_not_disturb_each_other():
    with Farm(languages=["bash"]) as one, Farm(languages=["bash"]) as two:
        one.wait_languages("bash")
        two.wait_languages("bash")
        assert one.run("bash", "echo 1")["stdout"] == "1\n"
        assert two.run("bash", "echo 2")["stdout"] == "2\n"
        began = time.monotonic()
        one.stop_one("worker")
        assert two.run("bash", "echo 3")["stdout"] == "3\n" and time.monotonic() - began < 20
