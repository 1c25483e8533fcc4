#include "libtrain/data/token_probe.hpp"

#include <algorithm>
#include <vector>

namespace train {

namespace {

using Visit = std::function<void(std::uint64_t, std::span<const std::int32_t>)>;

/// The first and the last tokens of [begin, end).
void probe_ends(const TokenSource& source, std::uint64_t begin, std::uint64_t end,
                const Visit& visit) {
  constexpr std::uint64_t stretch = 256;
  if (begin >= end) return;
  std::vector<std::int32_t> ids(std::min(end - begin, stretch));
  for (const std::uint64_t at : {begin, end - ids.size()}) {
    source.read(at, ids);
    visit(at, ids);
  }
}

}  // namespace

void probe_tokens(const TokenSource& source, std::uint64_t begin, std::uint64_t tokens,
                  const Visit& visit) {
  constexpr std::uint64_t stretches = 64, stretch = 64;
  std::vector<std::int32_t> ids(std::min(tokens, stretch));
  // Files of one size that were exchanged differ where no stretch need lie.
  const auto starts = source.file_starts();
  for (std::size_t i = 0; i < starts.size(); ++i) {
    const std::uint64_t next = i + 1 < starts.size() ? starts[i + 1] : source.size();
    probe_ends(source, std::max(starts[i], begin), std::min(next, begin + tokens), visit);
  }
  for (std::uint64_t i = 0; i < stretches; ++i) {
    const std::uint64_t at = begin + (tokens - ids.size()) * i / (stretches - 1);
    source.read(at, ids);
    visit(at, ids);
  }
}

}  // namespace train
