"""What a job sees that goes on in an interpreter started ahead of it is what a fresh start would show.

Each program runs both ways, in the language and in a copy of its record without `ahead`. The differences that are left
are in docs/decisions/0012-interpreters-started-ahead.md.
"""

import base64
import json
import os
import pathlib
import re
import signal
import time

import pytest
from farm import Farm, wait_for

# A compile step that leaves processes behind, and some that would not go.
LITTER = "for i in 1 2 3; do setsid sh -c 'trap \"\" TERM HUP INT; while :; do sleep 100 & sleep 0.01; done' & done; sleep 0.1; cp main.src main.js"


class BothWays(Farm):
    def _share(self):
        super()._share()
        folder = self.dir / "share/languages.d"
        for name in ("javascript", "typescript"):
            record = json.loads((folder / f"{name}.json").read_text())
            assert record.pop("ahead")
            self.add(folder, record, f"fresh-{name}")
        record = json.loads((folder / "typescript.json").read_text())
        record["source"], record["compile"], record["hello"] = "main.src", ["sh", "-c", LITTER], "console.log('hello')"
        self.add(folder, record, "litter")
        record = json.loads((folder / "javascript.json").read_text())
        record["ahead"] = ["main.jsx"]
        self.add(folder, record, "wrong")

    @staticmethod
    def add(folder, record, name):
        record.update(name=name, aliases=[], extensions=[name], shebangs=[])
        (folder / f"{name}.json").write_text(json.dumps(record))

    def waiting(self):
        """Pids of interpreters that wait for their job: {command's language or name: [pid]}."""
        found = []
        for procs in pathlib.Path(f"/sys/fs/cgroup/pids/{self.cgroup}").glob("n*/cgroup.procs"):
            try:
                found += [pid for pid in map(int, procs.read_text().split()) if waits(pid)]
            except OSError:
                continue
        return found

    def both(self, name, code, **options):
        """The result, which is the same both ways; addresses, as in the trace of an abort, are random."""
        runs = [{k: r.get(k) for k in KEPT} for r in (self.ahead(name, code, **options),
                                                     self.run(f"fresh-{name}", code, **options))]
        for r in runs:
            r["stderr"] = re.sub(r"\b0x[0-9a-f]{6,}", "0x", r["stderr"])
        assert runs[0] == runs[1]
        return runs[0]

    def ahead(self, name, code, **options):
        """The result of a job that was seen to go on in what waited."""
        for _ in range(20):
            wait_for("interpreters that wait", lambda: len(self.waiting()) >= WAITING)
            before = set(self.waiting())
            result = self.run(name, code, **options)
            if not before <= set(self.waiting()):
                return result
        raise AssertionError(f"{name} always starts afresh")


WAITING = 3  # one of each language that has `ahead`
KEPT = ("stdout", "stderr", "exit_code", "signal", "end_reason", "status", "success")


def waits(pid):
    """It is stopped where hold_ahead.c stops it."""
    try:
        return (pathlib.Path(f"/proc/{pid}/exe").readlink().name == "node"
                and "sandbox-hold" in pathlib.Path(f"/proc/{pid}/maps").read_text()
                and pathlib.Path(f"/proc/{pid}/syscall").read_text().startswith("47 "))  # recvmsg
    except OSError:
        return False


@pytest.fixture(scope="module")
def farm():
    conf = {"worker": {"forked": "javascript typescript litter wrong", "processes": 1, "slots": 4, "warm": 2}}
    with BothWays(languages=["javascript", "typescript", "bash"], conf=conf) as started:
        started.wait_languages("javascript", "typescript", "fresh-javascript", "fresh-typescript", "litter")
        started.wait_canaries()
        yield started


