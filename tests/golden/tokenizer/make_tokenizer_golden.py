#!/usr/bin/env python3
"""Makes the small tokenizers and the expected ids that tokenizer_golden_test.cpp compares with.

Needs Hugging Face's `tokenizers` and, if it is there, OpenAI's `tiktoken`:

    python3 -m venv /tmp/venv && /tmp/venv/bin/pip install tokenizers tiktoken
    /tmp/venv/bin/python tests/golden/tokenizer/make_tokenizer_golden.py

Writes beside itself, for each tokenizer, NAME.json and NAME.expected.json: a list of
{"text", "ids"}. The training text is generated here from a fixed seed.
"""
import json
import pathlib
import random

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers
from tokenizers import pre_tokenizers, trainers

HERE = pathlib.Path(__file__).parent
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def training_text():
    """Sentences of made-up words, with the punctuation, digits and accents that merges need."""
    rng = random.Random(20240520)
    syllables = "ka lo mi ren ta the ing an er st on de ve il sa qu é ü ß 中文 слов".split()
    words = ["".join(rng.choices(syllables, k=rng.randint(1, 3))) for _ in range(400)]
    weights = [1 / (i + 1) for i in range(len(words))]
    lines = []
    for _ in range(3000):
        line = rng.choices(words, weights, k=rng.randint(3, 12))
        if rng.random() < 0.3:
            line[rng.randrange(len(line))] += rng.choice(["'s", "'t", "'ll", "'re", "'VE"])
        if rng.random() < 0.3:
            line.append(str(rng.randint(0, 99999)))
        indent = " " * rng.choice([0, 0, 0, 2, 4, 8])
        lines.append(indent + " ".join(line) + rng.choice([".", "!", "?", ",", " ...", ""]))
    return lines


NASTY = [
    "",
    " ",
    "  ",
    "\n",
    "\r\n\r\n",
    "a",
    " a",
    "the king's ship isn't theirs; we'll've I'M YOU'RE 'tis '' 's's",
    "It\u2019s (typographic) don\u2019t",
    "'\u017f long s, \u212a kelvin K'\u017f",
    "    four spaces   three  two one ",
    "tabs\t\tand\tspaces \t mixed\n\n\n  newlines\r\n \n end   ",
    "trailing spaces before newline   \nnext",
    "12345678901234567890 1 12 123 1234 3.14159 1,000,000 ½ ² Ⅷ ٣ ৪",
    "中文字符 混合 text 日本語のテキスト 한국어 텍스트",
    "cafe\u0301 naïve Å A\u030a ประเทศไทย हिन्दी \u0915\u093c",
    "😀 😀😀 👩‍👩‍👧‍👦 🏳️‍🌈 🇩🇪 emoji",
    "nbsp\u00a0here\u00a0\u00a0x \u2003em\u3000ideographic \u200bzero\u200b width \ufeffbom",
    "mongolian\u180evowel \u180e sep, nel\u0085x \u2028line\u2029par \u001cfs \u001f us",
    "control\u0000\u0001\u0002\u007f\u0080\u009f chars \x0b\x0c",
    "a" * 300,
    "lomika" * 50 + " " * 70 + "!" * 40 + "\n" * 30,
    "x<|endoftext|>y <|endoftext|><|endoftext|> z <|endoftex|>",
    "<|pad|>and<|padding|> overlap <|pad|",
    "def f(x):\n\tif x == 1:\n        return {'a': [1, 2]}  # ok\n",
    "\U0010ffff\ue000\ufffd\U0001d54f \u0378 unassigned",
    "İstanbul ǅ ß ẞ ﬁ ﬀ",
    "_under_score__ snake_case CamelCase kebab-case e-mail@x.org http://a.b/c?d=e&f#g",
    "…—–“”‘’«»‹›",
]


