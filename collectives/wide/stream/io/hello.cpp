#include "collectives/wide/stream/io/hello.hpp"

#include <algorithm>

namespace train::wide::detail {
namespace {

// stream (4), then twice: lane (4), length of the name (1), name.
void append(std::vector<std::byte>& bytes, std::uint64_t value, std::size_t width) {
  bytes.resize(bytes.size() + width);
  put_integer(std::span(bytes).last(width), value);
}

void append(std::vector<std::byte>& bytes, const PeerName& name) {
  append(bytes, name.lane, 4);
  append(bytes, name.cluster.size(), 1);
  for (const char letter : name.cluster) bytes.push_back(static_cast<std::byte>(letter));
}

bool take(std::span<const std::byte>& bytes, std::uint32_t& value) {
  if (bytes.size() < 4) return false;
  value = static_cast<std::uint32_t>(get_integer(bytes.first(4)));
  bytes = bytes.subspan(4);
  return true;
}

bool take(std::span<const std::byte>& bytes, PeerName& name) {
  if (!take(bytes, name.lane) || bytes.empty()) return false;
  const auto length = std::to_integer<std::size_t>(bytes[0]);
  if (bytes.size() < 1 + length) return false;
  name.cluster.clear();
  for (const std::byte letter : bytes.subspan(1, length)) {
    name.cluster.push_back(static_cast<char>(letter));
  }
  bytes = bytes.subspan(1 + length);
  return valid_name(name.cluster);
}

}  // namespace

std::vector<std::byte> encode(const Hello& hello) {
  std::vector<std::byte> body;
  append(body, hello.stream, 4);
  append(body, hello.from);
  append(body, hello.to);
  const auto header = encode(
      FrameHeader{FrameType::hello, static_cast<std::uint32_t>(body.size()), hello.session, 0});
  body.insert(body.begin(), header.begin(), header.end());
  return body;
}

std::optional<Hello> decode_hello(std::uint64_t session, std::span<const std::byte> body) {
  Hello hello;
  hello.session = session;
  if (take(body, hello.stream) && take(body, hello.from) && take(body, hello.to) && body.empty()) {
    return hello;
  }
  return std::nullopt;
}

bool valid_name(const std::string& name) {
  const auto letter_or_digit = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
  };
  const auto allowed = [&](char c) {
    return letter_or_digit(c) || c == '-' || c == '_' || c == '.';
  };
  return !name.empty() && name.size() <= 63 && (letter_or_digit(name[0]) || name[0] == '_') &&
         std::ranges::all_of(name, allowed);
}

}  // namespace train::wide::detail
