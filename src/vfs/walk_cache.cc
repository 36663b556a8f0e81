#include "vfs/walk_cache.h"

namespace pmemfile::vfs {
namespace {

constexpr u32 kEntries = 512; // a power of two
constexpr u32 kTextWords = kMaxCachedPrefix / 8;

struct alignas(64) Entry {
  u32 version; // odd while it is written; 0: never
  u32 length;
  u64 segment_id, start, topology;
  u64 ino, identity;
  u32 mode, uid, gid, required_uid;
  u64 text[kTextWords];
};
static_assert(sizeof(Entry) == 128);

PMEMFILE_BULKY Entry entries[kEntries];

u64 load_tail(const char* text, std::size_t size) {
  u64 value = 0;
  unsigned done = 0;
  if ((size & 4) != 0) {
    u32 part;
    __builtin_memcpy(&part, text, 4);
    value = part;
    done = 4;
  }
  if ((size & 2) != 0) {
    u16 part;
    __builtin_memcpy(&part, text + done, 2);
    value |= u64{part} << (8 * done);
    done += 2;
  }
  if ((size & 1) != 0) value |= u64{static_cast<u8>(text[done])} << (8 * done);
  return value;
}

// The text as words, the last one filled with zeros (no path holds a NUL), and its hash.
struct Key {
  explicit Key(const CachedPath& path) {
    const char* text = path.prefix.data();
    std::size_t size = path.prefix.size();
    hash = path.segment_id ^ (path.start * 0x9e3779b97f4a7c15);
    for (; size >= 8; text += 8, size -= 8) {
      u64 word;
      __builtin_memcpy(&word, text, 8);
      add(word);
    }
    if (size != 0) add(load_tail(text, size));
  }
  void add(u64 word) {
    words[count++] = word;
    hash = shm::mix(hash ^ word);
  }
  Entry& entry() const { return entries[(hash >> 20) & (kEntries - 1)]; }

  u64 words[kTextWords];
  u32 count = 0;
  u64 hash;
};

} // namespace

bool find_cached(const CachedPath& path, u32 fsuid, Node& node) {
  Key key(path);
  const Entry& entry = key.entry();
  u32 version = load_acquire(entry.version);
  if ((version & 1) != 0 || load_relaxed(entry.topology) != path.topology || load_relaxed(entry.start) != path.start ||
      load_relaxed(entry.segment_id) != path.segment_id || load_relaxed(entry.length) != path.prefix.size())
    return false;
  for (u32 i = 0; i < key.count; ++i)
    if (load_relaxed(entry.text[i]) != key.words[i]) return false;
  u32 required = load_relaxed(entry.required_uid);
  node.ino = Ino{load_relaxed(entry.ino)};
  node.identity = load_relaxed(entry.identity);
  node.mode = load_relaxed(entry.mode);
  node.uid = load_relaxed(entry.uid);
  node.gid = load_relaxed(entry.gid);
  node.nlink = 2; // it has links; how many, nobody asks
  acquire_fence();
  return load_relaxed(entry.version) == version && version != 0 && (required == kForEverybody || required == fsuid);
}

void keep_cached(const CachedPath& path, u32 required_uid, const Node& node) {
  Key key(path);
  Entry& entry = key.entry();
  u32 version = load_relaxed(entry.version);
  if ((version & 1) != 0 || !compare_exchange(entry.version, version, version + 1)) return;
  store_relaxed(entry.length, static_cast<u32>(path.prefix.size()));
  store_relaxed(entry.segment_id, path.segment_id);
  store_relaxed(entry.start, path.start);
  store_relaxed(entry.topology, path.topology);
  store_relaxed(entry.ino, raw(node.ino));
  store_relaxed(entry.identity, node.identity);
  store_relaxed(entry.mode, node.mode);
  store_relaxed(entry.uid, node.uid);
  store_relaxed(entry.gid, node.gid);
  store_relaxed(entry.required_uid, required_uid);
  for (u32 i = 0; i < key.count; ++i) store_relaxed(entry.text[i], key.words[i]);
  store_release(entry.version, version + 2);
}

} // namespace pmemfile::vfs
