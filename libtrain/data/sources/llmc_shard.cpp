#include "libtrain/data/llmc_shard.hpp"

#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <optional>
#include <vector>

#include <fmt/format.h>

#include "collectives/error.hpp"
#include "libtrain/data/mapped_file.hpp"
#include "libtrain/data/sources/packed_tokens.hpp"

namespace train {
namespace {

using detail::TokenType;

constexpr std::size_t kHeaderBytes = 1024;

struct Format {
  std::int32_t magic;
  std::int32_t version;
  TokenType type;
};

constexpr Format kGpt2{20240520, 1, TokenType::u16};
constexpr Format kLlama3{20240801, 7, TokenType::u32};

const Format& format_of(LlmcFormat format) {
  return format == LlmcFormat::gpt2 ? kGpt2 : kLlama3;
}

std::optional<Format> format_of_magic(std::int32_t magic) {
  for (const Format& format : {kGpt2, kLlama3}) {
    if (magic == format.magic) return format;
  }
  return std::nullopt;
}

/// The other files of llm.c that people pass by mistake.
const char* describe_magic(std::int32_t magic) {
  switch (magic) {
    case 20240522:
      return " (questions of llm.c: give them as --eval-choices)";
    case 20240326:
      return " (the weights of a model of llm.c)";
    case 20240327:
      return " (a debug state of llm.c)";
    case 20240328:
      return " (a tokenizer of llm.c: give it as --tokenizer gpt2:FILE)";
    default:
      return "";
  }
}

std::int32_t header_word(const MappedFile& file, std::size_t index) {
  std::int32_t word;
  std::memcpy(&word, file.bytes().data() + index * sizeof(word), sizeof(word));
  return word;
}

Format check_header(const MappedFile& file) {
  if (file.bytes().size() < kHeaderBytes) {
    throw Error(fmt::format(
        "'{}' has {} bytes, fewer than the {} of a token shard's header; copy or tokenize it again",
        file.path(), file.bytes().size(), kHeaderBytes));
  }
  const std::int32_t magic = header_word(file, 0);
  const auto format = format_of_magic(magic);
  if (!format) {
    throw Error(fmt::format(
        "'{}' is no token shard: its magic number is {}{}, expected {} (GPT-2) or {} (Llama-3). "
        "A Megatron .bin needs its .idx beside it; text needs a name that does not end in .bin",
        file.path(), magic, describe_magic(magic), kGpt2.magic, kLlama3.magic));
  }
  const std::int32_t version = header_word(file, 1);
  if (version != format->version) {
    throw Error(
        fmt::format("'{}' is a token shard of version {}, expected {} for magic {}; tokenize the "
                    "text again with a current llm.c",
                    file.path(), version, format->version, magic));
  }
  return *format;
}

class LlmcShard final : public TokenSource {
 public:
  explicit LlmcShard(const std::string& path) : file_(path) {
    const Format format = check_header(file_);
    type_ = format.type;
    // llm.c writes an int; read as unsigned it reaches 2^32 tokens.
    size_ = static_cast<std::uint32_t>(header_word(file_, 2));
    const std::uint64_t expected = kHeaderBytes + size_ * detail::width_of(type_);
    if (file_.bytes().size() != expected) {
      throw Error(fmt::format(
          "'{}' has {} bytes, but its header promises {} tokens of {} bytes: {} bytes. The file is "
          "truncated or damaged; copy or tokenize it again",
          path, file_.bytes().size(), size_, detail::width_of(type_), expected));
    }
    if (size_ == 0) {
      throw Error(fmt::format("'{}' is a token shard without tokens; remove it", path));
    }
  }

  std::uint64_t size() const override { return size_; }
  std::int32_t vocabulary_bound() const override { return detail::bound_of(type_); }

  void read(std::uint64_t begin, std::span<std::int32_t> out) const override {
    invariant(begin <= size_ && out.size() <= size_ - begin, "tokens read within the shard");
    const std::byte* from = file_.bytes().data() + kHeaderBytes + begin * detail::width_of(type_);
    detail::unpack(type_, from, out, file_.path(), begin);
  }

  std::string name() const override { return fmt::format("'{}'", file_.path()); }
  std::string place(std::uint64_t position) const override {
    return fmt::format("'{}', token {}", file_.path(), position);
  }

 private:
  MappedFile file_;
  TokenType type_ = TokenType::u16;
  std::uint64_t size_ = 0;
};

template <typename T>
void write_packed(std::ofstream& file, std::span<const std::int32_t> tokens) {
  constexpr std::size_t kChunk = 1 << 16;
  std::vector<T> packed(std::min(kChunk, tokens.size()));
  for (std::size_t begin = 0; begin < tokens.size(); begin += kChunk) {
    const auto chunk = tokens.subspan(begin, std::min(kChunk, tokens.size() - begin));
    for (std::size_t i = 0; i < chunk.size(); ++i) packed[i] = static_cast<T>(chunk[i]);
    file.write(reinterpret_cast<const char*>(packed.data()),
               static_cast<std::streamsize>(chunk.size() * sizeof(T)));
  }
}

void check_tokens(const std::string& path, std::span<const std::int32_t> tokens, TokenType type) {
  constexpr std::size_t kMost = std::numeric_limits<std::int32_t>::max();
  if (tokens.empty() || tokens.size() > kMost) {
    throw Error(fmt::format("cannot write '{}': {} tokens, a shard holds 1 to {}", path,
                            tokens.size(), kMost));
  }
  const std::int32_t bound = detail::bound_of(type);
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    if (tokens[i] >= 0 && tokens[i] < bound) continue;
    throw Error(fmt::format("cannot write '{}': token {} is {}, the format holds 0 to {}{}", path,
                            i, tokens[i], bound - 1,
                            type == TokenType::u16 ? "; use the Llama-3 format" : ""));
  }
}

}  // namespace

bool looks_like_llmc_shard(const std::string& path) {
  std::int32_t magic = 0;
  std::ifstream file(path, std::ios::binary);
  file.read(reinterpret_cast<char*>(&magic), sizeof(magic));
  return file && format_of_magic(magic);
}

std::shared_ptr<const TokenSource> open_llmc_shard(const std::string& path) {
  return std::make_shared<LlmcShard>(path);
}

void write_llmc_shard(const std::string& path, std::span<const std::int32_t> tokens,
                      LlmcFormat format) {
  const Format& layout = format_of(format);
  check_tokens(path, tokens, layout.type);
  const std::string partial = path + ".partial";
  errno = 0;  // streams say only that they failed
  std::ofstream file(partial, std::ios::binary | std::ios::trunc);
  std::array<std::int32_t, kHeaderBytes / sizeof(std::int32_t)> header{};
  header[0] = layout.magic;
  header[1] = layout.version;
  header[2] = static_cast<std::int32_t>(tokens.size());
  file.write(reinterpret_cast<const char*>(header.data()), kHeaderBytes);
  if (layout.type == TokenType::u16) {
    write_packed<std::uint16_t>(file, tokens);
  } else {
    write_packed<std::uint32_t>(file, tokens);
  }
  file.close();
  std::error_code failed;
  if (file) {
    std::filesystem::rename(partial, path, failed);
  } else {
    failed.assign(errno == 0 ? EIO : errno, std::generic_category());
  }
  if (failed) {
    std::error_code ignored;
    std::filesystem::remove(partial, ignored);
    throw Error(fmt::format("cannot write '{}': {}", path, failed.message()));
  }
}

}  // namespace train
