// Handles: what a process's descriptor numbers refer to, in V, so that a dead process's references can be dropped and
// a new image after exec finds its own.
//
// What it is: for each process two tables of words, for descriptor numbers and for private handles (cwd, mappings, the
// C library), each a tree of pages: the first leaf directly, everything else over a top and a middle node. A page names
// the process that owns it; free pages are zero.
// Who may: a handle word is changed by its process (VTx), the pages by its process; after its death by the repairer.
// Rules: hook-safe; indices read from V are checked before use.
#pragma once

#include "base/result.h"
#include "shm/process.h"

namespace pmemfile::shm {

inline constexpr u64 kHandlePageBytes = 1024;
inline constexpr u32 kHandlesPerPage = kHandlePageBytes / sizeof(u64);
inline constexpr u32 kHandleTableBits = 20; // handles of one table
inline constexpr u32 kHandleLimit = 2u << kHandleTableBits;

// A handle word: bits 0..31 description + 1, bit 32: it is a mapping. 0: the handle is free. With kClaimMark (vlog.h) a thread is
// about to use it: to all others it is neither free nor in use.
inline constexpr u64 kHandleIsMapping = u64{1} << 32;
constexpr u64 handle_word(u32 description, bool mapping) {
  return (u64{description} + 1) | (mapping ? kHandleIsMapping : 0);
}
constexpr u32 handle_description(u64 word) { return static_cast<u32>(word) - 1; }

// The word of a handle; null: its page does not exist, so the handle is free.
u64* find_handle(const Segment& v, ProcessRef process, u32 handle);
// The same; makes the pages. ENFILE: V has no more; EBADF: `handle` is out of range.
Result<u64*> make_handle(Segment& v, ProcessRef process, u32 handle, u32* page_hint);
// Walks the pages of a process. The visitor may clear the word.
using HandleVisitor = void (*)(void* context, u32 handle, u64 word);
void for_each_handle(const Segment& v, ProcessRef process, HandleVisitor visit, void* context);
// Gives all pages of the process back. Its handles have been dropped.
void free_handle_pages(Segment& v, ProcessRef process);

} // namespace pmemfile::shm
