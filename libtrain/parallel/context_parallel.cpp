#include "libtrain/parallel/context_parallel.hpp"

namespace train {
namespace {

std::span<const std::int32_t> part_of(std::span<const std::int32_t> rows,
                                      const ModelSplit::Range& own) {
  return rows.subspan(static_cast<std::size_t>(own.begin), static_cast<std::size_t>(own.count));
}

}  // namespace

ContextParallel::ContextParallel(const GptConfig& config, std::shared_ptr<const Execution> inner,
                                 Communicator& ranks)
    : inner_(std::move(inner)),
      group_(ranks),
      all_heads_(inner_->heads({0, config.heads, 0, config.kv_heads})),
      parts_(shared_out(all_heads_, ranks.size())),
      qkv_width_((all_heads_.heads + 2 * all_heads_.kv_heads) * config.head_width),
      out_width_(all_heads_.heads * config.head_width) {
  const std::int64_t width = config.head_width;
  const std::int64_t keys = all_heads_.heads * width;
  const std::int64_t values = keys + all_heads_.kv_heads * width;
  for (const HeadRange& part : parts_) {
    const ModelSplit::Range queries{part.first_head * width, part.heads * width};
    const ModelSplit::Range shared{part.first_kv_head * width, part.kv_heads * width};
    qkv_columns_.push_back(
        {queries, {keys + shared.begin, shared.count}, {values + shared.begin, shared.count}});
    out_columns_.push_back({queries});
  }
}

Value ContextParallel::embedding(Tape& tape, const Layer& layer,
                                 std::span<const std::int32_t> tokens,
                                 const RowPositions& places) const {
  const ModelSplit::Range own = group_.own_rows(static_cast<std::int64_t>(tokens.size()));
  RowPositions own_places = places;
  own_places.first_row += own.begin;
  return inner_->embedding(tape, layer, part_of(tokens, own), own_places);
}

Value ContextParallel::linear(Tape& tape, const Layer& layer, const Value& x, std::int64_t rows,
                              Activation activation) const {
  return inner_->linear(tape, layer, x, group_.own_rows(rows).count, activation);
}

// What is exchanged is let go on the way: it is as large as what comes.
Value ContextParallel::to_sequences(Tape& tape, Value qkv, const AttentionShape& shape) const {
  const std::int64_t rows = shape.batch * shape.context;
  const std::shared_ptr<Tensor> dqkv = qkv.gradient();
  Tensor own = qkv.tensor();
  qkv = Value();
  const Value y(group_.to_columns(tape, std::move(own), rows, qkv_columns_));
  tape.record(y, {}, [this, &tape, dqkv](Tensor& dy) {
    tape.add_gradient(group_.to_rows(tape, std::move(dy), qkv_width_, qkv_columns_), *dqkv);
  });
  return y;
}

Value ContextParallel::from_sequences(Tape& tape, Value out, const AttentionShape& shape) const {
  const std::int64_t rows = shape.batch * shape.context;
  const Value y(group_.to_rows(tape, out.tensor(), out_width_, out_columns_));
  tape.record(y, {}, [this, &tape, rows, dout = out.gradient()](Tensor& dy) {
    tape.add_gradient(group_.to_columns(tape, std::move(dy), rows, out_columns_), *dout);
  });
  return y;
}

RowLosses ContextParallel::loss(Tape& tape, const Layer& layer, const Value& x,
                                std::span<const std::int32_t> targets, float scale) const {
  const ModelSplit::Range own = group_.own_rows(static_cast<std::int64_t>(targets.size()));
  return inner_->loss(tape, layer, x, part_of(targets, own), scale);
}

std::vector<double> ContextParallel::all_losses(std::vector<double> own, std::int64_t rows) const {
  return group_.gather(own, rows);
}

Tensor ContextParallel::logits(Tape& tape, const Layer& layer, const Value& x,
                               std::int64_t rows) const {
  return group_.gather(tape, inner_->logits(tape, layer, x, group_.own_rows(rows).count), rows);
}

HeadRange ContextParallel::heads(const HeadRange& all) const {
  const HeadRange inner = inner_->heads(all);
  HeadRange own = parts_[static_cast<std::size_t>(group_.ranks().rank())];
  own.first_head += inner.first_head;
  own.first_kv_head += inner.first_kv_head;
  return own;
}

std::int64_t ContextParallel::first_row(std::int64_t rows) const {
  const ModelSplit::Range own = group_.own_rows(rows);
  return own.begin + inner_->first_row(own.count);
}

// Generation computes the same on every rank.
std::shared_ptr<const Execution> ContextParallel::with_whole_rows() const {
  auto whole = inner_->with_whole_rows();
  return whole ? whole : inner_;
}

double ContextParallel::seconds_waited() const {
  return inner_->seconds_waited() + group_.waits().seconds();
}

void ContextParallel::observe_waits(WaitObserver observer) const {
  inner_->observe_waits(observer);
  group_.waits().observe(std::move(observer));
}

}  // namespace train
