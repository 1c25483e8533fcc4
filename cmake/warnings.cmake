# GCC 12 warns of more that is not so than later ones. What it and GCC 14 take for uninitialised are
# undefined operands of their own AVX-512 intrinsics (bug 105593), and the states that a
# std::variant is not in.
set(TRAIN_GCC_BEFORE_13 OFF)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  set(TRAIN_GCC_BEFORE_13 ON)
endif()

# What GCC says wrongly of strings: headers that are precompiled are not the system's to it.
set(TRAIN_WRONG_OF_PRECOMPILED -Wno-array-bounds -Wno-restrict -Wno-stringop-overflow)

# train_compile_options(target): language level, warnings, processor and sanitizers of one target.
# What nvcc hands to the C++ compiler is its own code, too: no -Wpedantic there.
function(train_compile_options target)
  target_compile_features(${target} PUBLIC cxx_std_20)
  set_target_properties(${target} PROPERTIES CXX_EXTENSIONS OFF POSITION_INDEPENDENT_CODE ON)
  set(host_warnings -Wall -Wextra -Wshadow -Wnon-virtual-dtor -Woverloaded-virtual)
  list(JOIN host_warnings , cuda_host_warnings)
  target_compile_options(${target} PRIVATE
    "$<$<COMPILE_LANGUAGE:C,CXX>:${host_warnings};-Wpedantic>"
    # CMake 3.25 has no CUDA_STANDARD 20. Kernels call the host's constexpr functions.
    "$<$<COMPILE_LANGUAGE:CUDA>:-std=c++20;--expt-relaxed-constexpr>"
    "$<$<COMPILE_LANGUAGE:CUDA>:-Xcompiler=${cuda_host_warnings}>"
    $<$<COMPILE_LANG_AND_ID:CXX,GNU>:-Wno-maybe-uninitialized>
    $<$<AND:$<BOOL:${TRAIN_NATIVE}>,$<COMPILE_LANGUAGE:C,CXX>>:-march=native>)
  if(TRAIN_WERROR)
    target_compile_options(${target} PRIVATE
      $<$<COMPILE_LANGUAGE:C,CXX>:-Werror>
      "$<$<COMPILE_LANGUAGE:CUDA>:SHELL:--Werror all-warnings -Xcompiler=-Werror>")
  endif()
  if(TRAIN_SANITIZE)
    string(REPLACE ";" "," sanitizers "${TRAIN_SANITIZE}")
    target_compile_options(${target} PUBLIC
      "$<$<COMPILE_LANGUAGE:C,CXX>:-fsanitize=${sanitizers};-fno-omit-frame-pointer>")
    target_link_options(${target} PUBLIC -fsanitize=${sanitizers})
  endif()
endfunction()
