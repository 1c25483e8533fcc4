#include "libtrain/autograd/parameter.hpp"

#include <cmath>
#include <numbers>
#include <span>
#include <vector>

#include "libtrain/tensor/block_copy.hpp"
#include "libtrain/tensor/philox.hpp"

namespace train {
namespace {

// Elements 2 b and 2 b + 1 are the Box–Muller pair of block b: two words make a radius and an
// angle.
struct NormalPair {
  float radius, angle;

  NormalPair(const Philox& random, std::uint64_t block) {
    const auto bits = random(0, block);
    radius = std::sqrt(-2.0f * std::log(uniform_from_bits(bits[0])));
    angle = 2.0f * std::numbers::pi_v<float> * uniform_from_bits(bits[1]);
  }
  float even() const { return radius * std::cos(angle); }
  float odd() const { return radius * std::sin(angle); }
};

// `values` are those of elements `first` and on.
template <typename T>
void draw_normal(const Philox& random, float deviation, std::uint64_t first, std::span<T> values) {
  std::size_t at = 0;
  if (first % 2 == 1 && !values.empty()) {
    values[at++] = T(deviation * NormalPair(random, first / 2).odd());
  }
  for (; at < values.size(); at += 2) {
    const NormalPair pair(random, (first + at) / 2);
    values[at] = T(deviation * pair.even());
    if (at + 1 < values.size()) values[at + 1] = T(deviation * pair.odd());
  }
}

// Elements that lie one after the other in the whole tensor, and where the first goes.
struct Run {
  std::int64_t first, count;
  std::size_t to;
};

// Below, a team of threads takes longer to start than one to draw.
constexpr std::size_t threaded_min = std::size_t{1} << 16;

template <typename T>
std::vector<T> draw_blocks(const Initializer& initializer, const Philox& random, const Shape& shape,
                           std::span<const Block> blocks, int threads) {
  std::vector<Run> runs;
  std::size_t total = 0;
  for (const Block& block : blocks) {
    for_each_run(shape, block, [&](std::int64_t first, std::int64_t count) {
      runs.push_back({first, count, total});
      total += static_cast<std::size_t>(count);
    });
  }
  std::vector<T> values(total, T(initializer.constant));
  if (initializer.kind != Initializer::Kind::normal) return values;
#pragma omp parallel for num_threads(threads) if (total >= threaded_min)
  for (const Run& run : runs) {
    draw_normal(random, initializer.standard_deviation, static_cast<std::uint64_t>(run.first),
                std::span(values).subspan(run.to, static_cast<std::size_t>(run.count)));
  }
  return values;
}

template <typename T>
void fill(const Tensor& place, const std::vector<T>& values) {
  place.copy_from_host(std::as_bytes(std::span(values)));
}

}  // namespace

Gradient Parameter::gradient_target() {
  if (!gradient_.defined() && gradient_source_) gradient_source_();
  if (!gradient_.defined()) return {};
  const Write write = written_ ? Write::add : Write::assign;
  written_ = true;
  return {gradient_, write};
}

void Parameter::initialize(Memory& memory, DataType type, std::uint64_t seed, int threads) {
  invariant(type == DataType::f32 || type == DataType::bf16 || type == DataType::f64,
            "a parameter is f32, bf16 or f64");
  memory_ = &memory;
  type_ = type;
  seed_ = seed;
  threads_ = threads;
  value_.reset();
}

void Parameter::set_layout(Layout layout, int rank) {
  invariant(layout.shape() == shape_, "a parameter's layout is of its shape");
  invariant(layout_.ranks() == 1, "a parameter's blocks are chosen once");
  invariant(!released_ && !gradient_.defined(), "layouts come before gradients and optimizers");
  const Tensor before = std::move(value_);
  value_.reset();
  layout_ = std::move(layout);
  layout_rank_ = rank;
  if (!before.defined()) return;
  value_ = empty_value();
  std::vector<std::byte> whole(before.bytes());
  std::vector<std::byte> local(value_.bytes());
  before.copy_to_host(whole);
  copy_from_whole(shape_, size_of(type_), whole, layout_.blocks(rank), local);
  value_.copy_from_host(local);
}

const Tensor& Parameter::value() const {
  invariant(!released_, "a parameter is read while its values are here");
  if (!value_.defined()) {
    value_ = empty_value();
    draw(value_);
  }
  return value_;
}

void Parameter::move_value(const Tensor& place) {
  invariant(place.type() == type_ && place.shape() == local_shape(), "a place fits the value");
  if (value_.defined()) {
    std::vector<std::byte> host(value_.bytes());
    value_.copy_to_host(host);
    place.copy_from_host(host);
  } else {
    draw(place);
  }
  value_ = place;
}

void Parameter::release_value() {
  value_.reset();
  released_ = true;
}

void Parameter::set_value(Tensor value) {
  invariant(value.shape() == local_shape(), "a value has its blocks' shape");
  value_ = std::move(value);
  released_ = false;
}

Tensor Parameter::empty_value() const {
  invariant(memory_ != nullptr, "a parameter knows where its values go");
  return {*memory_, local_shape(), type_};
}

void Parameter::draw(const Tensor& place) const {
  const Philox random(seed_, name_);
  const auto blocks = layout_.blocks(layout_rank_);
  if (type_ == DataType::f32) {
    fill(place, draw_blocks<float>(initializer_, random, shape_, blocks, threads_));
  } else if (type_ == DataType::bf16) {
    fill(place, draw_blocks<BFloat16>(initializer_, random, shape_, blocks, threads_));
  } else {
    fill(place, draw_blocks<double>(initializer_, random, shape_, blocks, threads_));
  }
}

}  // namespace train
