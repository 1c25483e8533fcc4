// Time of every op at the shapes of GPT-2 124M and of a small GPT, beside what this machine's cores
// and memory do in the same run, or a GPU's data sheet and its memory.
//
//   ops_bench [--device cpu|cuda] [--threads N] [--dtype f32|bf16] [--sum-order fixed|any]
//             [--only TEXT] [--clock wall|cpu]
//
// Columns: op, milliseconds (median), GFLOP/s or GB/s, and its share of the peak: how close it
// comes to its floor. GB/s counts each tensor once per pass that the op must make over it, whatever
// the caches hold.

#include <algorithm>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "collectives/standard_streams.hpp"
#include "libtrain/ops/device.hpp"
#include "tests/bench/flag_values.hpp"
#include "tests/bench/ops_bench_device.hpp"
#include "tests/bench/ops_bench_machine.hpp"

namespace train::bench {
namespace {

struct Options {
  bool cuda = false;
  int threads = 2;
  DataType type = DataType::f32;
  SumOrder order = SumOrder::fixed;
  std::string only;
  Clock clock = Clock::wall;
};

struct Model {
  const char* name;
  std::int64_t batch, context, width, heads, vocabulary;
  std::int64_t rows() const { return batch * context; }
};
constexpr Model cpu_models[] = {{"124M", 4, 256, 768, 12, 50304},
                                {"124M long", 1, 1024, 768, 12, 0},
                                {"small", 12, 64, 128, 4, 96}};
constexpr Model cuda_models[] = {{"124M", 16, 1024, 768, 12, 50304},
                                 {"1558M", 4, 1024, 1600, 25, 50304}};

std::unique_ptr<Device> make_device(const Options& options) {
  return options.cuda ? make_cuda_device(0, 1, options.order) : make_cpu_device(options.threads);
}

class Bench {
 public:
  Bench(const Options& options, const Model& model, const Machine& machine)
      : options_(options), model_(model), machine_(machine), device_(make_device(options)) {}

  // Returns how many ops it has timed.
  int run() {
    fmt::print("\n{}: batch {}, context {}, width {}, {} heads, {}\n", model_.name, model_.batch,
               model_.context, model_.width, model_.heads, name_of(options_.type));
    attention();
    const std::int64_t width = model_.width;
    linear("qkv", width, 3 * width, Activation::none);
    linear("up+gelu", width, 4 * width, Activation::gelu_tanh);
    linear("down", 4 * width, width, Activation::none);
    gelu_in_product();
    norms();
    elementwise();
    if (model_.vocabulary == 0) return timed_;
    linear("head", width, model_.vocabulary, Activation::none);
    loss_and_embedding();
    loss_block();
    optimizer();
    return timed_;
  }

 private:
  Ops& ops() const { return device_->ops(); }

  // Small numbers that differ, so that no product overflows or is denormal. The host makes the
  // first of them, and the device repeats these: it has more memory than a host fills in no time.
  Tensor tensor(Shape shape, DataType type) const {
    const Tensor to(device_->memory(), shape, type);
    const std::int64_t count = shape.elements(), first = std::min<std::int64_t>(count, 1 << 20);
    std::vector<float> values(static_cast<std::size_t>(first));
    std::int64_t i = 0;
    for (float& x : values) x = static_cast<float>(i++ * 7919 % 1009) * 1e-3f - 0.5f;
    const Tensor f32(device_->memory(), {first}, DataType::f32);
    f32.copy_from_host(std::as_bytes(std::span(values)));
    for (std::int64_t done = 0; done < count; done += first) {
      const std::int64_t part = std::min(first, count - done);
      ops().convert(f32.slice(0, {part}), to.slice(done, {part}));
    }
    return to;
  }
  Tensor tensor(Shape shape) const { return tensor(shape, options_.type); }

  void report(const std::string& name, double amount, double peak, const char* unit,
              const std::function<void()>& call) {
    if (name.find(options_.only) == std::string::npos) return;
    ++timed_;
    const double seconds =
        options_.cuda ? median_seconds_on(*device_, call) : median_seconds(options_.clock, call);
    const double rate = amount / seconds * 1e-9;
    fmt::print("  {:<28} {:>9.3f} ms {:>8.1f} {} {:>4.0f} %\n", name, seconds * 1e3, rate, unit,
               100.0 * rate / peak);
    std::fflush(stdout);
  }
  void flops(const std::string& name, double amount, const std::function<void()>& call) {
    report(name, amount, machine_.gflops, "GFLOP/s", call);
  }
  // `passes` over tensors of `elements` of the type under test.
  void bytes(const std::string& name, double amount, const std::function<void()>& call) {
    report(name, amount, machine_.gigabytes_per_s, "GB/s   ", call);
  }
  double pass(std::int64_t elements) const {
    return static_cast<double>(elements) * static_cast<double>(size_of(options_.type));
  }

