#include "libtrain/agreement.hpp"

#include <span>
#include <vector>

namespace train {

std::string first_said(Communicator& ranks, const std::string& text) {
  std::int64_t speaker = text.empty() ? ranks.size() : ranks.rank();
  const std::span<std::int64_t> speaker_place(&speaker, 1);
  ranks.all_reduce(speaker_place, speaker_place, ReduceOp::min).wait();
  if (speaker == ranks.size()) return "";
  const int root = static_cast<int>(speaker);
  auto length = static_cast<std::int64_t>(text.size());
  ranks.broadcast(std::span<std::int64_t>(&length, 1), root).wait();
  std::vector<std::uint8_t> bytes(text.begin(), text.end());
  bytes.resize(static_cast<std::size_t>(length));
  ranks.broadcast(std::span(bytes), root).wait();
  return {bytes.begin(), bytes.end()};
}

}  // namespace train
