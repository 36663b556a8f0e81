#include "intercept/engine.h"

#include <cpuid.h>
#include <sys/platform/x86.h>
#include <sys/stat.h>

#include "base/text.h"
#include "intercept/dispatch.h"
#include "intercept/patch.h"
#include "intercept/process_image.h"
#include "intercept/run_planner.h"
#include "intercept/trap.h"

extern "C" {
void pmemfile_intercept_entry();
// For vectors.S: 0 FXSAVE, 1 XSAVE, 2 XSAVEC, 3 XSAVEC and XGETBV(1).
__attribute__((visibility("hidden"))) pmemfile::u32 pmemfile_vector_save_kind = 0;
}

#pragma weak __x86_get_cpuid_feature_leaf

namespace pmemfile::intercept {

namespace {

constexpr unsigned kMaxPathBytes = 512;
constexpr const char* kSystemCache = "/var/cache/pmemfile";
// Where the planner may lie, seen from the library: installed, in a
// multi-architecture library folder, in a build tree.
constexpr const char* kPlannerPlaces[] = {"/../libexec/pmemfile-plan", "/../../libexec/pmemfile-plan", "/pmemfile-plan",
                                          "/../intercept/pmemfile-plan", "/src/intercept/pmemfile-plan"};
constexpr unsigned kPlannerPlaceCount = sizeof kPlannerPlaces / sizeof kPlannerPlaces[0];

// Decided by start(), constant afterwards.
bool is_active = false;
bool patch_all = true;
Options the_options;
PMEMFILE_BULKY char own_directory[kMaxPathBytes];
PMEMFILE_BULKY char user_cache[kMaxPathBytes];
char last_cache[64];
const char* caches[4];
PMEMFILE_BULKY char planner_paths[kPlannerPlaceCount][kMaxPathBytes + 64];
const char* planners[kPlannerPlaceCount + 2];

u64 entry_address() { return reinterpret_cast<u64>(&pmemfile_intercept_entry); }

// ld.so has asked the processor already; where it does not tell (before glibc
// 2.33), so do we.
void choose_vector_save() {
  if (&__x86_get_cpuid_feature_leaf == nullptr) {
    u32 eax, ebx, ecx, edx;
    if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx) || (ecx & bit_OSXSAVE) == 0) return;
    constexpr u32 kXsavec = 1 << 1, kXgetbv1 = 1 << 2;
    __get_cpuid_count(0xd, 1, &eax, &ebx, &ecx, &edx);
    pmemfile_vector_save_kind = (eax & kXsavec) == 0 ? 1 : (eax & kXgetbv1) == 0 ? 2 : 3;
    return;
  }
  if (!CPU_FEATURE_ACTIVE(XSAVE)) pmemfile_vector_save_kind = 0;
  else if (!CPU_FEATURE_ACTIVE(XSAVEC)) pmemfile_vector_save_kind = 1;
  else pmemfile_vector_save_kind = CPU_FEATURE_PRESENT(XGETBV_ECX_1) ? 3 : 2;
}

// root's plans are for everybody; others keep their own, unless somebody says
// where.
void choose_caches(const InitialStack& stack, const Options& options) {
  const bool secure = stack.auxiliary(AT_SECURE) != 0;
  const long uid = raw_syscall(SYS_geteuid);
  const char* chosen = options.cache_dir;
  const char* suffix = "";
  if (chosen == nullptr && !secure) chosen = stack.variable("XDG_CACHE_HOME"), suffix = "/pmemfile";
  unsigned count = 0;
  Text user(user_cache, sizeof user_cache);
  if (chosen != nullptr && chosen[0] == '/') {
    user << chosen << suffix;
    caches[count++] = user_cache;
  } else {
    caches[count++] = kSystemCache;
  }
  const char* home = chosen == nullptr && !secure && uid != 0 ? stack.variable("HOME") : nullptr;
  if (home != nullptr && home[0] == '/') {
    user << home << "/.cache/pmemfile";
    caches[count++] = user_cache;
  }
  if (!secure) {
    Text last(last_cache, sizeof last_cache);
    last << "/tmp/pmemfile-plans-" << static_cast<u64>(uid);
    caches[count++] = last_cache;
  }
  caches[count] = nullptr;
}

void find_own_directory(const LoadedObject& object, void*) {
  if (!object.text_contains(entry_address())) return;
  Text text(own_directory, sizeof own_directory);
  if (object.path[0] != '/') {
    char directory[kMaxPathBytes];
    if (raw_syscall(SYS_getcwd, as_arg(directory), sizeof directory) > 0) text << directory << '/';
  }
  const std::string_view path(object.path, __builtin_strlen(object.path));
  const std::string_view name = last_component(object.path);
  text << std::string_view(path.data(), path.size() - name.size()) << '.';
}

