#include "collectives/wide/stream/io/loops.hpp"

#include <algorithm>

namespace train::wide::detail {
namespace {

int count_of(int threads) {
  if (threads > 0) return threads;
  return std::clamp(static_cast<int>(std::thread::hardware_concurrency()) / 2, 1, 4);
}

}  // namespace

Loops::Loops(int threads) {
  for (int i = 0; i < count_of(threads); ++i) {
    auto& loop = *each_.emplace_back(std::make_unique<Loop>());
    loop.thread = std::thread([&loop] { loop.context.run(); });
  }
}

void Loops::stop() {
  for (auto& loop : each_) loop->context.stop();
  for (auto& loop : each_) {
    if (loop->thread.joinable()) loop->thread.join();
  }
}

}  // namespace train::wide::detail
