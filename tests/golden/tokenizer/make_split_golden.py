#!/usr/bin/env python3
"""Makes split_patterns.expected.json: how Hugging Face's `tokenizers`, whose regular expressions are
Oniguruma's, cuts texts at patterns that PCRE2 would read otherwise. split_golden_test.cpp compares.

    python3 -m venv /tmp/venv && /tmp/venv/bin/pip install tokenizers
    /tmp/venv/bin/python tests/golden/tokenizer/make_split_golden.py

Writes beside itself {"texts": […], "cases": [{"pattern", "pieces"}]}; of the pieces, which are all of
a text with its gaps, it holds the bytes of each, for every text.
"""
import json
import pathlib
import unicodedata

from tokenizers import Regex, pre_tokenizers

from make_tokenizer_golden import NASTY

HERE = pathlib.Path(__file__).parent
CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
KIMI_K2 = "|".join([
    r"[\p{Han}]+",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*"
    r"[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+" + CONTRACTIONS,
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+"
    r"[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*" + CONTRACTIONS,
    r"\p{N}{1,3}", r" ?[^\s\p{L}\p{N}]+[\r\n]*", r"\s*[\r\n]+", r"\s+(?!\S)", r"\s+"])
O200K = KIMI_K2.replace(r"[\p{Han}]+|", "").replace(r"&&[^\p{Han}]", "")
CLASSES = [
    "[a-z&&[^k]]+", "[[a-c][x-z]]+", "[^[a-c][x-z]]+", "[^a-z&&[^k]]+", "[a-m&&g-z&&[^h]]+",
    "[[a-f&&[^b]]x]+", "[^[^a-e]]+", "[[a-c]-z]+", "[a-c-e]+", "[]a]+", "[^]a]+", "[+--]+", "[a&b]+",
    "[a&&]", "[&&a]", "[ [:foo]]+", "[(?i)]+", "(?i:[a-z&&[^k]]+)", "(?i:[a-zA-Z&&[^k]]+)",
    "(?i:[^a-z&&[^k]]+)", "(?i:[[^k]]+)", r"[\p{L}&&[^\p{Latin}]]+", r"[\p{L}&&\p{Lu}]+",
    r"[\s&&[^\n]]+", r"[^\S\n]+", r"[^\W\d_]+", r"[^\w\s]+", r"[\w&&\P{Ll}]+", r"[\u0041-\u005a]+",
    r"[\x{430}-\x{44f}]+", r"[\H&&\S]+", r"[\h]+", r"[\v\t]+", r"[a\b]+", r"[\p{^L}]+", r"[\-\]\[a]+",
] + [f"[[:{negated}{name}:]]+" for negated in ("", "^") for name in
     "alnum alpha blank cntrl digit graph lower print punct space upper word xdigit ascii".split()]
OTHERS = [
    KIMI_K2, O200K, r"\h+", r"\H+", r"\v+", r"\w+", r"\W+", r"\d+", r"\D+", r"\s+", r"\S+", r"\b.",
    r"\B.", r"\u0065+", r"\x65\x{65}?", r"\p{Han}+", r"\P{Han}+", r"\p{Katakana}+", r"\p{Greek}+",
    r"\p{^Lu}+", "e{,2}", "x{,2}y?", "e{2}?", "[a-z]{1,3}+", "[a-z]{3}+", "[a-z]{1,3}?", "[a-z]{2}++",
    "a++a|e", "[a-z]?+[a-z]", "[a-z]{2}{2}", "e{}", "e{a}|{'|1}", "(?m:t.*e)", "(?m)n.+?f", "t.*e",
    "x(?i)b|t", "(x(?i)e|t)h", "(?i)THE|'S", "(?i-m:THE)", "(?:ab|a)(?=a)", "(?<=t)h", "(?<!t)h",
    r"(\w)\1", r"(?<c>\w)\k<c>", r"(?<c>[aeiou]|t)\g<c>", "(?>a+)", r"\O{7}", r"\N+", r"\R",
    "^.", ".$", r"\A.", r".\z", r"\t|\e|\a|\f", r"\/|\-|\é", r"(?:[a-z]+[0-9]*)*+", "[a-z]+*", "x*", "x*|[a-z]", "(?=t)", r"\b", "^",
]


def broad():
    """Characters of old kinds; marks are left out, as which of them are alphabetic still changes."""
    codes = list(range(0x250)) + list(range(0x250, 0x3400, 9)) + list(range(0x4e00, 0xa000, 999))
    old = unicodedata.ucd_3_2_0
    return "".join(chr(c) for c in codes if old.category(chr(c)) == unicodedata.category(chr(c))
                   and unicodedata.category(chr(c)) not in ("Cn", "Mn", "Mc", "Me"))


def main():
    texts = [text for text in NASTY if text] + [
        "kkakbk xyz abcxyz Kk\u212a \u017fs KEY deadbeef 0xC0FFEE b+-,a]c & a&&b",
        "漢字かなカナー、。「漢字」ーABC漢abc ΑΒΓαβγ 中文English混排Text",
        "e{2} e{,2} {,2} eeeee x{a} yy xx(?i)",
        broad()]
    cases = []
    for pattern in CLASSES + OTHERS:
        split = pre_tokenizers.Split(Regex(pattern), "isolated")
        pieces = [[len(piece.encode()) for piece, _ in split.pre_tokenize_str(text)]
                  for text in texts]
        cases.append(json.dumps({"pattern": pattern, "pieces": pieces}, separators=(",", ":")))
    text = ",\n".join(cases)
    document = f'{{"texts":{json.dumps(texts)},\n"cases":[\n{text}\n]}}\n'
    (HERE / "split_patterns.expected.json").write_text(document, encoding="utf-8")


main()
