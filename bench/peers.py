"""Command lines of other sandboxes, as each would isolate one program.

Every one gets what it offers without a service behind it: new namespaces, no
network, the host's /usr read-only.  One that is not installed, or does not work
on this machine, is named with the reason and left out.
"""

import json
import os
import pathlib
import shutil
import subprocess

from tools import ENVIRON

LINKS = {"bin": "usr/bin", "sbin": "usr/sbin", "lib": "usr/lib", "lib64": "usr/lib64"}
NAMESPACES = ("pid", "ipc", "uts", "mount", "network")
DEVICES = [
    ("/proc", "proc", ["nosuid", "noexec", "nodev"]),
    ("/dev", "tmpfs", ["nosuid", "mode=755", "size=64k"]),
    ("/tmp", "tmpfs", ["nosuid", "nodev", "size=64m"]),
]


def bundle(folder, argv):
    """An OCI bundle whose root is the host's /usr."""
    root = folder / "rootfs"
    for name in ("usr", "proc", "dev", "tmp", "sys", "etc", "run"):
        (root / name).mkdir(parents=True, exist_ok=True)
    for name, to in LINKS.items():
        if not (root / name).is_symlink():
            (root / name).symlink_to(to)
    mounts = [{"destination": d, "type": t, "source": t, "options": o} for d, t, o in DEVICES]
    mounts.append({"destination": "/usr", "type": "bind", "source": "/usr", "options": ["rbind", "ro", "nosuid"]})
    config = {
        "ociVersion": "1.0.2",
        "process": {
            "terminal": False, "user": {"uid": 0, "gid": 0}, "args": argv, "env": ["PATH=/usr/bin:/bin"], "cwd": "/",
            "capabilities": {}, "noNewPrivileges": True,
        },
        "root": {"path": "rootfs", "readonly": True},
        "hostname": "bench",
        "mounts": mounts,
        "linux": {"namespaces": [{"type": t} for t in NAMESPACES], "resources": {"memory": {"limit": 512 << 20}}},
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def oci(runtime):
    def command(argv, folder):
        # One at a time, so one name is enough; this run's, for two of them.
        return [runtime, "run", "--bundle", str(bundle(folder, argv)), f"unfarm-bench-{os.getpid()}"]

    return command


def bubblewrap(argv, _folder):
    links = [part for name, to in LINKS.items() for part in ("--symlink", to, f"/{name}")]
    return ["bwrap", "--unshare-all", "--die-with-parent", "--ro-bind", "/usr", "/usr", *links, "--proc", "/proc",
            "--dev", "/dev", "--tmpfs", "/tmp", "--", *argv]  # fmt: skip


def firejail(argv, _folder):
    return ["firejail", "--quiet", "--noprofile", "--net=none", "--caps.drop=all", "--seccomp", "--", *argv]


def nsjail(argv, _folder):
    return ["nsjail", "-Mo", "-Q", "-R", "/usr", "-s", "usr/bin:/bin", "-s", "usr/lib:/lib", "-s",
            "usr/lib64:/lib64", "--", *argv]  # fmt: skip


def nspawn(argv, folder):
    root = bundle(folder, argv) / "rootfs"
    return ["systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--private-network", "--pipe", "--as-pid2",
            "--bind-ro=/usr", "--read-only", "-D", str(root), *argv]  # fmt: skip


PEERS = {
    "bubblewrap": ("bwrap", bubblewrap),
    "nsjail": ("nsjail", nsjail),
    "crun": ("crun", oci("crun")),
    "runc": ("runc", oci("runc")),
    "firejail": ("firejail", firejail),
    "systemd-nspawn": ("systemd-nspawn", nspawn),
}


def find(commands, folder):
    """{peer: {name: argv}} of those that work here, {peer: why not}."""
    found, missing = {}, {}
    for peer, (program, make) in PEERS.items():
        if not shutil.which(program, path=ENVIRON["PATH"]):
            missing[peer] = "not installed"
            continue
        lines = {}
        for name, (argv, expect) in commands.items():
            here = pathlib.Path(folder, f"{peer}-{name}")
            here.mkdir(exist_ok=True)
            lines[name] = make(argv, here)
            try:
                tried = subprocess.run(lines[name], capture_output=True, text=True, env=ENVIRON, timeout=30,
                                       stdin=subprocess.DEVNULL)  # fmt: skip
            except subprocess.TimeoutExpired:
                missing[peer] = "does not work here: it hangs"
                break
            if tried.returncode != 0 or expect not in tried.stdout:
                why = (tried.stderr.strip().splitlines() or ["no output"])[-1]
                missing[peer] = f"does not work here: {why[:120]}"
                break
        else:
            found[peer] = lines
    return found, missing
