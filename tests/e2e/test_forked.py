"""What a job sees that is a fork of a running interpreter is what a fresh start would show.

Each program runs both ways, in the language and in a copy of its record without `fork`. The differences that are left
are in docs/decisions/0010-nests-and-forked-interpreters.md.
"""

import contextlib
import io
import json
import re
import zipfile

import pytest
from farm import Farm, wait_for

LANGUAGES = ("python", "bash", "dash", "perl", "php", "chez", "prolog", "hugs")


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
    shell = "case $(cat /proc/$$/maps) in *hold*) echo True;; *) echo False;; esac"
    probe = {"bash": shell, "dash": shell, "python": "print('hold' in open('/proc/self/maps').read())",
             "perl": "open F, '/proc/self/maps'; print grep(/hold/, <F>) ? 'True' : 'False', \"\\n\"",
             "php": "<?php echo strpos(file_get_contents('/proc/self/maps'), 'hold') ? 'True' : 'False', \"\\n\";",
             "chez": '(define s (call-with-input-file "/proc/self/maps" get-string-all)) (define (f i) (and (< i (- (string-length s) 4)) (or (string=? (substring s i (+ i 4)) "hold") (f (+ i 1))))) (display (if (f 0) "True\\n" "False\\n"))',
             "prolog": ":- read_file_to_string('/proc/self/maps', S, []), (sub_string(S, _, _, _, hold) -> writeln('True') ; writeln('False')).",
             "hugs": 'import Data.List\nmain = readFile "/proc/self/maps" >>= putStrLn . show . any (isInfixOf "hold") . lines'}
    return farm.run(name, probe[name])["stdout"] == "True\n"


KEPT = ("stdout", "stderr", "exit_code", "signal", "end_reason", "status", "success")


def places_left_out(value):
    return re.sub(r"\b0x[0-9a-f]+", "0x", value) if isinstance(value, str) else value


def both(farm, name, code, **options):
    """The result, which is the same both ways."""
    runs = [{k: places_left_out(r.get(k)) for k in KEPT} for r in (farm.run(n, code, **options) for n in (name, f"fresh-{name}"))]
    assert runs[0] == runs[1]
    return runs[0]


PYTHON = {
    "what it looked at": "import sys; print([p for p in sys.path_importer_cache if p.startswith('/tmp')], len(sys.path_hooks), len(sys.meta_path))",
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
    "chez names": ("chez", '(display (list (command-line) (current-directory) (getenv "LD_PRELOAD") (random 1000000) (threaded?) (scheme-version) (directory-list "/proc/self/fd")))'),
    "chez fails": ("chez", "(display 1) (car 5)"),
    "chez is wrong": ("chez", "(display"),
    "chez runs": ("chez", '(system "env | sort; ls /proc/self/fd; kill -l") (define (f n) (if (= n 0) 0 (+ 1 (f (- n 1))))) (display (f 1000000)) (collect) (exit 3)'),
    "prolog names": ("prolog", ":- initialization(main). main :- current_prolog_flag(argv, A), current_prolog_flag(pid, P), working_directory(D, D), print([A, P, D]), shell('env | sort; ls /proc/self/fd'), halt(4)."),
    "prolog fails": ("prolog", ":- initialization(main). main :- X is 1/0, writeln(X)."),
    "prolog is wrong": ("prolog", "foo("),
    "prolog loads": ("prolog", ":- use_module(library(clpfd)). :- X #> 3, X #< 5, writeln(X), thread_create(writeln(a), T), thread_join(T), findall(I, thread_property(I, status(_)), L), writeln(L)."),
    "hugs names": ("hugs", 'import System.Environment\nmain = getArgs >>= print >> getProgName >>= print >> getEnv "HOME" >>= print >> getEnv "LD_PRELOAD" >>= print'),
    "hugs exits": ("hugs", "import System.Exit\nimport System.Cmd\nmain = system \"ls /proc/self/fd\" >> exitWith (ExitFailure 3)"),
    "hugs fails": ("hugs", "main = print (head [])"),
    "hugs is wrong": ("hugs", "main = x"),
    "php streams": ("php", "<?php fwrite(STDERR, 'err'); echo stream_get_contents(STDIN), posix_isatty(STDIN) ? 1 : 0;"),
}


