"""Tables of a TOML file, read field by field: each with its kind and its range, and none that
nobody asked for."""
import difflib

from ..emulate import units
from ..failure import Failure

_REQUIRED = object()


class Fields:
    """The fields of one table. `where` names it in what is said about it."""

    def __init__(self, where, values, known):
        if not isinstance(values, dict):
            raise Failure(f"{where} is no table")
        self.where, self._values = where, values
        for key in values:
            if key not in known:
                close = difflib.get_close_matches(key, known, 1)
                raise Failure(f"{where} has no \"{key}\"" +
                              (f" (\"{close[0]}\"?)" if close else "") +
                              f"; it knows {', '.join(known)}")

    def __contains__(self, key):
        return key in self._values

    def take(self, key, default=_REQUIRED):
        if key in self._values:
            return self._values[key]
        if default is _REQUIRED:
            raise Failure(f"{self.where} needs \"{key}\"")
        return default

    def number(self, key, least, most, default=_REQUIRED):
        """From `least` to `most`, both included; a default may be anything."""
        value = self.take(key, default)
        if key not in self._values:
            return value
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not is_number or not least <= value <= most:  # nor is NaN
            raise Failure(f"{self.where}: {key} is {shown(value)}; it must be a number from "
                          f"{least:g} to {most:g}")
        return value

    def whole(self, key, least, most, default=_REQUIRED):
        value = self.number(key, least, most, default)
        if value is not None and value != int(value):
            raise Failure(f"{self.where}: {key} is {shown(value)}; it must be a whole number")
        return value if value is None else int(value)

    def text(self, key, default=_REQUIRED):
        value = self.take(key, default)
        if key in self._values and not (isinstance(value, str) and value):
            raise Failure(f"{self.where}: {key} is {shown(value)}; it must be a text")
        return value

    def rate(self, key, default=_REQUIRED):
        """Bits per second."""
        return self._unit(key, default, units.bits_per_second)

    def seconds(self, key, default=_REQUIRED):
        return self._unit(key, default, units.seconds)

    def _unit(self, key, default, convert):
        text = self.text(key, default)
        if key not in self._values:
            return text
        try:
            return convert(text)
        except Failure as failure:
            raise Failure(f"{self.where}: {key}: {failure}") from None


def shown(value):
    text = f"\"{value}\"" if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else text[:57] + "…"
