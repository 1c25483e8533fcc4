// Runs a fuzzer's target on files, for compilers that have no fuzzer: run_files FILE|DIRECTORY …
#include <cstdint>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <vector>

#include "tests/support/scratch_directory.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

namespace fs = std::filesystem;

int run(const fs::path& path) {
  int count = 0;
  if (fs::is_directory(path)) {
    for (const auto& entry : fs::directory_iterator(path)) count += run(entry.path());
    return count;
  }
  const std::string content = train::test::read_file(path);
  std::printf("%s: %zu bytes\n", path.c_str(), content.size());
  std::fflush(stdout);  // the last one named is the one that fails
  LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(content.data()), content.size());
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  int count = 0;
  try {
    for (int i = 1; i < argc; ++i) count += run(argv[i]);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "run_files: %s\n", error.what());
    return 1;
  }
  return count > 0 ? 0 : 1;
}
