// All other functions that the CUDA toolkit's stub of the driver has: cuDNN wants to see them, and
// does not call them. They fail as the stub's.
#define REFUSE(name)                            \
  extern "C" __attribute__((weak)) int name() { \
    return 34; /* CUDA_ERROR_STUB_LIBRARY */    \
  }
#include <driver_functions.inc>