def cases(lines):
    rng = random.Random(7)
    alphabet = list("aeklmnorst'SLD  \n\t.,19é中ж😀\u0301\u00a0\r_")
    random_texts = ["".join(rng.choices(alphabet, k=rng.randint(1, 60))) for _ in range(60)]
    return NASTY + ["\n".join(lines[:12])] + random_texts


def train(pre_tokenizer, merges, lines):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        lines,
        trainers.BpeTrainer(
            vocab_size=256 + merges,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    return tokenizer


def write(name, tokenizer, lines, change=lambda document: None):
    document = json.loads(tokenizer.to_str())
    change(document)
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    (HERE / f"{name}.json").write_text(text + "\n", encoding="utf-8")
    tokenizer = Tokenizer.from_str(text)
    expected = []
    for case in cases(lines):
        ids = tokenizer.encode(case, add_special_tokens=False).ids
        expected.append({"text": case, "ids": ids})
    text = ",\n".join(json.dumps(e, separators=(",", ":")) for e in expected)
    (HERE / f"{name}.expected.json").write_text(f"[\n{text}\n]\n", encoding="utf-8")


def merges_as_strings(document):
    document["model"]["merges"] = [" ".join(pair) for pair in document["model"]["merges"]]


def ignore_merges(document):
    """Llama 3's flag, and whole words as tokens that no merge makes: only it finds them."""
    model = document["model"]
    model["ignore_merges"] = True
    for word in ["Ġqwx", "Zyx"]:
        model["vocab"][word] = len(model["vocab"])
        for token in document["added_tokens"]:
            token["id"] += 1


def check_with_tiktoken():
    """tiktoken merges the pair whose bytes have the lowest id: it must find the same ids."""
    try:
        import tiktoken
    except ImportError:
        print("tiktoken is not installed: the comparison with it is left out")
        return
    document = json.loads((HERE / "gpt2_style.json").read_text(encoding="utf-8"))
    visible = {}
    substitutes = 0
    for byte in range(256):
        itself = 33 <= byte <= 126 or 161 <= byte <= 172 or byte >= 174
        visible[chr(byte) if itself else chr(256 + substitutes)] = byte
        substitutes += not itself
    ranks = {bytes(visible[c] for c in token): rank
             for token, rank in document["model"]["vocab"].items()}
    special = {token["content"]: token["id"] for token in document["added_tokens"]}
    pattern = (r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+")
    encoding = tiktoken.Encoding("gpt2_style", pat_str=pattern, mergeable_ranks=ranks,
                                 special_tokens=special)
    expected = json.loads((HERE / "gpt2_style.expected.json").read_text(encoding="utf-8"))
    for case in expected:
        found = encoding.encode(case["text"], allowed_special="all")
        assert found == case["ids"], (case["text"], found, case["ids"])
    print(f"tiktoken finds the same ids in {len(expected)} texts")


def main():
    lines = training_text()

    gpt2 = train(pre_tokenizers.ByteLevel(add_prefix_space=False), 600, lines)
    gpt2.add_special_tokens(["<|endoftext|>"])
    write("gpt2_style", gpt2, lines, merges_as_strings)
    check_with_tiktoken()

    split = pre_tokenizers.Split(Regex(LLAMA3), behavior="isolated")
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    llama3 = train(pre_tokenizers.Sequence([split, byte_level]), 500, lines)
    llama3.add_special_tokens(["<|begin_of_text|>", "<|endoftext|>", "<|pad|>", "<|padding|>"])
    llama3.add_tokens([AddedToken("snake", normalized=True)])
    NASTY.extend(["Zyx qwx qwx Zyx Zyxx", "snake<|pad|>snakesnake"])
    write("llama3_style", llama3, lines, ignore_merges)

    digits = pre_tokenizers.Digits(individual_digits=True)
    prefixed = pre_tokenizers.Sequence([digits, pre_tokenizers.ByteLevel(add_prefix_space=True)])
    write("prefix_digits", train(prefixed, 120, lines), lines)


if __name__ == "__main__":
    main()
