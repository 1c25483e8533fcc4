#include "tests/gpu/emulated/runtime/fiber.hpp"

#include <sanitizer/asan_interface.h>
#include <sys/mman.h>

#include "tests/gpu/emulated/runtime/fail.hpp"

// Saves what the System V ABI (AMD64) has a function keep, changes stacks, and restores. The first
// switch to a fiber "returns" into begin, with entry and argument in kept registers.
asm(R"(
.text
.type emulated_fiber_switch, @function
emulated_fiber_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size emulated_fiber_switch, . - emulated_fiber_switch
.type emulated_fiber_begin, @function
emulated_fiber_begin:
  movq %r12, %rdi
  callq *%rbx
  ud2
.size emulated_fiber_begin, . - emulated_fiber_begin
)");

extern "C" void emulated_fiber_switch(void** left, void* entered);
extern "C" void emulated_fiber_begin();

namespace emulated {
namespace {

// Addresses; memory is what a kernel touches.
constexpr std::size_t stack_bytes = 256 * 1024;
constexpr std::uint64_t mark = 0x6e6f746f75636865;  // at the stack's end

}  // namespace

Fiber::Fiber(void (*entry)(void*), void* argument) {
  stack_ = mmap(nullptr, stack_bytes, PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
  if (stack_ == MAP_FAILED) fail("no memory for a thread's stack");
  // Of a stack that lay here before, and was never left.
  ASAN_UNPOISON_MEMORY_REGION(stack_, stack_bytes);
  *static_cast<std::uint64_t*>(stack_) = mark;
  auto* top = reinterpret_cast<void**>(static_cast<std::byte*>(stack_) + stack_bytes);
  // From the top: room that keeps the stack aligned to 16 where begin calls, begin itself, then
  // rbp, rbx, r12 … r15 as the switch takes them.
  top -= 2;
  *--top = reinterpret_cast<void*>(&emulated_fiber_begin);
  *--top = nullptr;
  *--top = reinterpret_cast<void*>(entry);
  *--top = argument;
  for (int i = 0; i < 3; ++i) *--top = nullptr;
  place_ = top;
}

Fiber::~Fiber() {
  if (stack_ != nullptr) munmap(stack_, stack_bytes);
}

void Fiber::switch_to(Fiber& other) {
  emulated_fiber_switch(&place_, other.place_);
}

bool Fiber::intact() const {
  return *static_cast<const std::uint64_t*>(stack_) == mark;
}

}  // namespace emulated
