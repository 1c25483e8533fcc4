"""The programs of a job: its coordinator, and the ranks of each cluster."""
import os
import pathlib
import shutil
import signal
import subprocess

from ..failure import Failure
from . import kernel

ROOT = pathlib.Path(__file__).resolve().parents[3]

# Tells us who it is, and becomes the program.
_RANK = ["sh", "-c", 'echo $$ >"$TRAINCTL_PIDS/$OMPI_COMM_WORLD_RANK" && exec "$@"', "rank"]
_DIE_WITH_MPIRUN = ["setpriv", "--pdeathsig", "KILL", "--"]


class Process:
    """A program with its output in a file, in a session of its own, perhaps in a network."""

    def __init__(self, words, log, network=None, environment=None):
        def prepare():
            if network:
                network.enter()
            kernel.die_with_parent(signal.SIGKILL)

        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        with open(log, "ab") as output:
            try:
                self._process = subprocess.Popen(
                    words, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                    env={**os.environ, **(environment or {})}, start_new_session=True,
                    preexec_fn=prepare)
            except FileNotFoundError:
                raise Failure(f"{words[0]} is not there") from None

    @property
    def pid(self):
        return self._process.pid

    def status(self):
        """Nothing while it runs; its exit status, negative for a signal, when it has ended."""
        return self._process.poll()

    def signal(self, number):
        if self.status() is None:
            self._process.send_signal(number)

    def kill(self):
        """Its whole session, unless it has ended."""
        if self.status() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def last_lines(self, count=15):
        text = self.log.read_text(encoding="utf-8", errors="replace")
        return [line for line in text.splitlines() if line.strip()][-count:]


class Coordinator:
    def __init__(self, words, directory, network):
        self._words, self._directory, self._network = words, directory, network
        self.process = None
        self.is_excused = False  # somebody killed it on purpose

    def start(self):
        self.is_excused = False
        self.process = Process(self._words, self._directory / "coordinator" / "log",
                               self._network)

    def status(self):
        return self.process.status()

    def kill(self):
        self.is_excused = True
        self.process.kill()


class Cluster:
    """An mpirun, which may be started more than once. `words` makes the command line of a rank
    from the metrics file of that start."""

    def __init__(self, name, ranks, words, directory, network, scratch):
        self.name, self.ranks = name, ranks
        self._words, self._network = words, network
        self._directory = directory / name
        self._scratch = scratch / name  # what Open MPI leaves lying about when it is killed
        self.starts = 0
        self.metrics = None
        self.process = None
        self.is_excused = False         # somebody killed it on purpose
        self.note = "not started"

    def start(self):
        self.starts += 1
        self._directory.mkdir(parents=True, exist_ok=True)
        number = 1
        while (self._directory / _numbered("log", number)).exists():
            number += 1
        self.metrics = self._directory / _numbered("metrics.jsonl", number)
        shutil.rmtree(self._scratch, ignore_errors=True)
        self._scratch.mkdir(parents=True)
        scratch = str(self._scratch)
        environment = {"TMPDIR": scratch, "TRAINCTL_PIDS": scratch,
                       "OMPI_MCA_btl_vader_backing_directory": scratch,
                       # Other ranks are in this cluster, not on the emulated wide area.
                       "OMPI_MCA_oob_tcp_if_include": "lo", "OMPI_MCA_btl_tcp_if_include": "lo"}
        wrapper = _RANK + ([] if self._network else _DIE_WITH_MPIRUN)
        self.process = Process([str(ROOT / "launch" / "mpirun_local"), str(self.ranks), *wrapper,
                                *self._words(self.metrics)],
                               self._directory / _numbered("log", number), self._network,
                               environment)
        self.is_excused = False
        self.note = "running"

    def is_running(self):
        return self.process is not None and self.process.status() is None

    def status(self):
        return self.process and self.process.status()

    def signal_ranks(self, number, rank=None):
        """To all ranks, or one. Ranks that have not begun or are gone miss it."""
        for file in self._scratch.iterdir() if self.is_running() else ():
            if file.name.isdecimal() and rank in (None, int(file.name)):
                try:
                    os.kill(int(file.read_text() or 0), number)
                except (ProcessLookupError, ValueError):
                    pass

    def kill(self, rank=None):
        """As if its power failed, or that of one rank."""
        self.is_excused = True
        if rank is None and self.is_running():
            # First mpirun stands still, so that it does not notice, and report, what follows.
            self.process.signal(signal.SIGSTOP)
            self.signal_ranks(signal.SIGKILL)
            self.process.kill()
        else:
            self.signal_ranks(signal.SIGKILL, rank)

    def remove_scratch(self):
        shutil.rmtree(self._scratch, ignore_errors=True)


def _numbered(name, number):
    """log, log.2, …; metrics.jsonl, metrics.2.jsonl, …"""
    stem, _, ending = name.partition(".")
    return name if number == 1 else f"{stem}.{number}" + (f".{ending}" if ending else "")


def reap_orphans(known):
    """As process 1: takes leave of children whose parents are gone."""
    while True:
        try:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if ended is None or ended.si_pid in known:
            return  # one of ours is asked about itself by its own name
        os.waitpid(ended.si_pid, 0)
