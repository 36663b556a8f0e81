#include "shm/handles.h"

#include "shm/vlog.h"

namespace pmemfile::shm {
namespace {

constexpr u32 kMiddleShift = 7, kTopShift = 14, kIndexMask = kHandlesPerPage - 1;
static_assert(kHandlesPerPage == 1u << kMiddleShift);
constexpr u32 kTableMask = (1u << kHandleTableBits) - 1;

// Of a leaf's handles neighbours stand in different lines: threads with neighbouring numbers would keep taking a common line from each other.
constexpr u32 kSpread = 9, kInverse = 57;
static_assert(kSpread * kInverse % kHandlesPerPage == 1);
constexpr u32 leaf_word(u32 handle) { return handle * kSpread & kIndexMask; }
constexpr u32 handle_in_leaf(u32 word) { return word * kInverse & kIndexMask; }

// pack() of the process that has the page; 0: free.
u64* page_owners(const Segment& v) { return v.at<u64>(v.header->page_owners_offset); }

u64* page_words(const Segment& v, u64 page) { return v.at<u64>(v.header->pages_offset + page * kHandlePageBytes); }

// The page that a link (page + 1) leads to; null for none.
u64* follow(const Segment& v, const u64& link) {
  u64 page_plus_1 = load_acquire(link);
  return page_plus_1 == 0 || page_plus_1 > v.header->page_count ? nullptr : page_words(v, page_plus_1 - 1);
}

// Pages of the process that no link leads to, or pages being freed: while the count is not 0, all owners are looked at.
class Unlinked {
 public:
  explicit Unlinked(Process& entry) : count_(entry.unlinked_pages) { fetch_add(count_, u64{1}); }
  ~Unlinked() { fetch_add(count_, ~u64{0}); }
  Unlinked(const Unlinked&) = delete;
  Unlinked& operator=(const Unlinked&) = delete;

 private:
  u64& count_;
};

// The page behind a link, made if there is none. A page is its owner's before it is linked, so that a death in
// between loses nothing.
u64* follow_or_make(Segment& v, u64& link, ProcessRef process, u32* hint) {
  if (u64* words = follow(v, link)) return words;
  Unlinked unlinked_page(*find_process(v, process));
  u64 count = v.header->page_count;
  for (u64 i = 0; i < count; ++i) {
    u64 page = (*hint + i) % count;
    u64& owner = page_owners(v)[page];
    u64 nobody = 0;
    if (load_relaxed(owner) != 0 || !compare_exchange(owner, nobody, pack(process))) continue;
    *hint = static_cast<u32>(page + 1);
    u64 unlinked = 0;
    if (!compare_exchange(link, unlinked, page + 1)) store_release(owner, u64{0});
    return follow(v, link);
  }
  return nullptr;
}

// Calls `each` with every page of the tree below a link, leaves before the nodes above them: its words, the link to it,
// and for leaves the first handle.
template <class F>
void walk_pages(const Segment& v, u64& link, unsigned levels, u32 first, F each) {
  u64* words = follow(v, link);
  if (words == nullptr) return;
  if (levels != 0)
    for (u32 i = 0; i < kHandlesPerPage; ++i)
      walk_pages(v, words[i], levels - 1, first + (i << (levels == 2 ? kTopShift : kMiddleShift)), each);
  each(words, link, levels == 0, first);
}

template <class F>
void walk_tables(const Segment& v, Process& entry, F each) {
  for (u32 table = 0; table < 2; ++table) {
    walk_pages(v, entry.first_leaf[table], 0, table << kHandleTableBits, each);
    walk_pages(v, entry.top_node[table], 2, table << kHandleTableBits, each);
  }
}

void free_page(const Segment& v, u64 page) {
  u64* words = page_words(v, page);
  for (u32 i = 0; i < kHandlesPerPage; ++i) store_relaxed(words[i], u64{0});
  store_release(page_owners(v)[page], u64{0});
}

// Also those that a thread claimed for an earlier process of this entry while that one ended.
void free_pages_by_owner(const Segment& v, ProcessRef process) {
  for (u64 page = 0; page < v.header->page_count; ++page) {
    u64 owner = load_acquire(page_owners(v)[page]);
    if (owner != 0 && unpack_process(owner).index_plus_1 == process.index_plus_1) free_page(v, page);
  }
}

} // namespace

u64* find_handle(const Segment& v, ProcessRef process, u32 handle) {
  Process* entry = find_process(v, process);
  if (PMEMFILE_UNLIKELY(entry == nullptr || handle >= kHandleLimit)) return nullptr;
  u32 table = handle >> kHandleTableBits, index = handle & kTableMask;
  if (PMEMFILE_LIKELY(index < kHandlesPerPage)) {
    u64* leaf = follow(v, entry->first_leaf[table]);
    return leaf == nullptr ? nullptr : leaf + leaf_word(index);
  }
  u64* words = follow(v, entry->top_node[table]);
  if (words != nullptr) words = follow(v, words[index >> kTopShift]);
  if (words != nullptr) words = follow(v, words[(index >> kMiddleShift) & kIndexMask]);
  return words == nullptr ? nullptr : words + leaf_word(index);
}

Result<u64*> make_handle(Segment& v, ProcessRef process, u32 handle, u32* page_hint) {
  Process* entry = find_process(v, process);
  if (entry == nullptr || handle >= kHandleLimit) return Error(EBADF);
  u32 table = handle >> kHandleTableBits, index = handle & kTableMask;
  u64* words;
  if (index < kHandlesPerPage) {
    words = follow_or_make(v, entry->first_leaf[table], process, page_hint);
  } else {
    words = follow_or_make(v, entry->top_node[table], process, page_hint);
    if (words != nullptr) words = follow_or_make(v, words[index >> kTopShift], process, page_hint);
    if (words != nullptr) words = follow_or_make(v, words[(index >> kMiddleShift) & kIndexMask], process, page_hint);
  }
  if (words == nullptr) return Error(ENFILE);
  return words + leaf_word(index);
}

void for_each_handle(const Segment& v, ProcessRef process, HandleVisitor visit, void* context) {
  Process* entry = find_process(v, process);
  if (entry == nullptr) return;
  walk_tables(v, *entry, [&](u64* words, u64&, bool is_leaf, u32 first) {
    for (u32 i = 0; is_leaf && i < kHandlesPerPage; ++i)
      if (u64 word = load_acquire(words[i]); word != 0 && (word & kClaimMark) == 0) visit(context, first + handle_in_leaf(i), word);
  });
}

void free_handle_pages(Segment& v, ProcessRef process) {
  Process* entry = find_process(v, process);
  if (entry == nullptr) return;
  if (load_acquire(entry->unlinked_pages) != 0) {
    // Somebody died over making or freeing them: what links lead to need not be this process's any more.
    for (unsigned table = 0; table < 2; ++table) {
      store_release(entry->first_leaf[table], u64{0});
      store_release(entry->top_node[table], u64{0});
    }
    free_pages_by_owner(v, process);
    store_release(entry->unlinked_pages, u64{0});
    return;
  }
  Unlinked freeing(*entry);
  walk_tables(v, *entry, [&](u64*, u64& link, bool, u32) {
    u64 page_plus_1 = load_acquire(link);
    store_release(link, u64{0});
    free_page(v, page_plus_1 - 1);
  });
}

} // namespace pmemfile::shm
