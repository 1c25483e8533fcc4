# Looks for a clang++ that links fuzzers, and tries it: TRAIN_FUZZER_WORKS, or ${fuzzer_missing}.
find_program(TRAIN_FUZZER_COMPILER NAMES clang++ clang++-14 DOC "A clang++ that has libFuzzer")
set(fuzzer_missing "no clang++ was found when configuring (Debian: clang libclang-rt-dev)")
if(TRAIN_FUZZER_COMPILER AND NOT "${TRAIN_FUZZER_TRIED}" STREQUAL "${TRAIN_FUZZER_COMPILER}")
  set(try ${CMAKE_CURRENT_BINARY_DIR}/try_fuzzer)
  file(WRITE ${try}.cpp [=[
#include <compare>
#include <cstdint>
#include <cstddef>
#include <string>
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t*, std::size_t) { return 0; }
]=])
  execute_process(
    COMMAND ${TRAIN_FUZZER_COMPILER} -std=c++20 -fsanitize=fuzzer,address,undefined ${try}.cpp
            -o ${try}
    RESULT_VARIABLE status OUTPUT_QUIET ERROR_QUIET)
  set(works OFF)
  if(status EQUAL 0)
    set(works ON)
  endif()
  set(TRAIN_FUZZER_TRIED ${TRAIN_FUZZER_COMPILER} CACHE INTERNAL "What TRAIN_FUZZER_WORKS is about")
  set(TRAIN_FUZZER_WORKS ${works} CACHE INTERNAL "Whether the compiler links fuzzers")
endif()
if(TRAIN_FUZZER_COMPILER AND NOT TRAIN_FUZZER_WORKS)
  set(fuzzer_missing
    "${TRAIN_FUZZER_COMPILER} links no fuzzers (Debian: libclang-rt-dev; then configure anew)")
endif()
