#include "libtrain/data/file_patterns.hpp"

#include <algorithm>
#include <filesystem>
#include <set>
#include <utility>

#include <fmt/format.h>
#include <fnmatch.h>

#include "collectives/error.hpp"

namespace train {
namespace {

namespace fs = std::filesystem;
using Paths = std::vector<std::string>;

bool is_hidden(const fs::path& path) {
  return path.filename().string().starts_with('.');
}

bool has_wildcard(const std::string& text) {
  return text.find_first_of("*?[") != std::string::npos;
}

/// Sorted entries of a folder.
std::vector<fs::path> entries_of(const fs::path& folder) {
  std::error_code failed;
  std::vector<fs::path> entries;
  fs::directory_iterator entry(folder, failed);
  for (; !failed && entry != fs::directory_iterator(); entry.increment(failed)) {
    entries.push_back(folder == "." ? entry->path().filename() : entry->path());
  }
  if (failed) throw Error(fmt::format("cannot list '{}': {}", folder.string(), failed.message()));
  std::ranges::sort(entries);
  return entries;
}

/// A folder is entered when it is one itself; links to folders could form a circle.
bool is_real_folder(const fs::path& path) {
  std::error_code ignored;
  return fs::is_directory(fs::symlink_status(path, ignored));
}

bool is_folder(const fs::path& path) {
  std::error_code ignored;
  return fs::is_directory(path, ignored);
}

/// What cannot be looked up is not missing: a folder above it may be closed to this user.
void require_reachable(const fs::path& path) {
  std::error_code failed;
  if (fs::exists(fs::status(path, failed))) return;
  if (!failed || failed == std::errc::no_such_file_or_directory ||
      failed == std::errc::not_a_directory)
    return;
  throw Error(fmt::format("cannot look up '{}': {}", path.string(), failed.message()));
}

void add_folder(const fs::path& folder, Paths& found) {
  for (const fs::path& entry : entries_of(folder)) {
    std::error_code ignored;
    if (is_hidden(entry)) continue;
    if (is_real_folder(entry)) {
      add_folder(entry, found);
      continue;
    }
    require_reachable(entry);
    if (fs::is_regular_file(entry, ignored)) {
      found.push_back(entry.string());
    }
  }
}

using Component = fs::path::iterator;

/// Matches the components [next, end) below `at`, which exists.
void add_matches(const fs::path& at, Component next, Component end, Paths& found) {
  if (next == end) {
    std::error_code ignored;
    require_reachable(at);
    if (fs::is_regular_file(at, ignored)) found.push_back(at.string());
    return;
  }
  const std::string component = next->string();
  const Component rest = std::next(next);
  std::error_code ignored;
  const fs::path path = at / component;
  require_reachable(path);
  const bool is_name = fs::exists(path, ignored);  // 'data[2]' may be one
  if (is_name) add_matches(path, rest, end, found);
  if (is_name || !has_wildcard(component)) return;
  const fs::path folder = at.empty() ? fs::path(".") : at;
  if (!is_folder(folder)) return;
  const bool any_depth = component == "**";
  if (any_depth && rest != end) add_matches(at, rest, end, found);
  for (const fs::path& entry : entries_of(folder)) {
    if (any_depth && is_hidden(entry)) continue;
    if (any_depth && is_real_folder(entry)) {
      add_matches(entry, next, end, found);
    } else if (any_depth && rest == end) {
      add_matches(entry, rest, end, found);
    } else if (!any_depth &&
               ::fnmatch(component.c_str(), entry.filename().c_str(), FNM_PERIOD) == 0) {
      add_matches(entry, rest, end, found);
    }
  }
}

Paths find(const std::string& pattern) {
  Paths found;
  std::error_code ignored;
  require_reachable(pattern);
  if (is_folder(pattern)) {
    add_folder(pattern, found);
    if (found.empty()) {
      throw Error(fmt::format("the folder '{}' holds no files to read", pattern));
    }
  } else if (fs::is_regular_file(pattern, ignored)) {
    found.push_back(pattern);
  } else if (fs::exists(pattern, ignored)) {
    throw Error(fmt::format("'{}' is a device or pipe; data are read from files", pattern));
  } else if (fs::exists(pattern + ".idx", ignored)) {
    throw Error(
        fmt::format("there is no file or folder '{0}'; the Megatron data set of this prefix is "
                    "'{0}.idx' here",
                    pattern));
  } else if (!has_wildcard(pattern)) {
    throw Error(fmt::format("there is no file or folder '{}'", pattern));
  } else {
    const fs::path path(pattern);
    auto first = path.begin();
    fs::path root;
    if (path.has_root_directory()) root = *first++;
    add_matches(root, first, path.end(), found);
    if (found.empty()) throw Error(fmt::format("no file matches '{}'", pattern));
    std::ranges::sort(found);
  }
  return found;
}

}  // namespace

std::vector<std::string> find_files(const std::vector<std::string>& patterns) {
  Paths files;
  std::set<fs::path> seen;
  for (const std::string& pattern : patterns) {
    for (std::string& file : find(pattern)) {
      if (seen.insert(file_identity(file)).second) files.push_back(std::move(file));
    }
  }
  return files;
}

fs::path file_identity(const std::string& path) {
  std::error_code failed;
  const fs::path real = fs::canonical(path, failed);
  return failed ? fs::path(path).lexically_normal() : real;
}

}  // namespace train
