#include <algorithm>
#include <numeric>
#include <random>
#include <set>

#include <doctest/doctest.h>

#include "collectives/error.hpp"
#include "libtrain/data/llmc_shard.hpp"
#include "libtrain/data/token_dataset.hpp"
#include "tests/unit/data/data_files.hpp"

namespace train::test {
namespace {

using Tokens = std::vector<std::int32_t>;
constexpr std::int32_t kApart = 1 << 20;

/// Tokens that say which source they are of, and where they stand in it.
class NumberedSource final : public TokenSource {
 public:
  NumberedSource(std::int32_t number, std::uint64_t size) : number_(number), size_(size) {}
  std::uint64_t size() const override { return size_; }
  std::int32_t vocabulary_bound() const override { return (number_ + 1) * kApart; }
  void read(std::uint64_t begin, std::span<std::int32_t> out) const override {
    REQUIRE(begin + out.size() <= size_);
    for (auto& token : out) token = number_ * kApart + static_cast<std::int32_t>(begin++);
  }
  std::string name() const override { return "source " + std::to_string(number_); }
  std::string place(std::uint64_t) const override { return name(); }

 private:
  std::int32_t number_;
  std::uint64_t size_;
};

struct Mix {
  std::vector<double> weights;
  std::vector<std::uint64_t> sizes;

  TokenDataset open(TokenDatasetOptions options) const {
    Data data;
    for (std::size_t i = 0; i < weights.size(); ++i) {
      data.sources.push_back({std::make_shared<NumberedSource>(i, sizes[i]), DataKind::llmc_shards,
                              std::to_string(i + 1), weights[i]});
    }
    return TokenDataset(std::move(data), options);
  }
};

/// The first tokens of the samples [first, first + count), whose others follow them.
Tokens begins_of(const TokenDataset& data, std::uint64_t first, std::size_t count) {
  const std::size_t context = data.context();
  Tokens inputs(count * context), targets(count * context), begins;
  data.batch(first, count, inputs, targets);
  for (std::size_t i = 0; i < count; ++i) {
    begins.push_back(inputs[i * context]);
    REQUIRE(targets[(i + 1) * context - 1] == begins[i] + static_cast<std::int32_t>(context));
  }
  return begins;
}

Mix random_mix(std::mt19937_64& random, std::size_t context) {
  Mix mix;
  for (std::size_t i = 1 + random() % 5; i > 0; --i) {
    mix.weights.push_back(static_cast<double>(1 + random() % 100));
    mix.sizes.push_back(context + 1 + random() % 2000);
  }
  return mix;
}

}  // namespace

TEST_CASE("each source of a mixture reads its windows once per epoch of its own") {
  for (std::uint64_t seed = 1; seed <= 30; ++seed) {
    CAPTURE(seed);
    std::mt19937_64 random(seed);
    const std::size_t context = 1 + random() % 20;
    const TokenDataset data = random_mix(random, context).open({.context = context, .seed = seed});
    const std::size_t sources = data.training().size();
    std::vector<std::uint64_t> epoch(sources), index(sources);
    std::vector<std::set<std::int32_t>> seen(sources);
    const Tokens begins = begins_of(data, 0, 3000);
    for (std::size_t position = 0; position < begins.size(); ++position) {
      const auto at = data.locate(position);
      const std::size_t source = at.source;
      REQUIRE(begins[position] / kApart == static_cast<std::int32_t>(source));
      REQUIRE(at.epoch == epoch[source]);
      REQUIRE(at.index == index[source]);
      REQUIRE(seen[source].insert(begins[position]).second);
      if (++index[source] < data.samples_per_epoch(epoch[source], source)) continue;
      REQUIRE(data.epochs_of(source, position + 1) == static_cast<double>(++epoch[source]));
      index[source] = 0;
      // Side by side, so that they cover the epoch's tokens.
      REQUIRE(*seen[source].rbegin() - *seen[source].begin() ==
              static_cast<std::int32_t>((seen[source].size() - 1) * context));
      seen[source].clear();
    }
  }
}

TEST_CASE("ranks and batches of any kind read the same mixture") {
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    CAPTURE(seed);
    std::mt19937_64 random(seed);
    const TokenDataset data = random_mix(random, 8).open({.context = 8, .seed = seed});
    const std::uint64_t begin = seed % 2 == 0 ? 0 : random() >> 30;
    const Tokens expected = begins_of(data, begin, 1000);
    for (int trial = 0; trial < 50; ++trial) {
      const std::size_t first = random() % 1000;
      const std::size_t count = 1 + random() % (1000 - first);
      const auto from = expected.begin() + static_cast<std::ptrdiff_t>(first);
      REQUIRE(begins_of(data, begin + first, count) ==
              Tokens(from, from + static_cast<std::ptrdiff_t>(count)));
    }
  }
}

TEST_CASE("a mixture of one source is that source, whatever its weight") {
  const TokenDataset plain(std::make_shared<NumberedSource>(0, 3000), {.context = 9});
  const TokenDataset mixed = Mix{{0.25}, {3000}}.open({.context = 9});
  CHECK(begins_of(plain, 500, 700) == begins_of(mixed, 500, 700));
  CHECK(plain.identity() == mixed.identity());
  CHECK(plain.held_out() == mixed.held_out());
}

