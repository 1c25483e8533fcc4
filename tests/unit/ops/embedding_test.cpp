#include <doctest/doctest.h>

#include "tests/unit/ops/devices.hpp"
#include "tests/unit/ops/support.hpp"

namespace train::test {
namespace {

struct Size {
  std::int64_t batch, context, width;
  std::int32_t vocabulary;
};
// The first rows repeat tokens: more tokens than entries of the vocabulary.
constexpr Size sizes[] = {{1, 1, 1, 11}, {3, 5, 48, 11}, {2, 65, 3, 11}, {2, 64, 257, 1000}};

TEST_CASE("embedding") {
  for (const auto [batch, context, width, vocabulary] : sizes) {
    CAPTURE(batch);
    CAPTURE(context);
    CAPTURE(width);
    CAPTURE(vocabulary);
    compare_with_reference([&](Bench& bench) {
      const std::int64_t m = batch * context;
      const Tensor table = bench.input({vocabulary, width});
      const Tensor positions = bench.input({context + 4, width});
      const auto tokens = bench.tokens(m, vocabulary);
      bench.ops().embedding(tokens, table, positions, {context}, bench.output("y", {m, width}));
      bench.ops().embedding(tokens, table, positions, {context, 3},
                            bench.output("from position 3", {m, width}));
      bench.ops().embedding(tokens, table, {}, {context},
                            bench.output("without positions", {m, width}));
    });
  }
}

TEST_CASE("backward of embedding") {
  for (const auto [batch, context, width, vocabulary] : sizes) {
    CAPTURE(batch);
    CAPTURE(context);
    CAPTURE(width);
    CAPTURE(vocabulary);
    for (const Write write : {Write::assign, Write::add}) {
      CAPTURE(static_cast<int>(write));
      compare_with_reference([&](Bench& bench) {
        const std::int64_t m = batch * context;
        const auto tokens = bench.tokens(m, vocabulary);
        const Tensor dy = bench.input({m, width});
        const Shape table{vocabulary, width};
        const Shape positions{context + 4, width};
        bench.ops().embedding_backward(tokens, dy, {context},
                                       bench.gradient("dtable", table, write),
                                       bench.gradient("dpositions", positions, write));
        bench.ops().embedding_backward(
            tokens, dy, {context}, bench.gradient_of(DataType::f32, "dtable in f32", table, write),
            bench.gradient_of(DataType::f32, "dpositions in f32", positions, write));
        bench.ops().embedding_backward(tokens, dy, {context},
                                       bench.gradient("dtable alone", table, write), {});
        bench.ops().embedding_backward(tokens, dy, {context}, {},
                                       bench.gradient("dpositions alone", positions, write));
      });
    }
  }
}

// Tokens of a vocabulary as a part of it that starts at `begin` sees them.
std::vector<std::int32_t> tokens_of_part(std::vector<std::int32_t> tokens, std::int32_t begin,
                                         std::int32_t end) {
  for (std::int32_t& token : tokens) token = token >= begin && token < end ? token - begin : -1;
  return tokens;
}

TEST_CASE("tokens of another part of the vocabulary") {
  for (const auto [batch, context, width, vocabulary] : sizes) {
    CAPTURE(batch);
    CAPTURE(context);
    CAPTURE(width);
    for (const Write write : {Write::assign, Write::add}) {
      CAPTURE(static_cast<int>(write));
      compare_with_reference([&](Bench& bench) {
        const std::int64_t m = batch * context, rows = vocabulary / 2;
        const Tensor table = bench.input({rows, width});
        const Tensor positions = bench.input({context, width});
        const Tensor dy = bench.input({m, width});
        const auto tokens = tokens_of_part(bench.tokens(m, vocabulary), 0, vocabulary / 2);
        bench.ops().embedding(tokens, table, positions, {context}, bench.output("y", {m, width}));
        bench.ops().embedding(tokens, table, {}, {context}, bench.output("bare y", {m, width}));
        bench.ops().embedding_backward(tokens, dy, {context},
                                       bench.gradient("dtable", {rows, width}, write),
                                       bench.gradient("dpositions", {context, width}, write));
      });
    }
  }
}

TEST_CASE("parts of the vocabulary together give what the whole gives") {
  const std::int64_t m = 12, width = 3;
  for (const NamedDevice& tested : all_devices()) {
    INFO("device: ", tested.name);
    Bench bench(*tested.device, DataType::f32, 0);
    const Tensor table = bench.input({11, width});
    const Tensor dy = bench.input({m, width});
    const auto tokens = bench.tokens(m, 11);
    const Tensor y = bench.output("y", {m, width});
    const Gradient dtable = bench.gradient("dtable", {11, width}, Write::assign);
    bench.ops().embedding(tokens, table, {}, {m}, y);
    bench.ops().embedding_backward(tokens, dy, {m}, dtable, {});

    const Tensor sum = bench.output("sum", {m, width});
    bench.ops().fill(sum, 0.0f);
    std::int32_t begin = 0;
    for (const std::int32_t end : {2, 2, 7, 11}) {
      CAPTURE(end);
      const auto own = tokens_of_part(tokens, begin, end);
      const Tensor part = bench.output("part", {m, width});
      bench.ops().embedding(own, table.rows(begin, end), {}, {m}, part);
      bench.ops().add(sum, part, sum);
      const Gradient dpart = bench.gradient("dpart", {end - begin, width}, Write::assign);
      bench.ops().embedding_backward(own, dy, {m}, dpart, {});
      CHECK(values_of(dpart.tensor) == values_of(dtable.tensor.rows(begin, end)));
      begin = end;
    }
    CHECK(values_of(sum) == values_of(y));
  }
}

TEST_CASE("rows from the middle of a sequence get what they get among all") {
  const std::int64_t context = 5, width = 3, m = 3 * context;
  for (const NamedDevice& tested : all_devices()) {
    INFO("device: ", tested.name);
    Bench bench(*tested.device, DataType::f32, 0);
    const Tensor table = bench.input({11, width});
    const Tensor positions = bench.input({context + 2, width});
    const Tensor dy = bench.input({m, width});
    const auto tokens = bench.tokens(m, 11);
    const Tensor y = bench.output("y", {m, width});
    const Gradient all = bench.gradient("all", positions.shape(), Write::assign);
    bench.ops().embedding(tokens, table, positions, {context, 1}, y);
    bench.ops().embedding_backward(tokens, dy, {context, 1}, {}, all);

    const Gradient sum = bench.gradient("sum", positions.shape(), Write::assign);
    std::int64_t begin = 0;
    for (const std::int64_t end : {2, 4, 4, 12, 15}) {
      CAPTURE(end);
      const auto own = std::span(tokens).subspan(static_cast<std::size_t>(begin),
                                                 static_cast<std::size_t>(end - begin));
      const Tensor part = bench.output("part", {end - begin, width});
      bench.ops().embedding(own, table, positions, {context, 1, begin}, part);
      CHECK(values_of(part) == values_of(y.rows(begin, end)));
      bench.ops().embedding_backward(own, dy.rows(begin, end), {context, 1, begin}, {},
                                     {sum.tensor, begin == 0 ? Write::assign : Write::add});
      begin = end;
    }
    CHECK(relative_error(values_of(sum.tensor), values_of(all.tensor)) < 1e-6);
    CHECK(values_of(all.tensor.rows(0, 1)) == std::vector<double>(3, 0.0));
    CHECK(values_of(all.tensor.rows(6, 7)) == std::vector<double>(3, 0.0));
  }
}

TEST_CASE("a token outside the vocabulary is refused by name") {
  for (const NamedDevice& tested : all_devices()) {
    INFO("device: ", tested.name);
    const Tensor table = tensor_of(*tested.device, {3, 2}, DataType::f32, {1, 2, 3, 4, 5, 6});
    const Tensor y(tested.device->memory(), {2, 2}, DataType::f32);
    for (const std::int32_t bad : {3, -2, 1 << 30}) {
      const std::vector<std::int32_t> tokens{0, bad};
      std::string message;
      try {
        tested.device->ops().embedding(tokens, table, {}, {2}, y);
      } catch (const Error& error) {
        message = error.what();
      }
      CHECK(message.find(std::to_string(bad)) != std::string::npos);
      CHECK_THROWS_AS(
          tested.device->ops().embedding_backward(tokens, y, {2}, {table, Write::add}, {}), Error);
    }
  }
}

}  // namespace
}  // namespace train::test
