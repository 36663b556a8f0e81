#include "intercept/planner/elf_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

namespace pmemfile::intercept::planner {

namespace {
constexpr u64 kMaxObjectBytes = u64{2} << 30;
constexpr Elf64_Sxword kDtRelr = 36, kDtRelrSize = 35; // newer than this glibc's elf.h
} // namespace

std::optional<std::string> ElfFile::load(const char* path) {
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return std::string("cannot open it");
  struct stat st{};
  if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size < static_cast<off_t>(sizeof(Elf64_Ehdr)) ||
      static_cast<u64>(st.st_size) > kMaxObjectBytes) {
    close(fd);
    return std::string("not a regular file of a usable size");
  }
  file_.resize(static_cast<u64>(st.st_size));
  u64 done = 0;
  while (done < file_.size()) {
    const ssize_t count = pread(fd, file_.data() + done, file_.size() - done, static_cast<off_t>(done));
    if (count <= 0) break;
    done += static_cast<u64>(count);
  }
  close(fd);
  if (done != file_.size()) return std::string("cannot read it");
  const auto error = read_segments();
  if (segments_.empty()) return error;
  read_key(st);
  if (error) return error;
  add_known(entry_);
  read_dynamic();
  read_section_symbols();
  if (fixed_) read_words_of_fixed();
  read_unwind_table();
  return std::nullopt;
}

bool ElfFile::may_contain_syscalls() const {
  static constexpr u8 kSyscall[] = {0x0f, 0x05};
  for (const Elf64_Phdr& s : segments_)
    if (s.p_type == PT_LOAD && (s.p_flags & PF_X) != 0 &&
        memmem(file_.data() + s.p_offset, s.p_filesz, kSyscall, sizeof kSyscall) != nullptr)
      return true;
  return false;
}

const u8* ElfFile::bytes(u64 address, u64 size) const {
  for (const Elf64_Phdr& s : segments_) {
    if (s.p_type != PT_LOAD || address < s.p_vaddr || address - s.p_vaddr >= s.p_filesz) continue;
    if (s.p_filesz - (address - s.p_vaddr) < size) return nullptr;
    return file_.data() + s.p_offset + (address - s.p_vaddr);
  }
  return nullptr;
}

std::optional<std::string> ElfFile::read_segments() {
  Elf64_Ehdr header;
  __builtin_memcpy(&header, file_.data(), sizeof header);
  if (__builtin_memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 || header.e_ident[EI_CLASS] != ELFCLASS64 ||
      header.e_machine != EM_X86_64 || (header.e_type != ET_DYN && header.e_type != ET_EXEC) ||
      header.e_phentsize != sizeof(Elf64_Phdr))
    return "not an x86-64 object";
  if (header.e_phoff > file_.size() || (file_.size() - header.e_phoff) / sizeof(Elf64_Phdr) < header.e_phnum)
    return "damaged: program headers";
  fixed_ = header.e_type == ET_EXEC;
  entry_ = header.e_entry;
  segments_.resize(header.e_phnum);
  __builtin_memcpy(segments_.data(), file_.data() + header.e_phoff, header.e_phnum * sizeof(Elf64_Phdr));
  for (const Elf64_Phdr& s : segments_) {
    if (s.p_offset <= file_.size() && s.p_filesz <= file_.size() - s.p_offset && s.p_vaddr + s.p_filesz >= s.p_vaddr)
      continue;
    segments_.clear();
    return "damaged: a segment lies outside the file";
  }
  for (const Elf64_Phdr& s : segments_) {
    if (s.p_type != PT_LOAD || (s.p_flags & PF_X) == 0) continue;
    if ((s.p_flags & PF_W) != 0) return "its text is writable";
    if (s.p_vaddr % kPageBytes != s.p_offset % kPageBytes) return "damaged: a segment is not aligned";
    if (text_segments_++ == 0) {
      text_begin_ = s.p_vaddr;
      text_file_offset_ = s.p_offset;
    }
    text_begin_ = std::min(text_begin_, s.p_vaddr);
    text_end_ = std::max(text_end_, s.p_vaddr + s.p_filesz);
  }
  if (text_segments_ == 0) return "it has no executable segment";
  if (text_end_ > (u64{1} << 31)) return "it is too large";
  return std::nullopt;
}

void ElfFile::read_key(const struct stat& st) {
  for (const Elf64_Phdr& s : segments_) {
    if (s.p_type != PT_NOTE) continue;
    if (key_of_build_id(find_build_id(file_.data() + s.p_offset, s.p_filesz, s.p_align), key_)) return;
  }
  key_of_stat(st, key_);
}

