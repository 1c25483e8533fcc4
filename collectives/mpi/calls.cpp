#include "collectives/mpi/calls.hpp"

#include <string>

#include <fmt/format.h>

#include "collectives/error.hpp"

namespace train::mpi {

void check(int code, const char* call) {
  if (code == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING] = {};
  int length = 0;
  MPI_Error_string(code, text, &length);
  throw Error(
      fmt::format("{} failed: {}", call, std::string(text, static_cast<std::size_t>(length))));
}

int rank_of(MPI_Comm comm) {
  int rank = 0;
  check(MPI_Comm_rank(comm, &rank), "MPI_Comm_rank");
  return rank;
}

int size_of(MPI_Comm comm) {
  int size = 0;
  check(MPI_Comm_size(comm, &size), "MPI_Comm_size");
  return size;
}

int tag_max(MPI_Comm comm) {
  int* value = nullptr;
  int found = 0;
  check(MPI_Comm_get_attr(comm, MPI_TAG_UB, &value, &found), "MPI_Comm_get_attr");
  return found ? *value : 32767;  // the least that the standard grants
}

namespace {

Comm with_returned_errors(MPI_Comm comm) {
  Comm owned(comm);
  if (owned) check(MPI_Comm_set_errhandler(comm, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
  return owned;
}

int length_of(std::size_t bytes) {
  invariant(bytes <= message_bytes_max, "long transfers are cut into messages");
  return static_cast<int>(bytes);
}

}  // namespace

Comm duplicate(MPI_Comm comm) {
  MPI_Comm made = MPI_COMM_NULL;
  check(MPI_Comm_dup(comm, &made), "MPI_Comm_dup");
  return with_returned_errors(made);
}

Comm split(MPI_Comm comm, int color, int key) {
  MPI_Comm made = MPI_COMM_NULL;
  check(MPI_Comm_split(comm, color, key, &made), "MPI_Comm_split");
  return with_returned_errors(made);
}

Comm split_by_node(MPI_Comm comm, int key) {
  MPI_Comm made = MPI_COMM_NULL;
  check(MPI_Comm_split_type(comm, MPI_COMM_TYPE_SHARED, key, MPI_INFO_NULL, &made),
        "MPI_Comm_split_type");
  return with_returned_errors(made);
}

MPI_Request isend(MPI_Comm comm, const void* data, std::size_t bytes, int peer, int tag) {
  MPI_Request request = MPI_REQUEST_NULL;
  check(MPI_Isend(data, length_of(bytes), MPI_BYTE, peer, tag, comm, &request), "MPI_Isend");
  return request;
}

MPI_Request irecv(MPI_Comm comm, void* data, std::size_t bytes, int peer, int tag) {
  MPI_Request request = MPI_REQUEST_NULL;
  check(MPI_Irecv(data, length_of(bytes), MPI_BYTE, peer, tag, comm, &request), "MPI_Irecv");
  return request;
}

bool test(MPI_Request& request) {
  int complete = 0;
  check(MPI_Test(&request, &complete, MPI_STATUS_IGNORE), "MPI_Test");
  return complete != 0;
}

}  // namespace train::mpi
