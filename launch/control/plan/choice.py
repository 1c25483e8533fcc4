"""Which plan to take, why, and what would have to change if there is none."""
import functools
import math

from . import plans
from .exchange import CODECS, fair_rates, predict, predict_fragments
from .job import INNER_STEPS_LIMIT, UTILISATION_MIN, with_lanes_memory
from .plans import EVERY_STEP, FRAGMENTS, OVERLAP, ROUNDS, Plan


class Choice:
    """All plans of a job; `best` is None where none fits."""

    def __init__(self, job):
        self.job = job
        self._jobs = {lanes: job.with_lanes(lanes) for lanes in job.lane_counts}
        self._rates = {lanes: fair_rates(made) for lanes, made in self._jobs.items()}
        found = [plans.fewest_lanes(job, functools.partial(self._plan, mode, codec))
                 for mode in (EVERY_STEP, ROUNDS, OVERLAP, FRAGMENTS) for codec in CODECS]
        self.plans = [plan for plan in found if plan]
        # An exchange that training waits for is the surer one: every step begins at what all made.
        # A model whose parts are exchanged at different times comes last: clusters' models differ.
        self.best = (self._of_modes(EVERY_STEP, ROUNDS) or self._of_modes(OVERLAP)
                     or self._of_modes(FRAGMENTS))

    def _plan(self, mode, codec, lanes):
        made, rates = self._jobs[lanes], self._rates[lanes]
        if mode == FRAGMENTS:
            return plans.best_fragments(
                made, lambda count: predict_fragments(made, codec, rates, count))
        return plans.fewest_steps(made, mode, predict(made, codec, rates))

    def _of_modes(self, *modes):
        return self._fewest(plan for plan in self.plans if plan.mode in modes)

    def _fewest(self, among):
        fitting = [plan for plan in among if plan.fits(self.job)]
        return min(fitting, default=None, key=lambda plan: (
            plan.inner_steps, CODECS.index(plan.codec), plan.usd))

    def round_flags(self):
        """Of the best plan: what clusters exchange, and when."""
        best = self.best
        flags = ["--sync", "every-step"] if best.mode == EVERY_STEP else \
            ["--sync", "rounds", "--inner-steps", str(best.inner_steps)]
        flags += ["--codec", best.codec]
        if best.mode in (OVERLAP, FRAGMENTS):
            flags += ["--overlap-rounds", str(best.overlap_steps)]
        if best.fragments > 1:
            flags += ["--fragments", str(best.fragments)]
        return flags + (["--lanes", str(best.lanes)] if best.lanes > 1 else [])

    def reasons(self):
        """Of the best plan, in sentences."""
        job, best = self.job, self.best
        yield f"{name_of(best).capitalize()}: {self._why()}."
        whose = "An exchange" if best.fragments == 1 else "The largest fragment's exchange"
        yield (f"{whose} takes {best.exchange.seconds:.3g} s; what takes longest is "
               f"{best.exchange.limit}.")
        overlapped = self._of_modes(OVERLAP)
        if best.mode == OVERLAP:
            yield ("Steps trained during an exchange begin at the state before it; where clusters "
                   "wait for the exchange, no plan fits.")
        elif best.mode == FRAGMENTS:
            largest = job.fragments(best.fragments)[0] / job.values
            yield (f"The model goes in {best.fragments} fragments, which take turns"
                   f"{self._of_unequal_fragments(largest)}: one comes "
                   f"{best.overlap_steps} steps late, where all of it would be late for more than "
                   "half of a round. Clusters' models differ in what is not exchanged yet.")
        elif overlapped and overlapped.inner_steps < best.inner_steps:
            yield (f"With --overlap-rounds {overlapped.overlap_steps}, {overlapped.inner_steps} "
                   f"inner steps of {overlapped.codec} would do: the exchange is hidden, and its "
                   "result comes so many steps late.")
        yield from self._of_lanes()
        yield from self._of_unequal_clusters()

    def _of_lanes(self):
        job, best = self.job, self.best
        if job.lanes_given:
            return
        if best.lanes > 1:
            one = self._plan(best.mode, best.codec, 1)
            yield (f"{best.lanes} lanes share what the clusters exchange: with one, {name_of(one)} "
                   f"would keep {100 * one.utilisation:.4g}% of compute busy, in {one.hours:,.1f} "
                   f"instead of {best.hours:,.1f} hours.")
        unknown = [cluster.name for cluster in job.clusters if cluster.nodes is None]
        if unknown and best.exchange.host_s > (plans.ABOUT - 1) * best.exchange.seconds:
            yield (f"More lanes would share the {best.exchange.host_s:.3g} s of an exchange that "
                   f"are the hosts' own work: \"nodes\" of {', '.join(unknown)} would say how "
                   "many there may be.")

    def _why(self):
        job, best = self.job, self.best
        limits = f"keep {job.utilisation:.4g} of compute busy"
        if job.budget_usd is not None:
            limits += f" and cost at most {usd(job.budget_usd)}"
        if best.mode == EVERY_STEP:
            return f"exchanges at every step {limits}"
        word = f"the fewest inner steps that {limits}"
        if best.inner_steps > plans.fewest_steps(job, best.mode, best.exchange, Plan.reaches,
                                                 best.fragments).inner_steps:
            word += "; the budget is what asks for so many"
        return word

    def _of_unequal_fragments(self, largest):
        if self.job.model is None:
            return " (taken as equally large: a model with a name is known part by part)"
        if largest > 1.02 / self.best.fragments:
            return f", the largest with {100 * largest:.3g}% of it: what runs as one stays whole"
        return ""

    def _of_unequal_clusters(self):
        best = self.best
        slow = [cluster for cluster in self.job.clusters if cluster.name in best.round_seconds]
        for cluster in slow:
            yield (f"{cluster.name} trains {best.steps[cluster.name]} steps in a round, of the "
                   f"others' {max(best.steps.values())}, and counts for less.")
        fastest = min(cluster.step_s for cluster in self.job.clusters)
        for cluster in [] if slow else self.job.clusters:
            if cluster.step_s > 1.02 * fastest:
                yield (f"The others wait for {cluster.name}'s steps: with a batch of "
                       f"{int(cluster.tokens_per_s * fastest):,} tokens its steps take as long as "
                       "the fastest's.")

    def what_binds(self):
        """Where nothing fits: the limit, and what would do."""
        job, offers = self.job, []
        reach = [plan for plan in self.plans if plan.reaches(job)]
        if reach:
            cheapest = min(reach, key=lambda plan: plan.usd)
            said = (f"no plan that keeps {job.utilisation:.4g} of compute busy costs at most "
                    f"{usd(job.budget_usd)}: {name_of(cheapest)} costs {usd(cheapest.usd)}, "
                    f"{usd(cheapest.egress_usd)} of it egress")
            offers.append(f"budget_usd = {math.ceil(cheapest.usd * 100) / 100:.2f}")
        else:
            top = max([plan for plan in self.plans if plan.affordable(job)] or self.plans,
                      key=lambda plan: plan.utilisation)
            said = (f"no plan keeps {job.utilisation:.4g} of compute busy: {name_of(top)} keeps "
                    f"{top.utilisation:.4g}, limited by {top.exchange.limit}")
            if top.affordable(job) and top.utilisation >= UTILISATION_MIN:
                offers.append(f"utilisation = {_floor(top.utilisation)}")
        steps = self._more_steps()
        if steps:
            offers.append(f"inner_steps_max = {steps}")
        return f"{said}. {', or '.join(offers) or 'Faster links'} would do"

    def _more_steps(self):
        """About how many inner steps beyond the limit would do; None: none that may be asked."""
        exchanges = {plan.codec: plan.exchange for plan in self.plans
                     if plan.mode == ROUNDS}.values()
        steps = math.ceil(1.03 * self.job.inner_steps_max)
        while steps <= INNER_STEPS_LIMIT:
            if any(plans.plan_of(self.job, ROUNDS, exchange, steps).fits(self.job)
                   for exchange in exchanges):
                return steps
            steps = math.ceil(1.03 * steps)
        return None


def choose(job):
    """The choice for a job whose ranks have memory for their lanes, too."""
    choice, asked = Choice(job), []
    while any(cluster.grid for cluster in job.clusters) and choice.best and \
            choice.round_flags() not in asked:
        asked.append(choice.round_flags())
        job = with_lanes_memory(job, asked[-1])
        choice = Choice(job)
    return choice


def name_of(plan):
    if plan.mode == EVERY_STEP:
        return f"every step, {plan.codec}"
    words = f"{plan.codec} with {plan.inner_steps} inner steps"
    if plan.mode == FRAGMENTS:
        words += f" in {plan.fragments} fragments"
    return words + (f", {plan.overlap_steps} of them during the exchange"
                    if plan.mode in (OVERLAP, FRAGMENTS) else "")


def _floor(part):
    """So that what is asked for is what there is."""
    return math.floor(part * 1000) / 1000


def usd(amount):
    return f"${amount:,.2f}" if amount < 1000 else f"${amount:,.0f}"
