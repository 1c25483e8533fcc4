// What ranks are told when they disagree, stay away, fail or pass nonsense.
#include <algorithm>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "collectives/error.hpp"
#include "tests/ranked/contract_data.hpp"
#include "tests/support/ranked.hpp"

namespace train {
namespace {

using namespace std::chrono_literals;

/// The message of the Error that `call` throws; fails the test if it throws none.
std::string error_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  FAIL("no error");
  return {};
}

bool says(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

/// Has all ranks of a group make `call`, which must fail on every one, before a byte is written,
/// with a message that holds all `parts`; and has the group stay failed.
void check_disagreement(Communicator& world,
                        const std::function<Work(Communicator&, std::vector<float>&)>& call,
                        const std::vector<std::string>& parts) {
  const auto group = world.split(0, world.rank(), "quarrel");
  group->barrier().wait();  // sequence 0
  const std::vector<float> untouched(64, static_cast<float>(world.rank()));
  auto values = untouched;
  auto work = call(*group, values);
  const auto text = error_of([&] { work.wait(); });
  CAPTURE(text);
  for (const auto& part : parts) {
    CAPTURE(part);
    CHECK(says(text, part));
  }
  CHECK(values == untouched);
  CHECK(error_of([&] { group->barrier().wait(); }) == text);
}

}  // namespace

TEST_CASE("ranks that disagree all get an error that names them, the calls and the sequence") {
  ranked([](Communicator& world) {
    if (world.size() < 2) return;
    const int last = world.size() - 1;
    const bool odd_one = world.rank() == last;
    const auto culprit = "rank " + std::to_string(last) + " called ";
    check_disagreement(
        world,
        [&](Communicator& group, std::vector<float>& values) {
          const auto part = std::span(values).first(odd_one ? 63 : 64);
          return group.all_reduce(part, part, ReduceOp::sum);
        },
        {"'quarrel'", "sequence 1", culprit + "all_reduce(sum, f32, count 63)", "count 64"});
    check_disagreement(world,
                       [&](Communicator& group, std::vector<float>& values) {
                         return group.all_reduce(std::span(values), std::span(values),
                                                 odd_one ? ReduceOp::max : ReduceOp::sum);
                       },
                       {"sequence 1", culprit + "all_reduce(max, f32", "all_reduce(sum, f32"});
    check_disagreement(world,
                       [&](Communicator& group, std::vector<float>& values) {
                         Buffer buffer{std::span(values)};
                         if (odd_one) buffer.type = DataType::i32;
                         return group.broadcast(buffer, 0);
                       },
                       {"sequence 1", culprit + "broadcast(i32", "broadcast(f32"});
    check_disagreement(world,
                       [&](Communicator& group, std::vector<float>& values) {
                         return group.broadcast(std::span(values), odd_one ? last : 0);
                       },
                       {culprit, "root 0", "root " + std::to_string(last)});
    check_disagreement(world,
                       [&](Communicator& group, std::vector<float>& values) {
                         return odd_one ? group.barrier() : group.broadcast(std::span(values), 0);
                       },
                       {culprit + "barrier()", "broadcast(f32, count 64, root 0)"});
  });
}

TEST_CASE("blocks that differ between ranks are found out") {
  ranked([](Communicator& world) {
    if (world.size() < 2) return;
    const auto n = static_cast<std::size_t>(world.size());
    const bool odd_one = world.rank() == 0;
    {
      const auto group = world.split(0, world.rank(), "blocks");
      std::vector<std::size_t> counts(n, 2);
      if (odd_one) counts[0] = 3, counts[1] = 1;
      std::vector<float> all(2 * n), own(counts[static_cast<std::size_t>(world.rank())]);
      auto work = group->all_gather(std::span(own), std::span(all), counts);
      CHECK(says(error_of([&] { work.wait(); }), "rank 0 called all_gather"));
    }
    {
      const auto group = world.split(0, world.rank(), "pairs");
      std::vector<std::size_t> send_counts(n, 1), receive_counts(n, 1);
      if (odd_one) send_counts[1] = 5;
      std::vector<float> send(odd_one ? n + 4 : n), receive(n);
      auto work =
          group->all_to_all(std::span(send), send_counts, std::span(receive), receive_counts);
      const auto text = error_of([&] { work.wait(); });
      CAPTURE(text);
      CHECK(says(text, "rank 0 sends 5 elements to rank 1, which expects 1"));
    }
  });
}

TEST_CASE("a rank that stays away is named when the deadline passes") {
  ranked([](Communicator& world) {
    if (world.size() < 2) return;
    const int absent = world.size() / 2;
    const auto group = world.split(0, world.rank(), "waiting");
    group->set_timeout(150ms);
    std::vector<float> values(10);
    const auto reduce = [&] {
      group->all_reduce(std::span(values), std::span(values), ReduceOp::sum).wait();
    };
    if (world.rank() != absent) {
      const auto began = Clock::now();
      const auto text = error_of(reduce);
      CAPTURE(text);
      CHECK(says(text, "rank " + std::to_string(absent) + " did not arrive within"));
      CHECK(says(text, "all_reduce(sum, f32, count 10)"));
      CHECK(says(text, "'waiting' (sequence 0)"));
      CHECK(says(text, "rank " + std::to_string(world.rank())));
      CHECK(Clock::now() - began < 20s);
    }
    world.barrier().wait();
    // Too late: the others have given up and say so at once.
    group->set_timeout(50s);
    const auto text = error_of(reduce);
    CAPTURE(text);
    CHECK(says(text, "rank " + std::to_string(absent) + " did not arrive within"));
  });
}

TEST_CASE("a rank that leaves is named, long before the deadline") {
  ranked([](Communicator& world) {
    if (world.size() < 2) return;
    auto group = world.split(0, world.rank(), "shrinking");
    group->barrier().wait();
    if (world.rank() == 0) {
      group.reset();
    } else {
      const auto text = error_of([&] { group->barrier().wait(); });
      CAPTURE(text);
      // Either rank 0 left before this rank looked, or another that saw it said so.
      CHECK(says(text, "rank 0 left group 'shrinking'"));
    }
    world.barrier().wait();
  });
}

TEST_CASE("an exception on one rank reaches the others") {
  ranked([](Communicator& world) {
    if (world.size() < 2) return;
    try {
      const auto group = world.split(0, world.rank(), "unlucky");
      if (world.rank() == 1) throw std::runtime_error("disk full");
      const auto text = error_of([&] { group->barrier().wait(); });
      CAPTURE(text);
      CHECK(says(text, "an exception on rank 1 ended group 'unlucky'"));
    } catch (const std::runtime_error& error) {
      CHECK(std::string(error.what()) == "disk full");
    }
    world.barrier().wait();
  });
}

TEST_CASE("waiting may end before the call does") {
  ranked([](Communicator& world) {
    if (world.size() < 2) return;
    std::vector<float> values(10, 1.0f), go(1);
    // Rank 0 comes to the collective only after all others have seen their waiting end.
    if (world.rank() == 0) {
      for (int peer = 1; peer < world.size(); ++peer) {
        world.receive(std::span(go), peer, 0).wait();
      }
    }
    auto work = world.all_reduce(std::span(values), std::span(values), ReduceOp::sum);
    if (world.rank() != 0) {
      CHECK_FALSE(work.done());
      CHECK_FALSE(work.wait_until(Clock::now() + 5ms));
      world.send(std::span(go), 0, 0).wait();
    }
    work.wait();
    CHECK(values[0] == static_cast<float>(world.size()));
  });
}

TEST_CASE("bad arguments throw from the call, name what is wrong, and cost nothing") {
  ranked([](Communicator& world) {
    std::vector<float> four(4), five(5);
    std::vector<std::int32_t> integers(4);
    const auto n = static_cast<std::size_t>(world.size());
    const auto refused = [&](const std::function<void()>& call, const std::string& part) {
      const auto text = error_of(call);
      CAPTURE(text);
      CHECK(says(text, part));
      CHECK(says(text, "rank " + std::to_string(world.rank())));
    };
    const auto drop = [](Work work) { work.wait(); };
    refused([&] { drop(world.all_reduce(std::span(five), std::span(four), ReduceOp::sum)); },
            "send has 5 elements, receive has 4");
    refused([&] { drop(world.all_reduce(std::span(integers), std::span(four), ReduceOp::sum)); },
            "send is i32, receive is f32");
    refused(
        [&] {
          drop(world.all_reduce(std::span(five).first(4), std::span(five).last(4), ReduceOp::sum));
        },
        "overlap");
    refused([&] { drop(world.broadcast(std::span(four), world.size())); },
            "root " + std::to_string(world.size()));
    refused([&] { drop(world.broadcast(Buffer(nullptr, 3, DataType::f32), 0)); }, "null");
    const std::vector<std::size_t> too_many(n + 1, 0);
    refused([&] { drop(world.all_gather(std::span(four), std::span(four), too_many)); },
            "counts has " + std::to_string(n + 1) + " entries");
    const std::vector<std::size_t> ones(n, 1);
    std::vector<float> short_one(n - 1);
    refused([&] { drop(world.all_gather(std::span(four).first(1), std::span(short_one), ones)); },
            "counts add up to " + std::to_string(n));
    refused([&] { drop(world.send(std::span(four), world.size(), 0)); }, "peer");
    refused([&] { drop(world.receive(std::span(four), 0, -1)); }, "tag -1");
    refused([&] { static_cast<void>(world.split(-2, 0, "no")); }, "color -2");
    refused([&] { world.set_timeout(0ms); }, "0 ms");
    world.barrier().wait();
  });
}

TEST_CASE("a message of another type or length fails where it is received") {
  ranked([](Communicator& world) {
    if (world.size() < 2) return;
    const auto group = world.split(0, world.rank(), "letters");
    std::vector<float> floats(3, -1.0f);
    std::vector<std::int32_t> integers(3, 5);
    if (world.rank() == 0) group->send(std::span(integers), 1, 4).wait();
    if (world.rank() == 1) {
      auto work = group->receive(std::span(floats), 0, 4);
      const auto text = error_of([&] { work.wait(); });
      CAPTURE(text);
      CHECK(says(text, "receive(f32, count 3, tag 4) from rank 0 on rank 1"));
      CHECK(says(text, "got send(i32, count 3"));
    }
    world.barrier().wait();
  });
}

TEST_CASE("a message that is longer than its receive leaves what lies behind that alone") {
  ranked([](Communicator& world) {
    if (world.size() < 2) return;
    for (const std::size_t sent : {std::size_t{1000}, std::size_t{400'000}}) {
      CAPTURE(sent);
      const auto group = world.split(0, world.rank(), "long letters");
      const std::size_t received = sent / 4 * 3;
      std::vector<float> values(sent, world.rank() == 0 ? 7.0f : -1.0f);
      Work work;
      if (world.rank() == 0) work = group->send(std::span(values), 1, 4);
      world.barrier().wait();  // it is there when it is asked for
      if (world.rank() == 1) work = group->receive(std::span(values).first(received), 0, 4);
      std::string text;
      try {
        work.wait();
      } catch (const Error& error) {  // a large send hears of it, too
        text = error.what();
      }
      world.barrier().wait();  // whatever was on its way has come
      if (world.rank() != 1) continue;
      CAPTURE(text);
      CHECK(says(text, "got send(f32, count " + std::to_string(sent)));
      const auto behind = std::span(values).subspan(received);
      CHECK(std::ranges::all_of(behind, [](float value) { return value == -1.0f; }));
    }
  });
}

TEST_CASE("a message that nobody sends fails at the deadline") {
  ranked([](Communicator& world) {
    const auto group = world.split(0, world.rank(), "silence");
    group->set_timeout(100ms);
    std::vector<float> values(3);
    if (world.rank() == 0) {
      auto work = group->receive(std::span(values), world.size() - 1, 1);
      const auto text = error_of([&] { work.wait(); });
      CHECK(says(text, "receive(f32, count 3, tag 1) from rank"));
      CHECK(says(text, "stalled on rank 0"));
    }
    world.barrier().wait();
  });
}

}  // namespace train
