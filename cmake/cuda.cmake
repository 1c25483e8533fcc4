# Decides whether the GPU backends are built: TRAIN_HAS_CUDA, TRAIN_HAS_NCCL, TRAIN_HAS_CUDNN. Which
# files that picks stands in the CMakeLists of each cuda/ and nccl/ folder.
#
# A program that is built with them starts on machines without a driver: the runtime is linked
# statically and opens the driver when it is first asked for a device. So does cuDNN's part with
# libcudnn.
set(TRAIN_HAS_CUDA OFF)
set(TRAIN_HAS_NCCL OFF)
set(TRAIN_HAS_CUDNN OFF)
set(cuda_version_min 12.3)  # cudaFuncGetName
set(nccl_version_min 2.19.1)  # as in collectives/nccl/gpu.cpp
set(cudnn_version_min 9.12)  # as in libtrain/ops/cuda/cudnn/library.hpp

# Sets `missing` in the caller to what CUDA lacks here, or to nothing. On success the language is
# enabled and the toolkit's targets exist.
macro(train_find_cuda)
  set(missing "")
  find_program(TRAIN_NVCC nvcc HINTS ENV CUDA_HOME ENV CUDA_PATH PATHS /usr/local/cuda
               PATH_SUFFIXES bin DOC "CUDA's compiler where CMAKE_CUDA_COMPILER names none")
  mark_as_advanced(TRAIN_NVCC)
  if(NOT CMAKE_CUDA_COMPILER)
    unset(CMAKE_CUDA_COMPILER CACHE)  # what an earlier search did not find may be there now
    if(NOT DEFINED ENV{CUDACXX} AND TRAIN_NVCC)
      set(ENV{CUDACXX} ${TRAIN_NVCC})
    endif()
  endif()
  # Ampere and Hopper as they are, and what a later driver can translate for later GPUs. Has to be
  # known before the language is enabled.
  if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES AND NOT DEFINED ENV{CUDAARCHS})
    set(CMAKE_CUDA_ARCHITECTURES 80-real 90-real 90-virtual)
  endif()
  include(CheckLanguage)
  check_language(CUDA)
  if(NOT CMAKE_CUDA_COMPILER)
    set(missing "a CUDA compiler that works (CMAKE_CUDA_COMPILER names one)")
  else()
    if(NOT DEFINED CMAKE_CUDA_HOST_COMPILER AND NOT DEFINED ENV{CUDAHOSTCXX}
       AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
      set(CMAKE_CUDA_HOST_COMPILER ${CMAKE_CXX_COMPILER})
    endif()
    enable_language(CUDA)
    if(CMAKE_CUDA_COMPILER_VERSION VERSION_LESS ${cuda_version_min})
      set(missing "CUDA ${cuda_version_min} or later")
      string(APPEND missing " (${CMAKE_CUDA_COMPILER} is ${CMAKE_CUDA_COMPILER_VERSION})")
    else()
      find_package(CUDAToolkit ${cuda_version_min} QUIET)
      foreach(library cudart_static cublasLt)
        if(NOT TARGET CUDA::${library})
          list(APPEND missing "the toolkit's library ${library}")
        endif()
      endforeach()
    endif()
  endif()
endmacro()

# Sets TRAIN_HAS_CUDNN, and adds what was found to `cuda_verdict`.
macro(train_find_cudnn)
  if(TRAIN_CUDNN STREQUAL "OFF")
    string(APPEND cuda_verdict ", own attention (TRAIN_CUDNN=OFF)")
  else()
    find_package(CUDNN ${cudnn_version_min} QUIET)
    set(TRAIN_HAS_CUDNN ${CUDNN_FOUND})
    if(TRAIN_HAS_CUDNN)
      string(APPEND cuda_verdict ", cuDNN ${CUDNN_VERSION}")
      if(NOT CUDNN_LIBRARY_DIR)
        string(APPEND cuda_verdict " (its headers alone: programs look for libcudnn)")
      endif()
    elseif(TRAIN_CUDNN STREQUAL "ON")
      message(FATAL_ERROR
        "TRAIN_CUDNN=ON, but headers of cuDNN ${cudnn_version_min} or later were not found: set "
        "CUDNN_ROOT to the folder that holds its include/ and lib/")
    else()
      string(APPEND cuda_verdict ", own attention (cuDNN ${cudnn_version_min} was not found; "
                                 "CUDNN_ROOT names it)")
    endif()
  endif()
endmacro()

foreach(option TRAIN_CUDA TRAIN_CUDNN)
  if(NOT ${option} MATCHES "^(AUTO|ON|OFF)$")
    message(FATAL_ERROR "${option} is '${${option}}': it may be AUTO, ON or OFF")
  endif()
endforeach()
if(TRAIN_CUDA STREQUAL "OFF")
  set(cuda_verdict "off (TRAIN_CUDA=OFF)")
elseif(TRAIN_CUDA STREQUAL "AUTO" AND TRAIN_SANITIZE)
  set(cuda_verdict "off (sanitizers; TRAIN_CUDA=ON would build it all the same)")
else()
  train_find_cuda()
  if(missing)
    list(JOIN missing ", " missing)
    set(cuda_verdict "off (not found: ${missing})")
    if(TRAIN_CUDA STREQUAL "ON")
      message(FATAL_ERROR "TRAIN_CUDA=ON, but this was not found: ${missing}")
    endif()
  else()
    set(TRAIN_HAS_CUDA ON)
    find_package(NCCL ${nccl_version_min} QUIET)
    set(TRAIN_HAS_NCCL ${NCCL_FOUND})
    list(JOIN CMAKE_CUDA_ARCHITECTURES " " architectures)
    set(cuda_verdict "CUDA ${CMAKE_CUDA_COMPILER_VERSION} for ${architectures}")
    if(TRAIN_HAS_NCCL)
      string(APPEND cuda_verdict ", NCCL ${NCCL_VERSION}")
    elseif(TRAIN_CUDA STREQUAL "ON" AND NOT TRAIN_CUDA_WITHOUT_NCCL)
      message(FATAL_ERROR
        "TRAIN_CUDA=ON, but NCCL ${nccl_version_min} or later was not found: set NCCL_ROOT to the "
        "folder that holds its include/ and lib/, or -DTRAIN_CUDA_WITHOUT_NCCL=ON for programs "
        "of one GPU")
    else()
      string(APPEND cuda_verdict ", one GPU per program (NCCL was not found; NCCL_ROOT names it)")
    endif()
    train_find_cudnn()
  endif()
endif()
if(TRAIN_CUDNN STREQUAL "ON" AND NOT TRAIN_HAS_CUDA)
  message(FATAL_ERROR "TRAIN_CUDNN=ON, but the GPU backend is ${cuda_verdict}")
endif()
message(STATUS "GPU backend: ${cuda_verdict}")

# train_cuda_sources(target a.cu b.cpp …), and so for nccl and cudnn: sources of that backend in the
# present folder. They go into the target where the backend is built. The property
# TRAIN_CUDA_SOURCES, and so for the others, collects their paths: the tests compile the same files
# against what they emulate.
function(train_backend_sources backend target)
  list(TRANSFORM ARGN PREPEND ${CMAKE_CURRENT_SOURCE_DIR}/)
  set_property(GLOBAL APPEND PROPERTY TRAIN_${backend}_SOURCES ${ARGN})
  if(TRAIN_HAS_${backend})
    target_sources(${target} PRIVATE ${ARGN})
  endif()
endfunction()
macro(train_cuda_sources)
  train_backend_sources(CUDA ${ARGN})
endmacro()
macro(train_nccl_sources)
  train_backend_sources(NCCL ${ARGN})
endmacro()
macro(train_cudnn_sources)
  train_backend_sources(CUDNN ${ARGN})
endmacro()

# train_open_cudnn(target): what a target needs whose code opens cuDNN. Programs of the build look
# for it where it was found, and then where the loader does.
function(train_open_cudnn target)
  target_include_directories(${target} SYSTEM PRIVATE ${CUDNN_INCLUDE_DIR})
  target_link_libraries(${target} PRIVATE ${CMAKE_DL_LIBS})
  if(CUDNN_LIBRARY_DIR)
    target_link_options(${target} INTERFACE
      $<BUILD_INTERFACE:-Wl,-rpath,${CUDNN_LIBRARY_DIR}>)
  endif()
endfunction()

# train_link_cuda(target libraries…): links them. CMake takes the toolkit's folder for one that the
# loader searches anyway, which need not be so: programs of the build look there.
function(train_link_cuda target)
  target_link_libraries(${target} PRIVATE ${ARGN})
  target_link_options(${target} INTERFACE
    $<BUILD_INTERFACE:-Wl,-rpath,${CUDAToolkit_LIBRARY_DIR}>)
endfunction()
