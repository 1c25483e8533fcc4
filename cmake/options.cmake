# Every option of the build, on one screen.
include(GNUInstallDirs)

option(TRAIN_NATIVE "Compile for this machine's processor (-march=native)" ${PROJECT_IS_TOP_LEVEL})
option(TRAIN_BUILD_EXAMPLES "Build the example programs" ${PROJECT_IS_TOP_LEVEL})
option(TRAIN_BUILD_TESTS "Build the tests" ${PROJECT_IS_TOP_LEVEL})
option(TRAIN_INSTALL "Generate the install target" ${PROJECT_IS_TOP_LEVEL})
set(TRAIN_CUDA AUTO CACHE STRING "Build the GPU backend: AUTO (where CUDA and NCCL are), ON, OFF")
set_property(CACHE TRAIN_CUDA PROPERTY STRINGS AUTO ON OFF)
option(TRAIN_CUDA_WITHOUT_NCCL "Let TRAIN_CUDA=ON do without NCCL: one GPU per program" OFF)
set(TRAIN_CUDNN AUTO CACHE STRING "Attention of GPUs by cuDNN: AUTO (where it is), ON, OFF")
set_property(CACHE TRAIN_CUDNN PROPERTY STRINGS AUTO ON OFF)
option(TRAIN_WERROR "Treat warnings as errors" OFF)
set(TRAIN_SANITIZE "" CACHE STRING "Sanitizers to build with: address, undefined, thread")

if(PROJECT_IS_TOP_LEVEL AND NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Build type" FORCE)
endif()
if(PROJECT_IS_TOP_LEVEL)
  set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
  set(CMAKE_EXPORT_COMPILE_COMMANDS ON)  # for clang-tidy
endif()
