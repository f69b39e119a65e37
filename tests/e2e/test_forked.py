"""What a job sees that is a fork of a running interpreter is what a fresh start would show.

Each program runs both ways, in the language and in a copy of its record without `fork`. The differences that are left
are in docs/decisions/0010-nests-and-forked-interpreters.md.
"""

import json

import pytest
from farm import Farm, wait_for

LANGUAGES = ("python", "perl", "php")


class BothWays(Farm):
    def _share(self):
        super()._share()
        folder = self.dir / "share/languages.d"
        for name in LANGUAGES:
            record = json.loads((folder / f"{name}.json").read_text())
            assert record.pop("fork") is not None
            record.update(name=f"fresh-{name}", aliases=[], extensions=[f"fresh-{name}"], shebangs=[])
            (folder / f"fresh-{name}.json").write_text(json.dumps(record))


@pytest.fixture(scope="module")
def farm():
    with BothWays(languages=list(LANGUAGES), conf={"worker": {"forked": " ".join(LANGUAGES)}}) as started:
        started.wait_languages(*LANGUAGES, *(f"fresh-{name}" for name in LANGUAGES))
        started.wait_canaries()
        for name in LANGUAGES:
            wait_for(f"a fork of {name}", lambda name=name: forked(started, name), 30, 0.1)
        yield started


def forked(farm, name):
    probe = {"python": "print('hold' in open('/proc/self/maps').read())",
             "perl": "open F, '/proc/self/maps'; print grep(/hold/, <F>) ? 'True' : 'False', \"\\n\"",
             "php": "<?php echo strpos(file_get_contents('/proc/self/maps'), 'hold') ? 'True' : 'False', \"\\n\";"}
    return farm.run(name, probe[name])["stdout"] == "True\n"


KEPT = ("stdout", "stderr", "exit_code", "signal", "end_reason", "status", "success")


def both(farm, name, code, **options):
    """The result, which is the same both ways."""
    runs = [{k: r.get(k) for k in KEPT} for r in (farm.run(n, code, **options) for n in (name, f"fresh-{name}"))]
    assert runs[0] == runs[1]
    return runs[0]


