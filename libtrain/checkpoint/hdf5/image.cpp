#include "libtrain/checkpoint/hdf5/image.hpp"

#include <algorithm>

namespace train {
namespace {

constexpr std::uint64_t page_bytes = 16 << 10;

// visit(page, place in the page, offset in the range, bytes) for each page of a range.
template <typename Visit>
void for_each_page(std::uint64_t at, std::uint64_t count, Visit visit) {
  for (std::uint64_t done = 0; done < count;) {
    const std::uint64_t place = (at + done) % page_bytes;
    const std::uint64_t bytes = std::min(count - done, page_bytes - place);
    visit((at + done) / page_bytes, place, done, bytes);
    done += bytes;
  }
}

}  // namespace

void FileImage::read(std::uint64_t at, std::span<std::byte> out) const {
  for_each_page(at, out.size(), [&](auto page, auto place, auto offset, auto bytes) {
    const auto part = out.subspan(offset, bytes);
    const auto found = pages_.find(page);
    if (found == pages_.end()) {
      std::ranges::fill(part, std::byte{0});
    } else {
      std::ranges::copy(std::span(found->second).subspan(place, bytes), part.begin());
    }
  });
}

void FileImage::write(std::uint64_t at, std::span<const std::byte> bytes) {
  for_each_page(at, bytes.size(), [&](auto page, auto place, auto offset, auto count) {
    std::vector<std::byte>& held = pages_[page];
    held.resize(page_bytes);
    std::ranges::copy(bytes.subspan(offset, count),
                      held.begin() + static_cast<std::ptrdiff_t>(place));
  });
  size_ = std::max(size_, at + bytes.size());
}

}  // namespace train
