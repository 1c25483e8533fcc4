# Finds cuDNN's headers and defines CUDNN_FOUND, CUDNN_VERSION, CUDNN_INCLUDE_DIR and, where the
# library is there as well, CUDNN_LIBRARY_DIR. Programs open the library when they run, so that only
# the headers are required. Looks below CUDNN_ROOT (a variable, also of the environment), beside the
# CUDA toolkit, and where the system keeps libraries.
find_path(CUDNN_INCLUDE_DIR cudnn_graph.h HINTS ${CUDAToolkit_INCLUDE_DIRS}
          DOC "Where cudnn_graph.h lies")
mark_as_advanced(CUDNN_INCLUDE_DIR)

unset(CUDNN_VERSION)
if(EXISTS "${CUDNN_INCLUDE_DIR}/cudnn_version.h")
  file(STRINGS ${CUDNN_INCLUDE_DIR}/cudnn_version.h lines
       REGEX "^#define CUDNN_(MAJOR|MINOR|PATCHLEVEL) ")
  string(REGEX REPLACE "[^0-9;]" "" numbers "${lines}")
  list(JOIN numbers . CUDNN_VERSION)
  list(GET numbers 0 major)
  # Packages of Python's have the library without a link of its plain name.
  find_file(CUDNN_LIBRARY libcudnn.so.${major} HINTS ${CUDAToolkit_LIBRARY_DIR}
            PATH_SUFFIXES lib lib64 lib/${CMAKE_LIBRARY_ARCHITECTURE}
            DOC "cuDNN's library, which programs open when they run")
  mark_as_advanced(CUDNN_LIBRARY)
  unset(CUDNN_LIBRARY_DIR)
  if(CUDNN_LIBRARY)
    cmake_path(GET CUDNN_LIBRARY PARENT_PATH CUDNN_LIBRARY_DIR)
  endif()
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(CUDNN REQUIRED_VARS CUDNN_INCLUDE_DIR
                                  VERSION_VAR CUDNN_VERSION)