@pytest.mark.parametrize("name", PYTHON)
def test_python(farm, name):
    both(farm, "python", PYTHON[name])


A = "class A:\n  def __del__(self): print('del')\n"


def in_child(code, then):
    """code as a process of its own that ends by itself; then looks at what it left."""
    indented = code.replace("\n", "\n  ")
    return f"import os\npid = os.fork()\nif pid == 0:\n  {indented}\nelse:\n  os.waitpid(pid, 0); {then}\n"


# Python's end is left out where nothing would be seen of it: here something would.
ENDS = {
    "a finalizer": A + "a = A()",
    "one in a cycle": A + "a = A(); a.me = a; del a",
    "one without a dictionary": "class A:\n  __slots__ = ()\n  def __del__(self): print('del')\na = A()",
    "one that came later": "class A: pass\na = A()\nA.__del__ = lambda self: print('del')",
    "one of a list": "class A(list):\n  def __del__(self): print('del', len(self))\na = A((1, 2))",
    "one of a class": "class M(type):\n  def __del__(self): print('del', self.__name__)\nclass A(metaclass=M): pass",
    "one in another's module": A + "import json; json.x = A()",
    "one in builtins": A + "import builtins; builtins.x = A()",
    "one in sys": A + "import sys; sys.x = A()",
    "one in a frame": A + "def f():\n  a = A()\n  1 / 0\nf()",
    "one in a cache": A + "import functools\n@functools.lru_cache\ndef f(): return A()\nf()",
    "one of a thread": A + "import threading; l = threading.local(); l.x = A()",
    "one in a context": A + "import contextvars; v = contextvars.ContextVar('v'); v.set(A())",
    "one that was frozen": A + "import gc; a = A(); gc.freeze()",
    "one that fails": "class A:\n  def __del__(self): 1 / 0\na = A()",
    "one that fails, hooked": "import sys\nclass A:\n  def __del__(self): 1 / 0\na = A(); sys.unraisablehook = lambda u: print('hook', u.exc_value)",
    "one that looks around": "import sys\nclass A:\n  def __del__(self): print(sys.is_finalizing(), sys.meta_path is None)\na = A()",
    "a generator": "def g():\n  try: yield\n  finally: print('finally')\nx = g(); next(x)",
    "a coroutine": "async def f(): pass\nx = f()",
    "a task": "import asyncio\nasync def f(): await asyncio.sleep(9)\nl = asyncio.new_event_loop(); t = l.create_task(f()); l.call_soon(l.stop); l.run_forever()",
    "a callback of a reference": "import weakref\nclass A: pass\na = A(); r = weakref.ref(a, print)",
    "one of the program": "import builtins, weakref\nclass A: pass\na = A(); builtins.r = weakref.ref(a, lambda r: print('gone'))",
    "one of a method": "import builtins, weakref\nclass A:\n  def f(self, r): print('gone')\na = A(); builtins.r = weakref.ref(A(), a.f); b = A(); builtins.s = weakref.ref(b, a.f)",
    "one of another type": "import builtins, weakref\nclass A: pass\nclass R(weakref.ref): pass\na = A(); builtins.r = R(a, lambda r: print('gone'))",
    "one of a proxy": "import builtins, weakref\nclass A: pass\na = A(); builtins.r = weakref.proxy(a, lambda r: print('gone'))",
    "containers of references": "import weakref\nclass A: pass\na = A(); v = weakref.WeakValueDictionary(x=a); s = weakref.WeakSet([a]); k = weakref.WeakKeyDictionary({a: 1}); print(len(v), len(s), len(k))",
    "a file that is open": in_child("f = open('f', 'w'); f.write('text')", "print(open('f').read())"),
    "a file that was frozen": in_child("import gc; f = open('f', 'w'); f.write('text'); gc.freeze()", "print(open('f').read())"),
    "a file at the lowest level": in_child("import io\nf = io.BufferedWriter(io.FileIO('f', 'w')); f.write(b'text')", "print(open('f').read())"),
    "a file of a module": in_child("import json\njson.f = open('f', 'w'); json.f.write('text')", "print(open('f').read())"),
    "a log": in_child("import logging\nlogging.basicConfig(filename='f'); logging.error('text')", "print(open('f').read())"),
    "folders that go": in_child("import tempfile\nd = tempfile.TemporaryDirectory(dir='.'); f = tempfile.NamedTemporaryFile(dir='.')", "print(os.listdir())"),
    "a database": in_child("import sqlite3\nc = sqlite3.connect('db'); c.execute('pragma journal_mode=wal'); c.execute('create table t (x)'); c.commit(); c.execute('insert into t values (1)')", "print(sorted(os.listdir()))"),
    "a warning": "import warnings; warnings.simplefilter('always'); f = open('/dev/null')",
    "a callback of the collector": "import gc; gc.callbacks.append(lambda p, i: print(p))",
    "a daemon": "import threading, time\ndef f():\n  while True: time.sleep(0.01)\nthreading.Thread(target=f, daemon=True).start(); print('main')",
    "a thread that goes on": "import threading, time\ndef f():\n  time.sleep(0.2); print('late')\nthreading.Thread(target=f).start(); print('main')",
    "a thread that fails": "import threading\nthreading.Thread(target=lambda: 1 / 0, name='t').start()",
    "work that waits": "import concurrent.futures as c, time\ne = c.ThreadPoolExecutor(1); e.submit(time.sleep, 0.1); e.submit(print, 'done')",
    "functions at exit": "import atexit\natexit.register(print, 'first'); atexit.register(lambda: atexit.register(print, 'late')); atexit.register(lambda: 1 / 0); atexit.register(print, 'last')",
    "a program in one": "import atexit, subprocess; atexit.register(subprocess.run, ['echo', 'from exit'])",
    "exit in one": "import atexit, sys; atexit.register(sys.exit, 5)",
    "a reader in one": "import atexit, json, sys; atexit.register(lambda: print(json.dumps([1]), sys.is_finalizing(), 'json' in sys.modules))",
    "output that is closed": "import sys; sys.stdout.close()",
    "output that fails": "import os; print('lost'); os.close(1)",
    "errors that fail": "import os, sys; os.close(2); sys.stderr.write('lost')",
    "output elsewhere": "import io, sys; sys.stdout = io.StringIO(); print('lost'); sys.__stdout__.write('kept')",
    "output of one's own": "import sys\nclass O:\n  def write(self, s): return sys.__stdout__.write(s.upper())\n  def flush(self): sys.__stdout__.write('flush')\nsys.stdout = O(); print('text')",
    "output wrapped again": "import io, sys; sys.stdout = io.TextIOWrapper(sys.stdout.detach(), encoding='utf-16'); print('text')",
    "no output at all": "import sys; sys.stdout = sys.stderr = None",
    "exit with no number": "import sys; sys.exit(None)",
    "exit with a large one": "import sys; sys.exit(300)",
    "exit far inside": "def f(n):\n  if n == 0: raise SystemExit(4)\n  f(n - 1)\nf(50)",
    "quit": "quit(6)",
    "a hook for errors": "import sys; sys.excepthook = lambda t, v, b: print('hook', v); 1 / 0",
    "an error in a group": "raise ExceptionGroup('all', [ValueError(1), TypeError(2)])",
    "much that is harmless": "x = [[i, {str(i): (i,)}] for i in range(20000)]; x.append(x); print(len(x))",
}


