#include "intercept/patch.h"

#include "base/atomic.h"
#include "base/text.h"
#include "intercept/apply.h"
#include "intercept/run_planner.h"

namespace pmemfile::intercept {

namespace {

PlanSource the_source;
PMEMFILE_BULKY Stats the_stats;

// Where the stubs of each object in the_stats lie, to be freed when another
// object takes its place.
struct Mapped {
  u64 text = 0, text_bytes = 0;
  Applied applied;
};
PMEMFILE_BULKY Mapped mapped[kMaxObjectStats];

u32 known_count() { return min_of(load_acquire(the_stats.object_count), kMaxObjectStats); }

// Null when there are more objects than the array holds: they are patched, too,
// but not listed, and their stubs stay.
ObjectStats* new_record(std::string_view name, u64 base, Mapped*& where) {
  const u32 index = fetch_add(the_stats.object_count, 1u);
  where = nullptr;
  if (index >= kMaxObjectStats) return nullptr;
  where = &mapped[index];
  ObjectStats& record = the_stats.objects[index];
  Text text(record.name, sizeof record.name);
  text << name;
  record.base = base;
  record.state = ObjectState::Unpatched;
  return &record;
}

void warn(std::string_view name, int error) {
  if (the_source.warn == nullptr) return;
  FixedText<256> line;
  line << "the system calls of " << name << " are not intercepted: ";
  if (error == ENOENT) line << "it has no plan, and none could be made";
  else if (error == EPERM) line << "its plan belongs to somebody else, or others may write it";
  else if (error == ENOEXEC) line << "its code could not be planned";
  else if (error == EBUSY) line << "its code was changed by somebody else";
  else line << "errno " << error;
  the_source.warn(line.view());
}

// Where no cache can be written to, each process makes its own plan.
Result<void> plan_for_this_process(const char* file, const char (&key)[kMaxKeyBytes], OpenPlan& plan) {
  const long fd = raw_syscall(SYS_memfd_create, as_arg("pmemfile-plan"), 0);
  if (is_syscall_error(fd)) return Error(static_cast<int>(-fd));
  raw_syscall(SYS_fchmod, fd, 0600);
  Result<void> made = run_planner({the_source.planners, the_source.caches, static_cast<int>(fd)}, file);
  if (made.ok()) made = read_plan(static_cast<int>(fd), key, plan);
  if (!made.ok()) raw_syscall(SYS_close, fd);
  return made;
}

Result<void> open_or_make_plan(const ObjectToPatch& object, OpenPlan& plan) {
  const Result<void> opened = open_plan(the_source.caches, object.key, plan);
  if (opened.ok() || !the_source.may_plan) return opened;
  // The planner is another process: it finds the file through our descriptor.
  FixedText<64> path;
  if (object.path == nullptr) {
    const int fd = object.file->descriptor(object.file->context);
    if (fd < 0) return Error(ENOENT);
    path << "/proc/" << static_cast<i64>(raw_syscall(SYS_getpid)) << "/fd/" << fd;
  }
  const char* file = object.path == nullptr ? path.c_str() : object.path;
  const Result<void> made = run_planner({the_source.planners, the_source.caches, -1}, file);
  if (made.ok()) return open_plan(the_source.caches, object.key, plan);
  return made.error() == ENOEXEC ? plan_for_this_process(file, object.key, plan) : made;
}

void forget_overlapped(u64 text, u64 text_bytes) {
  for (u32 i = 0, count = known_count(); i < count; ++i) {
    Mapped& old = mapped[i];
    if (old.text_bytes == 0 || old.text + old.text_bytes <= text || text + text_bytes <= old.text) continue;
    if (old.applied.stubs != 0)
      raw_syscall(SYS_munmap, static_cast<long>(old.applied.stubs), static_cast<long>(old.applied.stub_bytes));
    old = {};
  }
}

void record_counts(const PlanHeader& h, ObjectStats& record) {
  record.found = h.sites_found;
  record.before = h.before;
  record.over = h.over;
  record.short_jump = h.short_jump;
  for (unsigned i = 0; i < kLeftReasons; ++i) record.left[i] = h.left[i];
}

// The plan was made from the file; what is mapped must have the same shape.
Result<Applied> apply_to(const ObjectToPatch& object, const OpenPlan& plan) {
  const PlanHeader& h = plan.header;
  if (h.refused != 0) return Error(ENOEXEC);
  if (h.patch_count == 0) return Applied{};
  if (h.text_address != object.text.address || h.text_file_offset != object.text.file_offset ||
      h.text_bytes != object.text.bytes)
    return Error(EBUSY);
  return apply_plan(plan, object.base);
}

} // namespace

void set_plan_source(const PlanSource& source) { the_source = source; }
Stats& mutable_stats() { return the_stats; }

unsigned find_text_segment(const Elf64_Phdr* segments, u32 count, TextSegment& out) {
  unsigned found = 0;
  for (u32 i = 0; i < count; ++i) {
    const Elf64_Phdr& s = segments[i];
    if (s.p_type != PT_LOAD || (s.p_flags & PF_X) == 0) continue;
    if (found++ != 0) continue;
    out.address = align_down(s.p_vaddr, kPageBytes);
    out.file_offset = align_down(s.p_offset, kPageBytes);
    out.bytes = align_up(s.p_vaddr + s.p_filesz, kPageBytes) - out.address;
  }
  return found;
}

int patch_object(const ObjectToPatch& object) {
  const u64 text = object.base + object.text.address;
  forget_overlapped(text, object.text.bytes);
  OpenPlan plan;
  const Result<void> opened = open_or_make_plan(object, plan);
  const Result<Applied> applied = opened.ok() ? apply_to(object, plan) : Error(opened.error());
  close_plan(plan);
  const int error = applied.ok() ? 0 : applied.error();
  if (error == EALREADY) return error;
  Mapped* where;
  if (ObjectStats* record = new_record(object.name, object.base, where)) {
    if (opened.ok()) record_counts(plan.header, *record);
    record->error = error;
    if (error == 0) {
      *where = {text, object.text.bytes, applied.value()};
      record->state = plan.header.patch_count == 0  ? ObjectState::NoSites
                      : applied.value().in_place    ? ObjectState::InPlace
                                                    : ObjectState::Image;
    }
  }
  if (error != 0) warn(object.name, error);
  return error;
}

void record_unpatched(std::string_view name, u64 base, int error) {
  Mapped* where;
  if (ObjectStats* record = new_record(name, base, where)) record->error = error;
  warn(name, error);
}

u64 find_stub_entry(u64 after_site) {
  // mov $0, %r11d; lea after_site(%rip), %rcx
  constexpr u8 kBegin[] = {0x41, 0xbb, 0, 0, 0, 0, 0x48, 0x8d, 0x0d};
  constexpr u64 kBytes = sizeof kBegin + 4;
  for (u32 i = 0, count = known_count(); i < count; ++i) {
    const Mapped& m = mapped[i];
    if (after_site - m.text >= m.text_bytes || m.applied.stubs == 0) continue;
    const u64 end = m.applied.stubs + m.applied.stub_bytes - kBytes;
    for (u64 at = m.applied.stubs; at <= end; ++at) {
      if (__builtin_memcmp(reinterpret_cast<const void*>(at), kBegin, sizeof kBegin) != 0) continue;
      i32 distance;
      __builtin_memcpy(&distance, reinterpret_cast<const void*>(at + sizeof kBegin), 4);
      if (at + kBytes + static_cast<u64>(static_cast<i64>(distance)) == after_site) return at;
    }
  }
  return 0;
}

bool is_known(u64 base) {
  for (u32 i = 0, count = known_count(); i < count; ++i)
    if (the_stats.objects[i].base == base && mapped[i].text_bytes != 0) return true;
  return false;
}

} // namespace pmemfile::intercept
