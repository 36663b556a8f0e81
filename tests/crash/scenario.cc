#include "crash/scenario.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <unistd.h>

namespace pmemfile::crash {

constexpr u64 kBlock = layout::kBlockBytes;

std::string text(u64 bytes, char seed) {
  std::string contents(bytes, ' ');
  for (u64 i = 0; i < bytes; ++i) contents[i] = static_cast<char>(seed + i / kBlock + i % 7);
  return contents;
}

// A small tree, with records of two slots behind it.
void small(Actor& actor) {
  actor.make_directory("/d");
  actor.make_file("/f", text(100));
  actor.other_slot([&] {
    actor.make_directory("/e");
    actor.make_file("/d/g", text(5000));
  });
  actor.make_symlink("/s", "d/g");
}

// Names so long that fifteen fill a leaf.
std::string long_name(int i) { return "/d/" + std::to_string(i) + std::string(200, 'n'); }

void nearly_full_leaf(Actor& actor) {
  small(actor);
  for (int i = 0; i < 15; ++i) actor.link("/f", long_name(i));
}

void fragmented(Actor& actor) {
  small(actor);
  actor.make_file("/x");
  actor.make_file("/y");
  for (int i = 0; i < 6; ++i) {
    actor.append("/x", text(kBlock, 'x'));
    actor.append("/y", text(kBlock, 'y'));
  }
}

// Blocks that were metadata and are wanted for data.
void role_change(Actor& actor) {
  nearly_full_leaf(actor);
  for (int i = 15; i < 30; ++i) actor.link("/f", long_name(i));
  for (int i = 0; i < 30; ++i) actor.unlink(long_name(i));
  actor.remove_directory("/e");
  actor.make_directory("/e");
  actor.fill("/full", 0);
}

namespace {

// Blocks in both the direct pointers and a tree, with holes.
void tree(Actor& actor) {
  small(actor);
  actor.make_file("/t");
  for (u64 block : {0, 2, 8, 20, 25, 40, 41}) actor.write("/t", block * kBlock, text(kBlock));
}

// More leaves than may be empty when it is removed.
void once_large(Actor& actor) {
  small(actor);
  actor.make_directory("/once");
  for (int i = 0; i < 90; ++i) actor.link("/f", "/once" + long_name(i).substr(2));
  for (int i = 0; i < 90; ++i) actor.unlink("/once" + long_name(i).substr(2));
}

Scenario beside_stopped(const std::string& name, Step setup, Step operation, Between between = Between::kOldOrNew) {
  constexpr u64 kTwoLinesOfBitmap = (layout::kBlocksPerBitmapLine + 16) * layout::kBlockBytes;
  return {name + "-beside-stopped", std::move(setup), {[operation](Actor& a) { a.beside_stopped([&] { operation(a); }); }}, between, false, kTwoLinesOfBitmap};
}

std::vector<Scenario> make_scenarios() {
  using A = Actor;
  auto none = [](A&) {};
  return {
      {"attach", none, {none}, Between::kOldOrNew, true},
      {"create", small, {[](A& a) { a.make_file("/d/new"); }}},
      {"create-first", none, {[](A& a) { a.make_file("/new"); }}},
      {"create-in-empty-directory", small, {[](A& a) { a.make_file("/e/new"); }}},
      {"mkfifo", small, {[](A& a) { a.make_fifo("/fifo"); }}},
      {"mkdir", small, {[](A& a) { a.make_directory("/d/new"); }}},
      {"symlink-short", small, {[](A& a) { a.make_symlink("/d/new", "short"); }}},
      {"symlink-long", small, {[](A& a) { a.make_symlink("/d/new", std::string(300, 'l')); }}},
      {"link", small, {[](A& a) { a.link("/f", "/d/new"); }}},
      {"unlink-empty", [](A& a) { small(a); a.make_file("/d/h"); }, {[](A& a) { a.unlink("/d/h"); }}},
      {"unlink-with-contents", small, {[](A& a) { a.unlink("/d/g"); }}},
      {"unlink-one-of-two", [](A& a) { small(a); a.link("/f", "/f2"); }, {[](A& a) { a.unlink("/f"); }}},
      {"unlink-symlink", small, {[](A& a) { a.unlink("/s"); }}},
      {"unlink-long-symlink", [](A& a) { small(a); a.make_symlink("/l", std::string(300, 'l')); }, {[](A& a) { a.unlink("/l"); }}},
      {"unlink-fragmented", fragmented, {[](A& a) { a.unlink("/x"); }}},
      {"rmdir", small, {[](A& a) { a.remove_directory("/e"); }}},
      {"rmdir-once-used", [](A& a) { small(a); a.make_file("/e/x"); a.unlink("/e/x"); }, {[](A& a) { a.remove_directory("/e"); }}},
      {"rename-same-directory", small, {[](A& a) { a.rename("/f", "/f2"); }}},
      {"rename-other-directory", small, {[](A& a) { a.rename("/f", "/d/f2"); }}},
      {"rename-over-file", small, {[](A& a) { a.rename("/f", "/d/g"); }}},
      {"rename-noreplace", small, {[](A& a) { a.rename("/f", "/d/f2", RENAME_NOREPLACE); }}},
      {"rename-exchange", small, {[](A& a) { a.rename("/f", "/d/g", RENAME_EXCHANGE); }}},
      {"rename-exchange-with-directory", small, {[](A& a) { a.rename("/e", "/d/g", RENAME_EXCHANGE); }}},
      {"rename-directory", small, {[](A& a) { a.rename("/d", "/d2"); }}},
      {"rename-directory-to-other-parent", small, {[](A& a) { a.rename("/d", "/e/d2"); }}},
      {"rename-directory-over-empty", small, {[](A& a) { a.rename("/d", "/e"); }}},
      {"write-first", [](A& a) { small(a); a.make_file("/n"); }, {[](A& a) { a.write("/n", 0, text(6000)); }}, Between::kOldOrNewThere},
      {"append-in-block", small, {[](A& a) { a.append("/f", text(200, 'n')); }}},
      {"append-block", small, {[](A& a) { a.append("/d/g", text(kBlock, 'n')); }}},
      {"append-to-tree", [](A& a) { small(a); a.make_file("/n", text(9 * kBlock)); }, {[](A& a) { a.append("/n", text(kBlock, 'n')); }}},
      {"write-sparse", small, {[](A& a) { a.write("/f", 20 * kBlock, text(100, 'n')); }}, Between::kOldOrNewThere},
      {"write-hole", [](A& a) { small(a); a.truncate("/f", 8 * kBlock); }, {[](A& a) { a.write("/f", 3 * kBlock, text(kBlock, 'n')); }}, Between::kOldOrNewThere},
      {"overwrite", small, {[](A& a) { a.write("/d/g", 64, text(256, 'N')); }}, Between::kMixed},
      {"overwrite-atomic", small, {[](A& a) { a.write("/d/g", 100, text(4500, 'N'), true); }}},
      // data=atomic: every way of writing leaves the old or the new contents.
      {"overwrite-atomic-in-block", small, {[](A& a) { a.write("/d/g", 64, text(256, 'N'), true); }}},
      {"overwrite-atomic-to-end", small, {[](A& a) { a.write("/d/g", 4000, text(1000, 'N'), true); }}},
      {"overwrite-atomic-beyond-end", small, {[](A& a) { a.write("/d/g", 3000, text(6000, 'N'), true); }}, Between::kOldOrNewThere},
      {"overwrite-atomic-fragmented", fragmented, {[](A& a) { a.write("/x", 100, text(5 * kBlock, 'N'), true); }}},
      {"overwrite-atomic-over-hole", [](A& a) { small(a); a.write("/f", 3 * kBlock, text(kBlock)); }, {[](A& a) { a.write("/f", 50, text(3 * kBlock + 100, 'N'), true); }}, Between::kOldOrNewThere},
      {"overwrite-atomic-tree", [](A& a) { small(a); a.make_file("/n", text(12 * kBlock)); }, {[](A& a) { a.write("/n", 8 * kBlock + 5, text(2 * kBlock, 'N'), true); }}},
      {"overwrite-atomic-twice", small, {[](A& a) { a.write("/d/g", 0, text(5000, 'N'), true); }, [](A& a) { a.write("/d/g", 10, text(4500, 'P'), true); }}},
      {"write-first-atomic", [](A& a) { small(a); a.make_file("/n"); }, {[](A& a) { a.write("/n", 0, text(6000), true); }}, Between::kOldOrNewThere},
      {"append-in-block-atomic", small, {[](A& a) { a.append("/f", text(200, 'n'), true); }}},
      {"append-block-atomic", small, {[](A& a) { a.append("/d/g", text(kBlock, 'n'), true); }}},
      {"append-to-tree-atomic", [](A& a) { small(a); a.make_file("/n", text(9 * kBlock)); }, {[](A& a) { a.append("/n", text(kBlock, 'n'), true); }}},
      {"write-sparse-atomic", small, {[](A& a) { a.write("/f", 20 * kBlock, text(100, 'n'), true); }}},
      {"write-hole-atomic", [](A& a) { small(a); a.truncate("/f", 8 * kBlock); }, {[](A& a) { a.write("/f", 3 * kBlock, text(kBlock, 'n'), true); }}},
      {"write-to-unwritten-atomic", [](A& a) { small(a); a.fallocate("/f", 0, 0, 3 * kBlock); }, {[](A& a) { a.write("/f", kBlock + 5, text(50, 'n'), true); }}},
      {"overwrite-atomic-where-space-is-short", [](A& a) { small(a); a.fill("/full", 3); }, {[](A& a) { a.write("/d/g", 100, text(4500, 'N'), true); }}},
      {"truncate-shorter", fragmented, {[](A& a) { a.truncate("/x", kBlock + 10); }}},
      {"truncate-to-nothing", small, {[](A& a) { a.truncate("/d/g", 0); }}},
      {"truncate-longer", small, {[](A& a) { a.truncate("/d/g", 3 * kBlock); }}},
      {"truncate-longer-again", [](A& a) { small(a); a.truncate("/d/g", 10); }, {[](A& a) { a.truncate("/d/g", 5000); }}},
      {"truncate-tree", [](A& a) { small(a); a.make_file("/n", text(14 * kBlock)); }, {[](A& a) { a.truncate("/n", kBlock); }}},
      {"fallocate", small, {[](A& a) { a.fallocate("/f", 0, 0, 3 * kBlock); }}},
      {"fallocate-keep-size", small, {[](A& a) { a.fallocate("/f", FALLOC_FL_KEEP_SIZE, kBlock, 2 * kBlock); }}},
      {"write-to-unwritten", [](A& a) { small(a); a.fallocate("/f", 0, 0, 3 * kBlock); }, {[](A& a) { a.write("/f", kBlock + 5, text(50, 'n')); }}, Between::kOldOrNewThere},
      {"punch-blocks", fragmented, {[](A& a) { a.fallocate("/x", FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, kBlock, 2 * kBlock); }}, Between::kMixed},
      {"punch-edges", fragmented, {[](A& a) { a.fallocate("/x", FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 100, 2 * kBlock); }}, Between::kMixed},
      {"zero-range", fragmented, {[](A& a) { a.fallocate("/x", FALLOC_FL_ZERO_RANGE, 100, 2 * kBlock); }}, Between::kMixed},
      {"chmod", small, {[](A& a) { a.change_mode("/f", 0600); }}},
      {"chown", small, {[](A& a) { a.change_owner("/d", 5, 6); }}},
      {"utimens", small, {[](A& a) { a.touch("/f"); }}},
      {"setxattr", small, {[](A& a) { a.set_attribute("/f", "user.a", "value"); }}},
      {"setxattr-again", [](A& a) { small(a); a.set_attribute("/f", "user.a", "value"); }, {[](A& a) { a.set_attribute("/f", "user.b", text(300)); }}},
      {"removexattr", [](A& a) { small(a); a.set_attribute("/f", "user.a", "value"); }, {[](A& a) { a.remove_attribute("/f", "user.a"); }}},
      {"removexattr-in-a-full-pool", [](A& a) { small(a); a.set_attribute("/f", "user.a", text(200)); a.set_attribute("/f", "user.b", text(300)); a.fill("/full", 0); }, {[](A& a) { a.remove_attribute("/f", "user.a"); }}},
      {"setxattr-again-in-a-full-pool", [](A& a) { small(a); a.set_attribute("/f", "user.a", text(200)); a.set_attribute("/f", "user.b", text(300)); a.fill("/full", 0); }, {[](A& a) { a.set_attribute("/f", "user.a", text(200, 'N')); }}},
      {"unlink-with-xattr", [](A& a) { small(a); a.set_attribute("/f", "user.a", "value"); }, {[](A& a) { a.unlink("/f"); }}},
      {"split-leaf", nearly_full_leaf, {[](A& a) { a.link("/f", long_name(15)); }}},
      {"rmdir-of-split-directory", [](A& a) { nearly_full_leaf(a); for (int i = 15; i < 20; ++i) a.link("/f", long_name(i)); a.unlink("/d/g"); for (int i = 0; i < 20; ++i) a.unlink(long_name(i)); }, {[](A& a) { a.remove_directory("/d"); }}},
      {"open-create", small, {[](A& a) { a.open("/d/new", O_CREAT | O_EXCL | O_RDWR, 0); }}},
      {"open-truncate", small, {[](A& a) { a.open("/d/g", O_TRUNC | O_RDWR, 0); }}},
      {"unlink-open-file", [](A& a) { small(a); a.open("/d/g", O_RDWR, 0); }, {[](A& a) { a.unlink("/d/g"); }, [](A& a) { a.close(0); }}},
      {"unlink-two-open-files", [](A& a) { small(a); a.open("/d/g", O_RDWR, 0); a.open("/f", O_RDWR, 1); a.open("/f", O_RDONLY, 2); }, {[](A& a) { a.unlink("/d/g"); }, [](A& a) { a.unlink("/f"); }, [](A& a) { a.close(1); }, [](A& a) { a.close(0); }, [](A& a) { a.close(2); }}},
      {"rmdir-open-directory", [](A& a) { small(a); a.open("/e", O_RDONLY | O_DIRECTORY, 0); }, {[](A& a) { a.remove_directory("/e"); }, [](A& a) { a.close(0); }}},
      {"rename-over-open-file", [](A& a) { small(a); a.open("/d/g", O_RDWR, 0); }, {[](A& a) { a.rename("/f", "/d/g"); }, [](A& a) { a.close(0); }}},
      {"tmpfile", small, {[](A& a) { a.open("/d", O_TMPFILE | O_RDWR, 0); }, [](A& a) { a.close(0); }}},
      {"write-and-fsync", [](A& a) { small(a); a.open("/f", O_RDWR, 0); }, {[](A& a) { a.append("/f", text(10)); }, [](A& a) { a.sync(0); }, [](A& a) { a.close(0); }}},
      // What cannot be freed without waiting for somebody who is stopped.
      beside_stopped("split-leaf", nearly_full_leaf, [](A& a) { a.link("/f", long_name(15)); }),
      beside_stopped("setxattr-again", [](A& a) { small(a); a.set_attribute("/f", "user.one", text(20)); }, [](A& a) { a.set_attribute("/f", "user.two", text(300)); }),
      beside_stopped("overwrite-atomic", fragmented, [](A& a) { a.write("/x", 100, text(5 * kBlock, 'N'), true); }),
      beside_stopped("truncate-to-nothing", fragmented, [](A& a) { a.truncate("/x", 0); }),
      beside_stopped("truncate-shorter", fragmented, [](A& a) { a.truncate("/x", kBlock + 10); }),
      beside_stopped("truncate-shorter-in-tree", tree, [](A& a) { a.truncate("/t", 30 * kBlock + 10); }),
      beside_stopped("punch-hole", fragmented, [](A& a) { a.fallocate("/x", FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, kBlock, 2 * kBlock); }, Between::kMixed),
      beside_stopped("punch-hole-in-tree", tree, [](A& a) { a.fallocate("/t", FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 2 * kBlock, 39 * kBlock); }, Between::kMixed),
      beside_stopped("collapse-range", tree, [](A& a) { a.fallocate("/t", FALLOC_FL_COLLAPSE_RANGE, 10 * kBlock, 15 * kBlock); }),
      beside_stopped("insert-range", tree, [](A& a) { a.fallocate("/t", FALLOC_FL_INSERT_RANGE, 10 * kBlock, 15 * kBlock); }),
      beside_stopped("rmdir-once-large", once_large, [](A& a) { a.remove_directory("/once"); }),
      beside_stopped("unlink-with-contents", small, [](A& a) { a.unlink("/d/g"); }),
      {"role-change", [](A& a) { role_change(a); a.unlink("/d/g"); }, {[](A& a) { a.append("/full", text(kBlock, 'n')); }}},
      {"write-after-role-change", role_change, {[](A& a) { a.unlink("/full"); }}},
      {"create-reusing-metadata", [](A& a) { nearly_full_leaf(a); for (int i = 15; i < 20; ++i) a.link("/f", long_name(i)); for (int i = 0; i < 20; ++i) a.unlink(long_name(i)); a.remove_directory("/e"); }, {[](A& a) { a.make_directory("/e2"); }, [](A& a) { a.make_file("/e2/x"); }}},
  };
}

void must(bool good, const char* what, const char* detail) {
  if (good) return;
  std::fprintf(stderr, "%s: %s\n", what, detail);
  std::abort();
}

// The key is drawn; a fixed one makes a run the same each time.
void fix_hash_key(const std::string& path) {
  std::vector<u8> image = read_image(path);
  for (u64 copy = 0; copy < layout::kSuperblockCopies; ++copy) {
    layout::Geometry geometry;
    std::memcpy(&geometry, image.data() + copy * kBlock, sizeof geometry);
    geometry.hash_key[0] = 1;
    geometry.hash_key[1] = 2;
    geometry.crc = layout::struct_crc(geometry);
    std::memcpy(image.data() + copy * kBlock, &geometry, sizeof geometry);
  }
  write_image(path, image);
}

// The size in a text, and what stands before it.
std::pair<std::string_view, u64> size_of(std::string_view head) {
  constexpr std::string_view kSize = " size ";
  std::size_t at = head.rfind(kSize);
  if (at == head.npos) return {head, 0};
  return {head.substr(0, at), std::strtoull(head.data() + at + kSize.size(), nullptr, 10)};
}

// Attributes of one of them, contents byte by byte of any: where the write also moves the end of the file, what it
// overwrites in place may be there before the new size is, and, if that is allowed, a prefix of what it appends.
bool is_mixture_of_texts(const std::string& found, const std::vector<const std::string*>& allowed, bool or_prefix) {
  constexpr std::string_view kMark = " data ";
  std::size_t at = found.find(kMark);
  bool head = false;
  std::vector<std::string_view> contents;
  auto [attributes, size] = size_of(std::string_view(found).substr(0, at));
  u64 least = ~u64{0}, most = 0;
  for (const std::string* text : allowed) {
    if (*text == found) return true;
    std::size_t there = text->find(kMark);
    if (there == text->npos || at == found.npos) continue;
    auto [its_attributes, its_size] = size_of(std::string_view(*text).substr(0, there));
    head |= its_attributes == attributes;
    least = std::min(least, its_size), most = std::max(most, its_size);
    contents.push_back(std::string_view(*text).substr(there));
  }
  if (!head || size < least || size > most) return false;
  if (!or_prefix && size != least && size != most) return false;
  for (std::size_t i = 0; at + i < found.size(); ++i) {
    auto has_byte = [&](std::string_view text) { return i < text.size() && text[i] == found[at + i]; };
    if (std::none_of(contents.begin(), contents.end(), has_byte)) return false;
  }
  return true;
}

} // namespace

bool is_mixture(const Tree& found, const std::vector<const Tree*>& allowed, bool or_prefix) {
  auto same_names = [&](const Tree* tree) {
    auto equal = [](const auto& a, const auto& b) { return a.first == b.first; };
    return std::equal(tree->begin(), tree->end(), found.begin(), found.end(), equal);
  };
  if (std::none_of(allowed.begin(), allowed.end(), same_names)) return false;
  for (const auto& [path, text] : found) {
    std::vector<const std::string*> texts;
    for (const Tree* tree : allowed)
      if (auto entry = tree->find(path); entry != tree->end()) texts.push_back(&entry->second);
    if (!is_mixture_of_texts(text, texts, or_prefix)) return false;
  }
  return true;
}

void make_pool(const std::string& path, u64 bytes) {
  ::unlink(path.c_str());
  vfs::Pool::MakeOptions make;
  make.bytes = bytes;
  vfs::AttachFailure failure{};
  must(vfs::Pool::make(path.c_str(), make, &failure).ok(), "make", failure.text);
  fix_hash_key(path);
}

const std::vector<Scenario>& scenarios() {
  static const std::vector<Scenario> all = make_scenarios();
  return all;
}

Played play(const Scenario& scenario, const std::string& dir) {
  std::string path = dir + "/recorded";
  make_pool(path, scenario.pool_bytes);
  vfs::AttachFailure failure{};
  Played played;
  played.run.image = read_image(path);
  pmem::Recorder recorder = recorder_of(played.run.recording);
  vfs::AttachOptions options;
  options.recorder = &recorder;
  options.force_flush = true; // /dev/shm alone would not take the way of a medium whose lines have to be flushed
  options.shm_dir = dir.c_str();
  auto pool = vfs::Pool::attach(path.c_str(), options, &failure);
  must(pool.ok(), "attach", failure.text);
  struct Detacher {
    vfs::Pool* pool;
    ~Detacher() { pool->detach(); }
  } detacher{pool.value()};
  Actor actor(*pool.value());
  actor.in_slot(0, [&] { scenario.setup(actor); });
  played.trees.push_back(visible_tree(*pool.value()));
  played.run.first = scenario.from_start ? 0 : played.run.recording.events.size();
  for (const Step& operation : scenario.operations) {
    actor.in_slot(0, [&] { operation(actor); });
    played.run.returns.push_back(played.run.recording.events.size());
    std::size_t recorded = played.run.recording.events.size();
    played.trees.push_back(visible_tree(*pool.value()));
    must(played.run.recording.events.size() == recorded, "reading", "stores into the pool");
  }
  // What detaching would add is no part of the run.
  pool.value()->store().medium.recorder = nullptr;
  return played;
}

Explorer::Judge judge_of(const Played& played, Between between) {
  return [&played, between](std::size_t point, const Tree& tree) -> std::string {
    std::size_t done = played.run.returned(point);
    const Tree& old_tree = played.trees[done];
    if (tree == old_tree) return {};
    if (done + 1 == played.trees.size()) return "returned, but lost: " + difference(old_tree, tree);
    const Tree& new_tree = played.trees[done + 1];
    if (tree == new_tree) return {};
    if (between == Between::kMixed && is_mixture(tree, {&old_tree, &new_tree})) return {};
    if (between == Between::kMixedOrPrefix && is_mixture(tree, {&old_tree, &new_tree}, true)) return {};
    return "operation " + std::to_string(done + 1) + ": neither before (" + difference(old_tree, tree) + ") nor after (" +
           difference(new_tree, tree) + ")";
  };
}

} // namespace pmemfile::crash
