"""What a job did so far, as its coordinator's events and its clusters' metrics tell it."""
import dataclasses
import json


class Tail:
    """Reads the lines of JSON that others append to a file, however torn the last one is."""

    def __init__(self, path):
        self.path = path
        self._place = 0
        self._unfinished = b""

    def read(self):
        """New lines, as dictionaries. Lines that are none are passed over."""
        try:
            with open(self.path, "rb") as file:
                size = file.seek(0, 2)
                if size < self._place:  # another process began anew
                    self._place, self._unfinished = 0, b""
                file.seek(self._place)
                text = file.read()
        except FileNotFoundError:
            return
        self._place += len(text)
        *lines, self._unfinished = (self._unfinished + text).split(b"\n")
        for line in lines:
            try:
                value = json.loads(line)
            except ValueError:
                continue
            if isinstance(value, dict):
                yield value


@dataclasses.dataclass
class Commit:
    round: int
    time: float
    hash: str
    clusters: list


@dataclasses.dataclass
class ClusterStory:
    step: int = 0
    tokens: int = 0
    round: int | None = None
    loss: float | None = None
    val_loss: float | None = None
    tokens_per_s: float | None = None
    sent: int = 0              # over all of its starts
    received: int = 0
    hashes: dict = dataclasses.field(default_factory=dict)  # by round
    lines: int = 0
    _before: tuple = (0, 0)    # sent and received by earlier starts

    def begin(self):
        """It starts (again): its counts of bytes begin anew."""
        self._before = (self.sent, self.received)

    def feed(self, line):
        self.lines += 1
        self.step = line.get("step", self.step)
        self.tokens = line.get("tokens", self.tokens)
        self.round = line.get("round", self.round)
        for name in ("loss", "val_loss", "tokens_per_s"):
            if line.get(name) is not None:
                setattr(self, name, line[name])
        self.sent = self._before[0] + line.get("wide_bytes_sent", self.sent - self._before[0])
        self.received = self._before[1] + line.get("wide_bytes_received",
                                                   self.received - self._before[1])
        if self.round is not None and line.get("state_hash"):
            self.hashes[self.round] = str(line["state_hash"])


class Story:
    def __init__(self, clusters):
        self.clusters = {name: ClusterStory() for name in clusters}
        self.epoch = None
        self.members = []
        self.commits = []
        self.exchange = None   # (round, attempt) under way
        self.exchanged = 0     # the last round whose exchange began
        self.committed = 0
        self.aborts = 0
        self.is_finished = False

    def recall(self, events):
        """What happened before: no more than how far the job had come."""
        for event in events:
            if event.get("event") == "commit":
                self.committed = max(self.committed, event.get("round", 0))

    def feed(self, event):
        """An event of the coordinator. Returns a line about it, or nothing if it is not known."""
        kind, number = event.get("event"), event.get("round", 0)
        members = event.get("clusters") or []
        if kind in ("epoch", "adopted"):
            self.epoch = event.get("epoch", self.epoch)
            if kind == "adopted":
                return f"begins from the state of round {number}"
            self.members = members
            return f"epoch {self.epoch}: {' '.join(members) or 'nobody'}"
        if kind == "start":
            self.exchange = (number, event.get("attempt", 1))
            self.exchanged = max(self.exchanged, number)
            return f"round {number}: exchange begins, attempt {self.exchange[1]}"
        if kind == "abort":
            self.exchange = None
            self.aborts += 1
            return f"round {number}: attempt {event.get('attempt', 1)} given up"
        if kind == "commit":
            self.exchange = None
            self.committed = max(self.committed, number)
            self.commits.append(Commit(number, event.get("time", 0.0), event.get("hash", ""),
                                       members))
            return f"round {number}: committed, state {event.get('hash', '?')}"
        if kind == "finished":
            self.is_finished = True
            return "the job is finished"
        return None

    def reached(self, moment, number):
        """Whether the inner steps ("round"), or the exchange ("exchange"), of a round began."""
        if moment == "exchange":
            return self.exchanged >= number or self.committed >= number
        return self.epoch is not None and self.committed >= number - 1

    def next_commit(self, time):
        """The first commit after a moment."""
        return next((commit for commit in self.commits if commit.time >= time), None)

    def hashes(self):
        """By round: the states that clusters say they held after it, and what was committed."""
        rounds = {commit.round: {"commit": commit.hash} for commit in self.commits if commit.hash}
        for name, cluster in self.clusters.items():
            for number, value in cluster.hashes.items():
                rounds.setdefault(number, {})[name] = value
        return dict(sorted(rounds.items()))

    def differing(self):
        """Rounds after which not all clusters had the same state."""
        return {number: by_cluster for number, by_cluster in self.hashes().items()
                if len(set(by_cluster.values())) > 1}
