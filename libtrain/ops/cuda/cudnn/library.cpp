#include "libtrain/ops/cuda/cudnn/library.hpp"

#include <array>
#include <optional>

#include <dlfcn.h>
#include <fmt/format.h>

#include "collectives/error.hpp"

namespace train::cuda::cudnn {
namespace {

// cuDNN, or why not.
struct Search {
  std::optional<Library> found;
  std::string reason;
};

template <typename Function>
void look_up(void* opened, const char* name, Function& function) {
  function = reinterpret_cast<Function>(dlsym(opened, name));
  if (function == nullptr) throw Error(fmt::format("it has no {}", name));
}

Library functions_of(void* opened) {
  Library library{};
  look_up(opened, "cudnnGetVersion", library.version);
  look_up(opened, "cudnnGetErrorString", library.error_string);
  look_up(opened, "cudnnGetLastErrorString", library.last_error_string);
  look_up(opened, "cudnnCreate", library.create);
  look_up(opened, "cudnnDestroy", library.destroy);
  look_up(opened, "cudnnSetStream", library.set_stream);
  look_up(opened, "cudnnBackendCreateDescriptor", library.create_descriptor);
  look_up(opened, "cudnnBackendDestroyDescriptor", library.destroy_descriptor);
  look_up(opened, "cudnnBackendSetAttribute", library.set_attribute);
  look_up(opened, "cudnnBackendGetAttribute", library.get_attribute);
  look_up(opened, "cudnnBackendFinalize", library.finalize);
  look_up(opened, "cudnnBackendExecute", library.execute);
  return library;
}

Search search() {
  // The major version is the library's promise that the headers' constants mean the same.
  const std::string name = fmt::format("libcudnn.so.{}", CUDNN_MAJOR);
  void* opened = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (opened == nullptr) {
    const char* words = dlerror();
    return {std::nullopt, words != nullptr ? words : name};
  }
  try {
    const Library library = functions_of(opened);
    const std::size_t version = library.version();
    if (version >= version_min) return {library, ""};
    return {std::nullopt, fmt::format("{} is cuDNN {}, and {} is the oldest that serves", name,
                                      words_of(version), words_of(version_min))};
  } catch (const Error& error) {
    return {std::nullopt, fmt::format("{}: {}", name, error.what())};
  }
}

const Search& searched() {
  static const Search once = search();
  return once;
}

}  // namespace

std::string Library::words(cudnnStatus_t status) const {
  std::array<char, 512> detail{};
  last_error_string(detail.data(), detail.size());
  detail.back() = '\0';
  return detail.front() == '\0' ? std::string(error_string(status))
                                : fmt::format("{} ({})", error_string(status), detail.data());
}

const Library* library() {
  return searched().found ? &*searched().found : nullptr;
}

const std::string& reason_for_none() {
  return searched().reason;
}

}  // namespace train::cuda::cudnn
