#include "libtrain/data/megatron_source.hpp"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "collectives/error.hpp"
#include "libtrain/data/mapped_file.hpp"
#include "libtrain/data/sources/packed_tokens.hpp"

namespace train {
namespace {

using detail::TokenType;
using namespace std::string_view_literals;

constexpr std::string_view kMagic = "MMIDIDX\0\0"sv;
constexpr std::size_t kHeaderBytes = 34;

TokenType type_of_code(const std::string& path, std::uint8_t code) {
  switch (code) {
    case 1:
      return TokenType::u8;
    case 2:
      return TokenType::i8;
    case 3:
      return TokenType::i16;
    case 4:
      return TokenType::i32;
    case 5:
      return TokenType::i64;
    case 8:
      return TokenType::u16;
    case 6:
    case 7:
      throw Error(fmt::format("'{}' indexes {}-bit floats (type code {}), not token ids", path,
                              code == 6 ? 64 : 32, code));
    default:
      throw Error(
          fmt::format("'{}' has the unknown type code {}; expected 1 to 5 or 8", path, code));
  }
}

/// The .idx file. Its arrays begin at byte 34, so every element is copied out, never cast.
class Index {
 public:
  explicit Index(const std::string& path) : file_(path) {
    const std::uint64_t size = file_.bytes().size();
    if (size < kHeaderBytes || file_.text().substr(0, kMagic.size()) != kMagic) {
      throw Error(fmt::format(
          "'{}' is no Megatron index: it does not begin with MMIDIDX and a header of {} bytes",
          path, kHeaderBytes));
    }
    if (const auto version = load<std::uint64_t>(9); version != 1) {
      throw Error(fmt::format("'{}' is a Megatron index of version {}, expected 1", path, version));
    }
    type_ = type_of_code(path, load<std::uint8_t>(17));
    sequences_ = load<std::uint64_t>(18);
    const auto documents = load<std::uint64_t>(26);
    // Bounded first: hostile counts must not overflow the sum.
    const bool plausible = sequences_ <= size && documents <= size;
    const std::uint64_t expected = kHeaderBytes + 12 * sequences_ + 8 * documents;
    if (!plausible || (size != expected && size != expected + sequences_)) {
      throw Error(fmt::format(
          "'{}' has {} bytes, which does not fit its {} sequences and {} document entries; "
          "the file is truncated or damaged",
          path, size, sequences_, documents));
    }
  }

  const std::string& path() const { return file_.path(); }
  TokenType type() const { return type_; }
  std::uint64_t sequences() const { return sequences_; }
  std::int32_t length(std::uint64_t i) const { return load<std::int32_t>(kHeaderBytes + 4 * i); }
  std::int64_t offset(std::uint64_t i) const {
    return load<std::int64_t>(kHeaderBytes + 4 * sequences_ + 8 * i);
  }

 private:
  template <typename T>
  T load(std::uint64_t at) const {
    T value;
    std::memcpy(&value, file_.bytes().data() + at, sizeof(value));
    return value;
  }

  MappedFile file_;
  TokenType type_ = TokenType::u8;
  std::uint64_t sequences_ = 0;
};

class MegatronSource final : public TokenSource {
 public:
  MegatronSource(const std::string& index_path, const std::string& data_path)
      : index_(index_path), data_(data_path), width_(detail::width_of(index_.type())) {
    bool contiguous = true;
    for (std::uint64_t i = 0; i < index_.sequences(); ++i) {
      check_sequence(i);
      contiguous &= static_cast<std::uint64_t>(index_.offset(i)) == size_ * width_;
      size_ += static_cast<std::uint64_t>(index_.length(i));
    }
    if (size_ == 0) {
      throw Error(fmt::format("'{}' indexes no tokens; was '{}' written to its end?", index_path,
                              data_path));
    }
    if (!contiguous) remember_starts();
  }

  std::uint64_t size() const override { return size_; }
  std::int32_t vocabulary_bound() const override { return detail::bound_of(index_.type()); }
  std::string name() const override { return fmt::format("'{}'", data_.path()); }

  void read(std::uint64_t begin, std::span<std::int32_t> out) const override {
    invariant(begin <= size_ && out.size() <= size_ - begin, "tokens read within the file");
    if (starts_.empty()) return read_at(begin * width_, begin, out);
    auto sequence = sequence_of(begin);
    while (!out.empty()) {
      const std::uint64_t skipped = begin - starts_[sequence];
      const auto left = static_cast<std::uint64_t>(index_.length(sequence)) - skipped;
      const std::size_t count = std::min<std::uint64_t>(left, out.size());
      const auto from = static_cast<std::uint64_t>(index_.offset(sequence)) + skipped * width_;
      read_at(from, begin, out.first(count));
      out = out.subspan(count);
      begin += count;
      ++sequence;
    }
  }

  std::string place(std::uint64_t position) const override {
    return fmt::format("'{}', token {}", data_.path(), position);
  }

 private:
  void check_sequence(std::uint64_t i) const {
    const std::int64_t offset = index_.offset(i);
    const std::int32_t length = index_.length(i);
    const std::uint64_t bytes = data_.bytes().size();
    if (offset >= 0 && length >= 0 && static_cast<std::uint64_t>(offset) <= bytes &&
        static_cast<std::uint64_t>(length) * width_ <= bytes - static_cast<std::uint64_t>(offset)) {
      return;
    }
    throw Error(fmt::format(
        "'{}': sequence {} has {} tokens of {} bytes at byte {}, outside '{}' of {} bytes; the two "
        "files do not belong together, or one is truncated",
        index_.path(), i, length, width_, offset, data_.path(), bytes));
  }

  void remember_starts() {
    starts_.reserve(index_.sequences());
    std::uint64_t start = 0;
    for (std::uint64_t i = 0; i < index_.sequences(); ++i) {
      starts_.push_back(start);
      start += static_cast<std::uint64_t>(index_.length(i));
    }
  }

  /// The last sequence that starts at or before `position`: the one that holds it, since empty
  /// ones share their start with the sequence after them.
  std::size_t sequence_of(std::uint64_t position) const {
    return static_cast<std::size_t>(std::ranges::upper_bound(starts_, position) - starts_.begin() -
                                    1);
  }

  void read_at(std::uint64_t byte, std::uint64_t position, std::span<std::int32_t> out) const {
    detail::unpack(index_.type(), data_.bytes().data() + byte, out, data_.path(), position);
  }

  Index index_;
  MappedFile data_;
  std::size_t width_;
  std::uint64_t size_ = 0;
  std::vector<std::uint64_t> starts_;  // empty: sequences follow one another in the .bin
};

}  // namespace

std::shared_ptr<const TokenSource> open_megatron(const std::string& index_path) {
  auto data = std::filesystem::path(index_path).replace_extension(".bin");
  return std::make_shared<MegatronSource>(index_path, data.string());
}

}  // namespace train
