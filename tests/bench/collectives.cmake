# Beside the MPI library's own collectives; mpi_peer.cpp is what calls them.
add_executable(collectives_bench collectives_bench.cpp mpi_peer.cpp)
target_link_libraries(collectives_bench PRIVATE train_collectives MPI::MPI_C fmt::fmt)
target_compile_definitions(collectives_bench PRIVATE OMPI_SKIP_MPICXX MPICH_SKIP_MPICXX)
train_compile_options(collectives_bench)
