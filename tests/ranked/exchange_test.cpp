// The exchange between clusters, played by the ranks of a group.

#include "collectives/wide/exchange/exchange.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <random>

#include <doctest/doctest.h>

#include "tests/support/group_peers.hpp"
#include "tests/support/ranked.hpp"

using namespace train;
using namespace train::wide;

namespace {

constexpr Codec codecs[] = {Codec::none, Codec::bf16, Codec::int8, Codec::int4};

// What cluster `cluster` has in round `round`, known to everybody.
std::vector<float> values_of(int cluster, int round, std::size_t count) {
  std::mt19937 random(static_cast<unsigned>(cluster * 1000 + round));
  std::normal_distribution<float> normal(0.1f, 1.0f);
  std::vector<float> values(count);
  for (float& value : values) value = normal(random);
  return values;
}

std::vector<double> mean_of(const ExchangePlan& plan, int round, std::size_t count) {
  double total = 0.0;
  std::vector<double> mean(count);
  for (std::size_t cluster = 0; cluster < plan.weights.size(); ++cluster) {
    const auto weight = static_cast<double>(plan.weights[cluster]);
    const auto values = values_of(static_cast<int>(cluster), round, count);
    for (std::size_t i = 0; i < count; ++i) mean[i] += weight * double{values[i]};
    total += weight;
  }
  for (double& value : mean) value /= total;
  return mean;
}

ExchangePlan plan_for(int clusters, std::size_t count, unsigned seed) {
  std::mt19937 random(seed);
  ExchangePlan plan;
  std::vector<std::uint64_t> speed;
  for (int i = 0; i < clusters; ++i) {
    speed.push_back(random() % 4 * 1'000'000'000'000);
    plan.weights.push_back(1 + random() % 1000);
  }
  speed.back() += 1;
  plan.owned = owned_by_speed(count, speed);
  plan.chunk_values = codec_block * (1 + random() % 4);
  plan.bytes_ahead = 1 + random() % 3'000;
  return plan;
}

class CountedMemory final : public std::pmr::memory_resource {
 public:
  std::size_t now() const { return now_; }
  std::size_t peak() const { return peak_; }

 private:
  void* do_allocate(std::size_t bytes, std::size_t alignment) override {
    now_ += bytes;
    peak_ = std::max(peak_, now_);
    return std::pmr::new_delete_resource()->allocate(bytes, alignment);
  }
  void do_deallocate(void* block, std::size_t bytes, std::size_t alignment) override {
    now_ -= bytes;
    std::pmr::new_delete_resource()->deallocate(block, bytes, alignment);
  }
  bool do_is_equal(const std::pmr::memory_resource& other) const noexcept override {
    return this == &other;
  }

  std::size_t now_ = 0, peak_ = 0;
};

double root_mean_square(std::span<const double> values) {
  double squares = 0.0;
  for (const double value : values) squares += value * value;
  return std::sqrt(squares / static_cast<double>(values.size()));
}

void check_same_bits(Communicator& group, std::span<const float> mean) {
  std::vector<float> root(mean.begin(), mean.end());
  group.broadcast(std::span(root), 0).wait();
  CHECK(std::memcmp(root.data(), mean.data(), mean.size_bytes()) == 0);
}

}  // namespace