def archive():
    """A program that is a zip file, and text: no byte of it is above 127."""
    main = "import sys, other\nprint(__file__, sys.argv, sys.path[0], other.N)\n#"
    for n in range(5000):
        made = io.BytesIO()
        with zipfile.ZipFile(made, "w") as z:
            for name, text in (("other.py", f"N = {n}\n"), ("__main__.py", main + n % 300 * "#")):
                info = zipfile.ZipInfo(name)
                info.external_attr = 1  # 0 is another one
                z.writestr(info, text)
        if made.getvalue().isascii():
            return made.getvalue().decode()


def test_python_archives(farm):
    """Python looks for the end of an archive before it reads its program; a nest does that once for all."""
    ran = both(farm, "python", archive())["stdout"]
    assert "/tmp/main.py/__main__.py" in ran
    assert "can't find '__main__'" in both(farm, "python", "PK\5\6" + "\0" * 18)["stderr"]
    assert both(farm, "python", "print(1)\n#PK\5\6" + "x" * 40)["stdout"] == "1\n"
    assert both(farm, "python", "print(2)\n#PK\5\6" + "x" * 70000)["stdout"] == "2\n"


@pytest.mark.parametrize("what", ENDS)
def test_python_ends(farm, what):
    both(farm, "python", ENDS[what])


