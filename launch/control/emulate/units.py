"""Durations, rates and losses as emulated_links takes them, checked before anything starts."""
import re

from ..failure import Failure

_SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6}


def seconds(text):
    """"80ms" -> 0.08"""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(s|ms|us)", text)
    if text == "0":
        return 0.0
    if not found or float(found[1]) * _SECONDS[found[2]] > 3600:
        raise Failure(f"\"{text}\" is no duration such as 80ms, 1.5s or 200us (to an hour)")
    return float(found[1]) * _SECONDS[found[2]]


def duration(text):
    """The text itself, if it is a duration."""
    seconds(text)
    return text


def rate(text):
    """The text itself, if it is a rate."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([kmg]?)bit", text)
    if text == "none" or found and float(found[1]) * 1000 ** " kmg".index(found[2] or " ") >= 1000:
        return text
    raise Failure(f"\"{text}\" is no rate such as 200mbit, 1gbit or 64kbit, or none")


def bits_per_second(text):
    """"1.5gbit" -> 1.5e9"""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([kmg]?)bit", text)
    bits = float(found[1]) * 1000 ** " kmg".index(found[2] or " ") if found else 0
    if not 1000 <= bits <= 1e15:
        raise Failure(f"\"{text}\" is no rate such as 200mbit, 1gbit or 64kbit")
    return bits


def loss(text):
    """The text itself, if it is a part of 1."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(%?)", text)
    if found and float(found[1]) * (0.01 if found[2] else 1) < 1:
        return text
    raise Failure(f"\"{text}\" is no loss such as 0.01% or 0.0001")
