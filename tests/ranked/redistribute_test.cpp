// Any layout to any other, compared with what every element is known to be.
#include "libtrain/parallel/redistribute.hpp"

#include <algorithm>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "collectives/error.hpp"
#include "tests/ranked/random_layouts.hpp"
#include "tests/support/ranked.hpp"

namespace train {
namespace {

using Bytes = std::vector<std::byte>;

// The indices, within the whole tensor, of the elements that a rank keeps under a layout.
std::vector<std::int64_t> elements_of(const Layout& layout, int rank) {
  std::vector<std::int64_t> elements;
  for (const Block& block : layout.blocks(rank)) {
    for (std::int64_t i = 0; i < block.elements(); ++i) {
      std::int64_t rest = i, index = 0, stride = 1;
      for (int d = block.extent.rank(); d-- > 0;) {
        index += (block.offset[d] + rest % block.extent[d]) * stride;
        rest /= block.extent[d];
        stride *= layout.shape()[d];
      }
      elements.push_back(index);
    }
  }
  return elements;
}

// What a rank keeps of tensor number `tensor`, whose elements are hashes of their indices.
Bytes content(std::size_t tensor, const Layout& layout, int rank, DataType type) {
  Bytes bytes;
  for (const std::int64_t element : elements_of(layout, rank)) {
    auto bits = (static_cast<std::uint64_t>(element) + 1 + tensor * 1'000'003) * 0x9e3779b97f4a7c15;
    bits ^= bits >> 29;
    for (std::size_t i = 0; i < size_of(type); ++i) {
      bytes.push_back(static_cast<std::byte>(bits >> (8 * i)));
    }
  }
  return bytes;
}

std::size_t bytes_of(const Way& way) {
  return static_cast<std::size_t>(way.from.shape().elements()) * size_of(way.type);
}

// Bytes that a rank wants and does not hold.
std::uint64_t bytes_lacking(const Way& way, int rank) {
  std::vector<bool> held(static_cast<std::size_t>(way.from.shape().elements()));
  for (const std::int64_t i : elements_of(way.from, rank)) held[static_cast<std::size_t>(i)] = true;
  std::uint64_t lacking = 0;
  for (const std::int64_t i : elements_of(way.to, rank)) {
    lacking += held[static_cast<std::size_t>(i)] ? 0 : size_of(way.type);
  }
  return lacking;
}

std::uint64_t sum_over_ranks(Communicator& world, std::uint64_t value) {
  std::vector<std::int64_t> sum{static_cast<std::int64_t>(value)};
  world.all_reduce(std::span(sum), std::span(sum), ReduceOp::sum).wait();
  return static_cast<std::uint64_t>(sum[0]);
}

// Redistributes, and compares targets and bytes on the way with what they must be.
RedistributeCost check(Communicator& world, const std::vector<Way>& ways,
                       const RedistributeOptions& options = {}) {
  std::vector<Bytes> sources, targets;
  std::vector<Redistribution> tensors;
  for (std::size_t i = 0; i < ways.size(); ++i) {
    const auto& [from, to, type] = ways[i];
    sources.push_back(content(i, from, world.rank(), type));
    const auto count = static_cast<std::size_t>(to.local_elements(world.rank()));
    targets.emplace_back(count * size_of(type), std::byte{0xee});
    // Where a rank keeps nothing, it may pass nothing.
    Redistribution tensor{std::to_string(i), from, to, {}, {}};
    if (!sources[i].empty()) {
      tensor.source = {sources[i].data(), sources[i].size() / size_of(type), type};
    }
    if (count > 0) tensor.target = {targets[i].data(), count, type};
    tensors.push_back(tensor);
  }
  const std::uint64_t sent_before = world.traffic().send.bytes_sent;
  const RedistributeCost cost = redistribute(world, tensors, options);
  std::uint64_t lacking = 0, wanted = 0;
  for (std::size_t i = 0; i < ways.size(); ++i) {
    CAPTURE(i);
    CHECK(targets[i] == content(i, ways[i].to, world.rank(), ways[i].type));
    CHECK(sources[i] == content(i, ways[i].from, world.rank(), ways[i].type));
    lacking += bytes_lacking(ways[i], world.rank());
    wanted += targets[i].size();
  }
  CHECK(world.traffic().send.bytes_sent - sent_before == cost.bytes_sent);
  CHECK(cost.bytes_received == lacking);
  CHECK(cost.bytes_copied == wanted - lacking);
  CHECK(sum_over_ranks(world, cost.bytes_sent) == sum_over_ranks(world, lacking));
  CHECK(cost.staging_bytes <= options.staging_bytes);
  return cost;
}

std::vector<std::int64_t> uneven(std::int64_t total, int ranks) {
  std::vector<std::int64_t> counts(static_cast<std::size_t>(ranks));
  for (int rank = 0; rank < ranks; ++rank) {
    counts[static_cast<std::size_t>(rank)] =
        rank + 1 < ranks ? total * (rank % 3) / (2 * ranks) : total;
    total -= rank + 1 < ranks ? counts[static_cast<std::size_t>(rank)] : 0;
  }
  return counts;
}

std::string error_of(Communicator& world, const std::vector<Redistribution>& tensors,
                     const RedistributeOptions& options = {}) {
  try {
    redistribute(world, tensors, options);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

bool holds(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("any layout becomes any other, with any staging memory") {
  ranked([](Communicator& world) {
    for (unsigned seed = 0; seed < 100; ++seed) {
      CAPTURE(seed);
      RandomLayouts random(seed, world.size());
      std::vector<Way> ways;
      std::size_t bytes = 0;
      for (std::int64_t i = random.between(1, 4); i > 0; --i) {
        ways.push_back(random.way());
        bytes += bytes_of(ways.back());
      }
      RedistributeOptions options;
      // Small enough for several messages, large enough for few.
      if (!random.one_in(3)) options.staging_bytes = std::max<std::size_t>(2, bytes / 16);
      check(world, ways, options);
    }
  });
}

TEST_CASE("no tensors, and tensors without elements") {
  ranked([](Communicator& world) {
    CHECK(check(world, {}).bytes_sent == 0);
    const Layout empty = Layout::replicated({0, 4}, world.size());
    const Layout none({0, 4}, RankBlocks(static_cast<std::size_t>(world.size())));
    check(world, {{none, empty}, {empty, none}});
  });
}

TEST_CASE("pieces larger than a message") {
  ranked([](Communicator& world) {
    const Shape shape{300, 1001};
    const int ranks = world.size();
    const Layout rows = Layout::split(shape, 0, uneven(300, ranks));
    const Layout columns = Layout::split(shape, 1, uneven(1001, ranks));
    const Layout all = Layout::replicated(shape, ranks);
    check(world, {{rows, columns}, {columns, all}, {rows, all, DataType::i64}},
          {.staging_bytes = 99'999});
    check(world, {{rows, columns}, {columns, rows}, {rows, all, DataType::i64}});
  });
}

TEST_CASE("what a rank holds is never sent to it") {
  ranked([](Communicator& world) {
    const Shape shape{7, 5};
    const int ranks = world.size();
    const Layout all = Layout::replicated(shape, ranks);
    const Layout rows = Layout::split(shape, 0, uneven(7, ranks));
    const RedistributeCost cost = check(
        world, {{all, all}, {all, rows}, {rows, rows}, {all, Layout::on_rank(shape, ranks, 0)}});
    CHECK(cost.bytes_sent == 0);
    CHECK(cost.staging_bytes == 0);
  });
}

TEST_CASE("holders of one block take turns") {
  ranked([](Communicator& world) {
    const auto ranks = static_cast<std::size_t>(world.size());
    const std::size_t holders = (ranks + 1) / 2;
    const std::size_t others = ranks - holders;
    const Shape shape{64};
    RankBlocks first(ranks), second(ranks);
    for (std::size_t i = 0; i < ranks; ++i) {
      (i < holders ? first : second)[i].push_back(whole_block(shape));
    }
    const RedistributeCost cost = check(world, {{Layout(shape, first), Layout(shape, second)}});
    CHECK(cost.bytes_sent <= (others + holders - 1) / holders * 64 * sizeof(float));
  });
}

TEST_CASE("staging memory is what is needed, and no more than is allowed") {
  ranked([](Communicator& world) {
    const Shape shape{64, 64};
    const int ranks = world.size();
    const Layout rows = Layout::split(shape, 0, uneven(64, ranks));
    const Layout columns = Layout::split(shape, 1, uneven(64, ranks));
    const Layout alone = Layout::on_rank(shape, ranks, ranks - 1);
    // Rows lie in one stretch on both ends.
    CHECK(check(world, {{rows, alone}}).staging_bytes == 0);
    CHECK(check(world, {{alone, rows}}).staging_bytes == 0);
    const RedistributeCost plenty = check(world, {{rows, columns}});
    CHECK(plenty.staging_bytes <= plenty.bytes_sent + plenty.bytes_received);
    const RedistributeCost little = check(world, {{rows, columns}}, {.staging_bytes = 1001});
    CHECK(little.staging_bytes <= 1000);
    CHECK(little.staging_bytes <= plenty.staging_bytes);
    CHECK((little.staging_bytes > 0) == (plenty.staging_bytes > 0));
  });
}

TEST_CASE("a block that no rank holds is named on every rank, and nothing moves") {
  ranked([](Communicator& world) {
    const auto ranks = static_cast<std::size_t>(world.size());
    const Shape shape{4, 6};
    RankBlocks held(ranks);
    held[0].push_back({{0, 0}, {4, 3}});
    held[ranks - 1].push_back({{1, 2}, {3, 4}});
    const Layout from(shape, held);
    const Layout to = Layout::on_rank(shape, world.size(), 0);
    const Bytes source = content(0, from, world.rank(), DataType::f32);
    std::vector<float> target(static_cast<std::size_t>(to.local_elements(world.rank())), -1.0f);
    const std::uint64_t sent_before = world.traffic().send.calls;
    const std::string error = error_of(world, {{"wte",
                                                from,
                                                to,
                                                {source.data(), source.size() / 4, DataType::f32},
                                                Buffer(std::span(target))}});
    CHECK(holds(error, "tensor 'wte' of shape [4, 6]: rank 0 is to get block [0:1, 3:6]"));
    CHECK(world.traffic().send.calls == sent_before);
    CHECK(std::ranges::all_of(target, [](float value) { return value == -1.0f; }));
  });
}

TEST_CASE("one rank's wrong arguments fail on every rank, and cost the group nothing") {
  ranked([](Communicator& world) {
    const int last = world.size() - 1;
    const bool here = world.rank() == last;
    const Layout all = Layout::replicated({6}, world.size());
    std::vector<float> a(6), b(7), c(6), d(6);
    std::vector<std::int32_t> whole_numbers(6), more_of_them(6);
    const auto error = [&](Redistribution tensor, RedistributeOptions options = {}) {
      return error_of(world, {tensor}, options);
    };
    const std::span<float> good = std::span(b).first(6);
    const std::string on_last = "'w' on rank " + std::to_string(last);

    const std::string count = error({"w", all, all, std::span(a), here ? std::span(b) : good});
    CHECK(holds(count, on_last));
    CHECK(holds(count, "the target has 7 elements, but its layout gives this rank 6"));

    Redistribution mixed{"w", all, all, std::span(a), good};
    if (here) mixed.target = std::span(whole_numbers);
    CHECK(holds(error(mixed), "the source is f32, the target i32"));
    if (here) mixed.source = std::span(more_of_them);
    CHECK(holds(error(mixed), "some ranks' elements are f32, others' i32") == (last > 0));

    // The target begins within the source, or is another tensor's source.
    const std::span<float> across = std::span(b).subspan(1);
    CHECK(holds(error({"w", all, all, good, here ? across : std::span(a)}),
                "the source of tensor 'w' overlaps the target of tensor 'w'"));
    CHECK(holds(error_of(world, {{"v", all, all, good, std::span(c)},
                                 {"w", all, all, std::span(a), here ? good : std::span(d)}}),
                "the source of tensor 'v' overlaps the target of tensor 'w'"));
    CHECK(
        error_of(world, {{"v", all, all, good, std::span(c)}, {"w", all, all, good, std::span(d)}})
            .empty());
    CHECK(holds(error({"w", all, all, std::span(a), Buffer(nullptr, 6, DataType::f32)}),
                "the target is null"));

    const Layout other = Layout::replicated({2, 3}, world.size());
    CHECK(holds(error({"w", all, other, std::span(a), good}), "shapes [6] and [2, 3]"));
    const Layout larger = Layout::replicated({6}, world.size() + 1);
    CHECK(holds(error({"w", all, larger, std::span(a), good}),
                "the layout 'to' is for " + std::to_string(world.size() + 1) + " ranks"));
    CHECK(holds(error({"w", all, all, std::span(a), good}, {.staging_bytes = 1}), "needs 2"));
    const std::string differ = error({here ? "w" : "v", all, all, std::span(a), good});
    CHECK(holds(differ, "ranks passed different tensors") == (last > 0));

    a = {1, 2, 3, 4, 5, 6};
    CHECK(error({"w", all, all, std::span(a), good}).empty());
    CHECK(std::ranges::equal(a, good));
  });
}

}  // namespace train
