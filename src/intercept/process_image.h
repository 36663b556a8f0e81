// What the kernel and the dynamic linker left in memory: auxiliary vector,
// initial environment, loaded objects. Read in place.
//
// Thread rule: call while the process has one thread (the link map is not
// locked). Usable inside a hook otherwise; no state.
#pragma once

#include <elf.h>
#include <link.h>

#include <string_view>

#include "base/syscall.h"
#include "base/types.h"

namespace pmemfile::intercept {

struct InitialStack {
  int argc = 0;
  char** argv = nullptr;
  char** environment = nullptr;

  // Nothing, if there is no such variable or entry.
  const char* variable(std::string_view name) const;
  u64 auxiliary(u64 type) const;
};
InitialStack initial_stack();

struct LoadedObject {
  const char* path; // as the linker knows it; /proc/self/exe for the program
  u64 base;         // load bias
  const Elf64_Phdr* segments;
  u32 segment_count;
  bool is_program = false;

  // The executable segment that contains the address, or null.
  bool text_contains(u64 address) const;
};

using ObjectVisitor = void (*)(const LoadedObject&, void* context);
// Every object of the link map but the vDSO.
// Is the object that contains the engine loaded by a path that depends on the working directory?
bool own_path_is_relative();

void for_each_object(ObjectVisitor visit, void* context);

} // namespace pmemfile::intercept
