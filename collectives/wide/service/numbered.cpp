#include "collectives/wide/service/numbered.hpp"

namespace train::wide {
namespace {
constexpr std::size_t number_bytes = 8;
}

std::vector<std::byte> with_number(std::uint64_t number, std::span<const std::byte> content) {
  std::vector<std::byte> message;
  message.reserve(number_bytes + content.size());
  for (std::size_t i = 0; i < number_bytes; ++i) {
    message.push_back(static_cast<std::byte>(number >> (8 * i)));
  }
  message.insert(message.end(), content.begin(), content.end());
  return message;
}

std::optional<Numbered> split_number(std::span<const std::byte> message) {
  if (message.size() < number_bytes) return std::nullopt;
  Numbered result{0, message.subspan(number_bytes)};
  for (std::size_t i = 0; i < number_bytes; ++i) {
    result.number |= std::to_integer<std::uint64_t>(message[i]) << (8 * i);
  }
  return result;
}

}  // namespace train::wide
