#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace train {

/// The files that a user's file names, folders and globs stand for, in the order of the patterns,
/// each pattern's files sorted by path; a file that several match, or that has several names
/// through links, is given once.
///  - a folder stands for all regular files in it and below, hidden ones (.name) left out
///  - `*`, `?` and `[a-z]` match within one path component, `**` any number of folders
///  - a name that exists is taken as it is, even if it holds these characters; so is a folder's
/// Throws Error naming the pattern that matches nothing.
std::vector<std::string> find_files(const std::vector<std::string>& patterns);

/// One path for all names that a file has: through links, and however it is written.
std::filesystem::path file_identity(const std::string& path);

}  // namespace train
