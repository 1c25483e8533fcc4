// As much of NVIDIA's driver as cuDNN asks for while it plans for a GPU that is not there: there is
// no device, and any compiled code can be loaded. Whatever would run something fails.
namespace {

constexpr int success = 0, no_device = 100;

int something;  // what handles point at

int give(void** handle) {
  *handle = &something;
  return success;
}

int give(int* number, int value) {
  *number = value;
  return success;
}

int give(const char** words) {
  *words = "the test's driver runs nothing";
  return success;
}

}  // namespace

extern "C" {

int cuInit(unsigned) {
  return no_device;
}
int cuDriverGetVersion(int* version) {
  return give(version, 99000);  // of any CUDA's
}
int cuGetErrorName(int, const char** name) {
  return give(name);
}
int cuGetErrorString(int, const char** words) {
  return give(words);
}

int cuLibraryLoadData(void** library, ...) {
  return give(library);
}
int cuLibraryGetKernel(void** kernel, ...) {
  return give(kernel);
}
int cuLibraryUnload(void*) {
  return success;
}
int cuModuleLoadData(void** module, ...) {
  return give(module);
}
int cuModuleLoadDataEx(void** module, ...) {
  return give(module);
}
int cuModuleGetFunction(void** function, ...) {
  return give(function);
}
int cuModuleUnload(void*) {
  return success;
}

int cuKernelSetAttribute(...) {
  return success;
}
int cuKernelGetAttribute(int* value, ...) {
  return give(value, 0);
}
int cuFuncSetAttribute(...) {
  return success;
}
int cuFuncGetAttribute(int* value, ...) {
  return give(value, 0);
}

}  // extern "C"
