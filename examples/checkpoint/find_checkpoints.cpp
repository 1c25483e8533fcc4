#include "examples/checkpoint/find_checkpoints.hpp"

#include <string>
#include <system_error>

#include <fmt/format.h>

#include "collectives/error.hpp"
#include "libtrain/checkpoint/interchange/hugging_face.hpp"
#include "libtrain/checkpoint/interchange/llmc_model.hpp"
#include "libtrain/checkpoint/store.hpp"

namespace {

namespace fs = std::filesystem;

bool is_checkpoint(const fs::path& path) {
  std::error_code none;
  return fs::exists(path / train::Manifest::file_name, none);
}

// "" for what is no model of another format.
std::string kind_of_model(const fs::path& path) {
  if (train::is_llmc_model(path)) return "a model of llm.c";
  if (train::is_hugging_face(path)) return "a model of Hugging Face's";
  return path.extension() == ".safetensors" ? "a file of weights" : "";
}

// What it is instead, and what to do with it.
std::string said_of(const fs::path& path) {
  const std::string name = path.string();
  std::error_code none;
  if (!fs::exists(path, none)) return fmt::format("{}: there is no such file or directory", name);
  if (const std::string kind = kind_of_model(path); !kind.empty()) {
    return fmt::format(
        "{} is {}, and no checkpoint; \"checkpoint_tool import {} --output "
        "DIRECTORY\" makes one of it, and \"export\" other files",
        name, kind, name);
  }
  if (const fs::path around = fs::absolute(path).parent_path(); is_checkpoint(around)) {
    return fmt::format("{} is part of a checkpoint; name that: {}", name, around.string());
  }
  if (!fs::is_directory(path, none)) {
    return fmt::format("{} is neither a checkpoint, nor a directory of them, nor a model", name);
  }
  return fmt::format("{} holds no checkpoint: nothing that is named as {} is", name,
                     train::checkpoint_name(1000));
}

}  // namespace

std::vector<fs::path> checkpoints_at(const fs::path& path) {
  if (is_checkpoint(path)) return {path};
  std::vector<fs::path> found;
  std::error_code none;
  if (fs::is_directory(path, none)) {
    for (const auto& entry : train::CheckpointStore(path).list()) {
      found.push_back(entry.directory);
    }
  }
  if (found.empty()) throw train::Error(said_of(path));
  return found;
}

fs::path newest_checkpoint_at(const fs::path& path) {
  if (checkpoints_at(path).front() == path) return path;
  return train::CheckpointStore(path).newest_first().front().directory;
}
