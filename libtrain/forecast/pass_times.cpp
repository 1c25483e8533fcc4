#include "libtrain/forecast/pass_times.hpp"

#include <algorithm>
#include <cmath>

#include "libtrain/forecast/activation_forecast.hpp"

namespace train {
namespace {

double elements(const Layer& layer) {
  return static_cast<double>(layer.weight->local_shape().elements());
}

// The writer of attention runs behind attention itself.
bool attends(const Layer& layer) {
  return layer.features == Features::heads && layer.kind == LayerKind::writer;
}

bool is_recomputed(const Layer& layer, Recompute recompute) {
  if (layer.kind == LayerKind::embedding || layer.kind == LayerKind::head) return false;
  if (layer.name == "final_norm") return false;
  if (recompute == Recompute::block) return true;
  return recompute == Recompute::attention && layer.features == Features::heads;
}

}  // namespace

PassTimes::PassTimes(const ModelOutline& outline, const TrainingShape& shape,
                     const DeviceRates& device, const GroupCost& tensor, const GroupCost& context)
    : outline_(outline),
      shape_(shape),
      device_(device),
      tensor_(tensor),
      context_(context),
      rows_(static_cast<double>(outline.context_rows(shape.rows()))) {
  for (const ModelUnit& unit : outline.model().units()) {
    forward_.push_back(0.0);
    again_.push_back(0.0);
    for (const Layer& layer : outline.model().layers()) {
      const bool inside =
          layer.kind == LayerKind::head
              ? unit.name == "head"
              : unit.name != "head" &&
                    std::ranges::find(unit.parameters, layer.weight) != unit.parameters.end();
      if (!inside) continue;
      const Part forward = layer.kind == LayerKind::head ? head() : forward_of(layer);
      forward_.back() += count(forward);
      if (is_recomputed(layer, shape.recompute)) again_.back() += count(forward);
    }
  }
  for (const Layer& layer : outline.model().layers()) {
    backward_.push_back(count(backward_of(layer)));
  }
}

double PassTimes::count(const Part& part) {
  computed_s_ += part.computed_s;
  waited_s_ += part.waited_s;
  context_s_ += part.context_s;
  return part.seconds();
}

// A product is as fast as its arithmetic, or where rows are few as its matrix comes from memory.
double PassTimes::product_s(double flops, double bytes) const {
  return std::max(flops / device_.flops, bytes / device_.memory_bytes);
}

// Scores and weighted sums, in full as MFU counts them.
double PassTimes::attention_flops(const Layer& layer) const {
  if (!attends(layer)) return 0.0;
  const auto width =
      static_cast<double>(outline_.attention_heads().heads * outline_.config().head_width);
  return 4.0 * width * static_cast<double>(outline_.config().context * shape_.rows());
}

// Queries, keys and values on their way to attention, and its output on its way back.
double PassTimes::exchange_s(const Layer& layer) const {
  if (shape_.context == 1 || !attends(layer)) return 0.0;
  const HeadRange heads = outline_.exchanged_heads();
  const double head = rows_ * static_cast<double>(shape_.config.head_width * shape_.element());
  return context_.all_to_all(head * static_cast<double>(heads.heads + 2 * heads.kv_heads)) +
         context_.all_to_all(head * static_cast<double>(heads.heads));
}

double PassTimes::gather_s() const {
  if (!shape_.splits_rows()) return 0.0;
  return tensor_.all_gather(rows_ * static_cast<double>(shape_.config.width * shape_.element()));
}

double PassTimes::sum_s() const {
  const double bytes = rows_ * static_cast<double>(shape_.config.width * shape_.element());
  const bool is_bf16 = shape_.type == DataType::bf16;
  return shape_.splits_rows() ? tensor_.reduce_scatter(bytes, is_bf16)
                              : tensor_.all_reduce(bytes, is_bf16);
}

PassTimes::Part PassTimes::forward_of(const Layer& layer) const {
  switch (layer.kind) {
    case LayerKind::embedding:
      return {0.0, sum_s()};
    case LayerKind::norm:
    case LayerKind::head:
      return {};
    case LayerKind::reader:
    case LayerKind::writer:
      break;
  }
  const double flops = 2.0 * rows_ * elements(layer);
  const double bytes = elements(layer) * static_cast<double>(shape_.element());
  return {product_s(flops, bytes) + attention_flops(layer) / device_.flops,
          layer.kind == LayerKind::reader ? gather_s() : sum_s(), exchange_s(layer)};
}

// The gradients of input and weight. A reader's exchanges go on beside these two products; a
// writer waits for its rows first.
PassTimes::Part PassTimes::backward_of(const Layer& layer) const {
  if (layer.kind == LayerKind::embedding) return {0.0, gather_s()};
  if (layer.kind != LayerKind::reader && layer.kind != LayerKind::writer) return {};
  const double flops = 2.0 * rows_ * elements(layer);
  const double input_s = product_s(flops, elements(layer) * static_cast<double>(shape_.element()));
  const double weight_s =
      product_s(flops, 2.0 * elements(layer) * static_cast<double>(shape_.gradient()));
  const double computed_s = input_s + weight_s + 2.0 * attention_flops(layer) / device_.flops;
  if (layer.kind == LayerKind::writer) return {computed_s, gather_s(), exchange_s(layer)};
  return {computed_s, std::max(0.0, gather_s() - input_s) + std::max(0.0, sum_s() - weight_s)};
}

// Forward and backward at once, in blocks of rows, whose maxima and sums are exchanged.
PassTimes::Part PassTimes::head() const {
  const Layer& layer = outline_.model().layers().back();
  const double blocks = std::ceil(rows_ / static_cast<double>(loss_rows_of(outline_, shape_)));
  const double gradient = static_cast<double>(2 * shape_.element() + 2 * shape_.gradient());
  const double computed_s =
      product_s(6.0 * rows_ * elements(layer), blocks * elements(layer) * gradient);
  if (shape_.tensor == 1) return {computed_s, 0.0};
  const double numbers_s = tensor_.all_reduce(4.0 * rows_ / blocks, false) +
                           tensor_.all_reduce(8.0 * rows_ / blocks, false);
  return {computed_s, gather_s() + sum_s() + blocks * numbers_s};
}

}  // namespace train