# Pages that a child writes at its end: destroying all objects writes to more than 500.
FAULTS = """import os
def count(make):
  pid = os.fork()
  if pid == 0:
    globals()['kept'] = make()
    raise SystemExit(0)
  os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
  return int(open(f'/proc/{pid}/stat').read().split()[9])
def acts():
  class A:
    def __del__(self): pass
  return A()
print(count(acts) - count(list) > 200)
"""


def test_python_leaves_its_end_out(farm):
    assert farm.run("python", FAULTS)["stdout"] == "True\n"
    assert farm.run("fresh-python", FAULTS)["stdout"] == "False\n"


# Without SigBlk: dash blocks its signals for a moment each time it forks.  Read by the shell itself: while it waits for
# a child, Bash catches SIGINT, from a moment on.
SHELLS = {
    "names": 'echo "$0" "$#" "$*" "$-" "$$" "$PPID" "$_" "$PWD" "$OLDPWD" "$HOME" "$IFS" "$PS4" "$OPTIND"',
    "all variables": "set | grep -vE '^(RANDOM|SRANDOM|EPOCH.*|BASHPID|LINENO|HOSTNAME|_)='",
    "the environment": "env | sort; cat /proc/self/environ | tr '\\0' '\\n' | sort",
    "limits": "ulimit -a; umask; cat /proc/$$/limits",
    "the kernel's view": "while IFS= read -r l; do case $l in Name*|Umask*|Threads*|[UG]id*|Groups*|NStgid*|SigIgn*|SigCgt*|CapEff*|CapBnd*|NoNewPrivs*|Seccomp*) echo \"$l\";; esac; done < /proc/$$/status; cat /proc/$$/comm; cat /proc/$$/cmdline | tr '\\0' ' '",
    "descriptors": "ls /proc/$$/fd; readlink /proc/$$/fd/0 | cut -c1-4; readlink /proc/$$/exe",
    "traps": "trap; trap 'echo bye' EXIT; trap 'echo term' TERM; kill -TERM $$; exit 3",
    "signals": "kill -KILL $$",
    "no such command": "nonesuch; echo $?; . ./nonesuch",
    "a syntax error": "echo 1\nif then",
    "children": "(exit 3); echo $?; sleep 0.1 & wait $!; echo $?; x=$(echo sub); echo $x | tr a-z A-Z; times | wc -l",
    "here": "cat <<X\n$((6 * 7))\nX\nread a; echo got $a",
    "an unbound name": "set -eu; echo $nonesuch; echo not reached",
    "files": "echo a > f; cat < f; pwd; cd /; cd - ; ls",
    "its own text": "cat $0; echo $LINENO",
    "exec": "exec echo gone",
    "times of day": "test $(date +%s) -ge $(stat -c %Y /proc/self) && echo yes; date +%Z",
}
BASH = {
    "its names": 'echo "$BASH $BASH_VERSION $BASHOPTS $SHELLOPTS $BASH_SUBSHELL ${BASH_SOURCE[*]} ${FUNCNAME[*]} $UID $EUID ${GROUPS[*]} $SHLVL $HOSTTYPE $MACHTYPE $OSTYPE ${DIRSTACK[*]} $COLUMNS $LINES $HISTFILE"; declare -p BASH_ARGV0 BASH_ARGC BASH_ARGV',
    "the host": 'test "$HOSTNAME" = "$(hostname)" && test "$HOSTNAME" = "$(cat /proc/sys/kernel/hostname)" && echo same',
    "seconds": 'echo $((SECONDS <= 1)); sleep 1.1; echo $((SECONDS > 0 && SECONDS <= 3)); SECONDS=50; echo $SECONDS; (( EPOCHSECONDS - $(date +%s) <= 1 )) && echo now',
    "numbers": 'echo $BASHPID $$ $PPID; (echo $BASHPID $$); RANDOM=5; echo $RANDOM $RANDOM',
    "options": "shopt; set -o; shopt -s extglob globstar; echo /dev/nul+(l) **",
    "jobs": "set -m; sleep 0.1 & jobs; fg; echo $?",
    "arrays": 'declare -A m=([a]=1 [b]=2); for k in "${!m[@]}"; do echo $k=${m[$k]}; done; printf "%s|" "${BASH_VERSINFO[@]:0:3}"; mapfile -t l <<< "$(seq 2)"; echo ${#l[@]}',
    "a trace": "set -x; f() { return 3; }; f || echo $?; PS4='+$LINENO '; echo x",
    "an error far inside": "f() { g; }; g() { caller 0; nonesuch; return 1; }; set -E; trap 'echo trapped $LINENO' ERR; f",
    "coprocess": 'coproc cat; echo hi >&"${COPROC[1]}"; read x <&"${COPROC[0]}"; echo $x',
    "process substitution": "diff <(echo 1) <(echo 2); echo $?",
    "locale": "printf '%s\\n' ${#HOSTTYPE}; x=\u00e9\u20ac; echo ${#x} $LC_ALL $LANG; printf '%.2f\\n' 1.5",
}


