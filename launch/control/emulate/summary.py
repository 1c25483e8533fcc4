"""The end of a job, for people and for scripts."""
import json

from .view import bytes_text, number


def of(story, clusters, happened, never, links, failures):
    """A dictionary; --summary writes it as JSON. `happened` has (fault, unix seconds)."""
    differing = story.differing()
    return {
        "exit": 1 if failures else 0,
        "failures": failures,
        "finished": story.is_finished,
        "rounds": story.committed,
        "aborts": story.aborts,
        "clusters": {
            name: {"ranks": cluster.ranks, "starts": cluster.starts, "status": cluster.status(),
                   "end": cluster.note, "round": story.clusters[name].round,
                   "step": story.clusters[name].step, "tokens": story.clusters[name].tokens,
                   "loss": story.clusters[name].loss, "val_loss": story.clusters[name].val_loss,
                   "wide_bytes_sent": story.clusters[name].sent,
                   "wide_bytes_received": story.clusters[name].received}
            for name, cluster in clusters.items()},
        "commits": [{"round": commit.round, "time": commit.time, "hash": commit.hash,
                     "clusters": commit.clusters} for commit in story.commits],
        "hashes": {str(key): value for key, value in story.hashes().items()},
        # Round 0 is what the job began with.
        "hashes_compared": sum(len(value) > 1 for number, value in story.hashes().items()
                               if number > 0),
        "hashes_equal": not differing,
        "differing_rounds": sorted(differing),
        "faults": [_fault(fault, time, story) for fault, time in happened],
        "never_happened": [fault.text for fault in never],
        "links": links,
    }


def _fault(fault, time, story):
    commit = story.next_commit(time)
    return {"fault": fault.text, "verb": fault.verb, "time": time,
            "next_commit_round": commit and commit.round,
            "next_commit_s": commit and round(commit.time - time, 3)}


def text_of(summary):
    yield (f"{summary['rounds']} rounds committed, "
           + ("the job is finished" if summary["finished"] else "the job is not finished"))
    yield (f"  {'cluster':<12}{'ranks':>5}  {'end':<16}{'step':>7}{'tokens':>11}{'loss':>9}"
           f"{'val_loss':>10}{'sent':>11}{'received':>11}")
    for name, cluster in summary["clusters"].items():
        yield (f"  {name:<12}{cluster['ranks']:>5}  {cluster['end']:<16}{cluster['step']:>7}"
               f"{cluster['tokens']:>11,}{number(cluster['loss'], '.4f'):>9}"
               f"{number(cluster['val_loss'], '.4f'):>10}"
               f"{bytes_text(cluster['wide_bytes_sent']):>11}"
               f"{bytes_text(cluster['wide_bytes_received']):>11}")
    compared = summary["hashes_compared"]
    if summary["differing_rounds"]:
        rounds = ", ".join(map(str, summary["differing_rounds"]))
        yield f"  STATES DIFFER between clusters after round {rounds}"
    elif compared:
        yield f"  after each of {compared} rounds, all clusters had the same state"
    else:
        yield "  no cluster said what state it had"
    for fault in summary["faults"]:
        after = fault["next_commit_s"]
        yield (f"  {fault['fault']}: " +
               ("no commit after it" if after is None else f"next commit {after:.1f} s later"))
    for fault in summary["never_happened"]:
        yield f"  {fault}: NEVER HAPPENED, the job ended before"
    if summary["links"]:
        total = sum(pair["bytes"] for pair in summary["links"])
        yield f"  {bytes_text(total)} crossed the emulated links, headers included"
    for failure in summary["failures"]:
        yield f"FAILED: {failure}"


def write(summary, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
