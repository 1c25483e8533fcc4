#include "libtrain/error_report.hpp"

#include <cstdint>
#include <vector>

#include "libtrain/tensor/philox.hpp"

namespace train {
namespace {

constexpr int report_tag = 1;

// Without digits: ranks that met the same fault at different places have the same message.
std::int64_t hash_of(std::string_view message) {
  std::string words;
  for (const char c : message) {
    if (c < '0' || c > '9') words += c;
  }
  return static_cast<std::int64_t>(Philox(0, words).key());
}

}  // namespace

ErrorReport::ErrorReport(Communicator& world) : ranks_(world.split(0, world.rank(), "errors")) {}

ErrorReport::Verdict ErrorReport::agree(std::string_view message,
                                        std::chrono::milliseconds patience) {
  const auto ranks = static_cast<std::size_t>(ranks_->size());
  const auto self = static_cast<std::size_t>(ranks_->rank());
  const Deadline deadline = Clock::now() + patience;
  const std::vector<std::int64_t> mine{hash_of(message)};
  std::vector<std::int64_t> theirs(ranks, 0);
  std::vector<Work> sent;
  std::vector<Work> received(ranks);
  for (std::size_t peer = 0; peer < ranks; ++peer) {
    if (peer == self) continue;
    const std::span<std::int64_t> place(&theirs[peer], 1);
    sent.push_back(ranks_->send(std::span(mine), static_cast<int>(peer), report_tag));
    received[peer] = ranks_->receive(place, static_cast<int>(peer), report_tag);
  }
  Verdict verdict{.print = true, .everybody_failed = true};
  for (std::size_t peer = 0; peer < ranks; ++peer) {
    if (peer == self) continue;
    const bool arrived = received[peer].wait_until(deadline);
    verdict.everybody_failed = verdict.everybody_failed && arrived;
    if (arrived && peer < self && theirs[peer] == mine[0]) verdict.print = false;
  }
  for (Work& work : sent) {
    const bool delivered = work.wait_until(deadline);
    verdict.everybody_failed = verdict.everybody_failed && delivered;
  }
  return verdict;
}

}  // namespace train
