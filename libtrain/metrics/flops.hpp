#pragma once

#include <cstdint>

namespace train {

/// What the FLOPs of a decoder-only transformer depend on.
struct ModelSize {
  std::int64_t parameters = 0;  ///< that multiply activations, see GptConfig
  std::int64_t layers = 0;
  std::int64_t width = 0;    ///< heads × head size
  std::int64_t context = 0;  ///< tokens of a sequence
};

/// Forward and backward FLOPs per trained token, 6 N + 12 L C T: two per parameter forward, twice
/// that backward, and the attention matrices in full, as if there were no causal mask. Recomputed
/// activations do not count. PaLM (Chowdhery et al. 2022, arXiv:2204.02311), appendix B.
double flops_per_token(const ModelSize& size);

/// Model FLOPs utilisation: the share of `peak_flops` (FLOP/s of all devices together) that went
/// into the model. NaN where no peak is known. Same source.
double model_flops_utilisation(double flops_per_token, double tokens_per_s, double peak_flops);

/// The f32 FLOP/s that `threads` threads of this machine reach together now, measured: the best of
/// several short windows of multiply-adds that stay in registers, about 50 ms in all. Uses the
/// widest vectors that the processor has, whatever this library was compiled for. Ranks that share
/// a machine measure at the same time, each with its own threads, so that their sum is honest
/// about clocks and shared cores. bf16 arithmetic, where a processor has it, peaks at twice this.
/// Throws Error if threads < 1.
double measure_peak_flops(int threads);

}  // namespace train
