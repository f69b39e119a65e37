"""What a client sends arrives byte for byte and through no shell; archives that are more than they seem."""

import gzip
import hashlib
import io
import json
import random
import tarfile
import zlib

import pytest
from attack import TOKEN, artifacts, b64, input_file, run_all

MB = 1 << 20
ODD = ["", " ", "a b", "\n", "a\nb", "\\", "\\n", "\\\\", "'", '"', "`id`", "$(id)", "$HOME", "${IFS}", ";id", "|id", "&", ">x", "<x", "*", "?", "~",
       "#", "!x", "%s%n", "-rf", "--", "-", "=", "a=b", "\t", "\r\n", "\x01", "\x1b[2J", "\x7f", "é", "漢字", "\U0001f600", "\u200b", "\ufeff", "\uffff",
       "a\\\nb", "x' ; id ; '", 'x" ; id ; "', "../../etc/passwd", "/dev/null", "x" * 4095, "\u0080"]

C_ARGS = '''
#include <stdio.h>
#include <string.h>
extern char **environ;
static void hex(char kind, const char *s)
{
	putchar(kind);
	for (; *s; s++) printf("%02x", (unsigned char)*s);
	putchar(10);
}
int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) hex('a', argv[i]);
	for (char **e = environ; *e; e++) hex('e', *e);
	return 0;
}'''
PYTHON_ARGS = '''
import os, sys
for a in sys.argv[1:]: print("a" + os.fsencode(a).hex())
for k, v in os.environb.items(): print("e" + (k + b"=" + v).hex())
'''


def arrived(r):
    assert r["end_reason"] == "exited" and r["exit_code"] == 0, r
    lines = r["stdout"].splitlines()
    env = dict(bytes.fromhex(line[1:]).split(b"=", 1) for line in lines if line[0] == "e")
    return [bytes.fromhex(line[1:]) for line in lines if line[0] == "a"], env


@pytest.mark.parametrize(("language", "code"), [("c", C_ARGS), ("python", PYTHON_ARGS)], ids=["c", "python"])
def test_arguments_and_environment_are_not_touched(farm, language, code):
    env = {f"ODD{i}": v for i, v in enumerate(ODD)}
    args, got = arrived(farm.run(language, code, args=ODD, env=env))
    assert args == [a.encode() for a in ODD]
    assert {k: got[k.encode()] for k in env} == {k: v.encode() for k, v in env.items()}


def test_the_largest_ones_arrive(farm):
    """All that the limits allow, at the same time: the kernel's own are not in the way."""
    rand = random.Random(7)
    one = "".join(rand.choice("ab'\"\\\n $`") for _ in range((64 << 10) - 600))
    args, env = arrived(farm.run("c", C_ARGS, args=[one, *"x" * 255], env={"BIG": "v" * (95 << 10)}))
    assert args == [one.encode(), *[b"x"] * 255] and env[b"BIG"] == b"v" * (95 << 10)


@pytest.mark.parametrize("body", [
    {"args": ["a\0b"]}, {"env": {"A": "a\0b"}}, {"env": {"A\0": "b"}}, {"code": "echo a\0b", "args": ["\0"]},
    {"env": {"A=B": "c"}}, {"env": {"": "c"}}, {"input_files": [{"filename": "a\0b", "content": ""}]},
    {"input_files": [{"filename": "../x", "content": ""}]}, {"input_files": [{"filename": "a\nb", "content": ""}]},
    {"input_files": [{"filename": "a/../../x", "content": ""}]}, {"input_files": [{"filename": "..", "content": ""}]},
], ids=repr)
def test_what_cannot_be_an_argument_is_refused(farm, body):
    answer = farm.post("/execute", {"language": "dash", "code": "echo ran", **body})
    assert answer.status_code == 400, answer.text


@pytest.mark.parametrize("raw", [b'"\xff\xfe"', b'"\xc0\x80"', b'"\xed\xa0\x80"', b'"\\ud800"', b'"\\udfff x"', b'"\xf5\x80\x80\x80"'], ids=repr)
def test_text_that_is_no_text_is_refused(farm, raw):
    """Overlong forms, halves of pairs: nothing is guessed or replaced."""
    for field in (b'"args":[%s]', b'"env":{"A":%s}', b'"code":%s', b'"stdin":%s'):
        answer = farm.post("/execute", b'{"language":"dash",' + (b'"code":"echo ran",' if b"code" not in field else b"") + field % raw + b"}")
        assert answer.status_code == 400, answer.text


def test_a_mebibyte_of_anything(farm):
    """Code, standard input and a file: each byte value, each pair of them; invalid UTF-8 where it can be."""
    rand = random.Random(11)
    noise = bytes(range(256)) * 256 + rand.randbytes(MB)
    text = "".join(rand.choice("ab\n\\'\"`$é漢\U0001f600\t") for _ in range(400000))
    code = f'import hashlib, sys\nfor f in (sys.stdin.buffer, open("input/\\u6f22  x$(id)", "rb"), open(sys.argv[0], "rb")): print(hashlib.sha256(f.read()).hexdigest())\nT = {json.dumps(text)}\n'
    r = farm.run("python", code, stdin_base64=b64(noise), input_files=[input_file("漢  x$(id)", noise[::-1])])
    assert r["stdout"].split() == [hashlib.sha256(x).hexdigest() for x in (noise, noise[::-1], code.encode())], r["stderr"]
    r = farm.run("bash", "cat; cat input/etc/x >&2", stdin_base64=b64(noise[:1000]), input_files=[input_file("/etc/x", noise[:70000])])
    assert r["stdout_base64"] == b64(noise[:1000]) and r["stderr_base64"] == b64(noise[:70000])


