#include "intercept/planner/stub.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace pmemfile::intercept::planner {

namespace {

[[noreturn]] void give_up(const char* why) {
  std::fprintf(stderr, "pmemfile-plan: %s\n", why);
  std::abort();
}

i32 to_i32(i64 value) {
  if (value != static_cast<i32>(value)) give_up("a stub lies too far from its object");
  return static_cast<i32>(value);
}

} // namespace

StubWriter::StubWriter(Plan& plan, const ElfFile& elf) : plan_(plan), elf_(elf) {
  // Stubs start on 16-byte boundaries, as functions do.
  while (plan_.stubs.size() % 16 != 0) plan_.stubs.push_back(0xcc);
  start_ = here();
}

u64 StubWriter::here() const { return static_cast<u64>(plan_.header.stub_distance) + plan_.stubs.size(); }

void StubWriter::put(std::initializer_list<u8> bytes) { plan_.stubs.insert(plan_.stubs.end(), bytes); }

void StubWriter::put32(i32 value) {
  u8 bytes[4];
  std::memcpy(bytes, &value, 4);
  plan_.stubs.insert(plan_.stubs.end(), bytes, bytes + 4);
}

void StubWriter::put_distance_to(u64 address) {
  plan_.fixups.push_back(static_cast<u32>(plan_.stubs.size()));
  put32(to_i32(static_cast<i64>(address) - static_cast<i64>(here() + 4)));
}

void StubWriter::put_short_distance_to(u64 address) {
  put({static_cast<u8>(static_cast<i64>(address) - static_cast<i64>(here() + 1))});
}

void StubWriter::jump_to(u64 address) {
  put({0xe9});
  put_distance_to(address);
}

void StubWriter::move(const Instruction& instruction) {
  const std::size_t at = plan_.stubs.size();
  const u8* bytes = elf_.text(instruction.address);
  plan_.stubs.insert(plan_.stubs.end(), bytes, bytes + instruction.size);
  if (instruction.rip_at == 0) return;
  const std::size_t distance_at = at + instruction.rip_at;
  const i32 distance = to_i32(static_cast<i64>(instruction.rip_target) - static_cast<i64>(here()));
  std::memcpy(plan_.stubs.data() + distance_at, &distance, 4);
  plan_.fixups.push_back(static_cast<u32>(distance_at));
}

void StubWriter::begin(std::span<const Instruction> moved, u64 after_site) {
  after_site_ = after_site;
  for (const Instruction& i : moved) move(i);
  put({0x41, 0xbb}); // mov $0, %r11d
  put32(0);
  again_ = here();
  put({0x48, 0x8d, 0x0d}); // lea after_site(%rip), %rcx
  put_distance_to(after_site);
  put({0x48, 0x8d, 0x64, 0x24, 0x80}); // lea -128(%rsp), %rsp
  put({0xff, 0x15});                   // call *entry(%rip)
  plan_.entry_references.push_back(static_cast<u32>(plan_.stubs.size()));
  put32(0);
  put({0x48, 0x8d, 0xa4, 0x24}); // lea 128(%rsp), %rsp
  put32(128);
  put({0xe3, 0}); // jrcxz pass
  pass_at_ = plan_.stubs.size() - 1;
  put({0xe2, 0}); // loop done
  done_at_ = plan_.stubs.size() - 1;
  put({0x0f, 0x05}); // syscall: a clone
  put({0x41, 0xbb}); // mov $1, %r11d
  put32(1);
  put({0xeb}); // jmp again
  put_short_distance_to(again_);
  plan_.stubs[done_at_] = static_cast<u8>(plan_.stubs.size() - (done_at_ + 1));
}

void StubWriter::end_with_original(u64 site) {
  jump_to(after_site_);
  plan_.stubs[pass_at_] = static_cast<u8>(plan_.stubs.size() - (pass_at_ + 1));
  jump_to(site);
}

void StubWriter::end_with_copy(std::span<const Instruction> moved, u64 resume) {
  const u64 done = here();
  for (const Instruction& i : moved) move(i);
  jump_to(resume);
  plan_.stubs[pass_at_] = static_cast<u8>(plan_.stubs.size() - (pass_at_ + 1));
  put({0x0f, 0x05}); // syscall
  put({0xeb});
  put_short_distance_to(done);
}

} // namespace pmemfile::intercept::planner
