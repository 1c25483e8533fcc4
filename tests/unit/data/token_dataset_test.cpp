#include "libtrain/data/token_dataset.hpp"

#include <algorithm>
#include <random>
#include <set>

#include <doctest/doctest.h>

#include "collectives/error.hpp"
#include "libtrain/data/llmc_shard.hpp"
#include "tests/unit/data/data_files.hpp"

namespace train::test {
namespace {

using Tokens = std::vector<std::int32_t>;

/// Tokens 0, 1, 2, …: a token's value is its place, so a sample shows where it came from.
class CountingSource final : public TokenSource {
 public:
  explicit CountingSource(std::uint64_t size) : size_(size) {}
  std::uint64_t size() const override { return size_; }
  std::int32_t vocabulary_bound() const override { return static_cast<std::int32_t>(size_); }
  void read(std::uint64_t begin, std::span<std::int32_t> out) const override {
    REQUIRE(begin + out.size() <= size_);
    for (auto& token : out) token = static_cast<std::int32_t>(begin++);
  }
  std::string name() const override { return "'counting'"; }
  std::string place(std::uint64_t position) const override {
    return "'counting', token " + std::to_string(position);
  }

 private:
  std::uint64_t size_;
};

TokenDataset make_dataset(std::uint64_t tokens, std::size_t context, std::uint64_t seed = 1) {
  return TokenDataset(std::make_shared<CountingSource>(tokens), {.context = context, .seed = seed});
}

/// The first input token of each of the samples [first, first + count).
Tokens begins_of(const TokenDataset& data, std::uint64_t first, std::size_t count) {
  const std::size_t context = data.context();
  Tokens inputs(count * context);
  Tokens targets(count * context);
  data.batch(first, count, inputs, targets);
  Tokens begins;
  for (std::size_t i = 0; i < count; ++i) {
    begins.push_back(inputs[i * context]);
    for (std::size_t j = 0; j < context; ++j) {
      REQUIRE(inputs[i * context + j] == begins[i] + static_cast<std::int32_t>(j));
      REQUIRE(targets[i * context + j] == inputs[i * context + j] + 1);
    }
  }
  return begins;
}

/// Tokens in memory, that count how often they are read.
class Source final : public TokenSource {
 public:
  explicit Source(Tokens tokens) : tokens_(std::move(tokens)) {}
  std::uint64_t size() const override { return tokens_.size(); }
  std::int32_t vocabulary_bound() const override { return 1000; }
  void read(std::uint64_t begin, std::span<std::int32_t> out) const override {
    ++reads;
    std::copy_n(tokens_.begin() + static_cast<std::ptrdiff_t>(begin), out.size(), out.begin());
  }
  std::string name() const override { return "'tokens'"; }
  std::string place(std::uint64_t) const override { return "'tokens'"; }

  mutable int reads = 0;