void ElfFile::read_dynamic() {
  u64 rela = 0, rela_size = 0, relr = 0, relr_size = 0, symtab = 0, gnu_hash = 0, hash = 0;
  for (const Elf64_Phdr& s : segments_) {
    if (s.p_type != PT_DYNAMIC) continue;
    for (u64 at = 0; at + sizeof(Elf64_Dyn) <= s.p_filesz; at += sizeof(Elf64_Dyn)) {
      Elf64_Dyn d;
      __builtin_memcpy(&d, file_.data() + s.p_offset + at, sizeof d);
      if (d.d_tag == DT_NULL) break;
      switch (d.d_tag) {
        case DT_RELA: rela = d.d_un.d_ptr; break;
        case DT_RELASZ: rela_size = d.d_un.d_val; break;
        case kDtRelr: relr = d.d_un.d_ptr; break;
        case kDtRelrSize: relr_size = d.d_un.d_val; break;
        case DT_SYMTAB: symtab = d.d_un.d_ptr; break;
        case DT_GNU_HASH: gnu_hash = d.d_un.d_ptr; break;
        case DT_HASH: hash = d.d_un.d_ptr; break;
        case DT_INIT:
        case DT_FINI: add_known(d.d_un.d_ptr); break;
        default: break;
      }
    }
  }
  for (u64 at = 0; at + sizeof(Elf64_Rela) <= rela_size; at += sizeof(Elf64_Rela)) {
    const auto r = read<Elf64_Rela>(rela + at);
    if (!r) break;
    add_known(static_cast<u64>(r->r_addend));
  }
  read_relr(relr, relr_size);
  if (symtab != 0) read_symbols(symtab, gnu_hash, hash);
}

void ElfFile::read_relr(u64 address, u64 size) {
  u64 where = 0;
  auto add_word_at = [&](u64 at) {
    if (const auto word = read<u64>(at)) add_known(*word);
  };
  for (u64 at = 0; at + 8 <= size; at += 8) {
    const auto entry = read<u64>(address + at);
    if (!entry) return;
    if ((*entry & 1) == 0) {
      add_word_at(*entry);
      where = *entry + 8;
      continue;
    }
    for (unsigned bit = 1; bit < 64; ++bit)
      if ((*entry >> bit & 1) != 0) add_word_at(where + (bit - 1) * 8);
    where += 63 * 8;
  }
}

// The table says nowhere how long it is: DT_HASH knows, the chains of
// DT_GNU_HASH are searched for the highest index.
void ElfFile::read_symbols(u64 symtab, u64 gnu_hash, u64 hash) {
  u64 count = 0;
  if (hash != 0) {
    if (const auto chains = read<u32>(hash + 4)) count = *chains;
  } else if (gnu_hash != 0) {
    const auto buckets = read<u32>(gnu_hash), first = read<u32>(gnu_hash + 4), bloom = read<u32>(gnu_hash + 8);
    if (!buckets || !first || !bloom) return;
    const u64 bucket_at = gnu_hash + 16 + u64{*bloom} * 8;
    u64 highest = 0;
    for (u64 i = 0; i < *buckets; ++i) {
      const auto index = read<u32>(bucket_at + i * 4);
      if (!index) return;
      highest = std::max<u64>(highest, *index);
    }
    count = *first;
    if (highest >= *first) {
      for (count = highest;; ++count) {
        const auto chain = read<u32>(bucket_at + u64{*buckets} * 4 + (count - *first) * 4);
        if (!chain) break;
        if ((*chain & 1) != 0) break;
      }
      ++count;
    }
  }
  for (u64 i = 0; i < count; ++i) {
    const auto symbol = read<Elf64_Sym>(symtab + i * sizeof(Elf64_Sym));
    if (!symbol) return;
    add_known(symbol->st_value);
  }
}

// Not every object is stripped; labels in hand-written code are found here.
void ElfFile::read_section_symbols() {
  Elf64_Ehdr header;
  __builtin_memcpy(&header, file_.data(), sizeof header);
  if (header.e_shentsize != sizeof(Elf64_Shdr) || header.e_shoff > file_.size()) return;
  const u64 count = std::min<u64>(header.e_shnum, (file_.size() - header.e_shoff) / sizeof(Elf64_Shdr));
  for (u64 i = 0; i < count; ++i) {
    Elf64_Shdr section;
    __builtin_memcpy(&section, file_.data() + header.e_shoff + i * sizeof section, sizeof section);
    if (section.sh_type != SHT_SYMTAB || section.sh_offset > file_.size() ||
        section.sh_size > file_.size() - section.sh_offset)
      continue;
    for (u64 at = 0; at + sizeof(Elf64_Sym) <= section.sh_size; at += sizeof(Elf64_Sym)) {
      Elf64_Sym symbol;
      __builtin_memcpy(&symbol, file_.data() + section.sh_offset + at, sizeof symbol);
      const unsigned type = ELF64_ST_TYPE(symbol.st_info);
      if (symbol.st_shndx != SHN_UNDEF && (type == STT_FUNC || type == STT_NOTYPE)) add_known(symbol.st_value);
    }
  }
}

// An executable with fixed addresses has no relocations that tell where code
// addresses lie (tables of switch statements among them): take every word.
void ElfFile::read_words_of_fixed() {
  for (const Elf64_Phdr& s : segments_) {
    if (s.p_type != PT_LOAD) continue;
    for (u64 at = align_up(s.p_vaddr, 8) - s.p_vaddr; at + 8 <= s.p_filesz; at += 8) {
      u64 word;
      __builtin_memcpy(&word, file_.data() + s.p_offset + at, sizeof word);
      add_known(word);
    }
  }
}

} // namespace pmemfile::intercept::planner