TEST_CASE("weights, sources and their order are part of what data are") {
  const auto identity = [](const Mix& mix) { return mix.open({.context = 8}).identity(); };
  const std::string own = identity({{0.7, 0.3}, {500, 900}});
  CHECK(contains(own, "1400 tokens of 2 sources (0.7, 0.3) in samples of 8"));
  CHECK(own == identity({{7, 3}, {500, 900}}));
  CHECK(own != identity({{0.71, 0.3}, {500, 900}}));
  CHECK(own != identity({{0.3, 0.7}, {500, 900}}));
  CHECK(own != identity({{0.7, 0.3}, {900, 500}}));
  CHECK(own != identity({{0.7, 0.3, 0.1}, {500, 900, 100}}));
}

TEST_CASE("every source holds out its own end, and weighs as it does in training") {
  const TokenDataset data =
      Mix{{1, 3}, {1000, 400}}.open({.context = 10, .validation_fraction = 0.1});
  const auto held = data.validation();
  REQUIRE(held.size() == 2);
  CHECK(held[0].share == 0.25);
  CHECK(held[1].share == 0.75);
  CHECK(held[0].samples == 9);
  CHECK(held[1].samples == 3);
  CHECK(data.held_out().starts_with("140 tokens; 100 of weight 0.25; 40 of weight 0.75, hash "));
  REQUIRE(data.validation_samples() == 12);
  Tokens inputs(120), targets(120);
  data.validation_batch(0, 12, inputs, targets);
  CHECK(inputs[0] == 900);
  CHECK(inputs[89] == 989);
  CHECK(inputs[90] == kApart + 360);
  Tokens one(10), next(10);
  data.validation_batch(10, 1, one, next);
  CHECK(one[0] == kApart + 370);
  CHECK(std::ranges::max(begins_of(data, 0, 500)) < kApart + 360);
}

TEST_CASE("shares of weights as large as numbers are") {
  const TokenDataset data =
      Mix{{1.5e308, 0.5e308}, {500, 500}}.open({.context = 8, .validation_fraction = 0.1});
  CHECK(data.training()[1].share == doctest::Approx(0.25));
  CHECK(data.validation()[0].share == doctest::Approx(0.75));
}

TEST_CASE("files to validate with have weights of their own") {
  const ScratchDirectory scratch;
  const auto path = [&](const char* name) { return (scratch / name).string(); };
  for (const char* name : {"a.bin", "b.bin", "c.bin"}) write_llmc_shard(path(name), counting(300));
  const auto open = [&](const std::vector<std::string>& validation) {
    return TokenDataset({"weight=1", path("a.bin"), "weight=1", path("b.bin")},
                        {.context = 8, .validation = validation});
  };
  CHECK(open({path("c.bin")}).validation().size() == 1);
  const auto held =
      open({"weight=3,name=x", path("b.bin"), "weight=1", path("c.bin")}).validation();
  REQUIRE(held.size() == 2);
  CHECK(held[0].name == "x");
  CHECK(held[0].share == 0.75);
}

TEST_CASE("sources of several kinds need the tokenizer that they share") {
  const ScratchDirectory scratch;
  const auto path = [&](const char* name) { return (scratch / name).string(); };
  write_file(path("a.txt"), std::string(500, 'x'));
  write_llmc_shard(path("small.bin"), counting(200));
  write_llmc_shard(path("large.bin"), counting(300));
  write_llmc_shard(path("llama.bin"), counting(200), LlmcFormat::llama3);
  write_file(path("m.idx"), MegatronIndex{8, {2}, {0}}.bytes());
  write_file(path("m.bin"), packed<std::uint16_t>({8, 9}));
  const auto refusal = [&](const char* a, const char* b, const char* tokenizer) {
    return message_of<Error>([&] {
      open_data({"weight=1", path(a), "weight=1", path(b)}, tokenizer);
    });
  };
  CHECK(contains(refusal("a.txt", "small.bin", ""), "name the tokenizer"));
  CHECK(contains(refusal("small.bin", "a.txt", "chars"), "small.bin' is a token shard"));
  CHECK(refusal("a.txt", "small.bin", "bytes").empty());
  CHECK(refusal("m.bin", "small.bin", "").empty());
  CHECK(contains(refusal("a.txt", "large.bin", "bytes"), "large.bin', token 2"));
  CHECK(contains(refusal("a.txt", "large.bin", "bytes"), "has 256 ids"));
  const auto formats = refusal("llama.bin", "small.bin", "");
  CHECK(contains(formats, "small.bin' holds token ids of 16 bits"));
  CHECK(contains(formats, "llama.bin' of 32"));
  CHECK(refusal("llama.bin", "small.bin", "bytes").empty());
  CHECK(contains(refusal("a.txt", "a.txt", ""), "a.txt' is in the sources 1 and 2"));
  CHECK(contains(refusal("m.bin", "m.idx", ""), "in the sources 1 and 2"));
  std::filesystem::create_symlink("a.txt", path("link.txt"));
  CHECK(contains(refusal("a.txt", "link.txt", ""), "link.txt' is in the sources 1 and 2"));
  const Data data = open_data({"weight=1", path("a.txt"), "weight=1", path("m.bin")}, "bytes");
  CHECK(data.sources[0].kind == DataKind::text);
  CHECK(data.sources[1].kind == DataKind::megatron);
}

TEST_CASE("a source shorter than one sample is refused by name") {
  CHECK(contains(message_of<Error>([] {
                   Mix{{1, 1}, {100, 8}}.open({.context = 8});
                 }),
                 "source 1: found 8 tokens to train with"));
}

}  // namespace train::test
