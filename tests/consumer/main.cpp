// A program of a user's own: prints "ok" when the library it linked works.
#include <libtrain/checkpoint/safetensors.hpp>
#include <libtrain/metrics/flops.hpp>

#include <cstdio>
#include <exception>
#include <filesystem>
#include <span>
#include <vector>

int main(int argc, char** argv) try {
  const std::filesystem::path path = argc > 1 ? argv[1] : "consumer.safetensors";
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
