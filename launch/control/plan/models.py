"""What models are made of, and how it is dealt out to fragments that are exchanged in turn."""

# What runs as one stays in one fragment: how many blocks, of how many values each, and what is
# beside them: embeddings, the last norm, a head that is not the embedding. The same as the library
# has them (tests/wide/plan asks plan_grid).
_SHAPES = {
    "gpt2-124m": (12, 7_087_872, (38_597_376, 786_432, 1_536)),
    "gpt2-350m": (24, 12_596_224, (51_463_168, 1_048_576, 2_048)),
    "gpt2-774m": (36, 19_677_440, (64_328_960, 1_310_720, 2_560)),
    "gpt2-1558m": (48, 30_740_800, (80_411_200, 1_638_400, 3_200)),
    "llama-1b": (16, 60_821_504, (262_668_288, 2_048)),
    "llama-8b": (32, 218_112_000, (525_336_576, 525_336_576, 4_096)),
}
PARTS = {name: blocks * (block,) + beside for name, (blocks, block, beside) in _SHAPES.items()}
VALUES = {name: sum(parts) for name, parts in PARTS.items()}


def fragment_sizes(parts, count):
    """Values of each fragment, as libtrain/rounds/fragments deals parts out: the largest first,
    each to the fragment that has least."""
    sizes = [0] * count
    for part in sorted(parts, reverse=True):
        sizes[sizes.index(min(sizes))] += part
    return sizes
