// An ELF object as the planner sees it: segments, relocations, symbols, and
// the functions with their bounds, read from a file that is not trusted.
//
// Owner: the planner, a program of its own; single-threaded; never in a hook.
#pragma once

#include <elf.h>

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "intercept/object_key.h"

namespace pmemfile::intercept::planner {

struct Function {
  u64 begin, end;
};

class ElfFile {
 public:
  // An error text, or nothing if the object was read.
  std::optional<std::string> load(const char* path);

  const char* key() const { return key_; }
  bool fixed() const { return fixed_; }
  // False: not a byte of the text could be a system call.
  bool may_contain_syscalls() const;
  // From the first executable segment to the last; only where there is one can
  // the object be patched.
  unsigned text_segments() const { return text_segments_; }
  u64 text_begin() const { return text_begin_; }
  u64 text_end() const { return text_end_; }
  u64 text_file_offset() const { return text_file_offset_; }
  const u8* text(u64 address) const { return bytes(address, 1); }
  bool in_text(u64 address) const { return address >= text_begin_ && address < text_end_; }
  std::span<const u8> file() const { return file_; }

  // Bytes in the file that are mapped at an address; null if not wholly there.
  const u8* bytes(u64 address, u64 size) const;
  template <class T>
  std::optional<T> read(u64 address) const {
    const u8* from = bytes(address, sizeof(T));
    if (from == nullptr) return std::nullopt;
    T value;
    __builtin_memcpy(&value, from, sizeof value);
    return value;
  }

  // From .eh_frame, sorted, without overlaps.
  const std::vector<Function>& functions() const { return functions_; }
  // Code addresses that something outside the code knows: symbols,
  // relocations, landing pads, entry points, words of a fixed executable.
  const std::vector<u64>& known_addresses() const { return known_addresses_; }

 private:
  std::optional<std::string> read_segments();
  void read_key(const struct stat& st);
  void read_dynamic();
  void read_relr(u64 address, u64 size);
  void read_symbols(u64 symtab, u64 gnu_hash, u64 hash);
  void read_section_symbols();
  void read_words_of_fixed();
  void read_unwind_table();
  bool read_unwind_section(u64 eh_frame, u64 count);
  void read_landing_pads(u64 lsda, u64 function_begin);
  void add_known(u64 address) {
    if (in_text(address)) known_addresses_.push_back(address);
  }

  std::vector<u8> file_;
  std::vector<Elf64_Phdr> segments_;
  std::vector<Function> functions_;
  std::vector<u64> known_addresses_;
  char key_[kMaxKeyBytes] = {};
  bool fixed_ = false;
  unsigned text_segments_ = 0;
  u64 text_begin_ = 0, text_end_ = 0, text_file_offset_ = 0, entry_ = 0;
};

} // namespace pmemfile::intercept::planner
