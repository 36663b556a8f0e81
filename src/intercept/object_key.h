// The name under which an object's plan is kept: its build-id, or, for an
// object without one, the identity of its file.
//
// Rules: usable in any thread, inside a hook; no state.
#pragma once

#include <elf.h>
#include <sys/stat.h>

#include "base/text.h"
#include "intercept/plan_format.h"

namespace pmemfile::intercept {

struct BuildId {
  const u8* bytes = nullptr;
  u64 size = 0;
};

// Looks through the notes in [notes, notes + size); sizes are checked.
inline BuildId find_build_id(const u8* notes, u64 size, u64 alignment) {
  const u64 step = alignment == 8 ? 8 : 4;
  u64 at = 0;
  while (size - at >= sizeof(Elf64_Nhdr)) {
    Elf64_Nhdr note;
    __builtin_memcpy(&note, notes + at, sizeof note);
    const u64 name_at = at + sizeof note;
    if (note.n_namesz > size || note.n_descsz > size) return {};
    const u64 desc_at = align_up(name_at + note.n_namesz, step);
    const u64 next = align_up(desc_at + note.n_descsz, step);
    if (desc_at > size || size - desc_at < note.n_descsz) return {};
    if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 && __builtin_memcmp(notes + name_at, "GNU", 4) == 0)
      return {notes + desc_at, note.n_descsz};
    if (next >= size) return {};
    at = next;
  }
  return {};
}

// False if there is no usable build-id.
inline bool key_of_build_id(BuildId id, char (&key)[kMaxKeyBytes]) {
  if (id.size < 8 || id.size > kMaxBuildIdBytes) return false;
  char* out = key;
  *out++ = kPlanLetter;
  for (u64 i = 0; i < id.size; ++i) {
    *out++ = "0123456789abcdef"[id.bytes[i] >> 4];
    *out++ = "0123456789abcdef"[id.bytes[i] & 15];
  }
  while (out != key + kMaxKeyBytes) *out++ = '\0';
  return true;
}

// A file that is written to changes its key.
inline void key_of_file(u64 device, u64 ino, u64 size, u64 mtime_ns, u64 ctime_ns, char (&key)[kMaxKeyBytes]) {
  for (char& c : key) c = '\0';
  Text text(key, kMaxKeyBytes);
  text << "f" << device << '-' << ino << '-' << size << '-';
  text.hex(mtime_ns) << '-';
  text.hex(ctime_ns);
}

inline void key_of_stat(const struct stat& st, char (&key)[kMaxKeyBytes]) {
  auto ns = [](const timespec& t) { return static_cast<u64>(t.tv_sec) * 1000000000 + static_cast<u64>(t.tv_nsec); };
  key_of_file(st.st_dev, st.st_ino, static_cast<u64>(st.st_size), ns(st.st_mtim), ns(st.st_ctim), key);
}

} // namespace pmemfile::intercept