  void linear(const std::string& name, std::int64_t k, std::int64_t n, Activation activation) {
    const std::int64_t m = model_.rows();
    const double amount = 2.0 * static_cast<double>(m * n) * static_cast<double>(k);
    const Tensor x = tensor({m, k}), w = tensor({n, k}), bias = tensor({n}), y = tensor({m, n});
    const Tensor pre = activation == Activation::none ? Tensor() : tensor({m, n});
    const Tensor dw = tensor({n, k}, DataType::f32), dbias = tensor({n}, DataType::f32);
    flops(name, amount, [&] { ops().linear(x, w, bias, activation, pre, y); });
    flops(name + " d input", amount, [&] { ops().linear_grad_input(y, w, {x, Write::assign}); });
    flops(name + " d weight add", amount, [&] {
      ops().linear_grad_weight(y, x, {dw, Write::add}, {dbias, Write::add});
    });
  }

  // Down's gradient of its input, and up's backward gelu with it.
  void gelu_in_product() {
    const std::int64_t m = model_.rows(), n = model_.width, k = 4 * n;
    const Tensor dy = tensor({m, n}), w = tensor({n, k}), pre = tensor({m, k});
    const Tensor dpre = tensor({m, k});
    flops("down d input, gelu", 2.0 * static_cast<double>(m * n) * static_cast<double>(k),
          [&] { ops().linear_grad_activation(dy, w, Activation::gelu_tanh, pre, dpre); });
  }

  void attention() {
    const AttentionShape shape{model_.batch, model_.context, model_.heads, model_.heads,
                               model_.width / model_.heads};
    const std::int64_t rows = model_.rows();
    const Tensor qkv = tensor({rows, shape.qkv_width()}), dqkv = tensor({rows, shape.qkv_width()});
    const Tensor out = tensor({rows, shape.out_width()}), dout = tensor({rows, shape.out_width()});
    const Tensor lse = tensor({shape.batch, shape.heads, shape.context}, DataType::f32);
    // Two products over the half of context² that the mask leaves; five in the backward pass.
    const double amount = 2.0 * static_cast<double>(rows * (model_.context + 1) * model_.width);
    const Dropout dropped{.probability = 0.1f, .key = 1, .step = 1, .first_index = 0};
    for (const bool drops : {false, true}) {
      const Dropout dropout = drops ? dropped : Dropout{};
      const std::string name = drops ? "attention, dropout" : "attention";
      flops(name, amount, [&] { ops().attention(qkv, shape, dropout, out, lse); });
      flops(name + " backward", 2.5 * amount,
            [&] { ops().attention_backward(qkv, shape, dropout, out, lse, dout, dqkv); });
    }
    bytes("rotary", 4.0 / 3.0 * pass(qkv.elements()),
          [&] { ops().rotary(qkv, shape, 0, 1e4f, false); });
  }

  void norms() {
    const std::int64_t rows = model_.rows(), width = model_.width;
    const Tensor x = tensor({rows, width}), y = tensor({rows, width}), dx = tensor({rows, width});
    const Tensor sum = tensor({rows, width});
    const Tensor weight = tensor({width}), bias = tensor({width});
    const Tensor mean = tensor({rows}, DataType::f32), rstd = tensor({rows}, DataType::f32);
    const Gradient dweight{tensor({width}, DataType::f32), Write::add};
    const Gradient dbias{tensor({width}, DataType::f32), Write::add};
    bytes("layer norm", 2 * pass(x.elements()),
          [&] { ops().layer_norm(x, weight, bias, 1e-5f, y, mean, rstd); });
    bytes("layer norm backward", 4 * pass(x.elements()), [&] {
      ops().layer_norm_backward(y, x, weight, mean, rstd, {dx, Write::add}, dweight, dbias);
    });
    bytes("sum and layer norm", 4 * pass(x.elements()),
          [&] { ops().add_layer_norm(x, dx, weight, bias, 1e-5f, sum, y, mean, rstd); });
    bytes("rms norm", 2 * pass(x.elements()), [&] { ops().rms_norm(x, weight, 1e-5f, y, rstd); });
    bytes("sum and rms norm", 4 * pass(x.elements()),
          [&] { ops().add_rms_norm(x, dx, weight, 1e-5f, sum, y, rstd); });
    bytes("rms norm backward", 4 * pass(x.elements()), [&] {
      ops().rms_norm_backward(y, x, weight, rstd, {dx, Write::add}, dweight);
    });
  }

