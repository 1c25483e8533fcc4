#include "libtrain/data/sources/concatenated_source.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "collectives/error.hpp"

namespace train::detail {
namespace {

class ConcatenatedSource final : public TokenSource {
 public:
  explicit ConcatenatedSource(std::vector<std::shared_ptr<const TokenSource>> parts)
      : parts_(std::move(parts)) {
    for (const auto& part : parts_) {
      starts_.push_back(size_);
      size_ += part->size();
      bound_ = std::max(bound_, part->vocabulary_bound());
    }
  }

  std::uint64_t size() const override { return size_; }
  std::int32_t vocabulary_bound() const override { return bound_; }

  void read(std::uint64_t begin, std::span<std::int32_t> out) const override {
    invariant(begin <= size_ && out.size() <= size_ - begin, "tokens read within the files");
    for (std::size_t part = part_of(begin); !out.empty(); ++part) {
      const std::uint64_t within = begin - starts_[part];
      const std::size_t count = std::min<std::uint64_t>(parts_[part]->size() - within, out.size());
      parts_[part]->read(within, out.first(count));
      out = out.subspan(count);
      begin += count;
    }
  }

  std::span<const std::uint64_t> file_starts() const override { return starts_; }

  std::string name() const override {
    return fmt::format("{} and {} more", parts_.front()->name(), parts_.size() - 1);
  }

  std::string place(std::uint64_t position) const override {
    const std::size_t part = part_of(position);
    return parts_[part]->place(position - starts_[part]);
  }

 private:
  std::size_t part_of(std::uint64_t position) const {
    return static_cast<std::size_t>(std::ranges::upper_bound(starts_, position) - starts_.begin() -
                                    1);
  }

  std::vector<std::shared_ptr<const TokenSource>> parts_;
  std::vector<std::uint64_t> starts_;
  std::uint64_t size_ = 0;
  std::int32_t bound_ = 0;
};

}  // namespace

std::shared_ptr<const TokenSource> concatenate(
    std::vector<std::shared_ptr<const TokenSource>> parts) {
  invariant(!parts.empty(), "something to concatenate");
  if (parts.size() == 1) return std::move(parts.front());
  return std::make_shared<ConcatenatedSource>(std::move(parts));
}

}  // namespace train::detail