PYTHON = {
    "its names": "import sys; print(sys.argv, sys.orig_argv, __file__, __name__, sys.executable, sys.path, sys.prefix, sys.flags, sys.version)",
    "its main module": "import sys; print(sorted(k for k in globals()), repr(__loader__)[:40], __spec__, __doc__, __builtins__, sys.modules['__main__'].__dict__ is globals())",
    "the process": "import os, sys; print(os.getpid(), os.getppid(), os.getsid(0), os.getpgid(0), os.getcwd(), os.getuid(), os.getgroups(), os.nice(0), oct(os.umask(0)))",
    "the environment": "import os; print(sorted(os.environ.items())); print(os.environb[b'HOME'], os.getenv('LD_PRELOAD')); os.system('env | sort')",
    "descriptors": "import os; print([(n, os.readlink('/proc/self/fd/' + n).split(':')[0]) for n in sorted(os.listdir('/proc/self/fd')) if n < '3'], len(os.listdir('/proc/self/fd')))",
    "the kernel's view": "for l in open('/proc/self/status'):\n  if l.split(':')[0] in ('Name','Umask','Threads','TracerPid','Uid','Gid','Groups','NStgid','SigPnd','SigBlk','SigIgn','SigCgt','CapInh','CapPrm','CapEff','CapBnd','CapAmb','NoNewPrivs','Seccomp','Seccomp_filters'): print(l, end='')",
    "limits": "print(open('/proc/self/limits').read()); print(open('/proc/self/oom_score_adj').read(), open('/proc/self/comm').read(), open('/proc/self/cmdline').read(), open('/proc/self/personality').read())",
    "its files of /proc": "import os; print([(n, os.stat('/proc/self/' + n).st_uid) for n in ('fd', 'maps', 'environ', 'mem')], os.path.basename(os.readlink('/proc/self/exe')))",
    "streams": "import sys\nfor f in (sys.stdin, sys.stdout, sys.stderr): print(f.name, f.mode, f.encoding, f.errors, f.line_buffering, f.write_through, f.isatty(), f.seekable(), f.fileno(), f.closed)",
    "signal handlers": "import signal; print([(int(s), str(signal.getsignal(s))) for s in signal.valid_signals()], signal.pthread_sigmask(0, []))",
    "a traceback": "def f(n):\n    return 1 // n\ntry:\n    f(0)\nexcept ZeroDivisionError as e:\n    raise ValueError('again') from e\n",
    "a syntax error": "print(1)\nif:\n",
    "a byte that is no UTF-8": "print('\u00e9\u20ac\U0001f600')\n",
    "frames": "import inspect, sys; print(len(inspect.stack()), sys._getframe().f_back, sys.getrecursionlimit())\ndef d(n):\n    try: return d(n + 1)\n    except RecursionError: return n\nprint(d(0))",
    "exit 3": "raise SystemExit(3)",
    "exit with a text": "import sys; sys.exit('why')",
    "exit of the process": "import os; print('lost'); os._exit(7)",
    "flushed at the end": "import sys; sys.stdout.write('no newline'); sys.stderr.write('err')",
    "at exit": "import atexit, weakref\nclass A:\n  def __del__(self): print('del', self.n)\na = A(); a.n = 1; weakref.finalize(a, print, 'final'); atexit.register(print, 'atexit'); b = A(); b.n = 2; b.me = b",
    "killed by TERM": "import os, signal; print('x', flush=True); os.kill(os.getpid(), signal.SIGTERM)",
    "killed by SEGV": "import ctypes; ctypes.string_at(0)",
    "interrupted": "import os, signal; os.kill(os.getpid(), signal.SIGINT); import time; time.sleep(5)",
    "a broken pipe": "import os, sys; r, w = os.pipe(); os.close(r)\ntry: os.write(w, b'x')\nexcept BrokenPipeError as e: print(e)",
    "threads": "import threading\nt = [threading.Thread(target=print, args=(i,)) for i in range(3)]\nfor x in t: x.start(); x.join()\nprint(threading.main_thread() is threading.current_thread(), threading.active_count(), threading.main_thread().ident == threading.get_ident(), threading.main_thread().native_id == threading.get_native_id())",
    "processes": "import multiprocessing as m, os\ndef f(x): return x * x\nif __name__ == '__main__':\n  with m.Pool(2) as p: print(p.map(f, range(5)))\n  for how in ('spawn', 'forkserver'):\n    c = m.get_context(how); q = c.SimpleQueue(); p = c.Process(target=q.put, args=(how,)); p.start(); print(q.get()); p.join(); print(p.exitcode)",
    "a fork": "import os\npid = os.fork()\nif pid == 0: os._exit(5)\nprint(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))",
    "a program": "import subprocess, sys; print(subprocess.run([sys.executable, '-c', 'import sys; print(sys.argv, 6 * 7)', 'a'], capture_output=True, text=True).stdout)",
    "a loop": "import asyncio\nasync def f():\n  p = await asyncio.create_subprocess_exec('echo', 'hi'); await p.wait(); await asyncio.sleep(0.01); return p.returncode\nprint(asyncio.run(f()))",
    "imports": "import sys, decimal, random, hashlib, sqlite3, ssl, tempfile, urllib.request, xml.dom.minidom, json, re, typing\nprint(json.dumps({'a': [1, 2.5, None]}), re.sub('a+', 'b', 'caat'), hashlib.sha256(b'x').hexdigest(), decimal.Decimal('1.1') * 3)",
    "a file of its own": "import os; open('x', 'w').write('y'); print(sorted(os.listdir('.')), os.stat('x').st_uid, oct(os.stat('x').st_mode)); print(open(__file__).read())",
    "warnings": "import warnings; warnings.warn('careful'); print(1 is 1)",
    "numbers": "import sys, math; print(sys.float_info, sys.int_info, sys.hash_info, sys.maxsize, math.pi, hash(12345678901234567890), sys.getswitchinterval())",
    "locale": "import locale, sys, os; print(locale.setlocale(locale.LC_ALL), sys.getfilesystemencoding(), sys.getdefaultencoding(), os.fsencode('\u00e9'))",
    "garbage": "import gc; print(gc.isenabled(), gc.get_threshold(), gc.garbage, gc.get_debug())",
}
OTHERS = {
    "perl names": ("perl", 'print "$0 @ARGV $$ ", getppid, " $^X $]\\n"; print join(",", map { "$_=$ENV{$_}" } sort keys %ENV), "\\n"; print -t STDIN ? 1 : 0, `pwd`'),
    "perl dies": ("perl", 'warn "w"; die { } if 0; die "with a line"'),
    "perl exits": ("perl", "print 'x'; exit 4"),
    "perl reads itself": ("perl", "print <DATA>;\n__DATA__\nhere\n"),
    "perl is killed": ("perl", "$| = 1; print 1; kill 9, $$"),
    "perl forks": ("perl", "my $p = fork; if (!$p) { exit 3 } waitpid $p, 0; print $? >> 8; END { print 'end' }"),
    "perl is wrong": ("perl", "print 1;\nif {\n"),
    "php names": ("php", "<?php echo $argc, json_encode($argv), __FILE__, getmypid(), getcwd(), PHP_SAPI, PHP_VERSION; ksort($_ENV); $e = getenv(); ksort($e); echo json_encode($e); echo ini_get('memory_limit');"),
    "php fails": ("php", "<?php function f() { throw new Exception('x'); }\nf();"),
    "php exits": ("php", "text <?php register_shutdown_function(function () { echo 'bye'; }); exit(6); ?> not"),
    "php is wrong": ("php", "<?php echo 1\necho 2;"),
    "php streams": ("php", "<?php fwrite(STDERR, 'err'); echo stream_get_contents(STDIN), posix_isatty(STDIN) ? 1 : 0;"),
}


@pytest.mark.parametrize("name", PYTHON)
def test_python(farm, name):
    both(farm, "python", PYTHON[name])


@pytest.mark.parametrize("name", OTHERS)
def test_others(farm, name):
    both(farm, *OTHERS[name])