  void elementwise() {
    const std::int64_t rows = model_.rows(), wide = 4 * model_.width;
    const Tensor x = tensor({rows, wide}), y = tensor({rows, wide}), z = tensor({rows, wide});
    const Tensor pair = tensor({rows, 2 * wide}), f32 = tensor({rows, wide}, DataType::f32);
    const double once = pass(x.elements());
    bytes("gelu backward", 3 * once,
          [&] { ops().activation_backward(Activation::gelu_tanh, x, y, z); });
    bytes("swiglu", 3 * once, [&] { ops().swiglu(pair, y); });
    bytes("swiglu backward", 5 * once, [&] { ops().swiglu_backward(pair, y, pair); });
    bytes("add", 3 * once, [&] { ops().add(x, y, z); });
    bytes("scale", 2 * once, [&] { ops().scale(z, 1.0f); });
    bytes("fill", once, [&] { ops().fill(z, 0.5f); });
    const Tensor other = tensor({rows, wide}, DataType::bf16);
    bytes("convert f32 to bf16", 6.0 * static_cast<double>(x.elements()),
          [&] { ops().convert(f32, other); });
    bytes("convert bf16 to f32", 6.0 * static_cast<double>(x.elements()),
          [&] { ops().convert(other, f32); });
    bytes("dropout", 2 * once, [&] {
      ops().dropout(x, {.probability = 0.1f, .key = 1, .step = 1, .first_index = 0}, y);
    });
  }

  void loss_and_embedding() {
    const std::int64_t rows = model_.rows(), width = model_.width, vocabulary = model_.vocabulary;
    std::vector<std::int32_t> tokens(static_cast<std::size_t>(rows));
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      tokens[i] = static_cast<std::int32_t>(static_cast<std::int64_t>(i) * 7919 % vocabulary);
    }
    const Tensor logits = tensor({rows, vocabulary}), losses = tensor({rows}, DataType::f32);
    bytes("cross entropy, in place", 2 * pass(logits.elements()),
          [&] { ops().cross_entropy(logits, tokens, 1e-3f, losses, logits); });
    bytes("cross entropy, loss only", pass(logits.elements()),
          [&] { ops().cross_entropy(logits, tokens, 1e-3f, losses, {}); });
    const Tensor table = tensor({vocabulary, width}), places = tensor({model_.context, width});
    const Tensor y = tensor({rows, width});
    bytes("embedding", 3 * pass(y.elements()),
          [&] { ops().embedding(tokens, table, places, {model_.context}, y); });
    const Gradient dtable{tensor({vocabulary, width}, DataType::f32), Write::add};
    const Gradient dplaces{tensor({model_.context, width}, DataType::f32), Write::add};
    bytes("embedding backward add", 4 * pass(y.elements()),
          [&] { ops().embedding_backward(tokens, y, {model_.context}, dtable, dplaces); });
  }

  // What a block of rows goes through at the end of a tape, with GPT-2's own vocabulary: rows of
  // logits one right behind another, and as far apart as the device likes them.
  void loss_block() {
    constexpr std::int64_t vocabulary = 50257;
    const std::int64_t rows = ops().loss_rows(vocabulary);
    if (ops().padded_width(vocabulary, options_.type) == vocabulary) return;
    const Tensor x = tensor({rows, model_.width}), w = tensor({vocabulary, model_.width});
    const Gradient dx{tensor({rows, model_.width}), Write::assign};
    const Gradient dw{tensor({vocabulary, model_.width}, DataType::f32), Write::add};
    const Tensor losses = tensor({rows}, DataType::f32);
    const std::vector<std::int32_t> targets(rows, 7919);
    const double product = 2.0 * static_cast<double>(rows * vocabulary * model_.width);
    for (const bool padded : {false, true}) {
      const auto logits_of = [&](DataType type) {
        const std::int64_t stride = padded ? ops().padded_width(vocabulary, type) : vocabulary;
        return tensor({rows, stride}, type).first_columns(vocabulary);
      };
      const std::string how = padded ? ", padded" : ", dense";
      const Tensor logits = logits_of(DataType::f32), dlogits = logits_of(options_.type);
      flops("head of 50257" + how, product,
            [&] { ops().linear(x, w, {}, Activation::none, {}, logits); });
      bytes("loss of 50257" + how,
            4.0 * static_cast<double>(rows * vocabulary) + pass(rows * vocabulary),
            [&] { ops().cross_entropy(logits, targets, 1e-3f, losses, dlogits); });
      flops("head of 50257 dw" + how, product,
            [&] { ops().linear_grad_weight(dlogits, x, dw, {}); });
      flops("head of 50257 dx" + how, product, [&] { ops().linear_grad_input(dlogits, w, dx); });
    }
  }

