"""What tests do with a session over HTTP, and what they see of the process that holds it."""
import base64
import pathlib
import re


def end(farm, session, query=""):
    answer = farm.delete(f"/sessions/{session}{query}")
    assert answer.status_code == 200, answer.text
    return answer.json()


def run(farm, session, command, **more):
    answer = farm.post(f"/sessions/{session}/execute", {"command": command, **more})
    assert answer.status_code == 200, answer.text
    return answer.json()


def files(answer):
    """The artifacts of what end() returned."""
    return {a["filename"]: base64.b64decode(a["content_base64"]) for a in answer["artifacts"]}


def shims(farm):
    """Pids of the processes that hold sessions, by session."""
    return {m[2]: int(m[1]) for m in re.finditer(r"pid=(\d+) msg=\"session begins\" session=(\S+)", farm.log("sessiond"))}


def servers(farm):
    """Pids of what gateways reach of sessiond: one, and none for a moment after its death."""
    master = farm.procs["sessiond"].pid
    children = pathlib.Path(f"/proc/{master}/task/{master}/children").read_text().split()
    return [int(p) for p in children if b"--child" in pathlib.Path(f"/proc/{p}/cmdline").read_bytes()]


def rss_kb(pid):
    return int(re.search(r"VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text())[1])
