"""A way to train the job, and the fewest inner steps with which it does what is asked."""
import dataclasses
import math

from .exchange import Exchange

EVERY_STEP, ROUNDS, OVERLAP, FRAGMENTS = "every-step", "rounds", "overlap", "fragments"
# With overlap, at least as many steps of a round begin at what the last exchange made as do not. In
# fragments that is so anyway: of each, an exchange makes late an F-th of the steps between its own.
ROUNDS_PER_OVERLAP = 2
FRAGMENT_COUNTS = (2, 4, 8)
COUNTED_EQUAL = 1e-9
ABOUT = 1.02  # times as much counts as equal, where the other plan has more ways to be slow


@dataclasses.dataclass(frozen=True)
class Plan:
    mode: str
    exchange: Exchange   # of a fragment, where there are several
    fragments: int
    inner_steps: int     # from one exchange of a value to its next
    overlap_steps: int
    steps: dict          # that each cluster trains in a round
    round_seconds: dict  # of those clusters that are to end their rounds by time
    round_s: float       # from one exchange to the next
    utilisation: float   # tokens, of those that the clusters would train without each other
    rounds: int
    usd_per_cluster: dict  # egress of the whole job
    egress_usd: float
    compute_usd: float

    @property
    def codec(self):
        return self.exchange.codec

    @property
    def lanes(self):
        return self.exchange.lanes

    @property
    def all_steps(self):
        """Of the whole job."""
        return self.rounds * self.inner_steps // self.fragments

    @property
    def hours(self):
        return self.rounds * self.round_s / 3600

    @property
    def usd(self):
        return self.egress_usd + self.compute_usd

    def reaches(self, job):
        return self.utilisation >= job.utilisation - COUNTED_EQUAL

    def affordable(self, job):
        return job.budget_usd is None or self.usd <= job.budget_usd + COUNTED_EQUAL

    def fits(self, job):
        return self.reaches(job) and self.affordable(job)


def plan_of(job, mode, exchange, inner_steps, fragments=1):
    """With --round-seconds where less stands still then. `inner_steps` are those of one round, and
    each fragment has one in turn. None: overlap wants longer rounds."""
    overlap = overlap_steps(job, exchange) if mode in (OVERLAP, FRAGMENTS) else 0
    if inner_steps < shortest_round(mode, overlap):
        return None
    names = [cluster.name for cluster in job.clusters]
    even = _plan(job, mode, exchange, overlap, dict.fromkeys(names, inner_steps), {}, fragments)
    round_s = inner_steps * min(cluster.step_s for cluster in job.clusters)
    steps, ends = dict(even.steps), {}
    for cluster in job.clusters:
        count = max(int(round_s / cluster.step_s + COUNTED_EQUAL), 1, overlap)
        if count < inner_steps:
            # In the middle of the last step, so that a step may be longer or shorter.
            steps[cluster.name] = count
            ends[cluster.name] = (count - 0.5) * cluster.step_s
    timed = _plan(job, mode, exchange, overlap, steps, ends, fragments)
    return timed if timed.utilisation > even.utilisation + 1e-3 else even


def shortest_round(mode, overlap):
    if mode == FRAGMENTS:
        return overlap + 1  # as train_gpt wants it
    return ROUNDS_PER_OVERLAP * overlap


def overlap_steps(job, exchange):
    """As many as hide the exchange."""
    step_s = min(cluster.step_s for cluster in job.clusters)
    return max(math.ceil(exchange.network_s / step_s), 1)


def _plan(job, mode, exchange, overlap, steps, ends, fragments):
    round_s = exchange.host_s + max(
        max(steps[cluster.name] * cluster.step_s,
            exchange.network_s + (steps[cluster.name] - overlap) * cluster.step_s)
        for cluster in job.clusters)
    tokens = sum(steps[cluster.name] * cluster.batch_tokens for cluster in job.clusters)
    rounds = -(-job.tokens // tokens)
    egress = {name: rounds * usd for name, usd in exchange.usd.items()}
    hours = rounds * round_s / 3600
    return Plan(
        mode=mode, exchange=exchange, fragments=fragments,
        inner_steps=fragments * max(steps.values()), overlap_steps=overlap,
        steps=steps, round_seconds=ends, round_s=round_s,
        utilisation=tokens / (round_s * sum(cluster.tokens_per_s for cluster in job.clusters)),
        rounds=rounds, usd_per_cluster=egress, egress_usd=sum(egress.values()),
        compute_usd=hours * sum(cluster.usd_per_hour or 0 for cluster in job.clusters))


def fewest_steps(job, mode, exchange, fits=Plan.fits, fragments=1):
    """The plan of the fewest inner steps that fits; if none does, that of the most. None: even
    that has too few for an overlap."""
    if mode == EVERY_STEP:
        return plan_of(job, mode, exchange, 1)
    least = 2
    if mode in (OVERLAP, FRAGMENTS):
        least = max(least, shortest_round(mode, overlap_steps(job, exchange)))
    plan = None
    for inner_steps in range(least, job.inner_steps_max // fragments + 1):
        plan = plan_of(job, mode, exchange, inner_steps, fragments)
        if fits(plan, job):
            break
    return plan


def fewest_lanes(job, plan_with):
    """Of the counts of lanes, the least whose plan is about as good as any: which fits with few
    inner steps and in little time, or keeps most busy where none fits. A plan with some lanes is
    plan_with(lanes); None: there is none."""
    found = [plan for plan in map(plan_with, job.lane_counts) if plan]
    fitting = [plan for plan in found if plan.fits(job)]
    if not fitting:
        most = max((plan.utilisation for plan in found), default=0)
        return next((plan for plan in found if ABOUT * plan.utilisation >= most), None)
    steps, hours = (min(getattr(plan, key) for plan in fitting) for key in ("inner_steps", "hours"))
    return next((plan for plan in fitting
                 if plan.inner_steps <= ABOUT * steps and plan.hours <= ABOUT * hours),
                min(fitting, key=lambda plan: plan.inner_steps))


def best_fragments(job, exchange_of):
    """Of the counts of fragments, the one with which fewest inner steps fit, or reach most. An
    exchange of F fragments is exchange_of(F). None: rounds would be too short for any."""
    found = [fewest_steps(job, FRAGMENTS, exchange_of(count), fragments=count)
             for count in FRAGMENT_COUNTS]
    return min((plan for plan in found if plan), default=None,
               key=lambda plan: (not plan.fits(job), plan.inner_steps, plan.fragments))
