#include "libtrain/checkpoint/interchange/open_model.hpp"

#include <system_error>

#include <fmt/format.h>

#include "collectives/error.hpp"
#include "libtrain/checkpoint/interchange/hugging_face.hpp"
#include "libtrain/checkpoint/interchange/llmc_model.hpp"
#include "libtrain/checkpoint/interchange/native_model.hpp"
#include "libtrain/checkpoint/store.hpp"
#include "libtrain/checkpoint/weights.hpp"

namespace train {
namespace {

namespace fs = std::filesystem;

bool is_there(const fs::path& path) {
  std::error_code none;
  return fs::exists(path, none);
}

}  // namespace

std::unique_ptr<ModelSource> open_model(const fs::path& path, bool full_precision) {
  if (!is_there(path))
    throw Error(fmt::format("{}: there is no such file or directory", path.string()));
  if (is_there(path / Manifest::file_name)) {
    return open_checkpoint_model(path, full_precision);
  }
  std::error_code none;
  if (fs::is_directory(path, none)) {
    const auto checkpoints = CheckpointStore(path).newest_first();
    if (!checkpoints.empty()) {
      return open_checkpoint_model(checkpoints.front().directory, full_precision);
    }
  }
  if (is_llmc_model(path)) return open_llmc_model(path);
  // Before what lies beside it is looked at.
  if (path.extension() == ".safetensors" && is_weights_file(path)) return open_weights_model(path);
  if (is_hugging_face(path)) return open_hugging_face(path);
  if (path.extension() == ".safetensors") return open_weights_model(path);
  throw Error(fmt::format(
      "{}: is neither a checkpoint, a .safetensors file, a directory of Hugging Face's (with "
      "config.json), nor llm.c's model",
      path.string()));
}

}  // namespace train
