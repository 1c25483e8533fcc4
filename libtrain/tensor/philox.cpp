#include "libtrain/tensor/philox.hpp"

namespace train {
namespace {

// splitmix64's finaliser: spreads every bit of the input over the output.
std::uint64_t mix(std::uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

}  // namespace

Philox::Philox(std::uint64_t seed, std::string_view purpose)
    : key_(mix(seed + 0x9e3779b97f4a7c15u)) {
  for (const char c : purpose) key_ = mix(key_ ^ static_cast<unsigned char>(c));
}

}  // namespace train
