"""What there is to plan with: the model, the goal, the clusters and the links between them."""
import dataclasses
import tomllib

from ..certs import COORDINATOR, NAME
from ..failure import Failure
from . import grid as grids
from . import models
from .fields import Fields, shown

INNER_STEPS_MAX = 500  # DiLoCo shows parity with every step's averaging up to about here
INNER_STEPS_LIMIT, UTILISATION_MIN = 10_000, 0.01  # that may be asked for
# Values of a lane for which a host takes a second beside what it does while they travel: the
# change, sums of squares, the outer step, hashes, the way to the grid and back. As measured
# (tests/bench/wide/README.md), on one thread.
HOST_VALUES_PER_S = 160e6


@dataclasses.dataclass(frozen=True)
class Cluster:
    name: str
    tokens_per_s: float
    batch_tokens: int
    up: float    # bits per second
    down: float
    usd_per_gb: float
    usd_per_gb_to: dict
    usd_per_hour: float | None
    grid: grids.Grid | None  # where it was chosen
    nodes: int | None        # each of which may have a lane; None: nobody said
    node_wide_rate: float | None  # bits per second of one node, to and from other clusters

    @property
    def step_s(self):
        return self.batch_tokens / self.tokens_per_s

    def with_lanes(self, lanes):
        """A lane's way to other clusters is its node's, and lanes are spread over nodes."""
        if self.node_wide_rate is None:
            return self
        most = self.node_wide_rate * min(lanes, self.nodes or lanes)
        return dataclasses.replace(self, up=min(self.up, most), down=min(self.down, most))

    def price_to(self, other):
        return self.usd_per_gb_to.get(other, self.usd_per_gb)


@dataclasses.dataclass(frozen=True)
class Link:
    rtt_s: float = 0.0
    rate: float | None = None  # bits per second in each direction; None: the clusters' own


