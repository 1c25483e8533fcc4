#include <algorithm>
#include <cmath>
#include <vector>

#include "libtrain/parallel/tensor_parallel.hpp"
#include "libtrain/tensor/block_copy.hpp"

namespace train {
namespace {

template <typename T>
void add_losses_as(const Tensor& sums, std::span<const std::int32_t> targets,
                   std::vector<double>& losses) {
  const std::size_t rows = targets.size();
  std::vector<T> host(2 * rows);
  sums.copy_to_host(std::as_writable_bytes(std::span(host)));
  for (std::size_t i = 0; i < rows; ++i) {
    // Padding's row may hold anything.
    losses.push_back(targets[i] < 0 ? 0.0 : std::log(double(host[i])) - double(host[rows + i]));
  }
}

// From the sum of exponentials and the target's logit of each row, both less the row's maximum; by
// blocks of rows.
std::vector<double> losses_of(const std::vector<Tensor>& blocks,
                              std::span<const std::int32_t> targets) {
  std::vector<double> losses;
  for (const Tensor& sums : blocks) {
    const auto own = targets.first(static_cast<std::size_t>(sums.shape()[1]));
    targets = targets.subspan(own.size());
    sums.type() == DataType::f64 ? add_losses_as<double>(sums, own, losses)
                                 : add_losses_as<float>(sums, own, losses);
  }
  return losses;
}

std::vector<float> row_scales(std::span<const std::int32_t> targets, float scale) {
  std::vector<float> scales;
  for (const std::int32_t target : targets) scales.push_back(target >= 0 ? scale : 0.0f);
  return scales;
}

}  // namespace

// The maximum and the sums of a row travel, 3 numbers, instead of its logits.
RowLosses TensorParallel::loss(Tape& tape, const Layer& layer, const Value& x,
                               std::span<const std::int32_t> targets, float scale) const {
  const auto rows = static_cast<std::int64_t>(targets.size());
  auto gather = group_.gather(tape, x.tensor(), rows);
  const Value input(group_.wait(gather));
  if (layer.split == Split::replicated) {
    RowLosses losses = linear_cross_entropy(tape, input, *layer.weight, targets, scale);
    if (tape.recording()) {
      tape.add_gradient(group_.keep_own(tape, *input.gradient()), *x.gradient());
    }
    return losses;
  }
  const Tensor& weight = layer.weight->value();
  const DataType type = input.tensor().type();
  const DataType wide = statistics_type(type);
  const std::vector<std::int32_t> own = own_tokens(layer, targets);
  Tensor dx;
  if (tape.recording()) dx = tape.empty(input.tensor().shape(), type);
  // By the largest part, which is the first: all ranks go through the same blocks.
  const std::int64_t rows_per_block = tape.ops().loss_rows(split_.tokens(0).count);
  std::vector<Tensor> all_sums;
  for (std::int64_t begin = 0; begin < rows; begin += rows_per_block) {
    const std::int64_t count = std::min(rows_per_block, rows - begin);
    const auto first = static_cast<std::size_t>(begin);
    const auto size = static_cast<std::size_t>(count);
    const Tensor block = input.tensor().rows(begin, begin + count);
    const Tensor logits = tape.padded(count, weight.shape()[0], wide);
    tape.ops().linear(block, weight, {}, Activation::none, {}, logits);
    const Tensor maximum = tape.empty({count}, wide);
    tape.ops().row_maximum(logits, maximum);
    group_.reduce(maximum, ReduceOp::max);
    const Tensor sums = tape.empty({2, count}, wide);
    const auto block_own = std::span(own).subspan(first, size);
    tape.ops().cross_entropy_parts(logits, block_own, maximum, sums);
    group_.reduce(sums, ReduceOp::sum);
    const auto block_targets = targets.subspan(first, size);
    all_sums.push_back(sums);
    if (!tape.recording()) continue;
    const Tensor dlogits = wide == type ? logits : tape.padded(count, weight.shape()[0], type);
    tape.ops().cross_entropy_gradient(logits, block_own, maximum, sums,
                                      row_scales(block_targets, scale), dlogits);
    tape.ops().linear_grad_weight(dlogits, block, layer.weight->gradient_target(), {});
    tape.ops().linear_grad_input(dlogits, weight, {dx.rows(begin, begin + count), Write::assign});
  }
  if (tape.recording()) {
    auto sum = group_.sum(tape, dx);
    tape.add_gradient(group_.wait(sum), *x.gradient());
    tape.use(*layer.weight);
    tape.record([&tape, &layer, rows] {
      rows > 0 ? tape.finish(*layer.weight) : tape.add_nothing(*layer.weight);
    });
  }
  return [all_sums = std::move(all_sums),
          copy = std::vector<std::int32_t>(targets.begin(), targets.end())] {
    return losses_of(all_sums, copy);
  };
}

Tensor TensorParallel::logits(Tape& tape, const Layer& layer, const Value& x,
                              std::int64_t rows) const {
  const std::int64_t kept = splits_rows() ? rows : x.tensor().shape().rows();
  auto gather = group_.gather(tape, x.tensor(), kept);
  const Tensor part = Execution::logits(tape, layer, Value(group_.wait(gather)), kept);
  if (layer.split == Split::replicated) return part;

  const Shape shape{kept, layer.weight->shape()[0]};
  std::vector<std::int64_t> widths;
  std::vector<std::size_t> counts;
  for (int rank = 0; rank < split_.ranks(); ++rank) {
    widths.push_back(split_.tokens(rank).count);
    counts.push_back(static_cast<std::size_t>(kept * widths.back()));
  }
  // Ranks' columns arrive one rank behind another.
  const Tensor parts = tape.empty(shape, part.type());
  group_.ranks().all_gather(part.buffer(), parts.buffer(), counts).wait();
  const Layout columns = Layout::split(shape, 1, widths);
  std::vector<Block> blocks;
  for (int rank = 0; rank < split_.ranks(); ++rank) blocks.push_back(columns.blocks(rank)[0]);
  std::vector<std::byte> gathered(parts.bytes());
  std::vector<std::byte> whole(parts.bytes());
  parts.copy_to_host(gathered);
  copy_to_whole(shape, size_of(parts.type()), gathered, blocks, whole);
  parts.copy_from_host(whole);
  return parts;
}

}  // namespace train
