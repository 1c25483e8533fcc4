# GCC 12 takes the undefined operand of its own AVX-512 intrinsics for a mistake (its bug 105593).
set(TRAIN_GCC_BEFORE_13 OFF)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  set(TRAIN_GCC_BEFORE_13 ON)
endif()

# train_compile_options(target): language level, warnings, processor and sanitizers of one target.
function(train_compile_options target)
  target_compile_features(${target} PUBLIC cxx_std_20)
  set_target_properties(${target} PROPERTIES CXX_EXTENSIONS OFF POSITION_INDEPENDENT_CODE ON)
  target_compile_options(${target} PRIVATE
    -Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor -Woverloaded-virtual
    $<$<BOOL:${TRAIN_GCC_BEFORE_13}>:-Wno-maybe-uninitialized>
    $<$<BOOL:${TRAIN_WERROR}>:-Werror>
    $<$<BOOL:${TRAIN_NATIVE}>:-march=native>)
  if(TRAIN_SANITIZE)
    string(REPLACE ";" "," sanitizers "${TRAIN_SANITIZE}")
    target_compile_options(${target} PUBLIC -fsanitize=${sanitizers} -fno-omit-frame-pointer)
    target_link_options(${target} PUBLIC -fsanitize=${sanitizers})
  endif()
endfunction()
