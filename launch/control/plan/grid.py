"""A cluster's speed, where the file has its ranks instead: plan_grid chooses how they share the
model, and says how fast that is."""
import dataclasses
import json
import pathlib
import subprocess

from ..failure import Failure

PROGRAM = pathlib.Path(__file__).resolve().parents[3] / "build" / "bin" / "plan_grid"
# Of [[cluster]], what becomes a flag of plan_grid as it is: by field, its kind.
TEXTS = {"memory": "--memory", "device": "--device", "dtype": "--dtype", "node_rate": "--node-rate",
         "network_rate": "--network-rate", "memory_rate": "--memory-rate"}
DEFAULTS = {"device": "cuda", "dtype": "bf16"}
FIELDS = ("ranks", "ranks_per_node", "tflops", "mfu", *TEXTS)


@dataclasses.dataclass(frozen=True)
class Grid:
    ranks: int
    ranks_per_node: int
    plan: dict  # as plan_grid --json has it
    lane_bytes: int | None  # of a rank with a lane, once it is known what clusters exchange
    asked: tuple  # where it stands in the file, the program, and its flags

    @property
    def nodes(self):
        return -(-self.ranks // self.ranks_per_node)

    @property
    def tokens_per_s(self):
        return self.plan["tokens_per_s"]

    def words(self):
        """For people."""
        plan = self.plan
        rows = ", rows split" if plan["sequence_parallel"] else ""
        again = "" if plan["recompute"] == "none" else f", recompute {plan['recompute']}"
        shared = ("data", "context", "tensor") if plan["context"] > 1 else ("data", "tensor")
        grid = f"{' x '.join(str(plan[kind]) for kind in shared)} ({' x '.join(shared)})"
        zero = f"{plan['zero']} on {plan['zero_ranks']} ranks" if plan["zero_ranks"] else \
            plan["zero"]
        return (f"{self.ranks} ranks as {grid}, zero {zero}{rows}{again}, "
                f"{plan['passes']} passes of {plan['micro_batch']}: "
                f"{plan['memory_bytes']['total'] / 1e9:.3g} GB a rank, {plan['step_s']:.3g} s a "
                f"step, {plan['tokens_per_s']:,.0f} tokens/s{self._lane_words()}")

    def _lane_words(self):
        if self.lane_bytes is None:
            return ""
        whose = "that memory" if self.plan["memory_bytes"]["lane"] else "its host's memory"
        return f"; a lane has {self.lane_bytes / 1e9:.3g} GB of {whose}"

    def of_job(self, clusters, flags):
        """The same for one of so many clusters, which exchange by these flags; another grid where
        this one has no memory left for lanes."""
        job_words = ("--clusters", str(clusters), *flags)
        place = (self.ranks, self.ranks_per_node, *self.asked)
        return _ask(*place, (*job_words, *self.plan["flags"])) or _ask(*place, job_words, True)

    def mpirun(self):
        place = f" --map-by ppr:{self.ranks_per_node}:node" \
            if self.ranks > self.ranks_per_node else ""
        return f"mpirun -np {self.ranks}{place}"


def take(fields, model, context, batch_tokens, program):
    """The grid of the cluster that has these fields."""
    if model is None or context is None:
        raise Failure(f"{fields.where} has \"ranks\": then [model] needs \"name\" and \"context\", "
                      "so that their speed can be reckoned")
    if batch_tokens % context:
        raise Failure(f"{fields.where}: batch_tokens is {batch_tokens}; it must be a multiple of "
                      f"the context, {context}")
    ranks = fields.whole("ranks", 1, 1 << 20)
    ranks_per_node = fields.whole("ranks_per_node", 1, 1024, min(8, ranks))
    words = ["--model", model, "--context", context, "--batch", batch_tokens // context,
             "--ranks", ranks, "--ranks-per-node", ranks_per_node,
             "--device-tflops", fields.number("tflops", 1e-6, 1e6),
             "--utilisation", fields.number("mfu", 0.001, 1.0, 0.5)]
    for key, flag in TEXTS.items():
        value = fields.text(key, DEFAULTS.get(key)) if key != "memory" else fields.text(key)
        if value is not None:
            words += [flag, value]
    return _ask(ranks, ranks_per_node, fields.where, program, tuple(map(str, words)), (), True)


def _ask(ranks, ranks_per_node, where, program, words, job_words, is_needed=False):
    """None: nothing fits, and need not."""
    try:
        ended = subprocess.run([program, *words, *job_words, "--json"], capture_output=True,
                               text=True, check=False)
    except OSError as error:
        raise Failure(f"{where} has \"ranks\", whose speed plan_grid reckons; {program}: "
                      f"{error.strerror}. Build it, name it with --plan-grid, or give "
                      "\"tokens_per_s\"") from None
    said = _said(ended, where, program)
    if said["best"] is None and not is_needed:
        return None
    if said["best"] is None:
        raise Failure(f"{where}: {said['would_fit']}")
    return Grid(ranks, ranks_per_node, said["plans"][said["best"]],
                said["lane_bytes"]["peak"] if job_words else None, (where, program, words))


def _said(ended, where, program):
    """What plan_grid --json has printed, where that is what has run."""
    why = ended.stderr.strip().removeprefix("error: ")
    if ended.returncode not in (0, 2) and why:
        raise Failure(f"{where}: {why}")
    try:
        said = json.loads(ended.stdout)
    except ValueError:
        said = None
    if not isinstance(said, dict) or "best" not in said:
        raise Failure(f"{where} has \"ranks\", whose speed plan_grid reckons, but {program} ended "
                      f"with status {ended.returncode} and printed no plans: name the build's "
                      "plan_grid with --plan-grid")
    return said
