#include "libtrain/data/sources/text_files.hpp"

#include <array>
#include <string_view>

#include <fmt/format.h>

#include "collectives/error.hpp"

namespace train::detail {
namespace {

using namespace std::string_view_literals;

struct Format {
  std::string_view magic;
  const char* name;
};

// In which data sets are handed around.
constexpr std::array<Format, 9> kFormats = {{
    {"PAR1"sv, "a Parquet file"},
    {"ARROW1\0\0"sv, "an Arrow file"},
    {"\x1f\x8b\x08"sv, "compressed by gzip"},
    {"\x28\xb5\x2f\xfd"sv, "compressed by zstd"},
    {"\xfd\x37zXZ\0"sv, "compressed by xz"},
    {"BZh91AY&SY"sv, "compressed by bzip2"},
    {"PK\x03\x04"sv, "a zip archive"},
    {"\x93NUMPY"sv, "an array of NumPy"},
    {"\x89HDF\r\n\x1a\n"sv, "an HDF5 file"},
}};

}  // namespace

bool is_text(const MappedFile& file) {
  for (const Format& format : kFormats) {
    if (!file.text().starts_with(format.magic)) continue;
    throw Error(fmt::format(
        "'{}' is {}, not text: extract its text, or name the texts beside it by a pattern such as "
        "'folder/**/*.txt'",
        file.path(), format.name));
  }
  return !file.bytes().empty();
}

void require_text(const std::vector<std::string>& paths, std::size_t texts) {
  if (texts > 0) return;
  if (paths.size() == 1) throw Error(fmt::format("'{}' is empty", paths.front()));
  throw Error(fmt::format("'{}' is empty, and so are the other {} files that were found",
                          paths.front(), paths.size() - 1));
}

}  // namespace train::detail
