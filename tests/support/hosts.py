"""Several machines on one: each a network, process, mount and host-name space with an address, an SSH server, a home, a
`/tmp/cc-root` and a `/dev/shm` of its own, on a bridge that a further space, the operator's, looks at. Needs root.

What they share is the rest of the disk: the environment, and a folder for the store, as an NFS mount would be.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

NETWORK = "10.77.0"
PATH = f"/usr/sbin:/sbin:{os.environ['PATH']}"
MISSING = [tool for tool in ("ip", "sshd", "ssh", "rsync", "unshare", "curl") if not shutil.which(tool, path=PATH)]

BOOT = """
set -e
hostname {name}
mount --make-rprivate /
mount -t overlay overlay -o lowerdir=$HOME,upperdir={folder}/{name}/disk,workdir={folder}/{name}/work $HOME
rm -rf $HOME/.crosscells; [ -e {folder}/{name}/booted ] || rm -rf $HOME/.ray
touch {folder}/{name}/booted
mkdir -p /run/sshd; [ -d /tmp/cc-root ] || mkdir -m 700 /tmp/cc-root
mount -t tmpfs -o mode=700 tmpfs /tmp/cc-root; mount -t tmpfs tmpfs /dev/shm
mount --bind {folder}/hosts /etc/hosts
mount --bind {folder}/resolv.conf /etc/resolv.conf
exec /usr/sbin/sshd -D -e -f /dev/null -o ListenAddress={address} -o HostKey={folder}/hostkey -o PidFile=none \\
  -o AuthorizedKeysFile={folder}/id.pub -o StrictModes=no -o UsePAM=no -o PermitRootLogin=prohibit-password \\
  -o MaxSessions=64 -o MaxStartups=64 -o Subsystem='sftp internal-sftp'
"""


class Hosts:
    """`count` machines; use as a context. `addresses[i]` is the i-th one's."""

    def __init__(self, folder: Path, count: int) -> None:
        self.folder, self._id = folder, f"cc{os.getpid()}"
        self.names = [f"{self._id}-{i}" for i in range(count)]
        self.addresses = [f"{NETWORK}.{10 + i}" for i in range(count)]
        self.operator = f"{self._id}-op"
        self.key = folder / "id"
        self._inits: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Hosts:
        self.folder.mkdir(parents=True, exist_ok=True)
        for key in ("id", "hostkey"):
            _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.folder / key))
        known = [*zip(self.addresses, self.names, strict=True), (f"{NETWORK}.1", self.operator)]
        (self.folder / "hosts").write_text("127.0.0.1 localhost\n" + "".join(f"{a} {n}\n" for a, n in known))
        (self.folder / "resolv.conf").write_text("")  # no name server: nothing waits for one
        try:
            self._connect()
            for i in range(len(self.names)):
                self.boot(i)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for i in range(len(self.names)):
            self.crash(i)
        for space in [*self.names, self.operator]:
            subprocess.run(["ip", "netns", "del", space], capture_output=True, check=False)

    def _connect(self) -> None:
        _run("ip", "netns", "add", self.operator)
        for command in (
            "link set lo up",
            "link add br0 type bridge",
            f"addr add {NETWORK}.1/24 dev br0",
            "link set br0 up",
        ):
            _run("ip", "-n", self.operator, *command.split())
        for i, (name, address) in enumerate(zip(self.names, self.addresses, strict=True)):
            _run("ip", "netns", "add", name)
            _run(*f"ip link add port{i} netns {self.operator} type veth peer name eth0 netns {name}".split())
            _run(*f"ip -n {self.operator} link set port{i} master br0 up".split())
            for command in (f"addr add {address}/24 dev eth0", "link set eth0 up", "link set lo up"):
                _run("ip", "-n", name, *command.split())

    def boot(self, i: int) -> None:
        """Start a machine and wait until its SSH server answers. Its disk is what it was."""
        name = self.names[i]
        for part in ("disk", "work"):
            (self.folder / name / part).mkdir(parents=True, exist_ok=True)
        script = BOOT.format(name=name, folder=self.folder, address=self.addresses[i])
        space = ["unshare", "--uts", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "bash", "-c", script]
        log = (self.folder / name / "sshd.log").open("ab")
        self._inits[name] = subprocess.Popen(["ip", "netns", "exec", name, *space], stdout=log, stderr=log)
        for _ in range(100):
            if self.ssh(i, "true").returncode == 0:
                return
            time.sleep(0.1)
        raise TimeoutError(f"{name} does not answer: {(self.folder / name / 'sshd.log').read_text()[-2000:]}")

    def crash(self, i: int) -> None:
        """End every process of a machine at once, as a power cut would."""
        init = self._inits.pop(self.names[i], None)
        if init is not None:
            init.send_signal(signal.SIGKILL)  # unshare's --kill-child takes the space's first process with it
            init.wait()

    def cut_off(self, i: int) -> None:
        """Take a machine's line away: nothing reaches it, nobody is told, and all on it goes on."""
        _run("ip", "-n", self.operator, "link", "set", f"port{i}", "down")

    def reconnect(self, i: int) -> None:
        _run("ip", "-n", self.operator, "link", "set", f"port{i}", "up")

    def ssh(self, i: int, command: str) -> subprocess.CompletedProcess[str]:
        options = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"]
        return self.run(["ssh", *options, "-i", str(self.key), f"root@{self.addresses[i]}", command], timeout=60)

    def command(self, command: Sequence[str]) -> list[str]:
        """The command as the operator would give it: in its network."""
        return ["ip", "netns", "exec", self.operator, *command]

    def run(
        self, command: Sequence[str], timeout: float, env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(command), capture_output=True, text=True, timeout=timeout, env=env, check=False
        )


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)
