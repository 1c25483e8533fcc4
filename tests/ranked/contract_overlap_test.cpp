// Calls under way while others are made, and messages beside them.
#include <cmath>
#include <memory>
#include <random>
#include <span>
#include <vector>

#include <doctest/doctest.h>

#include "tests/ranked/contract_data.hpp"
#include "tests/support/ranked.hpp"

namespace train {
namespace {

/// A random collective, its buffers, and what must come out of it.
struct Call {
  std::vector<std::int32_t> send, receive, expected;
  std::vector<std::size_t> counts, receive_counts;
  Work work;
};

void append(std::vector<std::int32_t>& to, const std::vector<std::int32_t>& values) {
  to.insert(to.end(), values.begin(), values.end());
}

void start_reduction(Communicator& world, Call& call, std::size_t count, int salt, bool scatter) {
  const auto n = static_cast<std::size_t>(world.size());
  const auto rank = static_cast<std::size_t>(world.rank());
  call.send = small_values<std::int32_t>(world.rank(), count * n, salt);
  call.counts.assign(n, count);
  const auto first = scatter ? rank * count : 0;
  call.receive.resize(scatter ? count : count * n);
  for (std::size_t i = 0; i < call.receive.size(); ++i) {
    call.expected.push_back(reduced(ReduceOp::sum, world.size(), first + i, salt));
  }
  call.work = scatter
                  ? world.reduce_scatter(std::span(call.send), std::span(call.receive), call.counts,
                                         ReduceOp::sum)
                  : world.all_reduce(std::span(call.send), std::span(call.receive), ReduceOp::sum);
}

void start_move(Communicator& world, Call& call, std::size_t count, int salt, bool to_all) {
  for (int peer = 0; peer < world.size(); ++peer) {
    const auto sent = to_all ? count * static_cast<std::size_t>(peer + 1) : count;
    const auto received = to_all ? count * static_cast<std::size_t>(world.rank() + 1)
                                 : count * static_cast<std::size_t>(peer % 3);
    call.counts.push_back(to_all ? sent : received);
    call.receive_counts.push_back(received);
    append(call.expected, small_values<std::int32_t>(peer, received, salt));
    if (to_all) append(call.send, small_values<std::int32_t>(world.rank(), sent, salt));
  }
  if (!to_all) {
    const auto own = call.counts[static_cast<std::size_t>(world.rank())];
    call.send = small_values<std::int32_t>(world.rank(), own, salt);
  }
  call.receive.resize(call.expected.size());
  call.work = to_all ? world.all_to_all(std::span(call.send), call.counts, std::span(call.receive),
                                        call.receive_counts)
                     : world.all_gather(std::span(call.send), std::span(call.receive), call.counts);
}

}  // namespace

TEST_CASE("random calls, many under way at a time, give what a plain computation gives") {
  const unsigned seed = 20240607;
  INFO("seed ", seed);
  ranked([&](Communicator& world) {
    std::mt19937 random(seed);  // the same on every rank
    std::vector<std::unique_ptr<Call>> calls;
    for (int salt = 0; salt < 120; ++salt) {
      const auto size_class = random() % 8;
      const std::size_t count = random() % (size_class == 0 ? 60'000 : size_class < 4 ? 900 : 9);
      calls.push_back(std::make_unique<Call>());
      switch (random() % 4) {
        case 0:
          start_reduction(world, *calls.back(), count, salt, false);
          break;
        case 1:
          start_reduction(world, *calls.back(), count, salt, true);
          break;
        case 2:
          start_move(world, *calls.back(), count, salt, false);
          break;
        case 3:
          start_move(world, *calls.back(), count, salt, true);
          break;
      }
    }
    for (std::size_t i = 0; i < calls.size(); ++i) {
      CAPTURE(i);
      calls[i]->work.wait();
      CHECK(calls[i]->receive == calls[i]->expected);
    }
  });
}

TEST_CASE("collectives run while the caller computes") {
  ranked([](Communicator& world) {
    std::vector<std::vector<float>> buckets;
    std::vector<Work> works;
    double computed = 0;
    for (int bucket = 0; bucket < 12; ++bucket) {
      buckets.push_back(small_values<float>(world.rank(), 40'000, bucket));
      for (int i = 1; i < 20'000; ++i) computed += std::sqrt(static_cast<double>(i));
      works.push_back(
          world.all_reduce(std::span(buckets.back()), std::span(buckets.back()), ReduceOp::sum));
    }
    for (int bucket = 0; bucket < 12; ++bucket) {
      const auto i = static_cast<std::size_t>(bucket);
      works[i].wait();
      CHECK(works[i].done());
      CHECK(first_difference(buckets[i], [&](std::size_t at) {
              return reduced(ReduceOp::sum, world.size(), at, bucket);
            }) == buckets[i].size());
    }
    CHECK(computed > 0);
  });
}

TEST_CASE("a Work may be dropped; the next call still waits its turn") {
  ranked([](Communicator& world) {
    auto values = small_values<float>(world.rank(), 10'000);
    static_cast<void>(world.all_reduce(std::span(values), std::span(values), ReduceOp::max));
    world.barrier().wait();
    CHECK(first_difference(values, [&](std::size_t i) {
            return reduced(ReduceOp::max, world.size(), i);
          }) == values.size());
  });
}

TEST_CASE("ranks that send to each other at once do not block") {
  ranked([](Communicator& world) {
    for (const std::size_t count : {0, 1, 700'001}) {
      const int next = (world.rank() + 1) % world.size();
      const int previous = (world.rank() + world.size() - 1) % world.size();
      const auto send = small_values<float>(world.rank(), count);
      std::vector<float> receive(count);
      auto sent = world.send(std::span(send), next, 7);
      auto received = world.receive(std::span(receive), previous, 7);
      sent.wait();
      received.wait();
      CHECK(receive == small_values<float>(previous, count));
    }
  });
}

TEST_CASE("messages of one tag keep their order, tags do not mix, collectives go on beside them") {
  ranked([](Communicator& world) {
    const int next = (world.rank() + 1) % world.size();
    const int previous = (world.rank() + world.size() - 1) % world.size();
    const std::size_t count = 20'000;
    std::vector<std::vector<std::int32_t>> send, receive(6, std::vector<std::int32_t>(count));
    std::vector<Work> sends, receives;
    for (int i = 0; i < 6; ++i) send.push_back(small_values<std::int32_t>(world.rank(), count, i));
    for (std::size_t i = 0; i < 6; ++i) {
      sends.push_back(world.send(std::span(send[i]), next, static_cast<int>(i % 2)));
    }
    for (const std::size_t i : {1, 0, 3, 2, 5, 4}) {  // the other tag first
      receives.push_back(world.receive(std::span(receive[i]), previous, static_cast<int>(i % 2)));
    }
    world.barrier().wait();
    // Waited for backwards: order is that of the calls.
    for (auto work = receives.rbegin(); work != receives.rend(); ++work) work->wait();
    for (auto& work : sends) work.wait();
    for (int i = 0; i < 6; ++i) {
      CHECK(receive[static_cast<std::size_t>(i)] == small_values<std::int32_t>(previous, count, i));
    }
  });
}

}  // namespace train
