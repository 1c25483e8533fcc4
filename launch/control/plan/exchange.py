"""One exchange, as collectives/wide makes it: what each cluster sends, and how long it takes.

A direct reduce-scatter and all-gather of V values between n clusters, of which cluster i sums the
part v_i. Encoded, i sends each v_j to its owner j, and the sums of v_i to all others: on the way
from i to j are v_j and v_i, in all V + (n - 2) v_i, and as much comes back."""
import dataclasses
import math

BLOCK = 256            # values that share a scale, and the step at which parts begin
SHARE_PARTS = 1 << 16  # of the whole, in which shares are counted
MEASURED_MIN = 64 << 20  # bytes that a link has to move before its rate is measured
CODECS = ("none", "bf16", "int8", "int4")  # the exact ones first

# As measured: tests/bench/wide/README.md.
FRAMES = 1.0025  # frames and TLS beside the values, in bytes that the job counts as sent
OF_RATE = 0.86   # of a wire's rate, that are such bytes; 5% are TCP's and IP's headers and receipts
# What a link sends in its first round trip: 8 streams of 10 segments. It doubles with each.
FIRST_FLIGHT = 8 * 10 * 1448
# Round trips of an exchange that moves nothing: to say where bytes go, for the last of them, and
# for their receipt; and with the coordinator, to be ready and start, to be done and commit.
TRIPS, TRIPS_COORDINATOR = 1.5, 2.0


