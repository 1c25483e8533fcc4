# Installs libraries, headers and a package: find_package(libtrain) and link libtrain::libtrain.
include(CMakePackageConfigHelpers)

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/libtrain)
install(TARGETS libtrain train_collectives EXPORT libtrain_targets)
install(TARGETS train_coordinator)
if(TRAIN_BUILD_EXAMPLES)
  install(TARGETS train_gpt generate_gpt plan_grid checkpoint_tool token_shards)
endif()
install(EXPORT libtrain_targets FILE libtrainTargets.cmake NAMESPACE libtrain::
        DESTINATION ${package_dir})

# <prefix>/include/libtrain plays the root of the repository, so that includes read the same.
file(GLOB_RECURSE headers CONFIGURE_DEPENDS RELATIVE ${PROJECT_SOURCE_DIR}
     ${PROJECT_SOURCE_DIR}/collectives/*.hpp ${PROJECT_SOURCE_DIR}/libtrain/*.hpp)
# Of the programs, which link it; it would have a user need CLI11.
list(FILTER headers EXCLUDE REGEX "^collectives/flags/")
foreach(header IN LISTS headers)
  cmake_path(GET header PARENT_PATH folder)
  install(FILES ${header} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/libtrain/${folder})
endforeach()

configure_package_config_file(cmake/libtrainConfig.cmake.in ${CMAKE_BINARY_DIR}/libtrainConfig.cmake
                              INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(${CMAKE_BINARY_DIR}/libtrainConfigVersion.cmake
                                 COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/libtrainConfig.cmake
              ${CMAKE_BINARY_DIR}/libtrainConfigVersion.cmake
              ${PROJECT_SOURCE_DIR}/cmake/FindNCCL.cmake
        DESTINATION ${package_dir})
