#include "libtrain/parallel/redistribute_arguments.hpp"

#include <algorithm>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "collectives/error.hpp"
#include "libtrain/agreement.hpp"
#include "libtrain/tensor/philox.hpp"

namespace train {
namespace {

std::string wrong_with(const Communicator& group, const Redistribution& tensor) {
  const auto say = [&](const std::string& what) {
    return fmt::format("redistribute of tensor '{}' on rank {} of group '{}': {}", tensor.name,
                       group.rank(), group.name(), what);
  };
  for (const auto& [layout, which] : {std::pair(&tensor.from, "from"), {&tensor.to, "to"}}) {
    if (layout->ranks() != group.size()) {
      return say(fmt::format("the layout '{}' is for {} ranks, the group has {}", which,
                             layout->ranks(), group.size()));
    }
  }
  if (tensor.from.shape() != tensor.to.shape()) {
    return say(fmt::format("the layouts have shapes {} and {}; they must be one tensor's",
                           tensor.from.shape().to_string(), tensor.to.shape().to_string()));
  }
  const auto wrong_size = [&](ConstBuffer buffer, const Layout& layout, const char* which) {
    const std::int64_t elements = layout.local_elements(group.rank());
    if (std::cmp_not_equal(buffer.count, elements)) {
      return say(fmt::format("the {} has {} elements, but its layout gives this rank {}", which,
                             buffer.count, elements));
    }
    if (buffer.data == nullptr && buffer.count > 0) {
      return say(fmt::format("the {} is null but has {} elements", which, buffer.count));
    }
    return std::string();
  };
  if (auto wrong = wrong_size(tensor.source, tensor.from, "source"); !wrong.empty()) return wrong;
  if (auto wrong = wrong_size(tensor.target, tensor.to, "target"); !wrong.empty()) return wrong;
  if (tensor.source.count > 0 && tensor.target.count > 0 &&
      tensor.source.type != tensor.target.type) {
    return say(fmt::format("the source is {}, the target {}; elements are moved as they are",
                           name_of(tensor.source.type), name_of(tensor.target.type)));
  }
  return "";
}

// Sources may share memory with each other; a target with nothing.
std::string overlap(const Communicator& group, std::span<const Redistribution> tensors) {
  struct Range {
    const std::byte* begin;
    const std::byte* end;
    bool written;
    const std::string* name;
  };
  std::vector<Range> ranges;
  for (const Redistribution& tensor : tensors) {
    const ConstBuffer buffers[] = {tensor.source, tensor.target};
    for (const bool written : {false, true}) {
      const ConstBuffer& buffer = buffers[written];
      if (buffer.count == 0) continue;
      ranges.push_back({buffer.data, buffer.data + buffer.bytes(), written, &tensor.name});
    }
  }
  std::ranges::sort(ranges, std::less<>(), &Range::begin);
  const Range* furthest[] = {nullptr, nullptr};  // of those read, of those written
  for (const Range& range : ranges) {
    for (const bool written : {false, true}) {
      const Range* other = furthest[written];
      if (other == nullptr || !(written || range.written) || other->end <= range.begin) continue;
      return fmt::format(
          "redistribute on rank {} of group '{}': the {} of tensor '{}' overlaps "
          "the {} of tensor '{}'; a target needs memory of its own",
          group.rank(), group.name(), written ? "target" : "source", *other->name,
          range.written ? "target" : "source", *range.name);
    }
    const Range*& last = furthest[range.written];
    if (last == nullptr || last->end < range.end) last = &range;
  }
  return "";
}

std::string wrong_with_all(const Communicator& group, std::span<const Redistribution> tensors,
                           const RedistributeOptions& options) {
  if (options.staging_bytes < 2) {
    return fmt::format(
        "redistribute on rank {} of group '{}': staging_bytes is {}, needs 2 or "
        "more",
        group.rank(), group.name(), options.staging_bytes);
  }
  for (const Redistribution& tensor : tensors) {
    if (auto wrong = wrong_with(group, tensor); !wrong.empty()) return wrong;
  }
  return overlap(group, tensors);
}

// Of all that the ranks' plans depend on.
std::int64_t fingerprint(std::span<const Redistribution> tensors,
                         const RedistributeOptions& options) {
  std::uint64_t key = options.staging_bytes;
  for (const Redistribution& tensor : tensors) {
    std::string text = tensor.name + tensor.from.shape().to_string();
    for (const Layout* layout : {&tensor.from, &tensor.to}) {
      for (int rank = 0; rank < layout->ranks(); ++rank) {
        text += ';';
        for (const Block& block : layout->blocks(rank)) text += block.to_string();
      }
    }
    key = Philox(key, text).key();
  }
  return static_cast<std::int64_t>(key);
}

// The types of a tensor's buffers, where they have elements, are the same on all ranks. A rank
// without elements offers a value beyond all types, both as least and as greatest.
void require_one_type(Communicator& group, std::span<const Redistribution> tensors) {
  constexpr std::int64_t none = 1 << 8;
  std::vector<std::int64_t> bounds;  // per tensor the least type and the greatest, negative
  for (const Redistribution& tensor : tensors) {
    const ConstBuffer target = tensor.target;
    const ConstBuffer& used = tensor.source.count > 0 ? tensor.source : target;
    const auto type = static_cast<std::int64_t>(used.type);
    bounds.insert(bounds.end(), {used.count > 0 ? type : none, used.count > 0 ? -type : none});
  }
  group.all_reduce(std::span(bounds), std::span(bounds), ReduceOp::min).wait();
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const std::int64_t least = bounds[2 * i];
    const std::int64_t greatest = -bounds[2 * i + 1];
    if (least == none || least == greatest) continue;
    throw Error(
        fmt::format("redistribute of tensor '{}' in group '{}': some ranks' elements are "
                    "{}, others' {}; elements are moved as they are",
                    tensors[i].name, group.name(), name_of(static_cast<DataType>(least)),
                    name_of(static_cast<DataType>(greatest))));
  }
}

void require_one_plan(Communicator& group, std::span<const Redistribution> tensors,
                      const RedistributeOptions& options) {
  const std::int64_t own = fingerprint(tensors, options);
  std::int64_t least[] = {own, ~own};
  group.all_reduce(std::span(least), std::span(least), ReduceOp::min).wait();
  if (least[0] == ~least[1]) return;
  throw Error(
      fmt::format("redistribute in group '{}': ranks passed different tensors, layouts or "
                  "options; all must pass the same, in the same order",
                  group.name()));
}

}  // namespace

void detail::check_redistribution(Communicator& group, std::span<const Redistribution> tensors,
                                  const RedistributeOptions& options) {
  const std::string wrong = first_said(group, wrong_with_all(group, tensors, options));
  if (!wrong.empty()) throw Error(wrong);
  require_one_plan(group, tensors, options);
  require_one_type(group, tensors);
}

}  // namespace train
