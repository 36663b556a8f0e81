// Patches one object, from its headers to the record in stats().
//
// Thread rule: several threads may patch different objects at once. Usable
// inside a hook; needs some 4 KiB of stack.
#pragma once

#include <elf.h>
#include <sys/stat.h>

#include "intercept/engine.h"
#include "intercept/object_key.h"

namespace pmemfile::intercept {

// Where plans are and who makes them; set once by start().
struct PlanSource {
  const char* const* caches = nullptr;   // ends in null
  const char* const* planners = nullptr; // likewise
  bool may_plan = false;
  void (*warn)(std::string_view line) = nullptr;
};
void set_plan_source(const PlanSource& source);

struct TextSegment {
  u64 address, file_offset, bytes; // whole pages
};
// Returns how many executable segments there are; `out` is the first.
unsigned find_text_segment(const Elf64_Phdr* segments, u32 count, TextSegment& out);

struct ObjectToPatch {
  const char* path; // for the planner; null: ask the file
  std::string_view name;
  u64 base;
  TextSegment text;
  char key[kMaxKeyBytes];
  const ObjectFile* file = nullptr;
};
// 0 or an errno.
int patch_object(const ObjectToPatch& object);
// Records an object that cannot even be looked at.
void record_unpatched(std::string_view name, u64 base, int error);
bool is_known(u64 base);
// Where a call that has reached its site goes on, as if it had come through its stub: behind the instructions that were moved
// from before the site. 0: no stub serves the site before `after_site`.
u64 find_stub_entry(u64 after_site);

Stats& mutable_stats();
bool patches_all_objects();

inline std::string_view last_component(const char* path) {
  const char* name = path;
  for (; *path != '\0'; ++path)
    if (*path == '/') name = path + 1;
  return {name, static_cast<std::size_t>(path - name)};
}

} // namespace pmemfile::intercept
