#include "libtrain/checkpoint/hdf5/handle.hpp"

#include <fmt/format.h>

#include "collectives/error.hpp"

namespace train::hdf5 {
namespace {

herr_t collect(unsigned /*depth*/, const H5E_error2_t* error, void* text) noexcept {
  auto& reasons = *static_cast<std::string*>(text);
  if (error->desc != nullptr && *error->desc != '\0') {
    reasons += fmt::format("{}{}", reasons.empty() ? "" : "; ", error->desc);
  }
  return 0;
}

}  // namespace

std::unique_lock<std::mutex> lock() {
  static std::mutex mutex;
  std::unique_lock<std::mutex> held(mutex);
  // Messages are collected by fail(), not printed.
  H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
  return held;
}

void fail(const std::string& what, const std::filesystem::path& path) {
  std::string reasons;
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, collect, &reasons);
  H5Eclear2(H5E_DEFAULT);
  throw Error(fmt::format("{}: HDF5 cannot {}: {}", path.string(), what,
                          reasons.empty() ? "it gives no reason" : reasons));
}

}  // namespace train::hdf5