JAVASCRIPT = {
    "its names": "console.log(process.argv, process.argv0, process.execArgv, process.execPath, process.title, process.version, __filename, __dirname, require.main === module, module.id, module.paths, module.children, module.loaded, process.config, process.features)",
    "what is loaded": "console.log(process.moduleLoadList, Object.keys(require.cache), Object.keys(globalThis), Object.getOwnPropertyNames(process))",
    "the process": "const os = require('os'); console.log(process.pid, process.ppid, process.cwd(), process.umask(), process.getuid(), process.geteuid(), process.getgroups(), os.getPriority(), os.hostname().slice(0, 8), os.homedir(), os.userInfo(), os.availableParallelism(), os.totalmem())",
    "its session": "console.log(require('fs').readFileSync('/proc/self/stat', 'latin1').split(') ')[1].split(' ').slice(1, 6).join())",
    "the environment": "console.log(process.env, require('child_process').execSync('env | sort').toString()); console.log(require('fs').readFileSync('/proc/self/environ', 'latin1').replace(/\\0+$/, '').split('\\0'))",
    "descriptors": "const fs = require('fs'); console.log(fs.readdirSync('/proc/self/fd').map(n => { try { return n + ' ' + fs.readlinkSync('/proc/self/fd/' + n).replace(/\\d+/g, '') + ' ' + fs.readFileSync('/proc/self/fdinfo/' + n, 'latin1').split('\\n')[1] } catch (e) { return n + ' ' + e.code } }))",
    "the kernel's view": "console.log(require('fs').readFileSync('/proc/self/status', 'latin1').split('\\n').filter(l => /^(Name|Umask|Threads|TracerPid|Uid|Gid|Groups|NStgid|SigQ|SigPnd|ShdPnd|SigBlk|SigIgn|SigCgt|CapInh|CapPrm|CapEff|CapBnd|CapAmb|NoNewPrivs|Seccomp.*|THP_enabled)\\s*:/.test(l)).join('\\n'))",
    "its threads": "const fs = require('fs'); console.log(fs.readdirSync('/proc/self/task').map(t => fs.readFileSync('/proc/self/task/' + t + '/comm', 'latin1') + fs.readFileSync('/proc/self/task/' + t + '/status', 'latin1').match(/SigBlk.*/)))",
    "limits": "const fs = require('fs'); for (const f of ['limits', 'oom_score_adj', 'comm', 'cmdline', 'personality', 'cgroup', 'mountinfo', 'timerslack_ns', 'coredump_filter']) console.log(fs.readFileSync('/proc/self/' + f, 'latin1').replace(/\\b\\d+:\\d+\\b|^\\d+ \\d+/gm, '').replace(/s\\d+/g, 's').replace(/(.id)=\\d+/g, '$1'))",
    "its files of /proc": "const fs = require('fs'); console.log(['fd', 'maps', 'environ', 'mem', 'exe'].map(n => fs.lstatSync('/proc/self/' + n).uid), fs.readlinkSync('/proc/self/exe'), fs.readlinkSync('/proc/self/cwd'), fs.readlinkSync('/proc/self/root'))",
    "processes beside it": "const fs = require('fs'); console.log(fs.readdirSync('/proc').filter(n => /^\\d+$/.test(n)).map(p => p + fs.readFileSync('/proc/' + p + '/comm', 'latin1')))",
    "streams": "for (const s of [process.stdin, process.stdout, process.stderr]) console.log(s.constructor.name, s.fd, s.isTTY, s.readable, s.writable, s.readableHighWaterMark, s.writableHighWaterMark, s._type); const fs = require('fs'); for (const n of [0, 1, 2]) { const s = fs.fstatSync(n); console.log(s.isFile(), s.isFIFO(), s.isCharacterDevice(), (s.mode & 0o777).toString(8)) }",
    "memory": "const v8 = require('v8'), s = v8.getHeapStatistics(); console.log(s.heap_size_limit, s.does_zap_garbage, s.number_of_native_contexts, s.number_of_detached_contexts, v8.getHeapSpaceStatistics().map(x => x.space_name), Object.keys(process.memoryUsage()))",
    "a stack": "function f() { throw new TypeError('x', {cause: new Error('y')}) } try { f() } catch (e) { console.log(e.stack, e.cause.stack, Error.stackTraceLimit) }",
    "recursion": "let n = 0; function f() { n++; f() } try { f() } catch (e) { console.log(e.message, n > 5000) }",
    "an exception": "process.on('exit', c => console.log('exit', c)); function f() { null.x }\nf()",
    "an exception later": "setTimeout(() => { throw new RangeError('late') }, 1); process.on('beforeExit', () => console.log('never'))",
    "a rejection": "Promise.reject(new Error('nobody'))",
    "a rejection that is seen": "process.on('unhandledRejection', (e, p) => console.log(e.message, p)); process.on('uncaughtException', e => console.log(e.message)); Promise.reject(new Error('a')); setTimeout(() => { throw new Error('b') })",
    "a syntax error": "console.log(1)\nif (\n",
    "exit 3": "process.on('exit', c => console.log('exit', c)); process.stdout.write('x'.repeat(60000)); process.exit(3)",
    "an exit code": "process.exitCode = 5; process.on('beforeExit', c => console.log('before', c)); process.on('exit', c => console.log('exit', c))",
    "killed by TERM": "console.log(1); process.kill(process.pid, 'SIGTERM'); setTimeout(() => console.log('no'), 5000)",
    "aborted": "console.log('x'); process.abort()",
    "TERM is caught": "process.on('SIGTERM', (s, n) => { console.log(s, n); process.exit(7) }); process.kill(process.pid, 'SIGTERM'); setTimeout(() => 0, 5000)",
    "killed by KILL": "console.log(1); process.kill(process.pid, 'SIGKILL')",
    "a pipe that is closed": "process.stdout.on('error', e => { console.error(e.code) }); const c = require('child_process').spawn('true'); c.stdin.on('error', e => console.log(e.code)); c.on('close', () => c.stdin.write('x'.repeat(99999)))",
    "order": "require('fs').stat('.', () => { setTimeout(() => console.log('timeout')); setImmediate(() => console.log('immediate')) }); process.nextTick(() => console.log('tick')); Promise.resolve().then(() => console.log('then')); queueMicrotask(() => console.log('micro')); setTimeout(() => console.log('second'), 300); console.log('first')",
    "time": "const {performance} = require('perf_hooks'); console.log(Math.abs(performance.timeOrigin + performance.now() - Date.now()) < 1000, process.hrtime.bigint() > 0n); const a = performance.now(); setTimeout(() => { const d = performance.now() - a; console.log(d >= 19.5 && d < 5000); console.log(new Date(0).toString(), Intl.DateTimeFormat().resolvedOptions().timeZone) }, 20)",
    "intervals": "let n = 0; const t = setInterval(() => { console.log(++n); if (n == 3) clearInterval(t) }, 2)",
    "worker threads": "const {Worker, isMainThread, parentPort, threadId, workerData} = require('worker_threads'); if (isMainThread) { const w = new Worker(__filename, {workerData: 5}); w.on('message', m => console.log(m)); w.on('exit', c => console.log(c, threadId)) } else { parentPort.postMessage([threadId, workerData, process.pid, process.argv.length]); process.exit(4) }",
    "waits of threads": "const a = new Int32Array(new SharedArrayBuffer(4)); const t = Date.now(); console.log(Atomics.wait(a, 0, 0, 30), Date.now() - t >= 29); const {Worker} = require('worker_threads'); new Worker('const {workerData: a} = require(\"worker_threads\"); Atomics.store(a, 0, 1); Atomics.notify(a, 0)', {eval: true, workerData: a}); console.log(Atomics.wait(a, 0, 0, 9000))",
    "the pool": "const fs = require('fs'), c = require('crypto'), z = require('zlib'); Promise.all([fs.promises.readFile(__filename, 'utf8'), new Promise(r => c.pbkdf2('a', 'b', 1000, 8, 'sha256', (e, k) => r(k.toString('hex')))), new Promise(r => z.gzip('x', (e, b) => r(z.gunzipSync(b).toString()))), require('dns').promises.lookup('localhost')]).then(console.log)",
    "programs": "const c = require('child_process'); console.log(c.execFileSync(process.execPath, ['-p', 'process.argv.length + process.env.HOME']).toString(), c.spawnSync('sh', ['-c', 'echo out; echo err >&2; exit 3']).status); c.exec('cat', (e, o) => console.log(e, o)).stdin.end('in')",
    "a fork": "const c = require('child_process'); if (process.send) { process.on('message', m => { process.send(m + 1); process.disconnect() }) } else { const p = c.fork(__filename); p.on('message', m => console.log(m)); p.on('exit', n => console.log(n)); p.send(41) }",
    "a server": "const http = require('http'); const s = http.createServer((q, r) => r.end('hi ' + q.url)).listen(0, '127.0.0.1', () => http.get({host: '127.0.0.1', port: s.address().port, path: '/x'}, r => { r.on('data', d => console.log(d.toString())); r.on('end', () => s.close()) }))",
    "numbers": "console.log(crypto.createHash('sha256').update('a').digest('hex'), 0.1 + 0.2, 2n ** 99n, (1e21).toLocaleString(), 'é'.normalize('NFD').length, [3, 1, 2].toSorted(), structuredClone(new Map([[1, {a: 2}]])), new Intl.NumberFormat('de').format(1234.5))",
    "a file of its own": "const fs = require('fs'); fs.writeFileSync('x', 'y'); const s = fs.statSync('x'); console.log(fs.readdirSync('.'), s.uid, s.mode.toString(8), fs.readFileSync(__filename, 'utf8')); const m = fs.statSync(__filename); console.log(m.size, m.nlink, m.mode.toString(8), Date.now() - m.mtimeMs < 60000, fs.realpathSync('main.js'))",
    "WebAssembly": "WebAssembly.instantiate(Buffer.from('0061736d0100000001070160027f7f017f030201000707010361646400000a09010700200020016a0b', 'hex')).then(m => console.log(m.instance.exports.add(40, 2)))",
    "garbage": "const r = new FinalizationRegistry(() => 0); let a = []; for (let i = 0; i < 300; i++) a.push(new Array(10000).fill(i)); a = null; for (let i = 0; i < 300; i++) new Array(10000).fill(i); console.log('ok')",
    "import in CommonJS": "import fs from 'fs'; console.log(import.meta.url, import.meta.filename, typeof require, await Promise.resolve(3))",
    "a dynamic import": "import('node:path').then(m => console.log(m.join('a', 'b'))); import('./nothing.mjs').catch(e => console.log(e.code))",
    "a deprecation": "new Buffer(1); process.emitWarning('careful'); console.log(require('util').inspect({a: {b: {c: {}}}}))",
    "a shebang": "#!/usr/bin/env node\nconsole.log(1)",
    "a report": "const r = process.report.getReport(); console.log(r.header.commandLine, r.header.cwd, r.header.nodejsVersion, r.userLimits, r.environmentVariables, r.libuv.length, r.workers)",
    "async hooks": "const {AsyncLocalStorage, executionAsyncId, triggerAsyncId} = require('async_hooks'); const s = new AsyncLocalStorage(); s.run(1, () => setTimeout(() => console.log(s.getStore()))); console.log(executionAsyncId(), triggerAsyncId())",
    "an empty program": "\n",
}


