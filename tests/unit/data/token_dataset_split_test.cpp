#include <algorithm>
#include <set>

#include <doctest/doctest.h>

#include "collectives/error.hpp"
#include "libtrain/data/llmc_shard.hpp"
#include "libtrain/data/token_dataset.hpp"
#include "tests/unit/data/data_files.hpp"

namespace train::test {
namespace {

using Tokens = std::vector<std::int32_t>;

Tokens validation_inputs(const TokenDataset& data, std::uint64_t first, std::size_t count) {
  Tokens inputs(count * data.context());
  Tokens targets(inputs.size());
  data.validation_batch(first, count, inputs, targets);
  for (std::size_t i = 0; i < inputs.size(); ++i) REQUIRE(targets[i] == inputs[i] + 1);
  return inputs;
}

}  // namespace

TEST_CASE("a share of the end is held out and never trained on") {
  const ScratchDirectory scratch;
  write_llmc_shard((scratch / "a.bin").string(), counting(1000));
  const TokenDataset data((scratch / "a.bin").string(),
                          {.context = 10, .validation_fraction = 0.25});
  CHECK(data.train_tokens() == 750);
  CHECK(data.validation_tokens() == 250);
  REQUIRE(data.validation_samples() == 24);
  const Tokens held_out = validation_inputs(data, 0, 24);
  for (std::size_t i = 0; i < held_out.size(); ++i) {
    REQUIRE(held_out[i] == 750 + static_cast<std::int32_t>(i));
  }
  CHECK(validation_inputs(data, 20, 2) == Tokens(held_out.begin() + 200, held_out.begin() + 220));
  Tokens inputs(74 * 10);
  Tokens targets(inputs.size());
  data.batch(0, 74, inputs, targets);
  CHECK(std::ranges::max(targets) < 750);
}

TEST_CASE("a text holds out a tenth unless that is too short, shards hold out nothing") {
  const ScratchDirectory scratch;
  write_file(scratch / "a.txt", std::string(1115394, 'x'));
  const TokenDataset text((scratch / "a.txt").string(), {.context = 256});
  CHECK(text.train_tokens() == 1003854);  // as nanoGPT splits a text of this length
  CHECK(text.validation_tokens() == 111540);
  write_file(scratch / "b.txt", std::string(300, 'x'));
  const TokenDataset brief((scratch / "b.txt").string(), {.context = 64});
  CHECK(brief.train_tokens() == 300);
  CHECK(brief.validation_samples() == 0);
  write_llmc_shard((scratch / "c.bin").string(), counting(1000));
  CHECK(TokenDataset((scratch / "c.bin").string(), {.context = 8}).validation_tokens() == 0);
}

TEST_CASE("other files can be held out") {
  const ScratchDirectory scratch;
  write_llmc_shard((scratch / "train.bin").string(), counting(500));
  write_llmc_shard((scratch / "val.bin").string(), counting(101));
  const auto pattern = (scratch / "train.bin").string();
  const auto held_out = (scratch / "val.bin").string();
  const TokenDataset data(pattern, {.context = 10, .validation = {held_out}});
  CHECK(data.train_tokens() == 500);
  CHECK(data.validation_samples() == 10);
  CHECK(validation_inputs(data, 0, 10) == counting(100));

  write_file(scratch / "val.txt", std::string(500, 'x'));
  const auto message = [&](TokenDataset::Options options) {
    return message_of<Error>([&] { TokenDataset refused(pattern, options); });
  };
  const auto mixed = message({.context = 10, .validation = {(scratch / "val.txt").string()}});
  CHECK(contains(mixed, "train.bin'"));
  CHECK(contains(mixed, "val.txt'"));
  CHECK(contains(message({.context = 10, .validation_fraction = 0.1, .validation = {held_out}}),
                 "give one"));
  CHECK(contains(message({.context = 101, .validation = {held_out}}), "val.bin': found 101"));
}

TEST_CASE("a share that is none, or too small for a sample, is refused") {
  const ScratchDirectory scratch;
  write_llmc_shard((scratch / "a.bin").string(), counting(100));
  const auto message = [&](double share) {
    return message_of<Error>([&] {
      TokenDataset refused((scratch / "a.bin").string(),
                           {.context = 10, .validation_fraction = share});
    });
  };
  CHECK(contains(message(1.0), "is 1,"));
  CHECK(contains(message(-0.1), "-0.1"));
  CHECK(contains(message(std::numeric_limits<double>::quiet_NaN()), "nan"));
  CHECK(contains(message(0.05), "a.bin': found 5 tokens to validate with"));
  CHECK(contains(message(0.95), "tokens to train with"));
  CHECK(message(0.5).empty());
}

}  // namespace train::test
