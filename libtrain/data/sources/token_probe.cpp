#include "libtrain/data/token_probe.hpp"

#include <algorithm>
#include <vector>

namespace train {

void probe_tokens(const TokenSource& source, std::uint64_t begin, std::uint64_t tokens,
                  const std::function<void(std::uint64_t, std::span<const std::int32_t>)>& visit) {
  constexpr std::uint64_t stretches = 64, stretch = 64;
  std::vector<std::int32_t> ids(std::min(tokens, stretch));
  for (std::uint64_t i = 0; i < stretches; ++i) {
    const std::uint64_t at = begin + (tokens - ids.size()) * i / (stretches - 1);
    source.read(at, ids);
    visit(at, ids);
  }
}

}  // namespace train
