"""A way to train the job, and the fewest inner steps with which it does what is asked."""
import dataclasses
import math

from .exchange import Exchange

EVERY_STEP, ROUNDS, OVERLAP = "every-step", "rounds", "overlap"
# With overlap, at least as many steps of a round begin at what the last exchange made as do not.
ROUNDS_PER_OVERLAP = 2
COUNTED_EQUAL = 1e-9


@dataclasses.dataclass(frozen=True)
class Plan:
    mode: str
    exchange: Exchange
    inner_steps: int
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


def plan_of(job, mode, exchange, inner_steps):
    """With --round-seconds where less stands still then. None: overlap wants longer rounds."""
    overlap = overlap_steps(job, exchange) if mode == OVERLAP else 0
    if inner_steps < ROUNDS_PER_OVERLAP * overlap:
        return None
    names = [cluster.name for cluster in job.clusters]
    even = _plan(job, mode, exchange, overlap, dict.fromkeys(names, inner_steps), {})
    round_s = inner_steps * min(cluster.step_s for cluster in job.clusters)
    steps, ends = dict(even.steps), {}
    for cluster in job.clusters:
        count = max(int(round_s / cluster.step_s + COUNTED_EQUAL), 1, overlap)
        if count < inner_steps:
            # In the middle of the last step, so that a step may be longer or shorter.
            steps[cluster.name] = count
            ends[cluster.name] = (count - 0.5) * cluster.step_s
    timed = _plan(job, mode, exchange, overlap, steps, ends)
    return timed if timed.utilisation > even.utilisation + 1e-3 else even


def overlap_steps(job, exchange):
    """As many as hide the exchange."""
    step_s = min(cluster.step_s for cluster in job.clusters)
    return max(math.ceil(exchange.network_s / step_s), 1)


def _plan(job, mode, exchange, overlap, steps, ends):
    round_s = exchange.host_s + max(
        max(steps[cluster.name] * cluster.step_s,
            exchange.network_s + (steps[cluster.name] - overlap) * cluster.step_s)
        for cluster in job.clusters)
    tokens = sum(steps[cluster.name] * cluster.batch_tokens for cluster in job.clusters)
    rounds = -(-job.tokens // tokens)
    egress = {name: rounds * usd for name, usd in exchange.usd.items()}
    hours = rounds * round_s / 3600
    return Plan(
        mode=mode, exchange=exchange, inner_steps=max(steps.values()), overlap_steps=overlap,
        steps=steps, round_seconds=ends, round_s=round_s,
        utilisation=tokens / (round_s * sum(cluster.tokens_per_s for cluster in job.clusters)),
        rounds=rounds, usd_per_cluster=egress, egress_usd=sum(egress.values()),
        compute_usd=hours * sum(cluster.usd_per_hour or 0 for cluster in job.clusters))


def fewest_steps(job, mode, exchange, fits=Plan.fits):
    """The plan of the fewest inner steps that fits; if none does, that of the most. None: even
    that has too few for an overlap."""
    if mode == EVERY_STEP:
        return plan_of(job, mode, exchange, 1)
    least = max(2, ROUNDS_PER_OVERLAP * overlap_steps(job, exchange)) if mode == OVERLAP else 2
    plan = None
    for inner_steps in range(least, job.inner_steps_max + 1):
        plan = plan_of(job, mode, exchange, inner_steps)
        if fits(plan, job):
            break
    return plan
