// Two ranks as threads of a user's own program: prints "ok" when their sum is right on both.
#include <atomic>
#include <cstdio>
#include <span>
#include <vector>

#include <collectives/local/world.hpp>

int main() {
  std::atomic<int> right = 0;
  train::local::run(2, [&](train::Communicator& world) {
    std::vector<float> values = {1, static_cast<float>(world.rank())};
    world.all_reduce(std::span(values), std::span(values), train::ReduceOp::sum).wait();
    if (values == std::vector<float>{2, 1}) ++right;
  });
  if (right != 2) return 1;
  std::puts("ok");
}
