#include "tests/gpu/emulated/cudnn/library.hpp"

// Programs with this file find the emulated cuDNN.
namespace {

[[maybe_unused]] const bool said = emulated::cudnn::present = true;

}  // namespace
