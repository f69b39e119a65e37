"""What the attacks share: programs that probe from inside and tell as JSON."""

import json
import pathlib

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]


def run_c(farm, source, **options):
    """Compile and run a C program in a job; the result of its run."""
    r = farm.run("c", source, **options)
    assert r["compile"]["exit_code"] == 0, r["stderr"]
    return r


def run_all(farm, jobs):
    """Jobs (language, code, options) at the same time; their results in order."""
    ids = [farm.submit(language, code, **options) for language, code, options in jobs]
    return [farm.wait_job(job_id) for job_id in ids]


def probe(farm, code, **options):
    """A Python program that leaves its findings in `found`; the findings."""
    r = farm.run("python", PROLOGUE + code + EPILOGUE, **options)
    assert r["end_reason"] == "exited" and r["exit_code"] == 0, r
    return json.loads(r["stdout"].splitlines()[-1])


PROLOGUE = '''
import ctypes, errno, fcntl, json, mmap, os, resource, signal, socket, stat, struct, sys, time
libc = ctypes.CDLL(None, use_errno=True)
found = {}

def attempt(name, act):
    """What act() gives, or the name of the error it fails with."""
    try:
        value = act()
        found[name] = value if isinstance(value, (int, str, list, dict, type(None))) else "ok"
    except OSError as e:
        found[name] = errno.errorcode.get(e.errno, str(e))

def call(name, *args):
    """A function of libc; fails as Python's own do."""
    ctypes.set_errno(0)
    r = getattr(libc, name)(*args)
    if r < 0:
        raise OSError(ctypes.get_errno(), name)
    return r

def read(path, n=65536):
    with open(path, "rb") as f:
        return f.read(n).decode(errors="replace")

def write(path, text):
    fd = os.open(path, os.O_WRONLY)
    try:
        return os.write(fd, text.encode())
    finally:
        os.close(fd)
'''
EPILOGUE = "\nprint(json.dumps(found))\n"
