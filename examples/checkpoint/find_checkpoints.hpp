#pragma once

#include <filesystem>
#include <vector>

/// What a path given to checkpoint_tool stands for. Throws train::Error that says what it is, and
/// which command takes it, where it is something else.

/// Itself, if it is a checkpoint, or those in it, by step; at least one.
std::vector<std::filesystem::path> checkpoints_at(const std::filesystem::path& path);
/// Itself, or its newest.
std::filesystem::path newest_checkpoint_at(const std::filesystem::path& path);
