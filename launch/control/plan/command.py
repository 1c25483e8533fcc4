"""trainctl plan: its options, and what it prints."""
import argparse
import sys

from ..paths import given_path
from . import grid, job, report
from .choice import choose

HELP = """\
Chooses how often the clusters of a job exchange, and in which codec, from what they are, what lies
between them and what it costs.

FILE is TOML; launch/plan_example.toml shows all that it may say. Of a cluster that is given by its
ranks, plan_grid chooses the grid, too. The table has, for each codec, the
fewest inner steps that keep so much of compute busy and cost no more than is asked; * is what to
take. Exit status 2: no plan does, and the last line says what would."""


def add_to(commands):
    parser = commands.add_parser("plan", help="how often to exchange, and in which codec",
                                 description=HELP,
                                 formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", metavar="FILE", type=given_path)
    parser.add_argument("--json", action="store_true", help="for machines")
    parser.add_argument("--plan-grid", metavar="PROGRAM", type=given_path, default=grid.PROGRAM,
                        help="of the build, for clusters that are given by ranks [%(default)s]")
    parser.set_defaults(run=command)


def command(options):
    choice = choose(job.read(options.file, options.plan_grid))
    if options.json:
        print(report.json_of(choice))
    else:
        for line in report.text_of(choice):
            print(line)
    if choice.best:
        return 0
    print(f"trainctl plan: {options.file}: {choice.what_binds()}", file=sys.stderr)
    return 2
