"""trainctl emulate: its options, and the job that they make."""
import argparse
import os
import pathlib
import shlex
import shutil
import socket
import tempfile

from .. import certs
from ..failure import Failure
from ..paths import given_path
from . import faults as fault_words
from . import job, links, namespaces, processes, summary, units

HELP = """\
Runs a whole job of several clusters, called c1, c2, …, on this machine: each in a network
namespace of its own, with a coordinator, joined by links of given rate, round trip, jitter and
loss. As root, or any user who may have user namespaces. Shows one view of it all, lets faults
happen, ends with the job, and leaves nothing running.

The words after -- are a training program and its flags, as for one cluster; what makes it a
cluster of the job (--cluster, --coordinator, --listen, --certs, --metrics) is added.

In DIR: journal/ and events.jsonl of the coordinator, certs/, and for each cluster c1/log and
c1/metrics.jsonl (log.2, metrics.2.jsonl, … when it has returned)."""

EPILOG = fault_words.GRAMMAR
PORT_COORDINATOR, PORT_CLUSTER = 7600, 7700


def add_to(commands):
    parser = commands.add_parser("emulate", help="a job of several clusters on this machine",
                                 description=HELP, epilog=EPILOG,
                                 formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--clusters", type=int, required=True, metavar="N", help="how many clusters")
    add("--ranks", default="1", metavar="R,R,…", help="ranks of each, or of all (default: 1)")
    add("--rtt", default="0", metavar="TIME", help="round trip between any two (default: 0)")
    add("--rate", default="none", metavar="RATE", help="of each, in and out (default: none)")
    add("--jitter", default="0", metavar="TIME", help="most that a packet is late (default: 0)")
    add("--loss", default="0", metavar="PART", help="of packets, as 0.01%% (default: 0)")
    add("--fault", action="append", default=[], metavar="WORDS", help="may be repeated: see below")
    add("--extra", action="append", default=[], metavar="\"c2: FLAGS\"",
        help="flags for one cluster's program, or the coordinator, alone; may be repeated")
    add("--clusters-min", type=int, metavar="N",
        help="how many begin the job (default: all that are there at first)")
    add("--dir", type=given_path, default=pathlib.Path("runs/emulated"),
        help="where all of it goes (default: runs/emulated)")
    add("--continue", dest="goes_on", action="store_true",
        help="go on with the job whose journal is in DIR")
    add("--plain", action="store_true",
        help="plain processes on loopback: no namespaces, no links, no encryption")
    add("--summary", type=given_path, metavar="FILE", help="how it went, as JSON")
    add("--programs", type=given_path, metavar="DIR", default=processes.ROOT / "build" / "bin",
        help="where train_coordinator and emulated_links are (default: build/bin)")
    add("program", nargs=argparse.REMAINDER, metavar="-- PROGRAM …", help="what the ranks run")
    parser.set_defaults(run=command)


class Plan:
    """What the options ask for, checked."""

    def __init__(self, options):
        if not 1 <= options.clusters <= 200:
            raise Failure(f"--clusters is 1 to 200, not {options.clusters}")
        names = [f"c{place}" for place in range(1, options.clusters + 1)]
        self.ranks = dict(zip(names, _ranks(options)))
        self.faults = [fault_words.parse(text, self.ranks, options.plain)
                       for text in options.fault]
        fault_words.check_together(self.faults)
        self.rules = {"rtt": units.duration(options.rtt), "rate": units.rate(options.rate),
                      "jitter": units.duration(options.jitter), "loss": units.loss(options.loss)}
        if options.plain and any(value not in ("0", "none") for value in self.rules.values()):
            raise Failure("--plain has no links: leave out --rtt, --rate, --jitter and --loss")
        at_first = len(names) - len(fault_words.joins(self.faults))
        if not at_first:
            raise Failure("--fault \"join …\": every cluster would join later; one must be there "
                          "from the start, for rounds to begin")
        self.clusters_min = at_first if options.clusters_min is None else options.clusters_min
        if not 1 <= self.clusters_min <= len(names):
            raise Failure(f"--clusters-min is 1 to {len(names)}, not {self.clusters_min}")
        self.extra = _extra(options, names + [fault_words.COORDINATOR])
        if options.summary:
            _check_writable(options.summary)
        words = options.program
        self.program = words[1:] if words[:1] == ["--"] else words
        if not self.program:
            raise Failure("what is to be run? … -- build/bin/train_gpt --data text.txt")
        if not shutil.which(self.program[0]):
            raise Failure(f"{self.program[0]} is no program")
        self.directory, self.programs = options.dir, options.programs
        for name in ["train_coordinator"] + ([] if options.plain else ["emulated_links"]):
            if not os.access(self.programs / name, os.X_OK):
                raise Failure(f"{self.programs / name} is not there: build it "
                              f"(cmake --build --preset release --target {name})")
        words = [f"{options.clusters} clusters", f"ranks {options.ranks}"]
        words += ["plain loopback"] if options.plain else \
            [f"{key} {value}" for key, value in self.rules.items() if value not in ("0", "none")]
        self.title = f"trainctl emulate: {', '.join(words)}; {self.directory}"


def _ranks(options):
    words = options.ranks.split(",")
    words = words * options.clusters if len(words) == 1 else words
    if len(words) != options.clusters or not all(word.isdecimal() and int(word) for word in words):
        raise Failure(f"--ranks is one count, or {options.clusters} with commas between, not "
                      f"\"{options.ranks}\"")
    return [int(word) for word in words]


def _extra(options, names):
    extra = {name: [] for name in names}
    for text in options.extra:
        name, colon, words = text.partition(":")
        if not colon or name.strip() not in extra:
            raise Failure(f"--extra \"{text}\": expected \"c2: FLAGS\", with one of "
                          f"{', '.join(names)}")
        try:
            extra[name.strip()] += shlex.split(words)
        except ValueError as error:
            raise Failure(f"--extra \"{text}\": {error}") from None
    return extra


def _check_writable(path):
    """Before the job, not after it."""
    was_there = path.exists()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.open("a").close()
    except OSError as error:
        raise Failure(f"--summary {path} cannot be written: {error.strerror}") from None
    if not was_there:
        path.unlink()


def _prepare_directory(plan, goes_on, plain):
    directory = plan.directory
    journal = directory / "journal"
    if goes_on and not journal.exists():
        raise Failure(f"there is no job to continue: no {journal}")
    if not goes_on and directory.exists() and any(directory.iterdir()):
        raise Failure(f"{directory} is not empty: choose another --dir, remove it, or --continue "
                      "the job in it")
    directory.mkdir(parents=True, exist_ok=True)
    if plain:
        return
    missing = [name for name in plan.ranks if not (directory / "certs" / name).exists()]
    if missing or not (directory / "certs" / fault_words.COORDINATOR).exists():
        certs.make(directory / "certs", "emulated", missing, days=30)


def command(options):
    plan = Plan(options)
    _prepare_directory(plan, options.goes_on, options.plain)

    def work():
        result = (_plain_job if options.plain else _job_in_namespaces)(plan)
        for line in summary.text_of(result):
            print(line)
        if options.summary:
            try:
                summary.write(result, options.summary)
            except OSError as error:
                print(f"FAILED: {options.summary} cannot be written: {error.strerror}")
                return 1
        return result["exit"]

    if options.plain:
        return work()
    try:
        return namespaces.enter(work)
    except namespaces.NotAllowed as reason:
        raise Failure(f"{reason}. Namespaces need root, or a kernel and a container that let users "
                      "have them; --plain runs the job as plain processes on loopback, without "
                      "delays, rates and faults of links") from None


def _job_in_namespaces(plan):
    names = [fault_words.COORDINATOR, *plan.ranks]
    addresses = {name: f"10.77.0.{place}" for place, name in enumerate(names, 1)}
    networks = {name: namespaces.Network() for name in names}
    emulated = links.Links(plan.programs / "emulated_links", networks, addresses, **plan.rules)
    listens = {name: f"{addresses[name]}:{PORT_CLUSTER}" for name in plan.ranks}
    listens[fault_words.COORDINATOR] = f"{addresses[fault_words.COORDINATOR]}:{PORT_COORDINATOR}"
    made = _job(plan, listens, networks, pathlib.Path("/dev/shm/trainctl"), emulated)
    return made.run()


def _plain_job(plan):
    names = [fault_words.COORDINATOR, *plan.ranks]
    sockets = {name: socket.create_server(("127.0.0.1", 0)) for name in names}
    listens = {name: f"127.0.0.1:{sockets[name].getsockname()[1]}" for name in names}
    for held in sockets.values():  # together, so that all are different
        held.close()
    with tempfile.TemporaryDirectory(prefix="trainctl-") as scratch:
        made = _job(plan, listens, {name: None for name in names}, pathlib.Path(scratch), None)
        return made.run()


def _job(plan, listens, networks, scratch, emulated):
    directory = plan.directory
    center = fault_words.COORDINATOR

    def identity(name):
        return ["--certs", str(directory / "certs" / name)] if emulated else ["--plaintext"]

    coordinator = processes.Coordinator(
        [str(plan.programs / "train_coordinator"), "--listen", listens[center],
         "--journal", str(directory / "journal"), *identity(center),
         "--events", str(directory / "events.jsonl"), "--clusters-min", str(plan.clusters_min),
         *plan.extra[center]],
        directory, networks[center])

    def cluster(name):
        def words(metrics):
            return [*plan.program, "--cluster", name, "--coordinator", listens[center],
                    *identity(name), "--listen", listens[name], "--metrics", str(metrics),
                    "--progress", "none", *plan.extra[name]]

        return processes.Cluster(name, plan.ranks[name], words, directory, networks[name], scratch)

    return job.Job(plan.title, coordinator, {name: cluster(name) for name in plan.ranks},
                   plan.faults, directory / "events.jsonl", plan.clusters_min, emulated)
