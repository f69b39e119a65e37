"""What the attacks share: programs that probe from inside and tell as JSON, files of the host to look for."""

import base64
import contextlib
import json
import os
import pathlib
import subprocess
import uuid

from farm import BUILD

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
TOKEN = f"unfarm-canary-{os.getpid()}-{uuid.uuid4().hex}"
PLACES = ("/root", "/home", "/etc", "/var/lib", "/var/tmp", "/tmp", "/srv", "/mnt", "/opt", "/run", "/dev/shm", "/",
          "/usr/local/share")


def sweep_canaries():
    """What a killed test left behind: canaries of processes that are gone."""
    for folder in PLACES:
        for path in pathlib.Path(folder).glob("unfarm-canary-*"):
            pid = path.name.split("-")[2]
            if not pid.isdigit() or not os.path.exists(f"/proc/{pid}"):
                path.unlink(missing_ok=True)


@contextlib.contextmanager
def canaries(farm):
    """Files all over the host; fails when one was changed in any way."""
    paths = [pathlib.Path(f) / TOKEN for f in (farm.dir, farm.dir / "data", farm.dir / "run", *PLACES[:-1])]
    try:
        for path in paths:
            path.write_text(TOKEN)
            path.chmod(0o666)
        yield [str(p) for p in paths]
        for path in paths:
            st = path.lstat()
            assert path.read_text() == TOKEN and st.st_nlink == 1, path
            assert (st.st_mode, st.st_uid, st.st_gid) == (0o100666, 0, 0), path
    finally:
        for path in paths:
            path.unlink(missing_ok=True)


def artifacts(r):
    """Name -> bytes."""
    return {a["filename"]: base64.b64decode(a["content_base64"]) for a in r["artifacts"]}


def b64(data):
    return base64.b64encode(data).decode()


def input_file(name, data):
    return {"filename": name, "content_base64": b64(data)}


def build(folder, source, *options, libs=False):
    """A C program of this folder, made on the host; with libs it uses the sandbox library under test."""
    out = pathlib.Path(folder) / pathlib.Path(source).stem
    command = ["gcc", "-std=gnu17", "-D_GNU_SOURCE", "-O2", "-o", out, *options, HERE / source]
    if libs:
        if san := os.environ.get("SAN"):  # as the library was built
            command += [f"-fsanitize={san}"]
        command += ["-I", ROOT / "common", "-I", ROOT / "sandbox", BUILD / "libsandbox.a", BUILD / "libcommon.a",
                    *"-lhiredis -luv -ljansson -lcrypto -linih -lcap -lcgroup -lseccomp".split()]
    subprocess.run(command, check=True)
    return out


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
