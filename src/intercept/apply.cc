#include "intercept/apply.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/crc32c.h"
#include "base/syscall.h"
#include "base/text.h"

extern "C" void pmemfile_intercept_entry();

namespace pmemfile::intercept {

namespace {

constexpr u64 kMaxPlanBytes = u64{4} << 30;
constexpr unsigned kChunk = 64; // table entries read at a time, to spare the stack

Result<u64> map(u64 address, u64 size, int protection, int flags, int fd, u64 offset) {
  const long got = raw_syscall(SYS_mmap, static_cast<long>(address), static_cast<long>(size), protection,
                               MAP_PRIVATE | flags, fd, static_cast<long>(offset));
  if (is_syscall_error(got)) return Error(static_cast<int>(-got));
  // Kernels older than MAP_FIXED_NOREPLACE take the address as a wish.
  if (static_cast<u64>(got) != address) {
    raw_syscall(SYS_munmap, got, static_cast<long>(size));
    return Error(EEXIST);
  }
  return address;
}

Result<void> protect(u64 address, u64 size, int protection) {
  const long r = raw_syscall(SYS_mprotect, static_cast<long>(address), static_cast<long>(size), protection);
  if (r != 0) return Error(static_cast<int>(-r));
  return {};
}

void unmap(u64 address, u64 size) { raw_syscall(SYS_munmap, static_cast<long>(address), static_cast<long>(size)); }

Result<void> read_at(int fd, void* to, u64 size, u64 offset) {
  const long got = raw_syscall(SYS_pread64, fd, as_arg(to), static_cast<long>(size), static_cast<long>(offset));
  if (is_syscall_error(got)) return Error(static_cast<int>(-got));
  if (static_cast<u64>(got) != size) return Error(EIO);
  return {};
}

bool inside(u64 offset, u64 size, u64 file_bytes) { return offset <= file_bytes && size <= file_bytes - offset; }

bool header_is_sound(PlanHeader& h, const char (&key)[kMaxKeyBytes], u64 file_bytes) {
  if (h.magic != kPlanMagic || h.version != kPlanVersion || __builtin_memcmp(h.key, key, kMaxKeyBytes) != 0) return false;
  const u32 checksum = h.checksum;
  h.checksum = 0;
  if (crc32c_words(0xffffffff, reinterpret_cast<const u64*>(&h), sizeof h / 8) != checksum) return false;
  if (h.patch_count == 0) return true;
  return (h.text_address | h.text_file_offset | h.text_bytes | h.stub_bytes | h.stub_offset | h.image_offset) %
                 kPageBytes == 0 &&
         h.text_bytes != 0 && h.stub_bytes != 0 && h.text_bytes < kMaxPlanBytes && h.stub_bytes < kMaxPlanBytes &&
         inside(h.stub_offset, h.stub_bytes, file_bytes) && inside(h.image_offset, h.text_bytes, file_bytes) &&
         inside(h.patch_offset, u64{h.patch_count} * sizeof(TextPatch), file_bytes) &&
         inside(h.fixup_offset, u64{h.fixup_count} * sizeof(u32), file_bytes);
}

bool is_unpatched(const TextPatch& patch, u64 text) {
  return __builtin_memcmp(reinterpret_cast<const void*>(text + patch.text_offset), patch.original, patch.size) == 0;
}

// The entry pointer lies in the page behind the stubs. It stays writable: taking the right away again would cost more than
// everything else here (a page that was written has to be dropped from the translation caches).
Result<void> map_entry_pointer(u64 address) {
  TRY(map(address, kPageBytes, PROT_READ | PROT_WRITE, MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0));
  *reinterpret_cast<u64*>(address) = reinterpret_cast<u64>(&pmemfile_intercept_entry);
  return {};
}

// Stubs and text straight from the file: a handful of system calls.
Result<Applied> apply_image(const OpenPlan& plan, u64 base) {
  const PlanHeader& h = plan.header;
  const u64 stubs = base + static_cast<u64>(h.stub_distance);
  TRY(map(stubs, h.stub_bytes, PROT_READ | PROT_EXEC, MAP_FIXED_NOREPLACE, plan.fd, h.stub_offset));
  Result<void> entry = map_entry_pointer(stubs + h.stub_bytes);
  if (entry.ok()) {
    const Result<u64> text =
        map(base + h.text_address, h.text_bytes, PROT_READ | PROT_EXEC, MAP_FIXED, plan.fd, h.image_offset);
    if (text.ok()) return Applied{stubs, h.stub_bytes + kPageBytes, false};
    unmap(stubs + h.stub_bytes, kPageBytes);
    entry = Error(text.error());
  }
  unmap(stubs, h.stub_bytes);
  return Error(entry.error());
}

// A free place for the stubs that every jump reaches, nearest first.
Result<u64> map_stub_room(u64 base, const PlanHeader& h) {
  constexpr i64 kStep = i64{16} << 20, kReach = (i64{2} << 30) - (i64{1} << 20);
  const u64 size = h.stub_bytes + kPageBytes;
  const i64 text_end = static_cast<i64>(h.text_address + h.text_bytes);
  for (i64 distance = kStep; distance < kReach - text_end; distance += kStep) {
    for (i64 signed_distance : {-distance, text_end + distance}) {
      const u64 address = align_down(base + static_cast<u64>(signed_distance), kPageBytes);
      if (address < kPageBytes || address >> 47 != 0) continue;
      const Result<u64> room = map(address, size, PROT_READ | PROT_WRITE, MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
      if (room.ok() || room.error() != EEXIST) return room;
    }
  }
  return Error(ENOMEM);
}

Result<void> fill_stubs(const OpenPlan& plan, u64 stubs, u64 moved) {
  const PlanHeader& h = plan.header;
  TRY(read_at(plan.fd, reinterpret_cast<void*>(stubs), h.stub_bytes, h.stub_offset));
  u32 fixups[kChunk];
  for (u32 done = 0; done < h.fixup_count;) {
    const u32 count = min_of(kChunk, h.fixup_count - done);
    TRY(read_at(plan.fd, fixups, count * sizeof(u32), h.fixup_offset + done * sizeof(u32)));
    for (u32 i = 0; i < count; ++i) {
      if (fixups[i] > h.stub_bytes - 4) return Error(EIO);
      u32 distance;
      __builtin_memcpy(&distance, reinterpret_cast<void*>(stubs + fixups[i]), 4);
      distance -= static_cast<u32>(moved);
      __builtin_memcpy(reinterpret_cast<void*>(stubs + fixups[i]), &distance, 4);
    }
    done += count;
  }
  *reinterpret_cast<u64*>(stubs + h.stub_bytes) = reinterpret_cast<u64>(&pmemfile_intercept_entry);
  TRY(protect(stubs, h.stub_bytes, PROT_READ | PROT_EXEC));
  return protect(stubs + h.stub_bytes, kPageBytes, PROT_READ);
}

// Calls `each` for every patch of the plan until one fails.
template <class F>
Result<void> for_each_patch(const OpenPlan& plan, F each) {
  TextPatch patches[kChunk / 4];
  for (u32 done = 0; done < plan.header.patch_count;) {
    const u32 count = min_of(kChunk / 4, plan.header.patch_count - done);
    TRY(read_at(plan.fd, patches, count * sizeof(TextPatch), plan.header.patch_offset + done * sizeof(TextPatch)));
    for (u32 i = 0; i < count; ++i) {
      if (patches[i].size > kMaxPatchBytes || patches[i].text_offset > plan.header.text_bytes - kMaxPatchBytes)
        return Error(EIO);
      TRY(each(patches[i]));
    }
    done += count;
  }
  return {};
}

// Where the planned place is taken, or the file may not be mapped executable.
Result<Applied> apply_in_place(const OpenPlan& plan, u64 base) {
  const PlanHeader& h = plan.header;
  const u64 text = base + h.text_address;
  TRY(for_each_patch(plan, [&](const TextPatch& p) -> Result<void> {
    if (!is_unpatched(p, text)) return Error(EBUSY);
    return {};
  }));
  const u64 stubs = TRY(map_stub_room(base, h));
  const u64 moved = stubs - (base + static_cast<u64>(h.stub_distance));
  Result<void> done = fill_stubs(plan, stubs, moved);
  if (done.ok()) done = protect(text, h.text_bytes, PROT_READ | PROT_WRITE | PROT_EXEC);
  if (!done.ok()) {
    unmap(stubs, h.stub_bytes + kPageBytes);
    return Error(done.error());
  }
  done = for_each_patch(plan, [&](TextPatch& p) -> Result<void> {
    if (p.rel32_at != kNoRel32 && p.rel32_at <= kMaxPatchBytes - 4) {
      u32 distance;
      __builtin_memcpy(&distance, p.bytes + p.rel32_at, 4);
      distance += static_cast<u32>(moved);
      __builtin_memcpy(p.bytes + p.rel32_at, &distance, 4);
    }
    __builtin_memcpy(reinterpret_cast<void*>(text + p.text_offset), p.bytes, p.size);
    return {};
  });
  TRY(protect(text, h.text_bytes, PROT_READ | PROT_EXEC));
  TRY(done);
  return Applied{stubs, h.stub_bytes + kPageBytes, true};
}

} // namespace

Result<void> read_plan(int fd, const char (&key)[kMaxKeyBytes], OpenPlan& out) {
  struct stat st;
  const long r = raw_syscall(SYS_fstat, fd, as_arg(&st));
  if (r != 0) return Error(static_cast<int>(-r));
  // What is in the file becomes code of this process.
  const bool ours = st.st_uid == 0 || static_cast<long>(st.st_uid) == raw_syscall(SYS_geteuid);
  if (!S_ISREG(st.st_mode) || !ours || (st.st_mode & (S_IWGRP | S_IWOTH)) != 0) return Error(EPERM);
  struct {
    PlanHeader header;
    TextPatch first_patch;
  } start{};
  const long got = raw_syscall(SYS_pread64, fd, as_arg(&start), sizeof start, 0);
  if (got < static_cast<long>(sizeof start.header)) return Error(ENOENT);
  out.header = start.header;
  out.first_patch = start.first_patch;
  out.file_bytes = static_cast<u64>(st.st_size);
  if (!header_is_sound(out.header, key, out.file_bytes)) return Error(ENOENT);
  out.fd = fd;
  return {};
}

Result<void> open_plan(const char* const* caches, const char (&key)[kMaxKeyBytes], OpenPlan& out) {
  int error = ENOENT;
  for (const char* const* cache = caches; *cache != nullptr; ++cache) {
    FixedText<512> path;
    path << *cache << '/' << key;
    if (path.truncated()) continue;
    const long fd = raw_syscall(SYS_open, as_arg(path.c_str()), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0) continue;
    const Result<void> read = read_plan(static_cast<int>(fd), key, out);
    if (read.ok()) return {};
    if (read.error() != ENOENT) error = read.error();
    raw_syscall(SYS_close, fd);
  }
  return Error(error);
}

void close_plan(OpenPlan& plan) {
  if (plan.fd >= 0) raw_syscall(SYS_close, plan.fd);
  plan.fd = -1;
}

Result<Applied> apply_plan(const OpenPlan& plan, u64 base) {
  const u64 text = base + plan.header.text_address;
  if (plan.first_patch.size > kMaxPatchBytes || plan.first_patch.text_offset > plan.header.text_bytes - kMaxPatchBytes)
    return Error(EIO);
  if (!is_unpatched(plan.first_patch, text)) {
    constexpr u8 kJump = 0xe9;
    return Error(*reinterpret_cast<const u8*>(text + plan.first_patch.text_offset) == kJump ? EALREADY : EBUSY);
  }
  const Result<Applied> applied = apply_image(plan, base);
  if (applied.ok()) return applied;
  return apply_in_place(plan, base);
}

} // namespace pmemfile::intercept
