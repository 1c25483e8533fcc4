#include "libtrain/parallel/bucket.hpp"

#include <memory>
#include <numeric>

#include <doctest/doctest.h>

using namespace train;

namespace {

std::unique_ptr<Parameter> vector_of(const char* name, std::int64_t size) {
  return std::make_unique<Parameter>(name, Shape{size}, Initializer::zeros());
}

}  // namespace

TEST_CASE("shards cover every parameter once, whatever the number of ranks") {
  const auto a = vector_of("a", 1000), b = vector_of("b", 3), c = vector_of("c", 77);
  const std::vector<ParameterGroup> groups{{a.get(), b.get()}, {c.get(), a.get()}};
  for (const int ranks : {1, 2, 3, 5, 64}) {
    CAPTURE(ranks);
    const auto buckets = make_buckets(
        groups, 0, {.zero = Zero::stage2, .data_ranks = ranks, .bucket_bytes = 1 << 20});
    REQUIRE(buckets.size() == 1);
    std::int64_t covered = 0;
    for (int rank = 0; rank < ranks; ++rank) {
      for (const auto& segment : buckets[0].segments(rank)) {
        CHECK(segment.in_shard + segment.end - segment.begin <= buckets[0].shard_elements(rank));
        covered += segment.end - segment.begin;
      }
    }
    CHECK(covered == 1080);
    CHECK(std::accumulate(buckets[0].shard_counts.begin(), buckets[0].shard_counts.end(),
                          std::size_t{0}) == static_cast<std::size_t>(buckets[0].elements));
  }
}

TEST_CASE("a bucket's shards have one size, and a whole bucket only lines") {
  const auto a = vector_of("a", 1000), b = vector_of("b", 100), c = vector_of("c", 77);
  const std::vector<ParameterGroup> groups{{a.get()}, {b.get()}, {c.get()}};
  for (const int ranks : {1, 2, 3, 5, 7, 64}) {
    for (const Zero zero : {Zero::stage0, Zero::stage1, Zero::stage2, Zero::stage3}) {
      CAPTURE(ranks);
      CAPTURE(static_cast<int>(zero));
      std::int64_t elements = 0;
      for (const Bucket& bucket :
           make_buckets(groups, 0, {.zero = zero, .data_ranks = ranks, .bucket_bytes = 1024})) {
        for (const auto count : bucket.shard_counts) CHECK(count == bucket.shard_counts.front());
        CHECK(bucket.shard_counts.front() % 16 == 0);
        const auto& last = bucket.places.back();
        const std::int64_t lines = zero == Zero::stage0 ? 1 : ranks;
        CHECK(bucket.elements < last.begin + last.count + 16 * (lines + 1));
        for (const auto& place : bucket.places) elements += place.count;
      }
      CHECK(elements == 1177);
    }
  }
}

TEST_CASE("stage 3 gathers group by group and keeps what is small") {
  const auto a = vector_of("a", 100), b = vector_of("b", 5), c = vector_of("c", 100),
             d = vector_of("d", 6);
  const std::vector<ParameterGroup> groups{{a.get(), b.get()}, {c.get(), d.get()}};
  const auto buckets = make_buckets(
      groups, 0,
      {.zero = Zero::stage3, .data_ranks = 2, .bucket_bytes = 1 << 20, .resident_elements = 10});
  REQUIRE(buckets.size() == 3);
  CHECK(buckets[0].gathered);
  CHECK(buckets[0].places[0].parameter == c.get());
  CHECK(buckets[1].gathered);
  CHECK(buckets[1].places[0].parameter == a.get());
  CHECK_FALSE(buckets[2].gathered);
  CHECK(buckets[2].places.size() == 2);
}

TEST_CASE("a bias beside matrices as large as a bucket has no bucket of its own") {
  const auto bias = vector_of("bias", 64), matrix = vector_of("matrix", 1024),
             next_bias = vector_of("next bias", 64), next = vector_of("next", 1024);
  const std::vector<ParameterGroup> groups{{matrix.get(), bias.get(), next.get(), next_bias.get()}};
  const auto buckets = make_buckets(groups, 0, {.bucket_bytes = 4096});
  REQUIRE(buckets.size() == 2);
  CHECK(buckets[0].places[1].parameter == next.get());
  CHECK(buckets[1].places[1].parameter == matrix.get());
}

TEST_CASE("layouts of shards hold every element of a tensor that is split already once") {
  Parameter matrix("m", {8, 10}, Initializer::zeros());
  const std::int64_t counts[] = {5, 3};
  matrix.set_layout(Layout::split({8, 10}, 0, counts), 0);
  Parameter* const parameters[] = {&matrix};
  const ParameterGroup group{&matrix};
  const auto layouts =
      world_layouts(std::span(&group, 1), parameters, 2, {.zero = Zero::stage1, .data_ranks = 3},
                    [](const Bucket&) { return true; });
  std::vector<int> held(80);
  for (int rank = 0; rank < 6; ++rank) {
    for (const Block& block : layouts[0].blocks(rank)) {
      for (std::int64_t i = 0; i < block.extent[0]; ++i) {
        for (std::int64_t j = 0; j < block.extent[1]; ++j) {
          ++held[static_cast<std::size_t>((block.offset[0] + i) * 10 + block.offset[1] + j)];
        }
      }
    }
  }
  CHECK(held == std::vector<int>(80, 1));
}