@pytest.mark.parametrize("name", SHELLS)
@pytest.mark.parametrize("shell", ["bash", "dash"])
def test_shells(farm, shell, name):
    both(farm, shell, SHELLS[name], stdin="one\ntwo\n")


@pytest.mark.parametrize("name", BASH)
def test_bash(farm, name):
    both(farm, "bash", BASH[name])


def test_random_numbers_of_shells_are_not_shared(farm):
    seen = [farm.run("bash", "echo $RANDOM $RANDOM $RANDOM $SRANDOM")["stdout"] for _ in range(12)]
    assert len(set(seen)) == len(seen) and all(len(set(column)) > 6 for column in zip(*(line.split() for line in seen)))


@pytest.mark.parametrize("name", OTHERS)
def test_others(farm, name):
    both(farm, *OTHERS[name])


def test_input_is_read(farm):
    code = "import sys; a = input(); b = sys.stdin.readline(); print(repr(a), repr(b), repr(sys.stdin.read()), sys.stdin.seekable())"
    assert both(farm, "python", code, stdin="one\ntwo\nthree")["stdout"].startswith("'one' 'two\\n' 'three'")
    assert "EOFError" in both(farm, "python", "input()")["stderr"]
    both(farm, "perl", "print while <STDIN>; print eof(STDIN)", stdin="a\nb")
    both(farm, "chez", "(display (list (read) (get-line (current-input-port)) (read)))", stdin="(a b) c\n")
    both(farm, "prolog", ":- read(X), read(Y), writeln(X-Y).", stdin="a(B). c.")
    both(farm, "hugs", "main = interact reverse", stdin="ab\ncd")
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
        "python": "import sys\nassert 'random' not in sys.modules\nimport random, uuid, secrets, os, tempfile\nprint(random.random(), uuid.uuid4(), secrets.token_hex(8), os.urandom(4).hex(), tempfile.mktemp())",
        "perl": "print rand",
        "prolog": ":- random(X), writeln(X).",
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
            with contextlib.suppress(FileNotFoundError):
                if pathlib.Path(f"/proc/{pid}/exe").readlink().name.startswith("python3"):
                    os.kill(pid, signal.SIGKILL)
    assert [farm.wait_job(j)["stdout"] for j in slow] == ["done\n"] * 3
    wait_for("a fork again", lambda: forked(farm, "python"), 60, 0.2)
