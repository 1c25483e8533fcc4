# The time of a test goes into the library; its own code is mostly checks, and compiles in half the
# time without the later passes of the optimiser.
function(train_test_options target)
  train_compile_options(${target})
  target_compile_options(${target} PRIVATE $<$<CONFIG:Release>:-O1>)
  target_compile_options(${target} PRIVATE
    "$<$<BOOL:${TRAIN_GCC_BEFORE_13}>:${TRAIN_WRONG_OF_PRECOMPILED}>")
  # Objects and programs alike, or they could not share them.
  set_target_properties(${target} PROPERTIES POSITION_INDEPENDENT_CODE OFF)
  if(NOT target STREQUAL "train_test_headers")
    target_precompile_headers(${target} REUSE_FROM train_test_headers)
  endif()
endfunction()

# add_test_objects(name a.cpp …): what several test programs share, compiled once. They name it
# among their sources as $<TARGET_OBJECTS:name>.
function(add_test_objects name)
  add_library(${name} OBJECT ${ARGN})
  target_link_libraries(${name} PRIVATE doctest::doctest libtrain)
  train_test_options(${name})
endfunction()

# add_unit_test(name SOURCES a.cpp … [LABELS …]): one doctest program, one ctest entry.
function(add_unit_test name)
  cmake_parse_arguments(arg "" "" "SOURCES;LABELS" ${ARGN})
  add_executable(${name} ${arg_SOURCES})
  target_link_libraries(${name} PRIVATE train_test_main libtrain)
  train_test_options(${name})
  add_test(NAME unit.${name} COMMAND ${name})
  set_tests_properties(unit.${name} PROPERTIES LABELS "unit;${arg_LABELS}" TIMEOUT 300)
endfunction()

# add_ranked_test(name RANKS 1 2 … SOURCES a.cpp … [MPI_RANKS 2 …]): one source, run by ranks as
# threads and over MPI, with every count of ranks; MPI_RANKS are fewer counts for MPI, where a long
# test is about more than how ranks talk. The program takes --backend and --ranks from its test
# main.
function(add_ranked_test name)
  cmake_parse_arguments(arg "" "" "SOURCES;RANKS;MPI_RANKS;LABELS" ${ARGN})
  if(NOT arg_MPI_RANKS)
    set(arg_MPI_RANKS ${arg_RANKS})
  endif()
  add_executable(${name} ${arg_SOURCES})
  target_link_libraries(${name} PRIVATE train_ranked_main libtrain)
  train_test_options(${name})
  foreach(ranks IN LISTS arg_RANKS)
    add_test(NAME ranked.${name}.local.${ranks} COMMAND ${name} --backend local --ranks ${ranks})
    set_tests_properties(ranked.${name}.local.${ranks} PROPERTIES
                         LABELS "ranked;local;${arg_LABELS}" TIMEOUT 600 PROCESSORS 2)
  endforeach()
  foreach(ranks IN LISTS arg_MPI_RANKS)
    add_test(NAME ranked.${name}.mpi.${ranks} COMMAND ${PROJECT_SOURCE_DIR}/launch/mpirun_local
             ${ranks} $<TARGET_FILE:${name}> --backend mpi)
    set_tests_properties(ranked.${name}.mpi.${ranks} PROPERTIES
                         LABELS "ranked;mpi;${arg_LABELS}" TIMEOUT 600 PROCESSORS 2)
  endforeach()
endfunction()
