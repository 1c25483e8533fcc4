# train_precompile_headers(target): what nearly every source of the library includes of others'
# headers, more than a quarter of the time of its compilation. It only saves time: a source
# includes what it uses, as the preset debug shows, which precompiles nothing. Sources with options
# of their own leave it out (SKIP_PRECOMPILE_HEADERS).
function(train_precompile_headers target)
  target_precompile_headers(${target} PRIVATE
    <algorithm> <array> <atomic> <charconv> <chrono> <cmath> <condition_variable> <cstdint>
    <cstring> <deque> <filesystem> <functional> <limits> <map> <memory> <memory_resource> <mutex>
    <numeric> <optional> <set> <span> <string> <string_view> <thread> <unordered_map> <utility>
    <variant> <vector> <fmt/format.h>)
  target_compile_options(${target} PRIVATE
    "$<$<COMPILE_LANG_AND_ID:CXX,GNU>:${TRAIN_WRONG_OF_PRECOMPILED}>")
endfunction()
