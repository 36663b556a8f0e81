#include "crash/interleave_verbs.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>

namespace pmemfile::crash {
namespace {

constexpr u64 kBlock = layout::kBlockBytes;
constexpr u64 kSmallPool = layout::kMinPoolBytes;

std::string name(const char* stem, char side) { return std::string(stem) + side; }
u32 handle(char side) { return static_cast<u32>(side - 'a') * 10; }

// All worlds have these: /d/g, /f, /s, /e (empty); the fragmented ones /x and /y, too.
void full(Actor& actor) {
  fragmented(actor);
  actor.fill("/full", 0);
}
// Every slot has records of the lines that will change.
void stale(Actor& actor) {
  fragmented(actor);
  std::function<void(int)> in_slots = [&](int left) {
    for (int i = 0; i < 2; ++i) {
      actor.change_mode("/f", 0640 + static_cast<u32>(i));
      actor.rename("/d/g", "/d/h");
      actor.rename("/d/h", "/d/g");
      actor.append("/x", text(10));
      actor.make_file("/e/t");
      actor.unlink("/e/t");
    }
    if (left != 0) actor.other_slot([&] { in_slots(left - 1); });
  };
  in_slots(3);
}
// Metadata blocks are free, data blocks are not.
void changing_role(Actor& actor) {
  nearly_full_leaf(actor);
  for (int i = 15; i < 30; ++i) actor.link("/f", long_name(i));
  for (int i = 0; i < 30; ++i) actor.unlink(long_name(i));
  actor.make_file("/x", text(3 * kBlock));
  actor.fill("/full", 0);
  actor.unlink("/x");
  actor.make_file("/x", text(kBlock));
}

Verb on_open(const char* verb, const char* path, std::function<void(Actor&, u32 handle)> act, Between between = Between::kOldOrNew) {
  std::string file = path;
  return {verb, [act](Actor& a, char side) { act(a, handle(side)); },
          [file](Actor& a, char side) { a.open(file, O_RDWR, handle(side)); }, between};
}

std::vector<Verb> make_names() {
  using A = Actor;
  return {
      {"create", [](A& a, char s) { a.make_file(name("/d/new-", s)); }},
      {"create-same", [](A& a, char) { a.make_file("/d/new"); }},
      {"create-in-empty", [](A& a, char s) { a.make_file(name("/e/new-", s)); }},
      {"mkdir", [](A& a, char s) { a.make_directory(name("/d/dir-", s)); }},
      {"symlink-long", [](A& a, char s) { a.make_symlink(name("/d/link-", s), std::string(300, s)); }},
      {"link", [](A& a, char s) { a.link("/f", name("/d/link-", s)); }},
      {"link-long-names", [](A& a, char s) { a.link("/f", long_name(s)); }},
      {"unlink", [](A& a, char) { a.unlink("/d/g"); }},
      {"unlink-small", [](A& a, char) { a.unlink("/f"); }},
      {"unlink-fragmented", [](A& a, char) { a.unlink("/x"); }},
      {"rmdir", [](A& a, char) { a.remove_directory("/e"); }},
      {"rename", [](A& a, char s) { a.rename("/f", name("/f-", s)); }},
      {"rename-over", [](A& a, char) { a.rename("/f", "/d/g"); }},
      {"rename-exchange", [](A& a, char) { a.rename("/f", "/d/g", RENAME_EXCHANGE); }},
      {"rename-directory-down", [](A& a, char) { a.rename("/d", "/e/d"); }},
      {"rename-directory-up", [](A& a, char) { a.rename("/e", "/d/e"); }},
      {"chmod", [](A& a, char s) { a.change_mode("/f", s == 'a' ? 0600 : 0604); }},
      {"chown-directory", [](A& a, char s) { a.change_owner("/d", static_cast<u32>(s), 6); }},
      {"setxattr", [](A& a, char s) { a.set_attribute("/f", name("user.", s), text(200, s)); }},
      {"setxattr-same", [](A& a, char s) { a.set_attribute("/d/g", "user.same", text(20, s)); }},
  };
}

std::vector<Verb> make_contents() {
  using A = Actor;
  constexpr int kKeep = FALLOC_FL_KEEP_SIZE;
  return {
      on_open("append", "/f", [](A& a, u32 h) { a.write_open(h, 0, text(200, 'n'), false, true); }),
      on_open("append-blocks", "/x", [](A& a, u32 h) { a.write_open(h, 0, text(2 * kBlock, 'n'), false, true); }),
      on_open("write-hole", "/f", [](A& a, u32 h) { a.write_open(h, 3 * kBlock, text(kBlock, 'n')); }),
      on_open("overwrite", "/d/g", [](A& a, u32 h) { a.write_open(h, 64 + h, text(256, 'N')); }, Between::kMixed),
      on_open("overwrite-atomic", "/d/g", [](A& a, u32 h) { a.write_open(h, 100 + h, text(4500, 'N'), true); }),
      on_open("overwrite-atomic-fragmented", "/x", [](A& a, u32 h) { a.write_open(h, 100 + h, text(2 * kBlock, 'N'), true); }),
      on_open("truncate", "/x", [](A& a, u32 h) { a.truncate_open(h, kBlock + 10); }),
      on_open("truncate-to-nothing", "/d/g", [](A& a, u32 h) { a.truncate_open(h, 0); }),
      on_open("truncate-longer", "/d/g", [](A& a, u32 h) { a.truncate_open(h, 3 * kBlock + h); }),
      on_open("fallocate", "/f", [](A& a, u32 h) { a.fallocate_open(h, 0, 0, 3 * kBlock); }, Between::kMixed),
      on_open("punch", "/x", [](A& a, u32 h) { a.fallocate_open(h, FALLOC_FL_PUNCH_HOLE | kKeep, 100, 2 * kBlock); }, Between::kMixed),
      {"close-unlinked", [](A& a, char s) { a.close(handle(s)); },
       [](A& a, char s) { a.make_file(name("/u-", s), text(kBlock)); a.open(name("/u-", s), O_RDWR, handle(s)); a.unlink(name("/u-", s)); }},
      {"close-unlinked-by-two", [](A& a, char s) { a.close(handle(s)); },
       [](A& a, char s) { if (s == 'a') a.make_file("/u", text(kBlock)); else a.link("/u", "/u2"); a.open("/u", O_RDWR, handle(s)); if (s == 'b') a.unlink("/u"), a.unlink("/u2"); }},
      {"tmpfile", [](A& a, char s) { a.open("/d", O_TMPFILE | O_RDWR, handle(s)); }},
      {"fsync-after-overwrite", [](A& a, char s) { a.sync(handle(s)); },
       [](A& a, char s) { a.open("/d/g", O_RDWR, handle(s)); a.write_open(handle(s), 0, text(10)); }},
  };
}

} // namespace

const std::vector<World>& interleave_worlds() {
  static const std::vector<World> all = {
      {"small", kSmallPool, small},           {"nearly full leaf", kSmallPool, nearly_full_leaf},
      {"fragmented", kSmallPool, fragmented}, {"full", kSmallPool, full},
      {"changing role", kSmallPool, changing_role}, {"stale records", 2 * kSmallPool, stale},
  };
  return all;
}

const std::vector<Verb>& interleave_verbs() {
  static const std::vector<Verb> all = [] {
    std::vector<Verb> verbs = make_names();
    for (Verb& verb : make_contents()) verbs.push_back(std::move(verb));
    return verbs;
  }();
  return all;
}

} // namespace pmemfile::crash
