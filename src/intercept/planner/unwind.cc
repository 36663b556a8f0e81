// Function bounds and landing pads from .eh_frame (LSB Core, "Exception
// Frames"; DWARF pointer encodings).
#include <algorithm>

#include "intercept/planner/elf_file.h"

namespace pmemfile::intercept::planner {

namespace {

enum : u8 { kOmit = 0xff, kFormMask = 0x0f, kBaseMask = 0x70, kIndirect = 0x80, kPcRelative = 0x10, kDataRelative = 0x30 };

// Reads along a table in the object; a read past its end sets failed().
class Cursor {
 public:
  Cursor(const ElfFile& elf, u64 at, u64 end) : elf_(elf), at_(at), end_(end) {}

  bool failed() const { return failed_; }
  u64 at() const { return at_; }
  void skip(u64 count) { at_ += count; }

  template <class T>
  T take() {
    const auto value = end_ - at_ >= sizeof(T) && at_ <= end_ ? elf_.read<T>(at_) : std::nullopt;
    if (!value) {
      failed_ = true;
      return {};
    }
    at_ += sizeof(T);
    return *value;
  }
  u64 uleb() {
    u64 value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      const u8 byte = take<u8>();
      value |= static_cast<u64>(byte & 0x7f) << shift;
      if (failed_ || (byte & 0x80) == 0) return value;
    }
    failed_ = true;
    return 0;
  }
  // 0 for an omitted or null pointer.
  u64 pointer(u8 encoding, u64 data_base = 0) {
    if (encoding == kOmit) return 0;
    const u64 place = at_;
    u64 value = 0;
    switch (encoding & kFormMask) {
      case 0x00: case 0x04: case 0x0c: value = take<u64>(); break;
      case 0x01: value = uleb(); break;
      case 0x02: value = take<u16>(); break;
      case 0x03: value = take<u32>(); break;
      case 0x0a: value = static_cast<u64>(static_cast<i64>(take<std::int16_t>())); break;
      case 0x0b: value = static_cast<u64>(static_cast<i64>(take<i32>())); break;
      default: failed_ = true; return 0;
    }
    if (value == 0 || failed_) return 0;
    if ((encoding & kBaseMask) == kPcRelative) value += place;
    if ((encoding & kBaseMask) == kDataRelative) value += data_base;
    return value;
  }

 private:
  const ElfFile& elf_;
  u64 at_, end_;
  bool failed_ = false;
};

struct Cie {
  u8 pointer_encoding = 0;
  u8 lsda_encoding = kOmit;
  bool signal_frame = false;
  bool usable = false;
};

Cie read_cie(const ElfFile& elf, u64 at, u64 end) {
  Cie cie;
  Cursor c(elf, at, end);
  const u8 version = c.take<u8>();
  char augmentation[8] = {};
  unsigned length = 0;
  for (char letter = static_cast<char>(c.take<u8>()); letter != '\0'; letter = static_cast<char>(c.take<u8>())) {
    if (c.failed() || length + 1 >= sizeof augmentation) return cie;
    augmentation[length++] = letter;
  }
  c.uleb();                                       // code alignment
  c.uleb();                                       // data alignment: signed, same length
  if (version == 1) c.take<u8>(); else c.uleb();  // return address register
  if (augmentation[0] == 'z') c.uleb();
  for (unsigned i = 0; i < length; ++i) {
    switch (augmentation[i]) {
      case 'z': case 'B': break;
      case 'S': cie.signal_frame = true; break;
      case 'R': cie.pointer_encoding = c.take<u8>(); break;
      case 'L': cie.lsda_encoding = c.take<u8>(); break;
      case 'P': {
        const u8 encoding = c.take<u8>();
        c.pointer(encoding);
        break;
      }
      default: return cie;
    }
  }
  cie.usable = !c.failed();
  return cie;
}

} // namespace

void ElfFile::read_unwind_table() {
  for (const Elf64_Phdr& s : segments_) {
    if (s.p_type != PT_GNU_EH_FRAME) continue;
    Cursor c(*this, s.p_vaddr, s.p_vaddr + s.p_filesz);
    c.take<u8>(); // version
    const u8 encoding = c.take<u8>();
    const u8 count_encoding = c.take<u8>();
    c.skip(1);
    const u64 eh_frame = c.pointer(encoding, s.p_vaddr);
    const u64 count = c.pointer(count_encoding);
    // Bounds from a table that does not parse to its end are no bounds.
    if (c.failed() || count == 0 || !read_unwind_section(eh_frame, count)) functions_.clear();
  }
  std::sort(functions_.begin(), functions_.end(), [](auto& a, auto& b) { return a.begin < b.begin; });
  std::vector<Function> merged;
  for (const Function& f : functions_) {
    if (!merged.empty() && f.begin < merged.back().end) merged.back().end = std::max(merged.back().end, f.end);
    else merged.push_back(f);
  }
  functions_ = std::move(merged);
}

// The section ends in a zero word, but not in ld.so: so the entries are counted.
bool ElfFile::read_unwind_section(u64 eh_frame, u64 count) {
  for (u64 at = eh_frame; count != 0;) {
    const auto length = read<u32>(at);
    if (!length) return false;
    if (*length == 0) return false;
    if (*length == 0xffffffff) return false; // 64-bit form: no compiler makes it
    const u64 id_at = at + 4, end = id_at + *length;
    const auto id = read<u32>(id_at);
    if (!id) return false;
    at = end;
    if (*id == 0) continue; // a CIE; read when an FDE points to it
    --count;
    const u64 cie_at = id_at - *id;
    const auto cie_length = read<u32>(cie_at);
    if (!cie_length) return false;
    const Cie cie = read_cie(*this, cie_at + 8, cie_at + 4 + *cie_length);
    if (!cie.usable) return false;
    Cursor c(*this, id_at + 4, end);
    const u64 begin = c.pointer(cie.pointer_encoding);
    const u64 range = c.pointer(cie.pointer_encoding & kFormMask);
    c.uleb();
    const u64 lsda = c.pointer(cie.lsda_encoding);
    if (c.failed()) return false;
    add_known(begin);
    // The return from a signal handler; its bounds begin a byte early, for the
    // sake of unwinders, and so are no bounds of instructions.
    if (cie.signal_frame) continue;
    if (in_text(begin) && range != 0 && range <= text_end_ - begin) functions_.push_back({begin, begin + range});
    if (lsda != 0) read_landing_pads(lsda, begin);
  }
  return true;
}

// Landing pads lie where the personality routine jumps to.
void ElfFile::read_landing_pads(u64 lsda, u64 function_begin) {
  Cursor c(*this, lsda, ~u64{0});
  u64 landing_base = function_begin;
  if (const u8 encoding = c.take<u8>(); encoding != kOmit) landing_base = c.pointer(encoding);
  if (const u8 encoding = c.take<u8>(); encoding != kOmit) c.uleb();
  const u8 call_site_encoding = c.take<u8>() & kFormMask;
  const u64 table_bytes = c.uleb();
  const u64 end = c.at() + table_bytes;
  while (!c.failed() && c.at() < end) {
    c.pointer(call_site_encoding);
    c.pointer(call_site_encoding);
    const u64 pad = c.pointer(call_site_encoding);
    c.uleb();
    if (pad != 0) add_known(landing_base + pad);
  }
}

} // namespace pmemfile::intercept::planner
