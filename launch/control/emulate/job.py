"""Runs a job to its end: starts it, lets happen what is to happen, and says how it went."""
import signal
import time

from . import faults as fault_words
from . import processes, summary
from .story import Story, Tail
from .view import View

POLL_S = 0.05
DRAW_S = 0.25


class Interrupted(Exception):
    def __init__(self, number):
        super().__init__(number)
        self.number = number


def _interrupt(number, _):
    raise Interrupted(number)


class Job:
    def __init__(self, title, coordinator, clusters, faults, events, clusters_min, links=None):
        """`clusters` by name. Those that a fault lets join are not started at first; as many as
        `clusters_min` begin the job."""
        self.coordinator, self.clusters, self.links = coordinator, clusters, links
        self._clusters_min, self._never_begins = clusters_min, None
        self.story = Story(clusters)
        self._schedule = fault_words.Schedule(faults)
        self._joining = fault_words.joins(faults)
        self._undo = []      # (time, what to say, call)
        self._happened = []  # (fault, unix seconds)
        self._tails = {}
        self._events = Tail(events)
        self.story.recall(self._events.read())  # of a job that is continued
        self._view = View(title, self.story, clusters, time.monotonic())

    def run(self):
        """Returns the summary. Nothing of the job runs any more then."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, _interrupt)
        failures = []
        try:
            self.coordinator.start()
            for name in self.clusters:
                if name not in self._joining:
                    self._start(name)
            self._watch()
            self._end_coordinator()
        except Interrupted as interrupted:
            failures.append(f"stopped by {signal.Signals(interrupted.number).name}")
        finally:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)
            failures += self._failures() if not failures else []
            self._kill_all()
        self._read()
        if self.story.differing():
            failures.append("the clusters' states differ")
        links = list(self.links.stats().values()) if self.links else []
        return summary.of(self.story, self.clusters, self._happened,
                          self._schedule.never_happened(), links, failures)

    def _say(self, text):
        self._view.say(text, time.monotonic())

    def _start(self, name):
        cluster = self.clusters[name]
        cluster.start()
        self.story.clusters[name].begin()
        self._tails[name] = Tail(cluster.metrics)

    def _watch(self):
        drawn = 0.0
        while self._goes_on():
            self._read()
            now = time.monotonic()
            for fault in self._schedule.due(self.story, now):
                self._happen(fault, now)
            for item in [item for item in self._undo if item[0] <= now]:
                self._undo.remove(item)
                item[2]()
                self._say(item[1])
            if now - drawn >= DRAW_S:
                self._view.draw(now)
                drawn = now
            processes.reap_orphans(self._pids())
            time.sleep(POLL_S)
        self._read()
        self._view.draw(time.monotonic())

    def _pids(self):
        known = {self.coordinator.process.pid}
        known.update(cluster.process.pid for cluster in self.clusters.values() if cluster.process)
        if self.links:
            known.add(self.links.process.pid)
        return known

    def _read(self):
        for event in self._events.read():
            line = self.story.feed(event)
            if line:
                self._say(line)
        for name, tail in self._tails.items():
            for line in tail.read():
                self.story.clusters[name].feed(line)

    def _goes_on(self):
        """Notices who has ended, too."""
        for cluster in self.clusters.values():
            status = cluster.status()
            if status is not None and cluster.note in ("running", "leaving"):
                cluster.note = "left" if cluster.note == "leaving" and status == 0 else \
                    "killed" if cluster.is_excused else f"ended, {status}" if status else "ended"
                self._say(f"{cluster.name} {cluster.note}")
        status = self.coordinator.status()
        if status and not self.coordinator.is_excused:
            self._say(f"the coordinator ended, {status}")
            return False
        running = [cluster for cluster in self.clusters.values() if cluster.is_running()]
        if running and len(running) < self._clusters_min and not self._begun():
            self._give_up(running)
            return False
        if running:
            return True
        return self._schedule.is_armed and not self.story.is_finished

    def _begun(self):
        self._read()
        return self.story.epoch is not None or self.story.committed > 0

    def _give_up(self, running):
        """Nobody comes any more who could begin the job: faults wait for its rounds."""
        self._never_begins = (f"the job cannot begin: it takes {self._clusters_min} clusters, and "
                              f"{len(running)} of them are left")
        self._say(self._never_begins)
        for cluster in running:
            cluster.kill()
            cluster.note = "stopped"

    def _happen(self, fault, now):
        self._happened.append((fault, time.time()))
        undo = getattr(self, f"_{fault.verb}")(fault)
        self._say(f"FAULT {fault.text}")
        if fault.lasts_s is not None:
            self._undo.append((now + fault.lasts_s, f"over: {fault.text}", undo))

    def _kill(self, fault):
        if fault.target == fault_words.COORDINATOR:
            self.coordinator.kill()
            return self.coordinator.start
        cluster = self.clusters[fault.target]
        cluster.kill(fault.rank)
        if fault.rank is None:
            cluster.note = "killed"
        return None

    def _restart(self, _):
        self.coordinator.kill()
        self.coordinator.start()

    def _leave(self, fault):
        cluster = self.clusters[fault.target]
        if cluster.is_running():
            cluster.note = "leaving"
            cluster.signal_ranks(signal.SIGTERM)

    def _return(self, fault):
        if self.clusters[fault.target].is_running():
            self._say(f"{fault.target} is still there: killed, to return")
            self.clusters[fault.target].kill()
        self._start(fault.target)

    def _join(self, fault):
        self._start(fault.target)

    def _cut(self, fault):
        self.links.say(f"cut {fault.target} {fault.other}")
        return lambda: self.links.say(f"restore {fault.target} {fault.other}")

    def _isolate(self, fault):
        self.links.say(f"isolate {fault.target}")
        return lambda: self.links.say(f"rejoin {fault.target}")

    def _slow(self, fault):
        where = f"{fault.target} {fault.other or ''}"
        before = "none" if fault.other else self.links.rate
        self.links.say(f"rate {where} {fault.rate}")
        return lambda: self.links.say(f"rate {where} {before}")

    def _end_coordinator(self):
        """It has nobody left to serve, but may wait for clusters that come late."""
        if self.coordinator.status() is not None:
            return
        self.coordinator.process.signal(signal.SIGTERM)
        patience = time.monotonic() + 10
        while self.coordinator.status() is None and time.monotonic() < patience:
            time.sleep(POLL_S)
        self.coordinator.is_excused = self.coordinator.status() == -signal.SIGTERM

    def _failures(self):
        """Who ended otherwise than it should have, with its last words."""
        failed = [self._never_begins] if self._never_begins else []
        for cluster in self.clusters.values():
            status = cluster.status()
            if cluster.is_excused or status == 0:
                continue
            if cluster.process is None:
                failed.append(f"{cluster.name} never started: its round never came")
                continue
            how = "still ran" if status is None else f"ended with status {status}"
            failed.append(_with_last_words(f"{cluster.name} {how}", cluster.process))
        status = self.coordinator.status()
        if not self.coordinator.is_excused and status != 0:
            how = "did not end" if status is None else f"ended with status {status}"
            failed.append(_with_last_words(f"the coordinator {how}", self.coordinator.process))
        return failed

    def _kill_all(self):
        for cluster in self.clusters.values():
            if cluster.is_running():
                excused = cluster.is_excused
                cluster.kill()
                cluster.is_excused, cluster.note = excused, "stopped"
            cluster.remove_scratch()
        if self.coordinator.process:
            self.coordinator.process.kill()


def _with_last_words(what, process):
    lines = "".join(f"\n  | {line}" for line in process.last_lines())
    return f"{what}; the end of {process.log}:{lines}" if lines else f"{what}, without a word"
