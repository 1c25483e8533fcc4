#!/usr/bin/env python3
"""Prints rotary_frequencies.hpp: inverse frequencies as transformers computes them
(modeling_rope_utils.py, _compute_llama3_parameters), in f64 and plain Python.
Run: python3 rotary_frequencies.py > rotary_frequencies.hpp, then clang-format on it."""
import math


def llama3(base, dim, factor, low_freq_factor, high_freq_factor, old_context_len):
    low_freq_wavelen = old_context_len / low_freq_factor
    high_freq_wavelen = old_context_len / high_freq_factor
    for i in range(0, dim, 2):
        inv_freq = 1.0 / base ** (i / dim)
        wavelen = 2 * math.pi / inv_freq
        if wavelen < high_freq_wavelen:
            yield inv_freq
        elif wavelen > low_freq_wavelen:
            yield inv_freq / factor
        else:
            smooth = (old_context_len / wavelen - low_freq_factor) / (
                high_freq_factor - low_freq_factor)
            yield (1 - smooth) * inv_freq / factor + smooth * inv_freq


def emit(name, *arguments):
    numbers = ", ".join(f"{value:.15g}" for value in llama3(*arguments))
    print(f"inline const std::vector<double> {name}{{{numbers}}};")


print("#pragma once\n\n#include <vector>\n")
print("// Printed by rotary_frequencies.py.\nnamespace train::test::known {\n")
emit("llama_3_1_8b", 500000.0, 128, 8.0, 1.0, 4.0, 8192)
emit("llama_3_2_1b", 500000.0, 64, 32.0, 1.0, 4.0, 8192)
emit("small_rotary", 100.0, 10, 3.0, 0.5, 6.0, 100)
print("\n}  // namespace train::test::known")