def test_input_is_read(farm):
    code = "import sys; a = input(); b = sys.stdin.readline(); print(repr(a), repr(b), repr(sys.stdin.read()), sys.stdin.seekable())"
    assert both(farm, "python", code, stdin="one\ntwo\nthree")["stdout"].startswith("'one' 'two\\n' 'three'")
    assert "EOFError" in both(farm, "python", "input()")["stderr"]
    both(farm, "perl", "print while <STDIN>; print eof(STDIN)", stdin="a\nb")
    both(farm, "php", "<?php while (($l = fgets(STDIN)) !== false) echo strrev($l);", stdin="ab\ncd")


def test_files_beside_it_are_imported(farm):
    files = [{"filename": "helper.py", "content": "VkFMVUUgPSA0MgpwcmludCgnaGVscGVyJywgX19uYW1lX18pCg=="}]
    assert both(farm, "python", "import helper; print(helper.VALUE, helper.__file__)", input_files=files)["stdout"] == "helper helper\n42 /tmp/input/helper.py\n" \
        or both(farm, "python", "import helper; print(helper.VALUE)", input_files=files)["stdout"].endswith("42\n")


def test_words_of_its_own_are_there(farm):
    """The interpreter has read its words and variables: such a job starts afresh."""
    code = "import sys, os; print(sys.argv[1:], os.environ.get('A'), 'hold' in open('/proc/self/maps').read())"
    assert farm.run("python", code, args=["x", "y z"])["stdout"] == "['x', 'y z'] None False\n"
    assert farm.run("python", code, env={"A": "b"})["stdout"] == "[] b False\n"
    assert farm.run("python", code)["stdout"] == "[] None True\n"
    seeded = [farm.run("python", "print(hash('a'))", env={"PYTHONHASHSEED": "7"})["stdout"] for _ in range(2)]
    assert seeded[0] == seeded[1]


def test_random_numbers_differ_between_jobs(farm):
    programs = {
        "python": "import sys\nassert 'random' not in sys.modules\nimport random, uuid, secrets, os, tempfile\nprint(random.random(), uuid.uuid4(), secrets.token_hex(8), os.urandom(4), tempfile.mktemp())",
        "perl": "print rand",
        "php": "<?php echo mt_rand(), ' ', rand(), ' ', lcg_value(), ' ', uniqid('', true), ' ', random_int(0, 1 << 40), ' ', array_rand(range(0, 9999));",
    }
    for name, code in programs.items():
        runs = [farm.run(name, code)["stdout"].split() for _ in range(6)]
        for values in zip(*runs, strict=True):
            assert len(set(values)) == len(values), (name, values)


def test_a_job_cannot_reach_its_nest(farm):
    """It is not there: no process, no descriptor, no path; and what a job changes of itself, the next does not see."""
    code = """import os, sys, signal, builtins
seen = [p for p in os.listdir('/proc') if p.isdigit()]
print(seen, hasattr(builtins, 'mark'), 'marked' in sys.modules, os.path.exists('/lower'), os.path.exists('/tmp/mark'))
for pid in (0, -1):
    pass
builtins.mark = 1; sys.modules['marked'] = sys; open('/tmp/mark', 'w'); import json; json.dumps = None
for fd in range(3, 1024):
    try: os.fstat(fd); print('open', fd)
    except OSError: pass
try: os.kill(-1, signal.SIGKILL)
except OSError as e: print(e)
"""
    for _ in range(6):
        r = farm.run("python", code)
        assert r["stdout"].split("\n")[0] == "['1', '2'] False False False False", r
        assert "open" not in r["stdout"]
    assert farm.run("python", "import json; print(json.dumps([1]))")["stdout"] == "[1]\n"


def test_a_fork_has_the_limits_of_its_job(farm):
    r = farm.run("python", "a = []\nwhile True: a.append(bytearray(1 << 20))", memory_mb=48)
    assert r["end_reason"] == "memory" and r["run"]["memory_bytes"] <= 48 << 20
    assert farm.run("python", "while True: pass", ttl=1)["end_reason"] == "timeout"
    r = farm.run("python", "import threading, time\nwhile True: threading.Thread(target=time.sleep, args=(9,)).start()", ttl=9)
    assert "can't start new thread" in r["stderr"]


def test_jobs_go_on_when_a_nest_dies(farm):
    """Its sandboxes die with it; their jobs run again, and another nest is made."""
    import os
    import pathlib
    import signal

    slow = [farm.submit("python", "import time; time.sleep(1.5); print('done')") for _ in range(3)]
    wait_for("them to run", lambda: all(farm.get(f"/jobs/{j}").json()["status"] == "running" for j in slow))
    for procs in pathlib.Path(f"/sys/fs/cgroup/pids/{farm.cgroup}").glob("n*/cgroup.procs"):
        for pid in map(int, procs.read_text().split()):
            if pathlib.Path(f"/proc/{pid}/exe").readlink().name.startswith("python3"):
                os.kill(pid, signal.SIGKILL)
    assert [farm.wait_job(j)["stdout"] for j in slow] == ["done\n"] * 3
    wait_for("a fork again", lambda: forked(farm, "python"), 60, 0.2)
