#include <fmt/format.h>

#include "libtrain/ops/cuda/cudnn/library.hpp"

namespace train::cuda::cudnn {

std::string words_of(std::size_t version) {
  return fmt::format("{}.{}.{}", version / 10000, version / 100 % 100, version % 100);
}

}  // namespace train::cuda::cudnn