@pytest.mark.parametrize("name", JAVASCRIPT)
def test_javascript(farm, name):
    farm.both("javascript", JAVASCRIPT[name])


TYPESCRIPT = {
    "output": "enum E { A = 1, B }\nconst x: Map<string, E> = new Map([['b', E.B]]); console.log(x, __filename, process.argv, require('fs').readdirSync('.'))",
    "an exception": "interface I { a?: { b: number } }\nfunction f(i: I) { return i.a!.b }\nf({})",
    "what does not compile": "const x: = 1;",
    "processes": "console.log(require('fs').readdirSync('/proc').filter((n: string) => /^\\d+$/.test(n)).length, require('fs').readdirSync('/proc/self/fd').length)",
}


@pytest.mark.parametrize("name", TYPESCRIPT)
def test_typescript(farm, name):
    """The compiler runs beside it; then it goes on."""
    farm.both("typescript", TYPESCRIPT[name])


def test_input_is_read(farm):
    code = "let a = ''; process.stdin.on('data', d => a += d).on('end', () => console.log(a.length, a.slice(-5), process.stdin.constructor.name, require('fs').fstatSync(0).size))"
    assert farm.both("javascript", code, stdin="x" * 99999 + "end\n")["stdout"].startswith("100003 xend\n ")
    assert farm.both("javascript", code)["stdout"].startswith("0  ")
    farm.both("javascript", "console.log(require('fs').readFileSync(0, 'utf8')); require('readline').createInterface({input: process.stdin}).on('line', l => console.log(l))", stdin="one\ntwo")


