// A user's own program with all of libtrain: prints "ok" when what it linked works.
#include <cstdio>
#include <exception>
#include <filesystem>
#include <span>
#include <vector>

#include <libtrain/checkpoint/safetensors.hpp>
#include <libtrain/metrics/flops.hpp>

int main() try {
  const std::filesystem::path path = "consumer.safetensors";
  const std::vector<float> values = {1, 2, 3};
  train::SafetensorsWriter writer(path, {{"w", train::DataType::f32, {3}}});
  writer.write("w", std::span(values));
  writer.commit();

  std::vector<float> read(3);
  train::SafetensorsReader(path).read("w", std::span(read));
  if (read != values || !(train::measure_peak_flops(1) > 0)) return 1;
  std::puts("ok");
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
