#pragma once

// The part of CUDA's runtime that libtrain uses, on the host, for tests: names and meanings are
// CUDA's (CUDA Runtime API and CUDA C++ Programming Guide), the code is the test's own. Kernels are
// compiled by the host's compiler; runtime/ runs them. README.md says what the emulation proves.

#include <cstddef>

#include "tests/gpu/emulated/runtime/api.hpp"
#include "tests/gpu/emulated/runtime/kernel.hpp"