def test_files_beside_it_are_used(farm):
    """Also those that Node looks for before its program: it stops there."""
    def files(**named):
        return [{"filename": n, "content": base64.b64encode(t.encode()).decode()} for n, t in named.items()]

    module = files(**{"package.json": '{"type": "module", "name": "p"}', "helper.js": "export default 42"})
    r = farm.both("javascript", "import h from './helper.js'; console.log(h, import.meta.url, typeof module)", input_files=module)
    assert r["stdout"] == "42 file:///tmp/main.js undefined\n"
    beside = files(**{"helper.js": "module.exports = __filename", "data.json": '{"a": 1}'})
    r = farm.both("javascript", "console.log(require('./helper'), require('./data.json'), require('fs').readdirSync('.'))", input_files=beside)
    assert "/tmp/helper.js { a: 1 }" in r["stdout"]
    broken = files(**{"package.json": "{"})
    assert farm.both("javascript", "1", input_files=broken)["exit_code"] == 1


PROBE = "const held = require('fs').readFileSync('/proc/self/maps', 'latin1').includes('sandbox-hold'); console.log(held, process.argv.slice(2), process.env.A)"


def test_words_of_its_own_are_there(farm):
    assert farm.ahead("javascript", PROBE)["stdout"] == "true [] undefined\n"
    before = set(wait_for("another", lambda: len(farm.waiting()) >= WAITING and farm.waiting()))
    time.sleep(0.1)  # until the worker has heard of it
    assert farm.run("javascript", PROBE, args=["x", "y z"])["stdout"] == "false [ 'x', 'y z' ] undefined\n"
    assert farm.run("javascript", PROBE, env={"A": "b"})["stdout"] == "false [] b\n"
    assert farm.run("javascript", "console.log(process.execArgv.length, process.memoryUsage().rss > 0)", env={"NODE_OPTIONS": "--max-old-space-size=64"})["exit_code"] == 0
    assert before <= set(farm.waiting())


