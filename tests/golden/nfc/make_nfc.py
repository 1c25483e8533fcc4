#!/usr/bin/env python3
"""Writes libtrain/data/tokenizers/nfc_tables.cpp, and prints the numbers that nfc_test.cpp compares
with, both from Python's own Unicode tables:

    python3 tests/golden/nfc/make_nfc.py

Normal forms of assigned characters never change, so any version serves for the numbers; a later one
brings tables of later characters.
"""
import pathlib
import textwrap
import unicodedata

HERE = pathlib.Path(__file__).resolve()
TABLES = HERE.parents[3] / "libtrain/data/tokenizers/nfc_tables.cpp"
HEAD = """\
// Made by tests/golden/nfc/make_nfc.py from Unicode {version}. Hexadecimal words.
#include "libtrain/data/tokenizers/nfc_tables.hpp"

namespace train::detail {{
"""
TABLE = """
const char* const {name} =
{lines};
"""


def hangul(code):
    return 0xAC00 <= code <= 0xD7A3


def parts_of(code):
    """The canonical decomposition, one level deep."""
    text = unicodedata.decomposition(chr(code))
    return [] if not text or text.startswith("<") else [int(part, 16) for part in text.split()]


def composes(code, parts):
    pair = "".join(map(chr, parts))
    return len(parts) == 2 and unicodedata.normalize("NFC", pair) == chr(code)


def classes():
    """[first, last, class] of neighbours that share one."""
    ranges = []
    for code in range(0x110000):
        found = unicodedata.combining(chr(code))
        if not found:
            continue
        if ranges and ranges[-1][1] == code - 1 and ranges[-1][2] == found:
            ranges[-1][1] = code
        else:
            ranges.append([code, code, found])
    return ranges


def table(name, rows):
    words = " ".join(f"{number:x}" for row in rows for number in row)
    lines = textwrap.wrap(words, 92)
    return TABLE.format(name=name, lines="\n".join(f'    "{line} "' for line in lines))


def write_tables():
    composed, singles, pairs = [], [], []
    for code in range(0x110000):
        parts = [] if hangul(code) else parts_of(code)
        if composes(code, parts):
            composed.append([code, *parts])
        elif parts:
            (pairs if len(parts) == 2 else singles).append([code, *parts])
    text = HEAD.format(version=unicodedata.unidata_version)
    text += table("nfc_composed", composed) + table("nfc_pairs", pairs)
    text += table("nfc_singles", singles) + table("nfc_classes", classes())
    TABLES.write_text(text + "\n}  // namespace train::detail\n", encoding="ascii")


def hash_of(texts):
    """FNV-1a, 64 bits, of all normal forms."""
    value = 0xCBF29CE484222325
    for text in texts:
        for byte in unicodedata.normalize("NFC", text).encode():
            value = (value ^ byte) * 0x100000001B3 % 2**64
    return value


def characters():
    return [chr(code) for code in range(0x30000) if not 0xD800 <= code < 0xE000]


# Where normalization has something to do.
ABOUT = [(0x41, 0x5A), (0x61, 0x6A), (0xC0, 0x17F), (0x300, 0x345), (0x591, 0x5C7),
         (0x915, 0x95F), (0x9BE, 0x9DD), (0xBBE, 0xBCC), (0x1100, 0x1112), (0x1161, 0x1175),
         (0x11A8, 0x11C2), (0x1B05, 0x1B43), (0x1E00, 0x1EFF), (0x212A, 0x212B), (0x3040, 0x30FF),
         (0xAC00, 0xAC3B), (0xFB1D, 0xFB4E), (0xFE20, 0xFE2F), (0x110A5, 0x110BA),
         (0x1D15E, 0x1D16E)]


def mixtures():
    """Strings that the test draws in the same way."""
    state = 1

    def draw(count):
        nonlocal state
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        return (state >> 33) % count

    for _ in range(20000):
        text = ""
        for _ in range(8):
            first, last = ABOUT[draw(len(ABOUT))]
            text += chr(first + draw(last - first + 1))
        yield text


if __name__ == "__main__":
    write_tables()
    print(f"every character: {hash_of(characters()):#x}")
    print(f"with marks: {hash_of(c + chr(0x301) + chr(0x323) for c in characters()):#x}")
    sample = list(mixtures())
    print(f"mixtures: {hash_of(sample):#x}, the first {ascii(sample[0])}")