@dataclasses.dataclass(frozen=True)
class Job:
    model: str
    values: int
    tokens: int
    utilisation: float
    budget_usd: float | None
    inner_steps_max: int
    lanes: int
    lanes_given: bool
    host_values_per_s: float
    clusters: tuple
    links: dict  # by frozenset of two names, those that were given

    @property
    def lane_counts(self):
        """From which to choose: every cluster has as many, on a node each."""
        if self.lanes_given:
            return (self.lanes,)
        nodes = min(cluster.nodes or 1 for cluster in self.clusters)
        return tuple(1 << bit for bit in range(nodes.bit_length()))

    def with_lanes(self, lanes):
        return dataclasses.replace(
            self, lanes=lanes, clusters=tuple(each.with_lanes(lanes) for each in self.clusters))

    def link(self, one, other):
        return self.links.get(frozenset((one, other)), Link())

    def pairs(self):
        """(from, to), each way of two clusters."""
        return [(one, other) for one in self.clusters for other in self.clusters
                if one is not other]

    def fragments(self, count):
        """Values of each, largest first; equally many where nobody knows what the model is made
        of."""
        if self.model is None:
            return [-(-self.values // count)] * count
        return sorted(models.fragment_sizes(models.PARTS[self.model], count), reverse=True)

    @property
    def rtt_s(self):
        """The longest: everybody waits for the farthest."""
        return max(self.link(one.name, other.name).rtt_s for one, other in self.pairs())


def with_lanes_memory(job, flags):
    """The same job where ranks with lanes have memory for what clusters exchange by these flags."""
    return dataclasses.replace(job, clusters=tuple(
        _with_grid(cluster, cluster.grid.of_job(len(job.clusters), flags)) if cluster.grid
        else cluster for cluster in job.clusters))


def _with_grid(cluster, grid):
    return dataclasses.replace(cluster, grid=grid, tokens_per_s=grid.tokens_per_s)


def read(path, plan_grid=grids.PROGRAM):
    """The job that the file describes. A Failure names the file."""
    try:
        return from_table(tomllib.loads(path.read_text(encoding="utf-8-sig")), plan_grid)
    except OSError as error:
        raise Failure(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise Failure(f"{path}: is no text in UTF-8") from None
    except (ValueError, RecursionError) as error:  # TOML's, and of a number that is too long
        raise Failure(f"{path}: is no TOML: {error}") from None
    except Failure as failure:
        raise Failure(f"{path}: {failure}") from None


def from_table(table, plan_grid=grids.PROGRAM):
    whole = Fields("the file", table, ("model", "goal", "exchange", "cluster", "link"))
    model = Fields("[model]", whole.take("model"), ("name", "parameters", "tokens", "context"))
    goal = Fields("[goal]", whole.take("goal", {}),
                  ("utilisation", "budget_usd", "inner_steps_max"))
    exchange = Fields("[exchange]", whole.take("exchange", {}), ("lanes", "host_values_per_s"))
    name, values = _model(model)
    context = model.whole("context", 1, 2**31, None)
    clusters = _clusters(_list(whole, "cluster"),
                         lambda fields, batch_tokens: grids.take(fields, name, context,
                                                                 batch_tokens, plan_grid))
    return Job(
        model=name, values=values, tokens=model.whole("tokens", 1, 10**16),
        utilisation=goal.number("utilisation", UTILISATION_MIN, 0.999, 0.95),
        budget_usd=goal.number("budget_usd", 0, 1e12, None),
        inner_steps_max=goal.whole("inner_steps_max", 2, INNER_STEPS_LIMIT, INNER_STEPS_MAX),
        lanes=exchange.whole("lanes", 1, 4096, 1), lanes_given="lanes" in exchange,
        host_values_per_s=exchange.number("host_values_per_s", 1e3, 1e15, HOST_VALUES_PER_S),
        clusters=clusters,
        links=_links(_list(whole, "link", ()), [cluster.name for cluster in clusters]))


def _list(whole, key, *default):
    tables = whole.take(key, *default)
    if not isinstance(tables, (list, tuple)):
        raise Failure(f"there may be several: write [[{key}]], not [{key}]")
    return tables


def _model(fields):
    if ("name" in fields) == ("parameters" in fields):
        raise Failure("[model] needs one of \"name\" and \"parameters\"")
    if "parameters" in fields:
        return None, fields.whole("parameters", 1, 2**48)
    name = fields.text("name")
    if name not in models.VALUES:
        raise Failure(f"[model]: there is no model \"{name}\"; there are "
                      f"{', '.join(models.VALUES)}, or say how many \"parameters\" it has")
    return name, models.VALUES[name]


def _clusters(tables, grid_of):
    clusters = []
    for place, table in enumerate(tables, 1):
        fields = Fields(f"[[cluster]] number {place}", table,
                        ("name", "tokens_per_s", "batch_tokens", "up", "down",
                         "egress_usd_per_gb", "egress_to", "usd_per_hour", "nodes",
                         "node_wide_rate", *grids.FIELDS))
        name = fields.text("name")
        if not NAME.fullmatch(name) or name == COORDINATOR:
            raise Failure(f"{fields.where}: \"{name}\" cannot be the name of a cluster")
        if any(cluster.name == name for cluster in clusters):
            raise Failure(f"two clusters are called \"{name}\"")
        fields.where = f"cluster {name}"
        clusters.append(_cluster(name, fields, grid_of))
    if not 2 <= len(clusters) <= 200:
        raise Failure(f"exchanges are between 2 to 200 clusters ([[cluster]]), and there "
                      f"{'is' if len(clusters) == 1 else 'are'} {len(clusters)}")
    for cluster in clusters:
        others = [other.name for other in clusters if other is not cluster]
        prices = Fields(f"cluster {cluster.name}: egress_to", cluster.usd_per_gb_to, others)
        for other in cluster.usd_per_gb_to:
            prices.number(other, 0, 1e6)
    return tuple(clusters)


def _cluster(name, fields, grid_of):
    batch_tokens = fields.whole("batch_tokens", 1, 10**12)
    reckoned = [key for key in grids.FIELDS if key in fields]
    if "tokens_per_s" in fields and reckoned:
        raise Failure(f"{fields.where} has \"tokens_per_s\" and \"{reckoned[0]}\": give its speed, "
                      "or what it is reckoned from")
    if "nodes" in fields and reckoned:
        raise Failure(f"{fields.where} has \"nodes\" and \"{reckoned[0]}\": its ranks say how many "
                      "there are")
    grid = grid_of(fields, batch_tokens) if reckoned else None
    return Cluster(
        name=name, batch_tokens=batch_tokens, grid=grid,
        nodes=grid.nodes if grid else fields.whole("nodes", 1, 1 << 20, None),
        node_wide_rate=fields.rate("node_wide_rate", None),
        tokens_per_s=grid.tokens_per_s if grid else fields.number("tokens_per_s", 1e-3, 1e12),
        up=fields.rate("up"), down=fields.rate("down"),
        usd_per_gb=fields.number("egress_usd_per_gb", 0, 1e6),
        usd_per_gb_to=fields.take("egress_to", {}),
        usd_per_hour=fields.number("usd_per_hour", 0, 1e9, None))


def _links(tables, names):
    links = {}
    for place, table in enumerate(tables, 1):
        fields = Fields(f"[[link]] number {place}", table, ("between", "rtt", "rate"))
        ends = fields.take("between")
        if not isinstance(ends, list) or len(ends) != 2 or ends[0] == ends[1]:
            raise Failure(f"{fields.where}: between = [\"{names[0]}\", \"{names[1]}\"] names two "
                          "clusters")
        for end in ends:
            if end not in names:
                raise Failure(f"{fields.where}: there is no cluster {shown(end)}; there are "
                              f"{', '.join(names)}")
        key = frozenset(ends)
        if key in links:
            raise Failure(f"{fields.where}: the link between {ends[0]} and {ends[1]} is there "
                          "already")
        links[key] = Link(fields.seconds("rtt", 0.0), fields.rate("rate", None))
    return links
