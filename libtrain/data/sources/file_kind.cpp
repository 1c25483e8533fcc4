#include "libtrain/data/sources/file_kind.hpp"

#include <filesystem>
#include <system_error>

#include "collectives/error.hpp"
#include "libtrain/data/llmc_shard.hpp"

namespace train::detail {

FileKind kind_of_file(const std::string& path) {
  const std::filesystem::path file(path);
  if (file.extension() == ".idx") return {DataKind::megatron, path};
  if (looks_like_llmc_shard(path)) return {DataKind::llmc_shards, path};
  if (file.extension() != ".bin") return {DataKind::text, path};
  const std::filesystem::path index = std::filesystem::path(file).replace_extension(".idx");
  std::error_code ignored;
  if (std::filesystem::exists(index, ignored)) return {DataKind::megatron, index.string()};
  return {DataKind::llmc_shards, path};  // whose reader says what is wrong with it
}

const char* name_of(DataKind kind) {
  switch (kind) {
    case DataKind::llmc_shards:
      return "a token shard of llm.c";
    case DataKind::megatron:
      return "a Megatron data set";
    case DataKind::text:
      return "text";
  }
  unreachable("kind of data");
}

}  // namespace train::detail
