"""Faults: what is to happen to a job, and when. Words in, plans out."""
import dataclasses
import re

from ..failure import Failure
from . import units

COORDINATOR = "coordinator"

GRAMMAR = """\
A fault is   WHAT @ MOMENT [+ TIME] [to RATE] [for TIME]

WHAT     kill c2                  SIGKILL to all ranks of c2
         kill c2/1                ... to its rank 1
         kill coordinator         ... to the coordinator; "for TIME" starts it again after TIME
         restart coordinator      the same, and it starts again at once
         leave c2                 SIGTERM to the ranks of c2: it leaves on notice
         return c2                starts c2 again, after a kill or a leave
         join c4                  c4 is not there at the beginning, and starts now
         cut c1-c2                no packet passes between the two
         isolate c3               no packet passes to or from c3, which lives on
         slow c3 ... to 10mbit    all that c3 sends and receives; slow c1-c2 is one link alone
MOMENT   round 3                  when the inner steps of round 3 begin (rounds count from 1)
         exchange 3               when the exchange of round 3 begins
+ TIME   so much later: kill c2 @ exchange 3 + 0.5s
for TIME how long a cut, an isolation, a slowness lasts; without it, to the end

  --fault "kill c2 @ round 3" --fault "return c2 @ round 6"
  --fault "cut c1-c2 @ round 2 for 20s" --fault "slow c3 @ exchange 2 + 1s to 10mbit for 30s\""""

_FAULT = re.compile(r"(\w+)\s+(\S+)\s*@\s*(round|exchange)\s+(\d+)(?:\s*\+\s*(\S+))?"
                    r"(?:\s+to\s+(\S+))?(?:\s+for\s+(\S+))?")
_ON_CLUSTERS = ("kill", "leave", "return", "join")
_ON_LINKS = ("cut", "isolate", "slow")


@dataclasses.dataclass
class Fault:
    text: str
    verb: str
    target: str           # "c2", "coordinator"; of a link, its first end
    other: str | None     # the link's second end
    rank: int | None
    moment: str           # "round" or "exchange"
    round: int
    delay_s: float
    rate: str | None
    lasts_s: float | None


def parse(text, ranks, plain=False):
    """`ranks` has the count of ranks of each cluster by name. Without namespaces (`plain`) there
    are no links that could fail."""
    try:
        return _parse(text, ranks, plain)
    except Failure as failure:
        raise Failure(f"--fault \"{text}\": {failure}\n\n{GRAMMAR}") from None


def _parse(text, ranks, plain):
    found = _FAULT.fullmatch(text.strip())
    if not found:
        raise Failure("not understood")
    verb, target, moment, number, later, rate, lasts = found.groups()
    if verb not in _ON_CLUSTERS + _ON_LINKS + ("restart",):
        raise Failure(f"nothing called \"{verb}\" can happen")
    if plain and verb in _ON_LINKS:
        raise Failure(f"plain loopback processes have no links that could be {verb}: "
                      "it needs namespaces")
    if int(number) < 1:
        raise Failure("rounds count from 1")
    if (verb == "slow") != (rate is not None):
        raise Failure("\"slow\" needs \"to RATE\"" if verb == "slow" else f"{verb} takes no rate")
    if lasts and verb not in _ON_LINKS and (verb, target) != ("kill", COORDINATOR):
        raise Failure(f"{verb} {target} takes no \"for TIME\"")
    name, other, rank = _target(verb, target, ranks)
    return Fault(text=text.strip(), verb=verb, target=name, other=other, rank=rank, moment=moment,
                 round=int(number), delay_s=units.seconds(later) if later else 0.0,
                 rate=rate and units.rate(rate), lasts_s=units.seconds(lasts) if lasts else None)


def _target(verb, target, ranks):
    """The (first) name, the second one of a link, the rank."""
    names = list(ranks) + [COORDINATOR]
    if verb == "restart" and target != COORDINATOR:
        raise Failure("only the coordinator can restart; a cluster is killed, and returns")
    if verb in ("cut", "slow") and target not in names:
        # Names may have dashes: any place where both sides are names.
        for place in (i for i, letter in enumerate(target) if letter == "-"):
            first, second = target[:place], target[place + 1:]
            if first in names and second in names and first != second:
                return first, second, None
    if verb == "cut":
        raise Failure(f"\"{target}\" is no link: it has two names of {', '.join(names)}")
    if verb == "kill" and "/" in target:
        name, _, rank = target.rpartition("/")
        if name in ranks and rank.isdecimal() and int(rank) < ranks[name]:
            return name, None, int(rank)
        raise Failure(f"there is no rank {target}" +
                      (f": {name} has ranks 0 to {ranks[name] - 1}" if name in ranks else ""))
    if target not in names or target == COORDINATOR and verb in ("leave", "return", "join"):
        raise Failure(f"there is no cluster \"{target}\": there are {', '.join(ranks)}")
    return target, None, None


def check_together(faults):
    """Who joins was not there before; who returns was gone."""
    joining = joins(faults)
    for fault in faults:
        before = [other for other in faults if other.target == fault.target and other is not fault]
        if fault.verb == "join" and any(other.verb == "join" for other in before):
            raise Failure(f"{fault.target} joins twice: a cluster joins once, and may return")
        gone = [other for other in before
                if other.verb in ("kill", "leave") and other.round <= fault.round]
        if fault.verb == "return" and not gone:
            raise Failure(f"\"{fault.text}\": {fault.target} was not killed, and did not leave, "
                          "before that")
        if fault.target in joining and fault.verb != "join" and \
                fault.round < joining[fault.target]:
            raise Failure(f"\"{fault.text}\": {fault.target} joins only at round "
                          f"{joining[fault.target]}")


def joins(faults):
    """The round at which each cluster joins that is not there at the beginning."""
    return {fault.target: fault.round for fault in faults if fault.verb == "join"}


class Schedule:
    """Which faults are due, given what the job has reached. Knows no clock: times come in."""

    def __init__(self, faults):
        self._waiting = list(faults)
        self._timed = []  # (time, fault), armed

    def due(self, story, now):
        """Faults that happen now, each once."""
        for fault in [fault for fault in self._waiting if story.reached(fault.moment, fault.round)]:
            self._waiting.remove(fault)
            self._timed.append((now + fault.delay_s, fault))
        due = [fault for time, fault in sorted(self._timed, key=lambda pair: pair[0])
               if time <= now]
        self._timed = [(time, fault) for time, fault in self._timed if time > now]
        return due

    @property
    def is_armed(self):
        """Something will happen, whatever the job does."""
        return bool(self._timed)

    def never_happened(self):
        return self._waiting + [fault for _, fault in self._timed]
