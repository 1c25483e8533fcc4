#pragma once

#include "collectives/wide/protocol/archive.hpp"
#include "collectives/wide/protocol/messages.hpp"

namespace train::wide {

// The fields of each message, in the order in which archives write and read them. Found by
// argument-dependent lookup.

template <typename A>
void fields(A& a, Hello& m) {
  a(m.job, m.rounds_total, m.self, m.offer, m.committed, m.pending, m.since);
}
template <typename A>
void fields(A& a, Heartbeat& m) {
  a(m.sequence);
}
template <typename A>
void fields(A& a, LinkInfo& m) {
  a(m.peer, m.rtt_us);
}
template <typename A>
void fields(A& a, Links& m) {
  a(m.up);
}
template <typename A>
void fields(A& a, LeaseRequest& m) {
  a(m.epoch, m.samples);
}
template <typename A>
void fields(A& a, Ready& m) {
  a(m.next, m.tokens, m.inner_steps, m.state_hash, m.used, m.bandwidth_kbit);
}
template <typename A>
void fields(A& a, Done& m) {
  a(m.id, m.hash);
}
template <typename A>
void fields(A& a, Failed& m) {
  a(m.id, m.peer);
}
template <typename A>
void fields(A& a, Holds& m) {
  a(m.state);
}
template <typename A>
void fields(A& a, FetchFailed& m) {
  a(m.id, m.source);
}
template <typename A>
void fields(A& a, Leave& m) {
  a(m.notice_ms);
}
template <typename A>
void fields(A& a, Directory::Peer& m) {
  a(m.self, m.offer, m.since, m.first_round);
}
template <typename A>
void fields(A& a, Directory& m) {
  a(m.next, m.peers);
}
template <typename A>
void fields(A& a, Lease& m) {
  a(m.epoch, m.ranges, m.exhausted);
}
template <typename A>
void fields(A& a, Finish& m) {
  a(m.epoch, m.round);
}
template <typename A>
void fields(A& a, Start::Participant& m) {
  a(m.self, m.tokens, m.slice_begin);
}
template <typename A>
void fields(A& a, Start& m) {
  a(m.id, m.participants);
}
template <typename A>
void fields(A& a, Abort& m) {
  a(m.id);
}
template <typename A>
void fields(A& a, Commit& m) {
  a(m.state, m.finished);
}
template <typename A>
void fields(A& a, Fetch& m) {
  a(m.state, m.source);
}
template <typename A>
void fields(A& a, Beat& m) {
  a(m.sequence);
}
template <typename A>
void fields(A& a, Released& m) {
  a(m.last, m.finished);
}
template <typename A>
void fields(A& a, Refused& m) {
  a(m.reason);
}
template <typename A>
void fields(A& a, Notice& m) {
  a(m.text);
}

}  // namespace train::wide
