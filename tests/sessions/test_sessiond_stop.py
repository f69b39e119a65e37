"""sessiond ends with all of its sandboxes when it is told to (SIGQUIT)."""

import contextlib
import os
import pathlib
import signal
import subprocess

from farm import Farm, wait_for


def children(pid):
    found = {}
    for child in map(int, pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()):
        with contextlib.suppress(OSError):  # it ended
            state = pathlib.Path(f"/proc/{child}/stat").read_text().rsplit(")", 1)[1].split()[0]
            if state != "Z":
                found[child] = pathlib.Path(f"/proc/{child}/cmdline").read_bytes()
    return found


def connected(farm):
    """How many sandboxes the server is connected to."""
    sockets = [line.split() for line in pathlib.Path("/proc/net/unix").read_text().splitlines()]
    return sum(s[5] == "03" and s[-1].startswith(f"{farm.dir}/run/sessions/") for s in sockets)


def test_a_server_that_sees_its_sandboxes_die_gets_no_new_ones():
    """It asks for others in their place, as it was not told yet that all ends."""
    with Farm(daemons=("scheduler", "sessiond"), conf={"sessiond": {"warm": 12}}) as farm:
        master = farm.procs["sessiond"]
        wait_for("sandboxes", lambda: connected(farm) == 12)
        server = next(pid for pid, line in children(master.pid).items() if b"--child" in line)
        os.kill(server, signal.SIGSTOP)
        try:
            master.send_signal(signal.SIGQUIT)
            wait_for("their end", lambda: list(children(master.pid)) == [server])
        finally:
            os.kill(server, signal.SIGCONT)
        try:
            assert master.wait(30) == 0
        except subprocess.TimeoutExpired:
            left = children(master.pid)
            for pid in left:
                os.kill(pid, signal.SIGKILL)
            raise AssertionError(f"it goes on with {left}") from None
        del farm.procs["sessiond"]
