// Speed of the codecs on one thread, in GB of f32 per second, beside memcpy of the same floats.
// The data is larger than the caches. Run: build/bin/codec_bench [MIB]
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <functional>
#include <random>
#include <stdexcept>
#include <vector>

#include <fmt/format.h>

#include "collectives/wide/codec/codec.hpp"
#include "collectives/wide/codec/error_feedback.hpp"
#include "tests/bench/ops_bench_machine.hpp"

namespace train::bench {
namespace {

double gigabytes_per_s(std::size_t count, const std::function<void()>& call) {
  const auto bytes = static_cast<double>(count * sizeof(float));
  return bytes / median_seconds(Clock::processor, call) * 1e-9;
}

void run(std::size_t count) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal(0.0f, 1e-3f);
  std::vector<float> values(count), other(count);
  for (auto& value : values) value = normal(random);
  fmt::print("{} MiB of f32, GB of f32 per second of one thread\n", count * sizeof(float) >> 20);
  fmt::print("memcpy {:>54.2f}\n", gigabytes_per_s(count, [&] {
               std::memcpy(other.data(), values.data(), count * sizeof(float));
             }));
  fmt::print("{:<8}{:>10}{:>18}{:>10}{:>10}{:>12}\n", "", "encode", "with feedback", "quantise",
             "decode", "decode_add");
  using wide::Codec;
  for (const Codec codec : {Codec::none, Codec::bf16, Codec::int8, Codec::int4}) {
    std::vector<std::byte> bytes(wide::encoded_bytes(codec, count));
    wide::ErrorFeedback feedback(codec, count);
    const double encode = gigabytes_per_s(count, [&] { wide::encode(codec, values, bytes); });
    const double encode_feedback =
        gigabytes_per_s(count, [&] { feedback.encode(0, values, bytes); });
    const double decode = gigabytes_per_s(count, [&] { wide::decode(codec, bytes, other); });
    const double decode_add =
        gigabytes_per_s(count, [&] { wide::decode_add(codec, bytes, 1e-6f, other); });
    const double quantise = gigabytes_per_s(count, [&] { wide::quantise(codec, other, bytes); });
    fmt::print("{:<8}{:>10.2f}{:>18.2f}{:>10.2f}{:>10.2f}{:>12.2f}\n", wide::name_of(codec), encode,
               encode_feedback, quantise, decode, decode_add);
  }
}

}  // namespace
}  // namespace train::bench

int main(int argc, char** argv) try {
  const long mebibytes = argc > 1 ? std::atol(argv[1]) : 256;
  if (mebibytes < 1) throw std::runtime_error("usage: codec_bench [MIB]");
  train::bench::run(static_cast<std::size_t>(mebibytes) << 18);
} catch (const std::exception& failure) {
  std::fprintf(stderr, "%s\n", failure.what());
  return EXIT_FAILURE;
}
