#pragma once

#include <filesystem>

/// What checkpoint_tool says of checkpoints. A path is one checkpoint, or a directory of them.
/// Each prints to standard output and returns the exit status: 0, or 1 for damage or differences.

/// One line per checkpoint.
int list_checkpoints(const std::filesystem::path& path);
/// Step, what else was saved, and every tensor with its shape and norm; the newest of several.
int show_checkpoint(const std::filesystem::path& path, bool norms);
/// Compares all hashes, of all checkpoints.
int verify_checkpoints(const std::filesystem::path& path);
/// Tensors that are not in both, or whose values differ, and by how much.
int compare_checkpoints(const std::filesystem::path& a, const std::filesystem::path& b);