void choose_planners(const Options& options) {
  unsigned count = 0;
  if (options.planner_path != nullptr) planners[count++] = options.planner_path;
  if (own_directory[0] != '\0') {
    for (unsigned i = 0; i < kPlannerPlaceCount; ++i) {
      Text text(planner_paths[i], sizeof planner_paths[i]);
      text << own_directory << kPlannerPlaces[i];
      if (!text.truncated()) planners[count++] = planner_paths[i];
    }
  }
  planners[count] = nullptr;
}

bool is_c_library(const LoadedObject& object, u64 linker_base) {
  const std::string_view name = last_component(object.path);
  return object.base == linker_base || name.starts_with("libc.so.") || name.starts_with("libc-2.") ||
         name.starts_with("libpthread");
}

bool key_in_memory(const LoadedObject& object, char (&key)[kMaxKeyBytes]) {
  for (u32 i = 0; i < object.segment_count; ++i) {
    const Elf64_Phdr& s = object.segments[i];
    if (s.p_type != PT_NOTE) continue;
    const auto* notes = reinterpret_cast<const u8*>(object.base + s.p_vaddr);
    if (key_of_build_id(find_build_id(notes, s.p_memsz, s.p_align), key)) return true;
  }
  struct stat st;
  if (raw_syscall(SYS_stat, as_arg(object.path), as_arg(&st)) != 0) return false;
  key_of_stat(st, key);
  return true;
}

struct Walk {
  u64 linker_base;
  int first_error;
  bool already;
};

void patch_loaded(const LoadedObject& loaded, void* context) {
  Walk& walk = *static_cast<Walk*>(context);
  // Our own instructions are those that must reach the kernel.
  if (walk.already || loaded.text_contains(entry_address()) || is_known(loaded.base)) return;
  if (!patch_all && !is_c_library(loaded, walk.linker_base)) return;
  // The planner is another process, and the working directory may change.
  FixedText<48> program;
  program << "/proc/" << static_cast<i64>(raw_syscall(SYS_getpid)) << "/exe";
  ObjectToPatch object{loaded.is_program ? program.c_str() : loaded.path, last_component(loaded.path), loaded.base, {}, {}, nullptr};
  if (const u64 name = initial_stack().auxiliary(AT_EXECFN); loaded.is_program && name != 0)
    object.name = last_component(reinterpret_cast<const char*>(name));
  if (find_text_segment(loaded.segments, loaded.segment_count, object.text) == 0) return;
  if (!key_in_memory(loaded, object.key)) return record_unpatched(object.name, object.base, ENOENT);
  const int error = patch_object(object);
  if (error == EALREADY) walk.already = true;
  if (walk.first_error == 0) walk.first_error = error;
}

Result<void> patch_process() {
  const InitialStack stack = initial_stack();
  choose_caches(stack, the_options);
  for_each_object(find_own_directory, nullptr);
  choose_planners(the_options);
  const bool may_plan = the_options.plan_when_missing && stack.variable(kPlanningVariable) == nullptr;
  set_plan_source({caches, planners, may_plan, the_options.warn});
  is_active = true;
  Walk walk{stack.auxiliary(AT_BASE), 0, false};
  for_each_object(patch_loaded, &walk);
  if (mutable_stats().sites_patched() != 0) return {};
  is_active = false;
  return Error(walk.already ? EALREADY : walk.first_error != 0 ? walk.first_error : ENOENT);
}

void patch_deferred() {
  const Result<void> patched = patch_process();
  if (!patched.ok()) the_options.failed(patched.error());
}

} // namespace

Result<void> start(FastHook hook, const ChildEvents* events, const Options& options) {
  if (is_active || is_trapped_by_another()) return Error(EALREADY);
  the_options = options;
  patch_all = options.all_objects;
  choose_vector_save();
  set_hook(hook, events);
  if (options.failed != nullptr && !own_path_is_relative() && start_trapping(options.max_traps, patch_deferred)) return {};
  return patch_process();
}

void patch_new_objects() {
  if (!is_active) return;
  Walk walk{initial_stack().auxiliary(AT_BASE), 0, false};
  for_each_object(patch_loaded, &walk);
}

bool patches_all_objects() { return patch_all; }
const Stats& stats() { return mutable_stats(); }
bool active() { return is_active; }

u32 Stats::sites_found() const {
  u32 sum = 0;
  for (u32 i = 0; i < min_of(object_count, kMaxObjectStats); ++i) sum += objects[i].found;
  return sum;
}

u32 Stats::sites_patched() const {
  u32 sum = 0;
  for (u32 i = 0; i < min_of(object_count, kMaxObjectStats); ++i)
    if (objects[i].error == 0) sum += objects[i].patched();
  return sum;
}

} // namespace pmemfile::intercept