def test_no_shell_reads_them(farm):
    """As a program that no shell starts: not one of the odd ones is executed, expanded or split on the way."""
    bait = [f"$(touch /tmp/artifacts/{i})" for i in range(3)] + ["`touch /tmp/artifacts/b`", "\ntouch /tmp/artifacts/n\n", "; touch /tmp/artifacts/s"]
    for language, code in (("c", C_ARGS), ("dash", "for a; do printf '%s' \"$a\" | wc -c; done"), ("python", PYTHON_ARGS)):
        r = farm.run(language, code, args=bait, env={f"E{i}": b for i, b in enumerate(bait)}, stdin="\n".join(bait), return_artifacts=True)
        assert set(artifacts(r)) <= {"main"} and r["exit_code"] == 0, r
        if language == "dash":
            assert r["stdout"].split() == [str(len(b)) for b in bait]


# ---- archives ----


def bomb(gigabytes):
    """Members of 16 MiB of zeros, one after the other: what gunzip makes of it is a thousand times as much."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return (packer.compress(bytes(16 << 20)) + packer.flush()) * (64 * gigabytes)


def many_files(n):
    """A tar with n empty files; made by hand, as tarfile takes long."""
    base = bytearray(tarfile.TarInfo("f" * 12).tobuf(tarfile.USTAR_FORMAT))
    out = io.BytesIO()
    with gzip.GzipFile(fileobj=out, mode="wb", compresslevel=1, mtime=0) as f:
        for i in range(n):
            head = base[:]
            head[:12] = b"d%02d/%08d" % (i % 50, i)
            head[148:156] = b" " * 8
            head[148:156] = b"%06o\0 " % sum(head)
            f.write(head)
        f.write(bytes(1024))
    return out.getvalue()


def hostile_tar(canary):
    """Names that lead out, links that later members go through, devices."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as t:
        def add(name, kind=tarfile.REGTYPE, link="", data=b"evil"):
            info = tarfile.TarInfo(name)
            info.type, info.linkname, info.mode, info.devmajor, info.devminor = kind, link, 0o6777, 8, 0
            info.size = len(data) if kind == tarfile.REGTYPE else 0
            t.addfile(info, io.BytesIO(data))

        for name in (canary, "../" * 9 + canary.lstrip("/"), "/etc/passwd", "/proc/sys/kernel/core_pattern", "/tmp/artifacts/ok", "/proc/1/mem"):
            add(name)
        add("s", tarfile.SYMTYPE, "/proc/1/root/")
        add("s/" + canary.lstrip("/"))
        add("d", tarfile.SYMTYPE, canary.rsplit("/", 1)[0] or "/")
        add("d/" + canary.rsplit("/", 1)[1])
        add("artifacts/hard", tarfile.LNKTYPE, "/etc/passwd")
        add("artifacts/link", tarfile.SYMTYPE, canary)
        add("artifacts/disk", tarfile.BLKTYPE)
        add("artifacts/fifo", tarfile.FIFOTYPE)
    return out.getvalue()


def test_archives_that_are_more_than_they_seem(farm, canaries):
    """A job unpacks what a client sent: disk, inodes, size of a file and memory are those of any program."""
    options = {"ttl": 40, "return_artifacts": True}
    rows = {  # name: (language, code, archive, more)
        "to disk": ("bash", "mkdir d; cd d; for i in 1 2 3 4 5; do zcat < ../input/x | head -c 200M > $i; done 2>/dev/null; df --output=avail -B1M /tmp | tail -1", bomb(4), {}),
        "to one file": ("bash", "zcat < input/x > out; echo $?; stat -c %s out", bomb(4), {}),
        "to memory": ("python", "import gzip; d = gzip.open('input/x').read(); print(len(d))", bomb(4), {"memory_mb": 128}),
        "to shared memory": ("bash", "zcat < input/x > /dev/shm/x; echo $?", bomb(4), {"memory_mb": 128}),
        "inodes": ("bash", "tar xzf input/x; echo $?; df --output=iavail /tmp | tail -1", many_files(90000), {}),
        "hostile names": ("bash", "tar xPf input/x 2>/dev/null; cat artifacts/ok; head -c 4 /etc/passwd; ls /proc/sys/kernel/core_pattern", hostile_tar(canaries[-1]), {}),
    }
    jobs = [(language, code, {**options, **more, "input_files": [input_file("x", data)]}) for language, code, data, more in rows.values()]
    got = dict(zip(rows, run_all(farm, jobs), strict=True))
    for name in ("to disk", "to one file", "inodes", "hostile names"):
        assert got[name]["end_reason"] == "exited", (name, got[name])
    assert int(got["to disk"]["stdout"]) == 0  # full, and it went on
    assert int(got["to one file"]["stdout"].split()[-1]) == 256 * MB and got["to one file"]["stdout"][0] != "0"  # sandbox.file_mb
    for name in ("to memory", "to shared memory"):
        assert got[name]["end_reason"] == "memory" and got[name]["memory_bytes"] <= 128 * MB, (name, got[name])
    code, left = got["inodes"]["stdout"].split()
    assert code != "0" and int(left) == 0
    assert got["hostile names"]["stdout"] == "evilevil/proc/sys/kernel/core_pattern\n"
    assert artifacts(got["hostile names"]) == {"ok": b"evil"} or artifacts(got["hostile names"]) == {"ok": b"evil", "hard": b"evil"}
    assert TOKEN not in str([r["stdout"] for r in got.values()])
