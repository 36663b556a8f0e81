#include "shm/handles.h"

namespace pmemfile::shm {
namespace {

constexpr u32 kMiddleShift = 7, kTopShift = 14, kIndexMask = kHandlesPerPage - 1;
static_assert(kHandlesPerPage == 1u << kMiddleShift);
constexpr u32 kTableMask = (1u << kHandleTableBits) - 1;

PageOwner* page_owners(const Segment& v) { return v.at<PageOwner>(v.header->page_owners_offset); }

u64* page_words(const Segment& v, u64 page) { return v.at<u64>(v.header->pages_offset + page * kHandlePageBytes); }

// The page that a link (page + 1) leads to; null for none.
u64* follow(const Segment& v, const u64& link) {
  u64 page_plus_1 = load_acquire(link);
  return page_plus_1 == 0 || page_plus_1 > v.header->page_count ? nullptr : page_words(v, page_plus_1 - 1);
}

// The page behind a link, made if there is none. A page is its owner's before it is linked, so that a death in
// between loses nothing.
u64* follow_or_make(Segment& v, u64& link, ProcessRef process, u64 info, u32* hint) {
  if (u64* words = follow(v, link)) return words;
  u64 count = v.header->page_count;
  for (u64 i = 0; i < count; ++i) {
    u64 page = (*hint + i) % count;
    PageOwner& owner = page_owners(v)[page];
    u64 nobody = 0;
    if (load_relaxed(owner.owner) != 0 || !compare_exchange(owner.owner, nobody, pack(process))) continue;
    *hint = static_cast<u32>(page + 1);
    store_release(owner.info, info);
    u64 unlinked = 0;
    if (!compare_exchange(link, unlinked, page + 1)) {
      store_release(owner.info, u64{0});
      store_release(owner.owner, u64{0});
    }
    return follow(v, link);
  }
  return nullptr;
}

} // namespace

u64* find_handle(const Segment& v, ProcessRef process, u32 handle) {
  Process* entry = find_process(v, process);
  if (PMEMFILE_UNLIKELY(entry == nullptr || handle >= kHandleLimit)) return nullptr;
  u32 table = handle >> kHandleTableBits, index = handle & kTableMask;
  if (PMEMFILE_LIKELY(index < kHandlesPerPage)) {
    u64* leaf = follow(v, entry->first_leaf[table]);
    return leaf == nullptr ? nullptr : leaf + index;
  }
  u64* words = follow(v, entry->top_node[table]);
  if (words != nullptr) words = follow(v, words[index >> kTopShift]);
  if (words != nullptr) words = follow(v, words[(index >> kMiddleShift) & kIndexMask]);
  return words == nullptr ? nullptr : words + (index & kIndexMask);
}

Result<u64*> make_handle(Segment& v, ProcessRef process, u32 handle, u32* page_hint) {
  Process* entry = find_process(v, process);
  if (entry == nullptr || handle >= kHandleLimit) return Error(EBADF);
  u32 table = handle >> kHandleTableBits, index = handle & kTableMask;
  u64 leaf_info = u64{handle & ~kIndexMask} + 1;
  u64* words;
  if (index < kHandlesPerPage) {
    words = follow_or_make(v, entry->first_leaf[table], process, leaf_info, page_hint);
  } else {
    words = follow_or_make(v, entry->top_node[table], process, 0, page_hint);
    if (words != nullptr) words = follow_or_make(v, words[index >> kTopShift], process, 0, page_hint);
    if (words != nullptr)
      words = follow_or_make(v, words[(index >> kMiddleShift) & kIndexMask], process, leaf_info, page_hint);
  }
  if (words == nullptr) return Error(ENFILE);
  return words + (index & kIndexMask);
}

void for_each_handle(const Segment& v, ProcessRef process, HandleVisitor visit, void* context) {
  u64 self = pack(process);
  for (u64 page = 0; page < v.header->page_count; ++page) {
    const PageOwner& owner = page_owners(v)[page];
    if (load_acquire(owner.owner) != self || load_acquire(owner.info) == 0) continue;
    u32 first = static_cast<u32>(owner.info - 1);
    const u64* words = page_words(v, page);
    for (u32 i = 0; i < kHandlesPerPage; ++i)
      if (u64 word = load_acquire(words[i])) visit(context, first + i, word);
  }
}

void free_handle_pages(Segment& v, ProcessRef process) {
  Process* entry = find_process(v, process);
  if (entry == nullptr) return;
  for (unsigned table = 0; table < 2; ++table) {
    store_release(entry->first_leaf[table], u64{0});
    store_release(entry->top_node[table], u64{0});
  }
  u64 self = pack(process);
  for (u64 page = 0; page < v.header->page_count; ++page) {
    PageOwner& owner = page_owners(v)[page];
    if (load_acquire(owner.owner) != self) continue;
    u64* words = page_words(v, page);
    for (u32 i = 0; i < kHandlesPerPage; ++i) store_relaxed(words[i], u64{0});
    store_release(owner.info, u64{0});
    store_release(owner.owner, u64{0});
  }
}

} // namespace pmemfile::shm
