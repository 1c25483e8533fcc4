#include "libtrain/checkpoint/save_group.hpp"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "collectives/error.hpp"

namespace train {
namespace {

constexpr std::chrono::milliseconds look_every{100};

}  // namespace

void SaveGroup::wait(Work work) {
  if (given_up_ == nullptr) {
    work.wait();
    return;
  }
  while (!work.wait_until(Clock::now() + look_every)) {
    if (given_up_->load()) throw SaveGivenUp();
  }
}

std::vector<std::int64_t>& SaveGroup::keep(std::span<const std::int64_t> words) {
  return *kept_.emplace_back(
      std::make_unique<std::vector<std::int64_t>>(words.begin(), words.end()));
}

void SaveGroup::broadcast(std::span<std::int64_t> words, int root) {
  if (words.empty()) return;
  auto& kept = keep(words);
  wait(ranks_.broadcast(std::span(kept), root));
  std::ranges::copy(kept, words.begin());
  kept_.clear();
}

std::vector<std::int64_t> SaveGroup::all_gather(std::span<const std::int64_t> words,
                                                std::span<const std::size_t> counts) {
  auto& own = keep(words);
  auto& all = keep({});
  all.resize(std::accumulate(counts.begin(), counts.end(), std::size_t{0}));
  wait(ranks_.all_gather(std::span(own), std::span(all), counts));
  std::vector<std::int64_t> result = std::move(all);
  kept_.clear();
  return result;
}

std::string SaveGroup::said_by(int root, const std::string& text) {
  std::int64_t bytes = static_cast<std::int64_t>(text.size());
  broadcast(std::span(&bytes, 1), root);
  std::vector<std::int64_t> words((static_cast<std::size_t>(bytes) + 7) / 8);
  if (rank() == root && bytes > 0) std::memcpy(words.data(), text.data(), text.size());
  broadcast(words, root);
  std::string said(static_cast<std::size_t>(bytes), '\0');
  if (bytes > 0) std::memcpy(said.data(), words.data(), said.size());
  return said;
}

void SaveGroup::throw_first(const std::string& failure) {
  auto& speaker = keep({});
  speaker.push_back(failure.empty() ? size() : rank());
  wait(ranks_.all_reduce(std::span(speaker), std::span(speaker), ReduceOp::min));
  const auto lowest = static_cast<int>(speaker[0]);
  kept_.clear();
  if (lowest == size()) return;
  throw Error(said_by(lowest, failure));
}

}  // namespace train