  void optimizer() {
    const std::int64_t count = 12 * model_.width * model_.width + model_.vocabulary * model_.width;
    const Tensor parameter = tensor({count});
    const Tensor gradient = tensor({count}, DataType::f32), m = tensor({count}, DataType::f32);
    const Tensor v = tensor({count}, DataType::f32);
    ops().fill(v, 1.0f);
    const bool rounded = options_.type != DataType::f32;
    const Tensor master = rounded ? tensor({count}, DataType::f32) : Tensor();
    bytes("adamw", (rounded ? 30.0 : 28.0) * static_cast<double>(count), [&] {
      ops().adamw({parameter, master, gradient, m, v}, {.lr = 1e-6f});
    });
    double sum = 0.0;
    bytes("sum of squares", 4.0 * static_cast<double>(count),
          [&] { sum += ops().sum_of_squares(gradient); });
    bytes("all finite", 4.0 * static_cast<double>(count),
          [&] { sum += ops().all_finite(gradient) ? 1.0 : 0.0; });
  }

  const Options& options_;
  const Model& model_;
  const Machine& machine_;
  std::unique_ptr<Device> device_;
  int timed_ = 0;
};

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; i += 2) {
    const std::string_view name = argv[i];
    const std::string value = i + 1 < argc ? argv[i + 1] : "";
    if (name == "--device" && (value == "cpu" || value == "cuda")) {
      options.cuda = value == "cuda";
    } else if (name == "--threads") {
      options.threads = whole_number(name, value);
    } else if (name == "--dtype" && (value == "f32" || value == "bf16")) {
      options.type = value == "f32" ? DataType::f32 : DataType::bf16;
    } else if (name == "--sum-order") {
      options.order = sum_order_from(value);
    } else if (name == "--only" && !value.empty()) {
      options.only = value;
    } else if (name == "--clock" && (value == "wall" || value == "cpu")) {
      options.clock = value == "wall" ? Clock::wall : Clock::processor;
    } else {
      throw Error(
          fmt::format("{} {}: ops_bench takes --device cpu|cuda, --threads N, --dtype f32|bf16, "
                      "--sum-order fixed|any, --only TEXT, --clock wall|cpu",
                      name, value));
    }
  }
  return options;
}

template <std::size_t count>
void run(const Options& options, const Model (&models)[count], const Machine& machine) {
  int timed = 0;
  for (const Model& model : models) timed += Bench(options, model, machine).run();
  if (timed > 0) return;
  throw Error(fmt::format("--only {}: is in no op's name; leave it out for all", options.only));
}

}  // namespace
}  // namespace train::bench

int main(int argc, char** argv) try {
  using namespace train::bench;
  const Options options = parse(argc, argv);
  if (options.cuda) {
    auto device = make_device(options);
    const Machine machine = measure_device(*device, options.type);
    fmt::print("peak: {:.0f} GFLOP/s {}, copies {:.1f} GB/s on {}\n", machine.gflops,
               train::name_of(options.type), machine.gigabytes_per_s, device->ops().description());
    device.reset();
    run(options, cuda_models, machine);
    return 0;
  }
  const Machine machine = measure_machine(options.clock, options.threads);
  fmt::print("peak: {:.0f} GFLOP/s f32, triad {:.1f} GB/s on {} threads\n", machine.gflops,
             machine.gigabytes_per_s, options.threads);
  run(options, cpu_models, machine);
} catch (const train::Error& error) {
  train::log_line(error.what());
  return 1;
}