TEST_CASE("the weighted mean of all clusters, the same bits everywhere") {
  ranked([](Communicator& group) {
    GroupPeers peers(group);
    const auto self = static_cast<std::size_t>(group.rank());
    unsigned seed = 0;
    for (const std::size_t count : {1u, 255u, 256u, 257u, 5000u, 20'000u}) {
      for (const Codec codec : codecs) {
        CAPTURE(count);
        CAPTURE(name_of(codec));
        CAPTURE(seed);
        const ExchangePlan plan = plan_for(group.size(), count, ++seed);
        CountedMemory memory;
        ExchangeFeedback feedback(codec, count, &memory);
        const auto values = values_of(group.rank(), 0, count);
        std::vector<float> mean(count);
        const std::uint64_t before = group.traffic().send.bytes_sent;
        const std::size_t held = memory.now();
        exchange(peers, plan, feedback, values, mean);
        const std::size_t lost = memory.now() - held;  // of the sums
        CHECK(lost == (codec == Codec::none ? 0 : 4 * plan.owned[self]));
        CHECK(memory.peak() - held - lost == buffer_bytes(plan, codec, group.rank()));
        CHECK(group.traffic().send.bytes_sent - before == bytes_sent(plan, codec, group.rank()));
        check_same_bits(group, mean);
        std::vector<double> error = mean_of(plan, 0, count);
        for (std::size_t i = 0; i < count; ++i) error[i] -= double{mean[i]};
        // Two quantisations of values of size 1: steps of about 3.5 / 7 in int4.
        const double bound = codec == Codec::none   ? 1e-6
                             : codec == Codec::bf16 ? 0.01
                             : codec == Codec::int8 ? 0.03
                                                    : 0.6;
        CHECK(root_mean_square(error) < bound);
      }
    }
  });
}

TEST_CASE("a retry with other chunks gives the same bits, and with other parts sends the same") {
  ranked([](Communicator& group) {
    GroupPeers peers(group);
    constexpr std::size_t count = 3000;
    ExchangeFeedback feedback(Codec::int4, count);
    std::vector<float> mean(count);
    for (int round = 0; round < 3; ++round) {
      const auto values = values_of(group.rank(), round, count);
      const ExchangePlan plan = plan_for(group.size(), count, 17);
      exchange(peers, plan, feedback, values, mean);
      const std::vector<float> first = mean;
      ExchangePlan other = plan_for(group.size(), count, 99);
      other.weights = plan.weights;
      exchange(peers, other, feedback, values, mean);
      check_same_bits(group, mean);
      if (round == 0) CHECK(first == mean);  // no owner owes anything yet
      other.owned = plan.owned;
      exchange(peers, other, feedback, values, mean);
      CHECK(first == mean);
      feedback.commit();
    }
  });
}

TEST_CASE("what is applied over many exchanges adds up to what was put in") {
  ranked([](Communicator& group) {
    GroupPeers peers(group);
    constexpr std::size_t count = 700;
    constexpr int rounds = 60;
    for (const Codec codec : {Codec::int8, Codec::int4}) {
      CAPTURE(name_of(codec));
      ExchangeFeedback feedback(codec, count);
      ExchangePlan plan = plan_for(group.size(), count, 5);
      std::vector<double> error(count);
      for (int round = 0; round < rounds; ++round) {
        auto values = values_of(group.rank(), round, count);
        // Small values beside large ones: a codec's step is far above them.
        for (std::size_t i = 0; i < count; i += 3) values[i] *= 0.01f;
        std::vector<float> mean(count);
        // Attempts that are called off, and tried again with other parts, change nothing.
        if (round % 7 == 3) {
          ExchangePlan other = plan_for(group.size(), count, static_cast<unsigned>(round));
          exchange(peers, other, feedback, values, mean);
        }
        exchange(peers, plan, feedback, values, mean);
        feedback.commit();
        const double total = std::accumulate(plan.weights.begin(), plan.weights.end(), 0.0);
        for (int cluster = 0; cluster < group.size(); ++cluster) {
          const auto theirs = values_of(cluster, round, count);
          const double weight =
              static_cast<double>(plan.weights[static_cast<std::size_t>(cluster)]) / total;
          for (std::size_t i = 0; i < count; ++i) {
            error[i] -= weight * double{theirs[i]} * (i % 3 == 0 ? 0.01 : 1.0);
          }
        }
        for (std::size_t i = 0; i < count; ++i) error[i] += double{mean[i]};
      }
      // Half a step of the contributors' mean and half a step of the sum's: no sum of 60 of them.
      const double step = 4.5 / (codec == Codec::int8 ? 127 : 7);
      for (std::size_t i = 0; i < count; ++i) REQUIRE(std::fabs(error[i]) < 1.1 * step);
    }
  });
}

TEST_CASE("what owners owe is kept where they sum on, by attempts that count alone") {
  constexpr std::size_t count = 4 * codec_block;
  const auto sums = values_of(0, 0, count);
  const auto encoded = [&](SumFeedback& feedback, std::size_t begin, std::size_t end) {
    std::vector<std::byte> bytes(encoded_bytes(Codec::int4, end - begin));
    std::vector<float> chunk(sums.begin() + static_cast<std::ptrdiff_t>(begin),
                             sums.begin() + static_cast<std::ptrdiff_t>(end));
    feedback.begin(begin, end - begin);
    feedback.quantise(begin, chunk, bytes);
    return bytes;
  };
  SumFeedback feedback(Codec::int4);
  const auto fresh = encoded(feedback, 0, count);
  CHECK(feedback.residual().empty());
  CHECK(encoded(feedback, 0, count) == fresh);
  CHECK(encoded(feedback, 0, 2 * codec_block) ==
        std::vector(fresh.begin(), fresh.begin() + static_cast<std::ptrdiff_t>(fresh.size() / 2)));
  feedback.commit();
  const std::vector<float> owed(feedback.residual().begin(), feedback.residual().end());
  CHECK(owed.size() == 2 * codec_block);

  // The second block is summed on, the third is new, the first is given up.
  const auto block = [](const std::vector<std::byte>& bytes, std::size_t at) {
    const auto size = static_cast<std::ptrdiff_t>(encoded_bytes(Codec::int4, codec_block));
    const auto from = bytes.begin() + static_cast<std::ptrdiff_t>(at) * size;
    return std::vector(from, from + size);
  };
  const auto again = encoded(feedback, 0, 2 * codec_block);
  const auto moved = encoded(feedback, codec_block, 3 * codec_block);
  CHECK(std::ranges::equal(owed, feedback.residual()));
  CHECK(block(again, 1) != block(fresh, 1));
  CHECK(block(moved, 0) == block(again, 1));
  CHECK(block(moved, 1) == block(fresh, 2));
  feedback.commit();
  CHECK(feedback.residual_begin() == codec_block);
  CHECK(block(encoded(feedback, 0, count), 0) == block(fresh, 0));
}

TEST_CASE("a cluster whose values nobody took goes on owing what it owed") {
  constexpr std::size_t count = 300;
  ExchangeFeedback feedback(Codec::int4, count);
  std::vector<std::byte> bytes(encoded_bytes(Codec::int4, count));
  const auto encode = [&](const std::vector<float>& values) {
    feedback.values.encode(0, values, bytes);
    feedback.sums.begin(0, 0);
  };
  encode(values_of(0, 0, count));
  feedback.commit();
  const auto owed =
      std::vector(feedback.values.residual().begin(), feedback.values.residual().end());
  encode(std::vector<float>(count));
  feedback.commit(false);
  CHECK(std::ranges::equal(owed, feedback.values.residual()));
}

TEST_CASE("parts follow speed in whole blocks") {
  const std::uint64_t speed[] = {1, 0, 3};
  CHECK(owned_by_speed(4096, speed) == std::vector<std::size_t>{1024, 0, 3072});
  CHECK(owned_by_speed(100, speed) == std::vector<std::size_t>{0, 0, 100});
  const std::uint64_t fast[] = {~std::uint64_t{0} / 2, ~std::uint64_t{0} / 2};
  CHECK(owned_by_speed(std::size_t{1} << 40, fast)[0] == std::size_t{1} << 39);
}

TEST_CASE("a value that cannot be encoded fails the exchange, and leaves no work under way") {
  ranked([](Communicator& group) {
    if (group.size() == 1) return;
    const auto part = group.split(0, group.rank(), "clusters");
    part->set_timeout(std::chrono::milliseconds(300));
    GroupPeers peers(*part);
    constexpr std::size_t count = 3000;
    ExchangeFeedback feedback(Codec::int8, count);
    auto values = values_of(group.rank(), 0, count);
    if (group.rank() == 0) values[2999] = std::numeric_limits<float>::infinity();
    std::vector<float> mean(count);
    ExchangePlan plan = plan_for(group.size(), count, 3);
    plan.owned.assign(static_cast<std::size_t>(group.size()), 0);
    plan.owned.back() = count;
    // The others fail for want of rank 0's values.
    CHECK_THROWS_AS(exchange(peers, plan, feedback, values, mean), Error);
  });
}
