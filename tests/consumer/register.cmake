# The consumer against an installed package, and against the sources as a subdirectory. The package
# is what the build at hand has made.
set(consumer ${CMAKE_CURRENT_LIST_DIR})
set(scratch ${CMAKE_BINARY_DIR}/tests/consumer)

# add_consumer_test(mode [cmake options])
function(add_consumer_test mode)
  add_test(NAME consumer.${mode}
    COMMAND ${CMAKE_CTEST_COMMAND} --build-and-test ${consumer} ${scratch}/${mode}
            --build-generator ${CMAKE_GENERATOR} --build-target train
            --build-options -DCMAKE_CXX_COMPILER=${CMAKE_CXX_COMPILER} ${ARGN}
            --test-command ${scratch}/${mode}/train)
  set_tests_properties(consumer.${mode} PROPERTIES LABELS consumer TIMEOUT 900)
endfunction()

if(TRAIN_INSTALL AND NOT TRAIN_SANITIZE)
  add_test(NAME consumer.install COMMAND ${consumer}/install ${CMAKE_COMMAND} ${CMAKE_BINARY_DIR}
           ${scratch}/prefix ${PROJECT_SOURCE_DIR})
  set_tests_properties(consumer.install PROPERTIES LABELS consumer FIXTURES_SETUP installed)
  add_consumer_test(package -DCMAKE_PREFIX_PATH=${scratch}/prefix)
  set_tests_properties(consumer.package PROPERTIES FIXTURES_REQUIRED installed)
endif()
if(NOT TRAIN_SANITIZE)
  # The list's semicolon has to outlive two command lines.
  add_consumer_test(subdirectory -DLIBTRAIN_SOURCE_DIR=${PROJECT_SOURCE_DIR}
                    -DCMAKE_BUILD_TYPE=Debug -DCMAKE_CXX_FLAGS=-g0 -DTRAIN_CUDA=OFF
                    "-DCMAKE_CXX_COMPILER_LAUNCHER=${consumer}/reuse\\;${CMAKE_BINARY_DIR}")
  set_tests_properties(consumer.subdirectory PROPERTIES PROCESSORS 2)
endif()
