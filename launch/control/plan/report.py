"""Plans for people to read, and for machines."""
import json
import textwrap

from .choice import name_of, usd
from .exchange import OF_RATE, encoded_bytes
from .plans import EVERY_STEP, FRAGMENTS, OVERLAP, ROUNDS

_MODES = {EVERY_STEP: "every step's gradients", ROUNDS: "rounds; training waits for exchanges",
          OVERLAP: "rounds; training goes on during exchanges (--overlap-rounds)",
          FRAGMENTS: "the same, by fragments that take turns (--fragments)"}


def shown(choice):
    """The plans worth a line: those of rounds, and of the rest those that fit the goal; fragments
    where they are what is taken."""
    return [plan for plan in choice.plans if plan.mode == ROUNDS or plan.reaches(choice.job) and (
        plan.mode != FRAGMENTS or choice.best and choice.best.mode == FRAGMENTS)]


def text_of(choice):
    job = choice.job
    model = job.model or "a model"
    yield (f"{model}: {job.values:,} values, {job.tokens:,} tokens to train, "
           f"{len(job.clusters)} clusters")
    limits = [f"{100 * job.utilisation:.4g}% of compute busy",
              f"at most {job.inner_steps_max} inner steps"]
    if job.budget_usd is not None:
        limits.insert(1, f"at most {usd(job.budget_usd)}")
    yield f"wanted: {', '.join(limits)}"
    yield ""
    yield from _grid_lines(choice)
    yield from _plan_lines(choice)
    yield ""
    yield from _cluster_lines(choice)
    yield ""
    yield from textwrap.wrap(" ".join(_notes(choice)), 100)
    if choice.best:
        yield ""
        yield from textwrap.wrap(" ".join(choice.reasons()), 100)
        yield ""
        yield from _flag_lines(choice)


def _grid_lines(choice):
    chosen = [cluster for cluster in choice.job.clusters if cluster.grid]
    for cluster in chosen:
        yield from textwrap.wrap(f"{cluster.name}: {cluster.grid.words()}", 100,
                                 subsequent_indent="  ")
    if chosen:
        yield ""


def _plan_lines(choice):
    job = choice.job
    yield (f"  {'':10} {'bytes a':>8} {'inner':>6} {'over-':>6} {'exchange':>9} {'compute':>8}")
    yield (f"  {'codec':10} {'value':>8} {'steps':>6} {'lap':>6} {'s':>9} {'busy':>8} "
           f"{'rounds':>8} {'hours':>9} {'egress':>10} {'compute':>10} {'in all':>10}")
    mode = None
    for plan in shown(choice):
        if plan.mode != mode:
            mode = plan.mode
            yield _MODES[mode]
        mark = "*" if plan is choice.best else " "
        missed = "" if plan.fits(job) else \
            "  below the goal" if not plan.reaches(job) else "  above the budget"
        compute = usd(plan.compute_usd) if _is_priced(job) else "-"
        codec = plan.codec + (f" / {plan.fragments}" if plan.fragments > 1 else "")
        yield (f"{mark} {codec:10} {_per_value(plan, job):>8.4g} {plan.inner_steps:>6} "
               f"{plan.overlap_steps or '':>6} {plan.exchange.seconds:>9.3g} "
               f"{100 * plan.utilisation:>7.1f}% {plan.rounds:>8,} {plan.hours:>9,.1f} "
               f"{usd(plan.egress_usd):>10} {compute:>10} {usd(plan.usd):>10}{missed}")


def _cluster_lines(choice):
    yield (f"  {'codec':10} {'inner steps':>11}   {'cluster':14} {'GB an exchange':>14} "
           f"{'GB in all':>12} {'egress':>10}")
    for plan in shown(choice):
        first = f"{plan.codec:10} {plan.inner_steps:>11}"
        for cluster in choice.job.clusters:
            sent = plan.exchange.sent[cluster.name] / 1e9
            yield (f"  {first:22}   {cluster.name:14} {sent:>14,.4g} {sent * plan.rounds:>12,.1f} "
                   f"{usd(plan.usd_per_cluster[cluster.name]):>10}")
            first = ""


