// Objects that are mapped while the program runs: by dlopen through the engine,
// or by the owner of the hook.
#include <sys/stat.h>

#include "intercept/patch.h"

namespace pmemfile::intercept {

namespace {

constexpr u64 kMaxSegments = 24;
constexpr u64 kMaxNoteBytes = 512;

struct Headers {
  Elf64_Ehdr elf;
  Elf64_Phdr segments[kMaxSegments];
};

bool read_headers(const ObjectFile& file, Headers& out) {
  return file.read(file.context, &out.elf, sizeof out.elf, 0) &&
         memcmp(out.elf.e_ident, ELFMAG, SELFMAG) == 0 && out.elf.e_machine == EM_X86_64 &&
         out.elf.e_phentsize == sizeof(Elf64_Phdr) && out.elf.e_phnum <= kMaxSegments &&
         file.read(file.context, out.segments, out.elf.e_phnum * sizeof(Elf64_Phdr), out.elf.e_phoff);
}

bool find_key(const ObjectFile& file, const Headers& headers, char (&key)[kMaxKeyBytes]) {
  u8 notes[kMaxNoteBytes];
  for (u32 i = 0; i < headers.elf.e_phnum; ++i) {
    const Elf64_Phdr& s = headers.segments[i];
    if (s.p_type != PT_NOTE || s.p_filesz > kMaxNoteBytes || !file.read(file.context, notes, s.p_filesz, s.p_offset))
      continue;
    if (key_of_build_id(find_build_id(notes, s.p_filesz, s.p_align), key)) return true;
  }
  struct stat st;
  const int fd = file.descriptor(file.context);
  if (fd < 0 || raw_syscall(SYS_fstat, fd, as_arg(&st)) != 0) return false;
  key_of_stat(st, key);
  return true;
}

struct KernelFile {
  int fd;
};

bool read_kernel_file(void* context, void* to, u64 size, u64 offset) {
  return raw_syscall(SYS_pread64, static_cast<KernelFile*>(context)->fd, as_arg(to), static_cast<long>(size),
                     static_cast<long>(offset)) == static_cast<long>(size);
}

int descriptor_of_kernel_file(void* context) { return static_cast<KernelFile*>(context)->fd; }

} // namespace

void object_mapped(void* address, u64 size_bytes, u64 file_offset, const ObjectFile& file) {
  if (!active() || !patches_all_objects()) return;
  Headers headers;
  if (!read_headers(file, headers)) return;
  ObjectToPatch object{nullptr, file.name, 0, {}, {}, &file};
  if (find_text_segment(headers.segments, headers.elf.e_phnum, object.text) == 0 ||
      object.text.file_offset != file_offset || size_bytes + kPageBytes <= object.text.bytes)
    return;
  object.base = reinterpret_cast<u64>(address) - object.text.address;
  if (find_key(file, headers, object.key)) patch_object(object);
}

void object_mapped(void* address, u64 size_bytes, u64 file_offset, int fd) {
  if (!active() || !patches_all_objects()) return;
  KernelFile kernel_file{fd};
  ObjectFile file{&kernel_file, "(mapped later)", read_kernel_file, descriptor_of_kernel_file};
  char target[512];
  FixedText<64> path;
  path << "/proc/self/fd/" << fd;
  const long length = raw_syscall(SYS_readlink, as_arg(path.c_str()), as_arg(target), sizeof target - 1);
  if (length > 0) {
    target[length] = '\0';
    file.name = last_component(target);
  }
  object_mapped(address, size_bytes, file_offset, file);
}

} // namespace pmemfile::intercept
