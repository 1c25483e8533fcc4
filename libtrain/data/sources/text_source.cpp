#include "libtrain/data/sources/text_source.hpp"

#include <algorithm>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "collectives/error.hpp"
#include "libtrain/data/sources/packed_tokens.hpp"

namespace train::detail {
namespace {

class ByteSource final : public TokenSource {
 public:
  explicit ByteSource(MappedFile file) : file_(std::move(file)) {}

  std::uint64_t size() const override { return file_.bytes().size(); }
  std::int32_t vocabulary_bound() const override { return bound_of(TokenType::u8); }

  void read(std::uint64_t begin, std::span<std::int32_t> out) const override {
    invariant(begin <= size() && out.size() <= size() - begin, "bytes read within the file");
    unpack(TokenType::u8, file_.bytes().data() + begin, out, file_.path(), begin);
  }

  std::string name() const override { return fmt::format("'{}'", file_.path()); }
  std::string place(std::uint64_t position) const override {
    return fmt::format("'{}', byte {}", file_.path(), position);
  }

 private:
  MappedFile file_;
};

class TextSource final : public TokenSource {
 public:
  TextSource(std::string path, std::vector<std::int32_t> tokens, std::int32_t bound)
      : path_(std::move(path)), tokens_(std::move(tokens)), bound_(bound) {}

  std::uint64_t size() const override { return tokens_.size(); }
  std::int32_t vocabulary_bound() const override { return bound_; }

  void read(std::uint64_t begin, std::span<std::int32_t> out) const override {
    invariant(begin <= size() && out.size() <= size() - begin, "tokens read within the text");
    std::copy_n(tokens_.begin() + static_cast<std::ptrdiff_t>(begin), out.size(), out.begin());
  }

  std::string name() const override { return fmt::format("'{}'", path_); }
  std::string place(std::uint64_t position) const override {
    return fmt::format("'{}', token {} of its text", path_, position);
  }

 private:
  std::string path_;
  std::vector<std::int32_t> tokens_;
  std::int32_t bound_;
};

}  // namespace

std::shared_ptr<const TokenSource> make_byte_source(MappedFile file) {
  return std::make_shared<ByteSource>(std::move(file));
}

std::shared_ptr<const TokenSource> make_text_source(const MappedFile& file,
                                                    const Tokenizer& tokenizer,
                                                    std::int32_t separator) {
  try {
    auto tokens = encode_document(tokenizer, file.text());
    if (separator >= 0) tokens.push_back(separator);
    if (tokens.empty()) throw Error("the tokenizer makes no tokens of it");
    return std::make_shared<TextSource>(file.path(), std::move(tokens),
                                        tokenizer.vocabulary_size());
  } catch (const Error& error) {
    throw Error(fmt::format("'{}': {}", file.path(), error.what()));
  }
}

}  // namespace train::detail
