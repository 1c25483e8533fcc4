#include "tests/gpu/emulated/runtime/api.hpp"

cudaError_t cudaDriverGetVersion(int* version) {
  *version = 13000;
  return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = 13000;
  return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  int count = 0;
  cudaGetDeviceCount(&count);
  if (device < 0 || device >= count) return cudaErrorInvalidDevice;
  *properties = {"a GPU that the tests emulate", {}};
  properties->uuid.bytes[0] = static_cast<char>(device + 1);
  return cudaSuccess;
}
