#include "libtrain/parallel/tensor_group.hpp"

namespace train {

ModelSplit::Range TensorGroup::own_rows(std::int64_t rows) const {
  if (!split_rows_) return {0, rows};
  return even_ranges(rows, ranks_.size())[static_cast<std::size_t>(ranks_.rank())];
}

Tensor TensorGroup::wait(Pending& pending) const {
  waits_.wait(pending.work);
  return std::move(pending.tensor);
}

TensorGroup::Pending TensorGroup::gather(const Tape& tape, const Tensor& own,
                                         std::int64_t rows) const {
  if (!split_rows_) return {own, {}};
  const std::int64_t width = own.shape().width();
  const Tensor all = tape.empty({rows, width}, own.type());
  return {all,
          ranks_.all_gather(own.buffer(), all.buffer(), even_counts(rows, ranks_.size(), width))};
}

TensorGroup::Pending TensorGroup::sum(const Tape& tape, const Tensor& all) const {
  const std::int64_t rows = all.shape().rows();
  const std::int64_t width = all.shape().width();
  if (!split_rows_) return {all, ranks_.all_reduce(all.buffer(), all.buffer(), ReduceOp::sum)};
  const Tensor own = tape.empty({own_rows(rows).count, width}, all.type());
  return {own, ranks_.reduce_scatter(all.buffer(), own.buffer(),
                                     even_counts(rows, ranks_.size(), width), ReduceOp::sum)};
}

Tensor TensorGroup::keep_own(const Tape& tape, const Tensor& all) const {
  if (!split_rows_) return all;
  const ModelSplit::Range range = own_rows(all.shape().rows());
  // A copy, so that the other rows' memory can go.
  const Tensor own = tape.empty({range.count, all.shape().width()}, all.type());
  tape.ops().convert(all.rows(range.begin, range.begin + range.count), own);
  return own;
}

void TensorGroup::reduce(const Tensor& tensor, ReduceOp op) const {
  Work work = ranks_.all_reduce(tensor.buffer(), tensor.buffer(), op);
  waits_.wait(work);
}

}  // namespace train