def test_random_numbers_differ_between_jobs(farm):
    code = "const c = require('crypto'); console.log(Math.random(), c.randomUUID(), c.randomBytes(8).toString('hex'), c.randomInt(2 ** 40), require('fs').mkdtempSync('x'))"
    runs = [farm.ahead("javascript", code)["stdout"].split() for _ in range(4)]
    for values in zip(*runs, strict=True):
        assert len(set(values)) == len(values), values


def test_nothing_is_open_but_what_a_start_opens(farm):
    """While it waits: streams of ours, its own things, and one socket to the sandbox's first process; no path to anything else."""
    wait_for("interpreters that wait", lambda: len(farm.waiting()) >= WAITING)
    for pid in farm.waiting():
        fd = {n.name: os.readlink(n) for n in pathlib.Path(f"/proc/{pid}/fd").iterdir()}
        other = {n: to for n, to in fd.items() if not re.match(r"anon_inode:\[event|pipe:|/dev/null$", to)}
        assert sorted(other.values())[1].startswith("socket:") and other.pop("0").startswith("/memfd:stdin")
        assert len(other) == 1 and int(next(iter(other))) >= 200, other
        maps = pathlib.Path(f"/proc/{pid}/environ").read_bytes()
        assert b"LD_PRELOAD" not in maps
        group = next(line.split("/")[-1] for line in pathlib.Path(f"/proc/{pid}/cgroup").read_text().splitlines() if ":pids:" in line)
        assert len(pathlib.Path(f"/sys/fs/cgroup/pids/{farm.cgroup}/{group}/cgroup.procs").read_text().split()) == 3  # it, its init, and the nest's


def test_a_compiler_leaves_nothing(farm):
    """What it left is killed, and what waits is not."""
    code = "const fs = require('fs'); console.log(fs.readdirSync('/proc').filter(n => /^\\d+$/.test(n)).map(p => fs.readFileSync('/proc/' + p + '/comm', 'latin1').trim()))"
    for _ in range(3):
        assert farm.ahead("litter", code)["stdout"] == "[ 'memfd:sandbox-i', 'node' ]\n"