 private:
  Tokens tokens_;
};

}  // namespace

TEST_CASE("data of another length, cut or content have another identity") {
  const auto identity = [](std::vector<std::int32_t> tokens, std::size_t context) {
    return TokenDataset(std::make_shared<Source>(std::move(tokens)), {.context = context})
        .identity();
  };
  for (const std::size_t size : {20u, 64u, 5000u}) {
    CAPTURE(size);
    const Tokens tokens(size, 7);
    Tokens longer = tokens, first = tokens, last = tokens;
    longer.push_back(7);
    first.front() = last.back() = 8;
    const std::string own = identity(tokens, 8);
    CHECK(own == identity(tokens, 8));
    CHECK(own != identity(tokens, 9));
    CHECK(own != identity(longer, 8));
    CHECK(own != identity(first, 8));
    CHECK(own != identity(last, 8));
  }
}

TEST_CASE("files that are exchanged, or replaced by others of their size, are other data") {
  const ScratchDirectory scratch;
  std::vector<std::string> files;
  for (int i = 0; i < 100; ++i) {
    files.push_back((scratch.path() / std::to_string(i)).string());
    write_llmc_shard(files.back(), Tokens(2000, i));
  }
  const auto open = [&](const std::vector<std::string>& data, std::vector<std::string> held) {
    return TokenDataset(data, {.context = 8, .validation = std::move(held)});
  };
  const TokenDataset own = open(files, files);
  CHECK(open(files, files).identity() == own.identity());
  CHECK(open(files, files).held_out() == own.held_out());
  CHECK(open(files, {files.front()}).identity() == own.identity());
  for (std::size_t i = 0; i + 1 < files.size(); ++i) {
    CAPTURE(i);
    auto exchanged = files;
    std::swap(exchanged[i], exchanged[i + 1]);
    const TokenDataset other = open(exchanged, exchanged);
    CHECK(other.identity() != own.identity());
    CHECK(other.held_out() != own.held_out());
    Tokens tokens(2000, static_cast<std::int32_t>(i));
    tokens.back() = 1000;
    write_llmc_shard(files[i], tokens);
    CHECK(open(files, files).identity() != own.identity());
    write_llmc_shard(files[i], Tokens(2000, static_cast<std::int32_t>(i)));
  }
}

TEST_CASE("what tells data apart is read once, as soon as the model's context is known") {
  const auto source = std::make_shared<Source>(Tokens(5000, 7));
  TokenDataset data(source, {});
  CHECK(source->reads == 0);
  data.fit_model(8, 1000);
  const int reads = source->reads;
  CHECK(reads > 0);
  CHECK(data.identity() ==
        TokenDataset(std::make_shared<Source>(Tokens(5000, 7)), {.context = 8}).identity());
  CHECK(data.identity() == data.identity());
  CHECK(source->reads == reads);
}

TEST_CASE("an epoch's samples are its windows, each once, without overlap") {
  for (const auto& [tokens, context] : std::vector<std::pair<int, int>>{{1000, 10},
                                                                        {1001, 10},
                                                                        {999, 7},
                                                                        {11, 10},
                                                                        {12, 10},
                                                                        {20, 10},
                                                                        {21, 10},
                                                                        {2, 1},
                                                                        {50, 1}}) {
    CAPTURE(tokens);
    CAPTURE(context);
    const auto data =
        make_dataset(static_cast<std::uint64_t>(tokens), static_cast<std::size_t>(context));
    std::uint64_t first = 0;
    for (std::uint64_t epoch = 0; epoch < 25; ++epoch) {
      const std::uint64_t count = data.samples_per_epoch(epoch);
      Tokens begins = begins_of(data, first, count);
      first += count;
      std::ranges::sort(begins);
      const int offset = begins.front();
      CHECK(offset < context);
      CHECK(count == static_cast<std::uint64_t>((tokens - 1 - offset) / context));
      for (std::size_t i = 0; i < count; ++i) {
        REQUIRE(begins[i] == offset + static_cast<int>(i) * context);
      }
    }
  }
}

TEST_CASE("window boundaries move, and every offset gets its turn") {
  const auto data = make_dataset(1003, 8);
  std::set<int> offsets;
  std::uint64_t first = 0;
  for (std::uint64_t epoch = 0; epoch < 8; ++epoch) {
    const auto count = data.samples_per_epoch(epoch);
    offsets.insert(std::ranges::min(begins_of(data, first, count)));
    first += count;
  }
  CHECK(offsets.size() == 8);
}

TEST_CASE("a position is found without the epochs before it") {
  const auto data = make_dataset(205, 10);
  std::uint64_t position = 0;
  for (std::uint64_t epoch = 0; epoch < 100; ++epoch) {
    const auto count = data.samples_per_epoch(epoch);
    for (const std::uint64_t index : {std::uint64_t{0}, count - 1}) {
      const auto at = data.locate(position + index);
      CHECK(at.epoch == epoch);
      CHECK(at.index == index);
    }
    position += count;
  }
  CHECK(data.locate(1ull << 60).epoch > 1ull << 55);  // and at once
}

TEST_CASE("ranks and batch sizes of any kind read each sample exactly once") {
  const auto data = make_dataset(2017, 16, 99);
  std::uint64_t total = 0;
  for (std::uint64_t epoch = 0; epoch < 3; ++epoch) total += data.samples_per_epoch(epoch);
  const Tokens expected = begins_of(data, 0, total);
  const unsigned seed = 20240607;
  CAPTURE(seed);
  std::mt19937 random(seed);
  for (int run = 0; run < 20; ++run) {
    // A job that is resumed on another number of ranks after every step.
    Tokens found;
    while (found.size() < total) {
      const std::size_t ranks = 1 + random() % 5;
      const std::size_t per_rank = 1 + random() % 40;
      const std::uint64_t step = found.size();
      std::vector<Tokens> of_rank(ranks);
      for (std::size_t rank = ranks; rank-- > 0;) {
        of_rank[rank] = begins_of(data, step + rank * per_rank, per_rank);
      }
      for (const Tokens& part : of_rank) found.insert(found.end(), part.begin(), part.end());
    }
    found.resize(total);
    REQUIRE(found == expected);
  }
}

TEST_CASE("the order depends on the seed and changes with the epoch") {
  const auto data = make_dataset(3001, 10);
  const auto count = data.samples_per_epoch(0);
  const Tokens first = begins_of(data, 0, 50);
  CHECK(first == begins_of(make_dataset(3001, 10), 0, 50));
  CHECK(first != begins_of(make_dataset(3001, 10, 2), 0, 50));
  CHECK(first != begins_of(data, count, 50));
  CHECK_FALSE(std::ranges::is_sorted(first));
}

TEST_CASE("an id outside the model's vocabulary is named with file and position") {
  const ScratchDirectory scratch;
  Tokens tokens(300, 7);
  write_llmc_shard((scratch / "a.bin").string(), tokens);
  tokens[123] = 50257;
  write_llmc_shard((scratch / "b.bin").string(), tokens);
  TokenDataset data((scratch / "*.bin").string());
  CHECK(data.context() == 0);
  data.fit_model(100, 50257);
  CHECK(data.context() == 100);
  Tokens inputs(600);
  Tokens targets(600);
  const auto message = message_of<Error>([&] { data.batch(0, 6, inputs, targets); });
  CHECK(contains(message, "b.bin', token 123: found id 50257"));
  data.fit_model(100, 50258);
  data.batch(0, 6, inputs, targets);
  CHECK(std::ranges::count(inputs, 50257) >= 1);
}

TEST_CASE("a tokenizer larger than the model's vocabulary is refused at once") {
  const ScratchDirectory scratch;
  write_file(scratch / "a.txt", std::string(500, 'x'));
  TokenDataset data((scratch / "a.txt").string(), {.context = 8});
  CHECK(contains(message_of<Error>([&] { data.fit_model(8, 255); }),
                 "'bytes' has 256 ids, but the model's vocabulary 255"));
  data.fit_model(8, 256);
  CHECK(contains(message_of<Error>([&] { data.fit_model(7, 256); }), "context is 7"));
}

TEST_CASE("data shorter than one sample are refused with what is needed") {
  const auto message = message_of<Error>([] { make_dataset(10, 10); });
  CHECK(contains(message, "'counting': found 10 tokens"));
  CHECK(contains(message, "needs 11"));
  CHECK(make_dataset(11, 10).samples_per_epoch(3) == 1);
}

}  // namespace train::test