def encoded_bytes(codec, values):
    """The same as in collectives/wide/codec."""
    scales = 4 * -(-values // BLOCK)
    return {"none": 4 * values, "bf16": 2 * values, "int8": values + scales,
            "int4": -(-values // 2) + scales}[codec]


def cuts_by_bandwidth(kbit):
    """The same as in collectives/wide/protocol/slices.cpp, for bandwidths below 2^40 kbit/s."""
    measured = [each for each in kbit if each > 0]
    mean = max(sum(kbit) // len(measured), 1) if measured else 1
    weights = [each or mean for each in kbit]
    return [sum(weights[:place]) * SHARE_PARTS // sum(weights) for place in range(len(weights))]


def parts_of(values, cuts):
    """How many values each owner sums."""
    blocks = -(-values // BLOCK)
    ends = [min(blocks * cut // SHARE_PARTS * BLOCK, values) for cut in [*cuts, SHARE_PARTS]]
    return [end - begin for begin, end in zip(ends, ends[1:])]


@dataclasses.dataclass(frozen=True)
class Exchange:
    codec: str
    lanes: int
    sent: dict         # bytes that each cluster sends, as the job counts them
    usd: dict          # what each cluster pays for them
    network_s: float   # training may go on meanwhile
    host_s: float      # it does not go on meanwhile
    seconds: float     # both
    limit: str         # what takes longest of it


def fair_rates(job):
    """Bits per second from one cluster to another while all ways are busy, by (from, to): what
    several share is shared evenly, and what one cannot use the others have."""
    limits = {}  # what ways share: [bits per second that are left, ways without a rate]
    shared_by = {(one.name, to.name): [("up", one.name), ("down", to.name)]
                 for one, to in job.pairs()}
    for cluster in job.clusters:
        limits["up", cluster.name] = [cluster.up, set()]
        limits["down", cluster.name] = [cluster.down, set()]
    for way, keys in shared_by.items():
        if job.link(*way).rate:
            keys.append(("link", *way))
            limits["link", *way] = [job.link(*way).rate, set()]
        for key in keys:
            limits[key][1].add(way)
    rates = {}
    while len(rates) < len(shared_by):
        left, ways = min((limit for limit in limits.values() if limit[1]),
                         key=lambda limit: limit[0] / len(limit[1]))
        share = left / len(ways)
        for way in list(ways):
            rates[way] = share
            for key in shared_by[way]:
                limits[key][0] -= share
                limits[key][1].remove(way)
    return rates


def _parts(job, codec, rates):
    """Values that each cluster sums: equally many, until all have measured what they can send."""
    kbit = [0] * len(job.clusters)
    share = 2 * encoded_bytes(codec, job.values) / len(job.clusters) / job.lanes
    if share >= MEASURED_MIN:
        kbit = [int(sum(rate for way, rate in rates.items() if way[0] == cluster.name) / 1000)
                for cluster in job.clusters]
    return dict(zip((cluster.name for cluster in job.clusters),
                    parts_of(job.values, cuts_by_bandwidth(kbit))))


def _ramp_s(rate, rtt_s):
    """What TCP's slow start takes longer than the same bytes at full speed. BBR pays it once for a
    link, other congestion controls whenever a link was idle."""
    if rtt_s == 0:
        return 0.0
    doublings = math.log2(max(rate / 8 * rtt_s / FIRST_FLIGHT, 1))
    return max(doublings - 1, 0) * rtt_s


def _by_sender(names, amounts):
    sums = dict.fromkeys(names, 0.0)
    for (sender, _), amount in amounts.items():
        sums[sender] += amount
    return sums


def predict_fragments(job, codec, rates, count):
    """The exchanges of so many fragments, which take turns: bytes, dollars and the hosts' work are
    the mean of theirs. The network's time is the largest's, for which the overlap has to do."""
    sizes = job.fragments(count)
    by_size = {size: predict(dataclasses.replace(job, values=size), codec, rates)
               for size in set(sizes)}
    turns = [by_size[size] for size in sizes]

    def mean(amounts):
        return sum(amounts) / count

    return dataclasses.replace(
        turns[0], host_s=mean(turn.host_s for turn in turns),
        sent={name: mean(turn.sent[name] for turn in turns) for name in turns[0].sent},
        usd={name: mean(turn.usd[name] for turn in turns) for name in turns[0].usd})


def predict(job, codec, rates):
    """The exchange of all of the job's clusters, which have fair_rates()."""
    parts = _parts(job, codec, rates)
    names, rtt_s = list(parts), job.rtt_s
    encoded = {name: encoded_bytes(codec, parts[name]) for name in names}

    def seconds(pairs, rate):
        """Of the ways `pairs` together: all values, then sums, which wait for the last values."""
        per_byte = 8 * FRAMES / (OF_RATE * rate)
        values = sum(encoded[to] for _, to in pairs) * per_byte
        sums = sum(encoded[one] for one, _ in pairs) * per_byte
        return values + max(sums, rtt_s / 2)

    taken = {}
    for cluster in job.clusters:
        others = [name for name in names if name != cluster.name]
        taken[f"{cluster.name}'s up"] = seconds([(cluster.name, to) for to in others], cluster.up)
        taken[f"{cluster.name}'s down"] = seconds([(one, cluster.name) for one in others],
                                                  cluster.down)
    for ends, link in job.links.items():
        if link.rate:
            one, other = [name for name in names if name in ends]
            taken[f"the link {one}-{other}"] = max(seconds([(one, other)], link.rate),
                                                   seconds([(other, one)], link.rate))
    moving_s = max(taken.values())
    trips_s = (TRIPS + TRIPS_COORDINATOR) * rtt_s + max(
        _ramp_s(rate, job.link(*way).rtt_s) for way, rate in rates.items())
    host_s = job.values / job.lanes / job.host_values_per_s
    longest = max((moving_s, 2, max(taken, key=taken.get)), (trips_s, 1, "round trips"),
                  (host_s, 0, "the hosts' own work on the values (more lanes share it)"))
    sent = {way: (encoded[way[0]] + encoded[way[1]]) * FRAMES for way in rates}
    prices = {(one.name, to.name): one.price_to(to.name) / 1e9 for one, to in job.pairs()}
    return Exchange(codec=codec, lanes=job.lanes, sent=_by_sender(names, sent),
                    usd=_by_sender(names, {way: sent[way] * prices[way] for way in sent}),
                    network_s=moving_s + trips_s, host_s=host_s,
                    seconds=moving_s + trips_s + host_s, limit=longest[2])
