"""What a person sees of a job: on a terminal a few lines that move, elsewhere a line per event."""
import collections
import os
import sys


def bytes_text(count):
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            return f"{count:.1f} {unit}" if unit != "B" else f"{count} B"
        count /= 1000
    return ""


def number(value, form):
    return "" if value is None else format(value, form)


class View:
    LAST = 6

    def __init__(self, title, story, clusters, began, out=sys.stdout):
        self._title, self._story, self._clusters = title, story, clusters
        self._began, self._out = began, out
        self._is_terminal = out.isatty()
        self._last = collections.deque(maxlen=self.LAST)
        self._drawn = 0
        if not self._is_terminal:
            self._print(title)

    def _print(self, text):
        print(text, file=self._out, flush=True)

    def say(self, text, now):
        """Something happened."""
        line = f"{now - self._began:7.1f} s  {text}"
        self._last.append(line)
        if self._is_terminal:
            self.draw(now)
        else:
            self._print(line)

    def draw(self, now):
        if not self._is_terminal:
            return
        try:
            width = os.get_terminal_size(self._out.fileno()).columns
        except OSError:
            width = 80
        lines = [line[:width - 1] for line in self.lines(now)]
        up = f"\x1b[{self._drawn}A" if self._drawn else ""
        self._out.write("\r" + up + "\n".join(f"{line}\x1b[K" for line in lines) + "\x1b[J\n")
        self._out.flush()
        self._drawn = len(lines)

    def lines(self, now):
        story = self._story
        seconds = int(now - self._began)
        where = f"round {story.committed + 1}"
        if story.exchange:
            where = f"round {story.exchange[0]} exchanging, attempt {story.exchange[1]}"
        if story.epoch is None:
            where = "gathering"
        if story.is_finished:
            where = "finished"
        yield f"{self._title}   {seconds // 60}:{seconds % 60:02}"
        yield f"epoch {story.epoch or '-'}: {' '.join(story.members) or '-'}   {where}"
        yield (f"  {'cluster':<12}{'state':<12}{'round':>6}{'step':>8}{'loss':>9}"
               f"{'tokens/s':>10}{'sent':>11}")
        for name, cluster in self._clusters.items():
            told = story.clusters[name]
            yield (f"  {name:<12}{cluster.note:<12}{number(told.round, 'd'):>6}{told.step:>8}"
                   f"{number(told.loss, '.4f'):>9}{number(told.tokens_per_s, ',.0f'):>10}"
                   f"{bytes_text(told.sent):>11}")
        yield from self._last