def test_it_has_the_limits_of_its_job(farm):
    r = farm.ahead("javascript", "const a = []; for (;;) a.push(Buffer.alloc(1 << 20, 1))", memory_mb=64)
    assert r["end_reason"] == "memory" and r["run"]["memory_bytes"] <= 64 << 20
    assert farm.ahead("javascript", "for (;;);", ttl=1)["end_reason"] == "timeout"
    r = farm.ahead("javascript", "for (;;);", ttl=20, cpu_limit=1)
    assert r["end_reason"] == "cpu" and 900 <= r["run"]["cpu_ms"] <= 2000
    r = farm.ahead("javascript", "const c = require('child_process'); let n = 0; try { for (;;) { const p = c.spawn('sleep', ['9']); p.on('error', e => { console.log(e.code); process.exit(1) }); if (++n > 300) break } } catch (e) { console.log(e.code); process.exit(1) }")
    assert "EAGAIN" in r["stdout"] and r["end_reason"] == "processes"
    assert farm.ahead("javascript", "console.log(1)", memory_mb=32)["stdout"] == "1\n"


def test_what_it_used_before_is_not_the_jobs(farm):
    """Its start has cost more than this job."""
    wait_for("interpreters that wait", lambda: len(farm.waiting()) >= WAITING)
    ticks = [sum(map(int, pathlib.Path(f"/proc/{pid}/stat").read_text().split(") ")[1].split()[11:13])) for pid in farm.waiting()]
    start_ms = min(ticks) * 1000 / os.sysconf("SC_CLK_TCK")
    ahead = min(farm.ahead("javascript", "1")["run"]["cpu_ms"] for _ in range(4))
    fresh = min(farm.run("fresh-javascript", "1")["run"]["cpu_ms"] for _ in range(4))
    assert start_ms > 0 and ahead < 0.7 * fresh, (start_ms, ahead, fresh)


def test_one_that_dies_is_replaced(farm):
    """While it waits: it is no end of a job, and another one is made."""
    wait_for("interpreters that wait", lambda: len(farm.waiting()) >= WAITING)
    dead = farm.waiting()
    worker, = farm.workers()
    os.kill(worker, signal.SIGSTOP)  # it hears of the deaths and of the jobs at the same time
    try:
        jobs = [farm.submit(name, "console.log('done')") for name in ("javascript", "typescript", "litter")]
        for pid in dead:
            os.kill(pid, signal.SIGKILL)
    finally:
        os.kill(worker, signal.SIGCONT)
    results = [farm.wait_job(j) for j in jobs]
    assert [r["stdout"] for r in results] == ["done\n"] * 3, results
    wait_for("others that wait", lambda: len(set(farm.waiting()) - set(dead)) >= WAITING)
    assert farm.ahead("javascript", PROBE)["stdout"].startswith("true")


def test_one_that_dies_with_its_job_in_its_hands_is_replaced(farm):
    """The job was given to it, and it has not begun: the job runs, elsewhere."""
    wait_for("interpreters that wait", lambda: len(farm.waiting()) >= WAITING)
    stopped = farm.waiting()
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    job = farm.submit("javascript", "console.log('done')")
    got = wait_for("the job's files", lambda: [pid for pid in stopped if pathlib.Path(f"/proc/{pid}/root/tmp/main.js").stat().st_size > 0])
    for pid in stopped:
        os.kill(pid, signal.SIGKILL)
    result = farm.wait_job(job)
    assert len(got) == 1 and (result["stdout"], result["attempts"]) == ("done\n", 2), result
    wait_for("others that wait", lambda: len(set(farm.waiting()) - set(stopped)) >= WAITING)


def test_a_language_that_cannot_be_started_ahead_starts_afresh(farm):
    """Its record names a file that it does not open."""
    wait_for("the log", lambda: re.search("no sandbox: it ended before it opened its program.*kind=wrong", farm.log("worker")))
    assert farm.run("wrong", PROBE)["stdout"] == "false [] undefined\n"


def test_as_many_wait_as_are_allowed(farm):
    """Memory: with many jobs at a time, worker.ahead of them, and then all are used."""
    jobs = [farm.submit("javascript", "setTimeout(() => console.log('x'), 1500)") for _ in range(4)]
    seen = []
    while len(seen) < 40 or seen[-1] < 4 or len(set(seen[-40:])) > 1:  # until no more come
        seen.append(len(farm.waiting()))
        assert seen[-1] <= 4 and len(seen) < 1500, seen
        time.sleep(0.02)
    assert [farm.wait_job(j)["stdout"] for j in jobs] == ["x\n"] * 4
