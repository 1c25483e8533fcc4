#include "libtrain/ops/cpu/vector_math.hpp"

namespace train::cpu {

const float exp_low = -88.0f;
const float exp_high = 88.8f;

}  // namespace train::cpu