def _notes(choice):
    job = choice.job
    if not any(plan.mode == EVERY_STEP and plan.reaches(job) for plan in choice.plans):
        best = max((plan for plan in choice.plans if plan.mode == EVERY_STEP),
                   key=lambda plan: plan.utilisation)
        yield (f"Exchanges at every step would keep {100 * best.utilisation:.1f}% of compute "
               f"busy, with {best.codec}.")
    unpriced = [cluster.name for cluster in job.clusters if cluster.usd_per_hour is None]
    if _is_priced(job) and unpriced:
        yield f"Without usd_per_hour, and counted as free: {', '.join(unpriced)}."
    elif unpriced and job.budget_usd is not None:
        yield "No cluster has usd_per_hour: the budget is of egress alone."
    states = join(choice)
    dearest = max(states["from"].values(), key=lambda state: state["usd_max"])
    slowest = max(states["from"].values(), key=lambda state: state["seconds_max"])
    yield (f"A cluster that joins, or comes back to a state that is not its own, is sent "
           f"{states['bytes'] / 1e9:.4g} GB by the nearest other one: up to "
           f"{usd(dearest['usd_max'])}, and {slowest['seconds_max']:.0f} s.")


def join(choice):
    """What the outer state of a newcomer costs: parameters, and what the outer optimizer keeps."""
    job = choice.job
    kept = 2 if choice.best and choice.best.mode == EVERY_STEP else 1  # AdamW's, Nesterov's
    count = 4 * job.values * (1 + kept)
    sources = {}
    for cluster in job.clusters:
        others = [other for other in job.clusters if other is not cluster]
        slowest = min(min(cluster.up, other.down, job.link(cluster.name, other.name).rate
                          or cluster.up) for other in others)
        sources[cluster.name] = {
            "usd_max": count / 1e9 * max(cluster.price_to(other.name) for other in others),
            "seconds_max": 8 * count / (OF_RATE * slowest)}
    return {"bytes": count, "from": sources}


def flags_of(choice):
    """What to type for each cluster's train_gpt, by name; what all have is under None."""
    job, best = choice.job, choice.best
    flags = {None: [*choice.round_flags(), "--steps", str(best.all_steps)]}
    for cluster in job.clusters:
        own = ["--cluster", cluster.name]
        if cluster.name in best.round_seconds:
            own += ["--round-seconds", f"{best.round_seconds[cluster.name]:.3f}"]
        own += ["--egress-price", f"{cluster.usd_per_gb:g}"]
        for other, price in cluster.usd_per_gb_to.items():
            own += ["--egress-price", f"{other}={price:g}"]
        if cluster.grid:
            own += cluster.grid.plan["flags"]
        flags[cluster.name] = own
    return flags


def _flag_lines(choice):
    flags = flags_of(choice)
    yield f"in every cluster   train_gpt … {' '.join(flags.pop(None))}"
    for cluster in choice.job.clusters:
        words = ' '.join(flags[cluster.name])
        start = f"{cluster.grid.mpirun()} " if cluster.grid else ""
        yield f"in {cluster.name:<15} {start}… {words}"


def _is_priced(job):
    return any(cluster.usd_per_hour is not None for cluster in job.clusters)


def _per_value(plan, job):
    return encoded_bytes(plan.codec, job.values) / job.values


def json_of(choice):
    job = choice.job
    flags = flags_of(choice) if choice.best else None
    return json.dumps({
        "model": job.model, "values": job.values, "tokens": job.tokens,
        "grids": {cluster.name: cluster.grid.plan
                  for cluster in job.clusters if cluster.grid},
        "goal": {"utilisation": job.utilisation, "budget_usd": job.budget_usd,
                 "inner_steps_max": job.inner_steps_max},
        "plans": [_plan_json(plan, choice) for plan in choice.plans],
        "join": join(choice),
        "recommended": None if choice.best is None else {
            "plan": choice.plans.index(choice.best), "name": name_of(choice.best),
            "reasons": list(choice.reasons()), "flags": flags.pop(None),
            "cluster_flags": flags},
        "binds": None if choice.best else choice.what_binds()}, indent=1)


def _plan_json(plan, choice):
    return {
        "mode": plan.mode, "codec": plan.codec, "bytes_per_value": _per_value(plan, choice.job),
        "fragments": plan.fragments, "lanes": plan.lanes, "inner_steps": plan.inner_steps,
        "overlap_steps": plan.overlap_steps,
        "exchange_s": plan.exchange.seconds, "round_s": plan.round_s, "rounds": plan.rounds,
        "hours": plan.hours, "utilisation": plan.utilisation, "egress_usd": plan.egress_usd,
        "compute_usd": plan.compute_usd, "usd": plan.usd, "limit": plan.exchange.limit,
        "reaches_goal": plan.reaches(choice.job), "within_budget": plan.affordable(choice.job),
        "clusters": {cluster.name: {
            "steps": plan.steps[cluster.name],
            "round_seconds": plan.round_seconds.get(cluster.name),
            "bytes_per_exchange": round(plan.exchange.sent[cluster.name]),
            "bytes": round(plan.exchange.sent[cluster.name] * plan.rounds),
            "egress_usd": plan.usd_per_cluster[cluster.name]} for cluster in choice.job.clusters}}
