#!/usr/bin/env python3
"""Prints the numbers that tests/unit/data/nfc_test.cpp compares with, from Python's own Unicode:

    python3 tests/golden/nfc/make_nfc.py

Normal forms of assigned characters never change, so any version of Python serves.
"""
import unicodedata


def hash_of(texts):
    """FNV-1a, 64 bits, of all normal forms."""
    value = 0xCBF29CE484222325
    for text in texts:
        for byte in unicodedata.normalize("NFC", text).encode():
            value = (value ^ byte) * 0x100000001B3 % 2**64
    return value


def characters():
    return [chr(code) for code in range(0x10000) if not 0xD800 <= code < 0xE000]


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
    print(f"every character: {hash_of(characters()):#x}")
    print(f"with marks: {hash_of(c + chr(0x301) + chr(0x323) for c in characters()):#x}")
    sample = list(mixtures())
    print(f"mixtures: {hash_of(sample):#x}, the first {ascii(sample[0])}")
