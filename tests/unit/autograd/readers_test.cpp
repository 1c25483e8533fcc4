#include <numeric>
#include <vector>

#include <doctest/doctest.h>

#include "libtrain/autograd/functions.hpp"
#include "libtrain/autograd/recompute.hpp"

using namespace train;

namespace {

constexpr std::int64_t rows = 4;
constexpr std::int64_t width = 12;
const AttentionShape shape{.batch = 2, .context = 2, .heads = 2, .kv_heads = 2, .head_width = 2};
const Dropout half{.probability = 0.5f, .key = 7};

Parameter& initialized(Parameter& parameter, Device& device) {
  parameter.initialize(device.memory(), DataType::f64, 5);
  parameter.set_gradient(Tensor(device.memory(), parameter.shape(), DataType::f64));
  device.ops().fill(parameter.gradient(), 1e6f);  // what memory held before
  return parameter;
}

// A graph of f64 numbers over parameters of its own. What is read in it is x, [rows, width].
struct Graph {
  std::unique_ptr<Device> device = make_reference_device();
  Parameter table{"table", {rows, width}, Initializer::normal(1.0f)};
  Parameter norm{"norm", {width}, Initializer::ones()};
  Parameter narrow{"narrow", {width, width / 3}, Initializer::normal(1.0f)};
  Parameter middle{"middle", {width, width / 2}, Initializer::normal(1.0f)};
  Parameter square{"square", {width, width}, Initializer::normal(1.0f)};
  Parameter head{"head", {5, width}, Initializer::normal(1.0f)};

  Graph() {
    for (Parameter* one : all()) initialized(*one, *device);
  }

  std::vector<Parameter*> all() { return {&table, &norm, &narrow, &middle, &square, &head}; }

  Value x(Tape& tape) {
    std::vector<std::int32_t> tokens(rows);
    std::iota(tokens.begin(), tokens.end(), 0);
    return embedding(tape, tokens, table, nullptr, {.length = rows});
  }
  double loss(Tape& tape, const Value& y) {
    const std::vector<std::int32_t> targets{0, 4, 2, 1};
    const auto losses = linear_cross_entropy(tape, y, head, targets, 1.0f)();
    return std::accumulate(losses.begin(), losses.end(), 0.0);
  }
};

using Loss = std::function<double(Graph& graph, Tape& tape)>;

// Central differences of the loss, at some elements of each parameter.
void check_gradients(const Loss& loss) {
  Graph graph;
  const auto again = [&] {
    Tape tape(*graph.device, Tape::Mode::forget);
    return loss(graph, tape);
  };
  int ready = 0;
  {
    Tape tape(*graph.device, Tape::Mode::record);
    tape.on_gradient_ready([&](Parameter&) { ++ready; });
    loss(graph, tape);
    tape.backward();
  }
  CHECK(ready >= 2);  // the table's and the head's
  for (Parameter* parameter : graph.all()) {
    CHECK(!parameter->in_use());
    const auto values = parameter->value().span<double>();
    const auto gradient = parameter->gradient().span<double>();
    if (gradient[0] == 1e6) continue;  // not in this graph
    for (std::size_t i = 0; i < values.size(); i += 5) {
      CAPTURE(parameter->name());
      CAPTURE(i);
      const double step = 1e-5;
      const double before = values[i];
      values[i] = before + step;
      const double above = again();
      values[i] = before - step;
      const double below = again();
      values[i] = before;
      CHECK(gradient[i] == doctest::Approx((above - below) / (2 * step)).epsilon(1e-6).scale(1));
    }
  }
}

}  // namespace

TEST_CASE("swiglu, attention and dropout add to what other readers of their argument pass on") {
  const auto swiglu_of = [](Graph& graph, Tape& tape, const Value& x) {
    return linear(tape, swiglu(tape, x), graph.middle, nullptr);
  };
  const auto attention_of = [](Graph& graph, Tape& tape, const Value& x) {
    return linear(tape, attention(tape, x, shape, {}), graph.narrow, nullptr);
  };
  const auto dropout_of = [](Graph&, Tape& tape, const Value& x) { return dropout(tape, x, half); };
  const auto square_of = [](Graph& graph, Tape& tape, const Value& x) {
    return linear(tape, x, graph.square, nullptr);
  };
  using Reader = std::function<Value(Graph&, Tape&, const Value&)>;
  const std::vector<Reader> readers{swiglu_of, attention_of, dropout_of, square_of};
  for (std::size_t first = 0; first < readers.size(); ++first) {
    for (std::size_t second = 0; second < readers.size(); ++second) {
      CAPTURE(first);
      CAPTURE(second);
      check_gradients([&](Graph& graph, Tape& tape) {
        const Value x = graph.x(tape);
        const Value one = readers[first](graph, tape, x);
        return graph.loss(tape, add(tape, one, readers[second](graph, tape, x)));
      });
    }
  }
}

TEST_CASE("heads are turned back in a gradient that a summand shares, and it keeps its own") {
  check_gradients([](Graph& graph, Tape& tape) {
    const Value x = graph.x(tape);
    const Value turned = rotary(tape, linear(tape, x, graph.square, nullptr), shape, 100.0f);
    return graph.loss(tape, add(tape, x, turned));
  });
}

TEST_CASE("the gradients of several losses on one tape add") {
  check_gradients([](Graph& graph, Tape& tape) {
    const Value x = graph.x(tape);
    const Value y = linear(tape, x, graph.square, nullptr);
    return graph.loss(tape, y) + graph.loss(tape, x) + graph.loss(tape, y);
  });
}

TEST_CASE("what nobody reads passes nothing on") {
  check_gradients([](Graph& graph, Tape& tape) {
    const Value x = graph.x(tape);
    // A layer whose result goes through all functions before it is dropped.
    const Value unread = linear(tape, x, graph.square, nullptr, Activation::gelu_tanh);
    const Value normed = add_layer_norm(tape, unread, x, graph.norm, nullptr, 1e-5f).normed;
    const Value turned = rotary(tape, dropout(tape, normed, half), shape, 100.0f);
    linear(tape, attention(tape, turned, shape, {}), graph.narrow, nullptr);
    linear(tape, swiglu(tape, rms_norm(tape, x, graph.norm, 1e-5f)), graph.middle, nullptr);
    recompute(tape, x, [&](Tape& inner, const Value& input) {
      return linear(inner, input, graph.square, nullptr);
    });
    return graph.loss(tape, x);
  });
}

TEST_CASE("gradients of parameters are ready, and zero, where nobody reads the result") {
  Graph graph;
  Tape tape(*graph.device, Tape::Mode::record);
  std::vector<std::string> ready;
  tape.on_gradient_ready([&](Parameter& parameter) { ready.push_back(parameter.name()); });
  const Value x = graph.x(tape);
  linear(tape, x, graph.square, nullptr);
  recompute(tape, x, [&](Tape& inner, const Value& input) {
    return linear(inner, swiglu(inner, input), graph.middle, nullptr);
  });
  graph.loss(tape, x);
  tape.backward();
  CHECK(ready == std::vector<std::string>{"head", "middle", "square", "table"});
  for (const Parameter* parameter : {&graph.square, &graph.middle}) {
    for (const double one : parameter->gradient().span<double>()) CHECK(one == 0.0);
  }
}
