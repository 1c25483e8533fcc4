#include "libtrain/parallel/context_group.hpp"

#include <set>

namespace train {
namespace {

std::int64_t width_of(const ContextGroup::Columns& columns) {
  std::int64_t width = 0;
  for (const ModelSplit::Range& range : columns) width += range.count;
  return width;
}

// Ranks' columns of `rows` rows, one rank's matrix behind another's.
class Packed {
 public:
  Packed(const Tape& tape, std::int64_t rows, std::span<const ContextGroup::Columns> columns,
         DataType type)
      : rows_(rows) {
    std::int64_t elements = 0;
    for (const ContextGroup::Columns& of_rank : columns) {
      widths_.push_back(width_of(of_rank));
      begins_.push_back(elements);
      elements += rows * widths_.back();
      counts_.push_back(static_cast<std::size_t>(rows * widths_.back()));
    }
    elements_ = tape.empty({elements}, type);
  }

  Tensor of(std::size_t rank) const {
    return elements_.slice(begins_[rank], {rows_, widths_[rank]});
  }
  Buffer buffer() const { return elements_.buffer(); }
  const std::vector<std::size_t>& counts() const { return counts_; }

 private:
  std::int64_t rows_;
  std::vector<std::int64_t> widths_;
  std::vector<std::int64_t> begins_;
  std::vector<std::size_t> counts_;
  Tensor elements_;
};

}  // namespace

ModelSplit::Range ContextGroup::own_rows(std::int64_t rows) const {
  return even_ranges(rows, ranks_.size())[static_cast<std::size_t>(ranks_.rank())];
}

Tensor ContextGroup::to_columns(const Tape& tape, Tensor own, std::int64_t rows,
                                std::span<const Columns> columns) const {
  const Packed packed(tape, own.shape().rows(), columns, own.type());
  for (std::size_t rank = 0; rank < columns.size(); ++rank) {
    const Tensor part = packed.of(rank);
    std::int64_t at = 0;
    for (const ModelSplit::Range& range : columns[rank]) {
      tape.ops().copy_columns(own, range.begin, range.count, {part, Write::assign}, at);
      at += range.count;
    }
  }
  const std::int64_t width = width_of(columns[static_cast<std::size_t>(ranks_.rank())]);
  const DataType type = own.type();
  own.reset();
  const Tensor all = tape.empty({rows, width}, type);
  Work work = ranks_.all_to_all(packed.buffer(), packed.counts(), all.buffer(),
                                even_counts(rows, ranks_.size(), width));
  waits_.wait(work);
  return all;
}

Tensor ContextGroup::to_rows(const Tape& tape, Tensor all, std::int64_t width,
                             std::span<const Columns> columns) const {
  const std::int64_t rows = all.shape().rows();
  const std::int64_t own_count = own_rows(rows).count;
  const Packed packed(tape, own_count, columns, all.type());
  Work work = ranks_.all_to_all(all.buffer(), even_counts(rows, ranks_.size(), all.shape().width()),
                                packed.buffer(), packed.counts());
  waits_.wait(work);
  const DataType type = all.type();
  all.reset();
  const Tensor own = tape.empty({own_count, width}, type);
  std::set<std::int64_t> written;  // ranges of two ranks are the same or apart
  for (std::size_t rank = 0; rank < columns.size(); ++rank) {
    const Tensor part = packed.of(rank);
    std::int64_t at = 0;
    for (const ModelSplit::Range& range : columns[rank]) {
      const bool first = range.count == 0 || written.insert(range.begin).second;
      tape.ops().copy_columns(part, at, range.count, {own, first ? Write::assign : Write::add},
                              range.begin);
      at += range.count;
    }
  }
  return own;
}

Tensor ContextGroup::gather(const Tape& tape, const Tensor& own, std::int64_t rows) const {
  const std::int64_t width = own.shape().width();
  const Tensor all = tape.empty({rows, width}, own.type());
  Work work =
      ranks_.all_gather(own.buffer(), all.buffer(), even_counts(rows, ranks_.size(), width));
  waits_.wait(work);
  return all;
}

std::vector<double> ContextGroup::gather(const std::vector<double>& own, std::int64_t rows) const {
  std::vector<double> all(static_cast<std::size_t>(rows));
  Work work =
      ranks_.all_gather(std::span(own), std::span(all), even_counts(rows, ranks_.size(), 1));
  waits_.wait(work);
  return all;
}

}  // namespace train
