#include "intercept/process_image.h"

#include "intercept/engine.h"

#include <errno.h>
#include <sys/auxv.h>
#include <sys/mman.h>

// Data symbols of ld.so; absent in static programs.
extern "C" {
extern void* __libc_stack_end __attribute__((weak, visibility("default")));
}
#pragma weak _r_debug

namespace pmemfile::intercept {

InitialStack initial_stack() {
  InitialStack stack;
  if (&__libc_stack_end == nullptr || __libc_stack_end == nullptr) return stack;
  auto* words = static_cast<long*>(__libc_stack_end);
  stack.argc = static_cast<int>(words[0]);
  stack.argv = reinterpret_cast<char**>(words + 1);
  stack.environment = stack.argv + stack.argc + 1;
  return stack;
}

const char* InitialStack::variable(std::string_view name) const {
  if (environment == nullptr) return nullptr;
  for (char** entry = environment; *entry != nullptr; ++entry) {
    const char* text = *entry;
    std::size_t i = 0;
    while (i < name.size() && text[i] == name[i]) ++i;
    if (i == name.size() && text[i] == '=') return text + i + 1;
  }
  return nullptr;
}

u64 InitialStack::auxiliary(u64 type) const {
  // Not by walking past the environment: whoever shortens that in place moves its end.
  return getauxval(type);
}

bool LoadedObject::text_contains(u64 address) const {
  for (u32 i = 0; i < segment_count; ++i) {
    const Elf64_Phdr& s = segments[i];
    if (s.p_type == PT_LOAD && (s.p_flags & PF_X) != 0 && address - (base + s.p_vaddr) < s.p_memsz) return true;
  }
  return false;
}

namespace {

// A bias of 0, or one at which no header was mapped, must not fault.
bool is_mapped(u64 address) {
  u8 resident;
  if (address == 0) return false;
  const long known = raw_syscall(SYS_mincore, static_cast<long>(address), 4096, as_arg(&resident));
  if (known == 0 || known == -ENOMEM) return known == 0;
  // Sandboxes (man-db's filter) allow the usual calls only. This advice changes nothing: no text has had another.
  return raw_syscall(SYS_madvise, static_cast<long>(address), 4096, MADV_NORMAL) == 0;
}

bool headers_in_memory(u64 base, LoadedObject& out) {
  if (base % 4096 != 0 || !is_mapped(base)) return false;
  const auto* header = reinterpret_cast<const Elf64_Ehdr*>(base);
  if (__builtin_memcmp(header->e_ident, ELFMAG, SELFMAG) != 0 || header->e_phentsize != sizeof(Elf64_Phdr) ||
      header->e_phoff + header->e_phnum * sizeof(Elf64_Phdr) > 4096)
    return false;
  out.segments = reinterpret_cast<const Elf64_Phdr*>(base + header->e_phoff);
  out.segment_count = header->e_phnum;
  return true;
}

} // namespace

void for_each_object(ObjectVisitor visit, void* context) {
  const InitialStack stack = initial_stack();
  const link_map* first = &_r_debug == nullptr ? nullptr : _r_debug.r_map;
  LoadedObject program{"/proc/self/exe", first == nullptr ? 0 : first->l_addr,
                       reinterpret_cast<const Elf64_Phdr*>(stack.auxiliary(AT_PHDR)),
                       static_cast<u32>(stack.auxiliary(AT_PHNUM)), true};
  if (program.segments != nullptr) visit(program, context);
  const u64 vdso = stack.auxiliary(AT_SYSINFO_EHDR);
  for (const link_map* map = first == nullptr ? nullptr : first->l_next; map != nullptr; map = map->l_next) {
    LoadedObject object{map->l_name, map->l_addr, nullptr, 0};
    if (object.base != vdso && headers_in_memory(object.base, object)) visit(object, context);
  }
}

namespace {
link_map* own_entry() {
  link_map* own = &_r_debug == nullptr ? nullptr : _r_debug.r_map;
  while (own != nullptr && own->l_ld != _DYNAMIC) own = own->l_next;
  return own;
}
} // namespace

bool own_path_is_relative() {
  const link_map* own = own_entry();
  return own != nullptr && own->l_name[0] != '/';
}

void go_to_end_of_object_list() {
  link_map* own = own_entry();
  if (own == nullptr || own->l_prev == nullptr || own->l_next == nullptr) return;
  link_map* last = own->l_next;
  while (last->l_next != nullptr) last = last->l_next;
  own->l_prev->l_next = own->l_next;
  own->l_next->l_prev = own->l_prev;
  last->l_next = own;
  own->l_prev = last;
  own->l_next = nullptr;
}

} // namespace pmemfile::intercept
