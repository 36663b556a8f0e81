// The operations that the victim dies in: every verb of vfs.h that stores into pool or V.
#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "crash/kill_world.h"

namespace pmemfile::kill_steps {
namespace {

constexpr auto kNo = vfs::Follow::kNo;

template <const char* const& kPath, int kFlags>
int open_file(Actor& a) {
  return a.open(kPath, kFlags, kFirstHandle, &a.file);
}
constexpr const char* const kSmall = "/d/f";
constexpr const char* const kMiddle = "/d/g";
constexpr const char* const kBig = "/d/big";
constexpr Step open_small = open_file<kSmall, O_RDWR>;
constexpr Step open_middle = open_file<kMiddle, O_RDWR>;
constexpr Step open_big = open_file<kBig, O_RDWR>;

int locked_range(Actor& a) { return a.record_lock(a.file, F_SETLK, F_WRLCK, 0, 100); }
int lock_all_again(Actor& a) {
  vfs::Description file{};
  if (int error = a.open("/d/f", O_RDWR, 80, &file)) return error;
  if (int error = a.record_lock(file, F_SETLKW, F_WRLCK, 0, 0)) return error;
  if (int error = vfs::flock_file(a.task, file, LOCK_EX).error()) return error;
  return a.close(80);
}
int read_on(Actor& a) {
  char text[50];
  data::IoVec vector{text, sizeof text};
  return vfs::read_file(a.task, a.file, -1, &vector, 1).error();
}
int close_first(Actor& a) { return a.close(kFirstHandle); }
int unlink_middle(Actor& a) { return vfs::unlink_at(a.task, a.at("/d/g")).error(); }
int rename_one(Actor& a, const char* from, const char* to, unsigned flags = 0) {
  return vfs::rename_at(a.task, a.at(from), a.at(to), flags).error();
}
int adopt_after_exec(Actor& a) {
  vfs::AttachFailure failure{};
  auto adopted = vfs::Pool::adopt(a.text, &failure);
  if (adopted.ok()) a.use(adopted.value());
  return adopted.error();
}

const std::vector<Scenario> kNameScenarios{
    {"create", nothing, [](Actor& a) { return a.open("/d/new", O_CREAT | O_EXCL | O_RDWR, kFirstHandle); }},
    {"create-in-empty-directory", nothing, [](Actor& a) { return a.open("/e/empty/new", O_CREAT | O_EXCL | O_RDWR, kFirstHandle); }},
    {"create-splits-leaf", nothing, [](Actor& a) { return a.open("/many/new", O_CREAT | O_EXCL | O_RDWR, kFirstHandle); }},
    {"mknod", nothing, [](Actor& a) { return vfs::mknod_at(a.task, a.at("/d/new"), S_IFIFO | 0600, 0).error(); }},
    {"mkdir", nothing, [](Actor& a) { return vfs::mkdir_at(a.task, a.at("/d/new"), 0700).error(); }},
    {"rmdir", nothing, [](Actor& a) { return vfs::rmdir_at(a.task, a.at("/d/sub")).error(); }},
    {"rmdir-of-working-directory",
     [](Actor& a) { return vfs::hold_dir(*a.pool, vfs::resolve(a.task, a.at("/d/sub"), kNo).value().ino, vfs::kFirstPrivateHandle).error(); },
     [](Actor& a) { return vfs::rmdir_at(a.task, a.at("/d/sub")).error(); }},
    {"symlink-short", nothing, [](Actor& a) { return vfs::symlink_at(a.task, "target", a.at("/d/new")).error(); }},
    {"symlink-long", nothing, [](Actor& a) { return vfs::symlink_at(a.task, std::string(500, 't'), a.at("/d/new")).error(); }},
    {"link", nothing, [](Actor& a) { return vfs::link_at(a.task, a.at("/d/f"), a.at("/e/new"), kNo, false).error(); }},
    {"unlink", nothing, [](Actor& a) { return vfs::unlink_at(a.task, a.at("/d/f")).error(); }},
    {"unlink-with-attributes", nothing, [](Actor& a) { return vfs::unlink_at(a.task, a.at("/d/x")).error(); }},
    {"unlink-one-of-many-links", nothing, [](Actor& a) { return vfs::unlink_at(a.task, a.at("/many/7")).error(); }},
    {"unlink-symlink", nothing, [](Actor& a) { return vfs::unlink_at(a.task, a.at("/d/l")).error(); }},
    {"unlink-fragmented", nothing, [](Actor& a) { return vfs::unlink_at(a.task, a.at("/d/big")).error(); }},
    {"unlink-open", open_middle, unlink_middle},
    {"rename", nothing, [](Actor& a) { return rename_one(a, "/d/f", "/d/new"); }},
    {"rename-to-other-directory", nothing, [](Actor& a) { return rename_one(a, "/d/f", "/e/new"); }},
    {"rename-over-file", nothing, [](Actor& a) { return rename_one(a, "/d/f", "/d/g"); }},
    {"rename-over-fragmented-file", nothing, [](Actor& a) { return rename_one(a, "/d/f", "/d/big"); }},
    {"rename-over-open-file", open_middle, [](Actor& a) { return rename_one(a, "/d/f", "/d/g"); }},
    {"rename-over-empty-directory", nothing, [](Actor& a) { return rename_one(a, "/d/sub", "/e/empty"); }},
    {"rename-directory", nothing, [](Actor& a) { return rename_one(a, "/d", "/new"); }},
    {"rename-directory-to-other-parent", nothing, [](Actor& a) { return rename_one(a, "/d/sub", "/e/new"); }},
    {"rename-exchange", nothing, [](Actor& a) { return rename_one(a, "/d/f", "/d/g", RENAME_EXCHANGE); }},
    {"rename-exchange-with-directory", nothing, [](Actor& a) { return rename_one(a, "/d/sub", "/e/h", RENAME_EXCHANGE); }},
};

const std::vector<Scenario> kFileScenarios{
    {"append", open_small, [](Actor& a) { return a.write(a.file, 300, 200, 'n'); }},
    {"append-shared-offset", nothing, [](Actor& a) { return a.write(a.file, -1, 20, 'n'); }, {.weak = true, .related = true,
     .survivor = [](Actor& a) { return a.open("/d/f", O_RDWR | O_APPEND, kFirstHandle, &a.file); },
     .conflict = [](Actor& a) { return vfs::seek_file(a.task, a.file, 10, SEEK_CUR).error(); }}},
    {"append-blocks", open_middle, [](Actor& a) { return a.write(a.file, 9000, 20000, 'n'); }, {.weak = true}},
    {"append-to-fragmented", open_big, [](Actor& a) { return a.write(a.file, 24 * 4096, 5000, 'n'); }, {.weak = true}},
    {"overwrite", open_middle, [](Actor& a) { return a.write(a.file, 3000, 3000, 'n'); }, {.weak = true}},
    {"write-sparse", open_small, [](Actor& a) { return a.write(a.file, 200000, 300, 'n'); }, {.weak = true}},
    {"truncate", nothing, [](Actor& a) { return vfs::truncate_at(a.task, a.at("/d/g"), 5000).error(); }},
    {"truncate-to-nothing", nothing, [](Actor& a) { return vfs::truncate_at(a.task, a.at("/d/g"), 0).error(); }},
    {"truncate-fragmented", nothing, [](Actor& a) { return vfs::truncate_at(a.task, a.at("/d/big"), 5000).error(); }},
    {"truncate-longer", open_small, [](Actor& a) { return vfs::truncate_file(a.task, a.file, 100000).error(); }},
    {"open-truncates", nothing, open_file<kBig, O_RDWR | O_TRUNC>},
    {"fallocate", open_small, [](Actor& a) { return vfs::fallocate_file(a.task, a.file, 0, 0, 30000).error(); }, {.weak = true}},
    {"punch-hole", open_big,
     [](Actor& a) { return vfs::fallocate_file(a.task, a.file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 5000, 20000).error(); }, {.weak = true}},
    {"zero-range", open_big,
     [](Actor& a) { return vfs::fallocate_file(a.task, a.file, FALLOC_FL_ZERO_RANGE, 5000, 20000).error(); }, {.weak = true}},
    {"collapse-range", open_big,
     [](Actor& a) { return vfs::fallocate_file(a.task, a.file, FALLOC_FL_COLLAPSE_RANGE, 4096, 8192).error(); }},
    {"insert-range", open_big,
     [](Actor& a) { return vfs::fallocate_file(a.task, a.file, FALLOC_FL_INSERT_RANGE, 4096, 8192).error(); }},
    {"write-to-unwritten",
     [](Actor& a) {
       int error = open_small(a);
       return error != 0 ? error : vfs::fallocate_file(a.task, a.file, FALLOC_FL_KEEP_SIZE, 0, 30000).error();
     },
     [](Actor& a) { return a.write(a.file, 300, 9000, 'n'); }, {.weak = true}},
    {"write-and-sync", open_small,
     [](Actor& a) {
       int error = a.write(a.file, 0, 10, 'n');
       return error != 0 ? error : vfs::sync_file(a.task, a.file, false).error();
     },
     {.weak = true}},
    {"chmod", nothing, [](Actor& a) { return vfs::chmod_at(a.task, a.at("/d/f"), vfs::Follow::kYes, false, 0600).error(); }},
    {"chown", nothing, [](Actor& a) { return vfs::chown_at(a.task, a.at("/d/f"), kNo, false, 12, 34).error(); }},
    {"utimens", nothing,
     [](Actor& a) {
       timespec times[2] = {{1'000'000'000, 1}, {1'100'000'000, 2}};
       return vfs::utimens_at(a.task, a.at("/d/f"), kNo, false, times).error();
     }},
    {"setxattr", nothing, [](Actor& a) { return vfs::setxattr_at(a.task, a.at("/d/f"), kNo, false, "user.new", "value", 5, 0).error(); }},
    {"setxattr-again", nothing, [](Actor& a) { return vfs::setxattr_at(a.task, a.at("/d/x"), kNo, false, "user.a", "other", 5, 0).error(); }},
    {"removexattr", nothing, [](Actor& a) { return vfs::removexattr_at(a.task, a.at("/d/x"), kNo, false, "user.a").error(); }},
};

// Nothing of these shows in the tree (but what the preparation removes).
const std::vector<Scenario> kOpenScenarios{
    {"open-and-close", nothing,
     [](Actor& a) {
       int error = a.open("/d/f", O_RDWR, kFirstHandle);
       return error != 0 ? error : a.close(kFirstHandle);
     }},
    {"close-removed-file",
     [](Actor& a) {
       int error = open_middle(a);
       return error != 0 ? error : unlink_middle(a);
     },
     close_first},
    {"close-removed-fragmented-file",
     [](Actor& a) {
       int error = open_big(a);
       return error != 0 ? error : vfs::unlink_at(a.task, a.at("/d/big")).error();
     },
     close_first},
    {"tmpfile", nothing, [](Actor& a) { return a.open("/d", O_TMPFILE | O_RDWR, kFirstHandle); }},
    {"dup", open_small, [](Actor& a) { return vfs::add_handle(*a.pool, 300, a.file).error(); }},
    {"pin-and-unpin", open_small,
     [](Actor& a) {
       int error = vfs::pin_mapping(*a.pool, a.file, vfs::kFirstPrivateHandle + 1).error();
       return error != 0 ? error : vfs::unpin_mapping(*a.pool, vfs::kFirstPrivateHandle + 1).error();
     }},
    {"flock", open_small, [](Actor& a) { return vfs::flock_file(a.task, a.file, LOCK_EX).error(); }, {.conflict = lock_all_again}},
    {"flock-convert-and-unlock",
     [](Actor& a) {
       int error = open_small(a);
       return error != 0 ? error : vfs::flock_file(a.task, a.file, LOCK_EX).error();
     },
     [](Actor& a) {
       int error = vfs::flock_file(a.task, a.file, LOCK_SH).error();
       return error != 0 ? error : vfs::flock_file(a.task, a.file, LOCK_UN).error();
     },
     {.conflict = lock_all_again}},
    {"record-lock", open_small, locked_range, {.conflict = lock_all_again}},
    {"record-lock-splits-another",
     [](Actor& a) {
       int error = open_small(a);
       return error != 0 ? error : locked_range(a);
     },
     [](Actor& a) { return a.record_lock(a.file, F_SETLK, F_RDLCK, 40, 10); }, {.conflict = lock_all_again}},
    {"record-unlock",
     [](Actor& a) {
       int error = open_small(a);
       return error != 0 ? error : locked_range(a);
     },
     [](Actor& a) { return a.record_lock(a.file, F_SETLK, F_UNLCK, 0, 0); }, {.conflict = lock_all_again}},
    {"close-with-locks",
     [](Actor& a) {
       int error = open_small(a);
       if (error == 0) error = locked_range(a);
       return error != 0 ? error : vfs::flock_file(a.task, a.file, LOCK_EX).error();
     },
     close_first, {.conflict = lock_all_again}},
    {"read-shared-offset", nothing, read_on, {.related = true,
     .survivor = [](Actor& a) { return a.open("/d/f", O_RDWR, kFirstHandle, &a.file); }, .conflict = read_on}},
};

const std::vector<Scenario> kProcessScenarios{
    {"prepare-child",
     [](Actor& a) {
       int error = open_small(a);
       return error != 0 ? error : a.open("/d/g", O_RDWR, 200);
     },
     [](Actor& a) { return a.pool->prepare_child().error(); }, {.conflict = lock_all_again}},
    {"cancel-child",
     [](Actor& a) {
       if (int error = open_small(a)) return error;
       auto ticket = a.pool->prepare_child();
       a.ticket = ticket.value();
       return ticket.error();
     },
     [](Actor& a) { return a.pool->cancel_child(a.ticket), 0; }, {.conflict = lock_all_again}},
    {"become-child", // as if the parent were killed when the child begins
     [](Actor& a) {
       if (int error = open_small(a)) return error;
       auto ticket = a.pool->prepare_child();
       a.ticket = ticket.value();
       return ticket.error();
     },
     [](Actor& a) { return a.pool->become_child(a.ticket), 0; }, {.conflict = lock_all_again}},
    {"exec",
     [](Actor& a) {
       int error = open_small(a);
       return error != 0 ? error : locked_range(a);
     },
     [](Actor& a) {
       int error = a.pool->prepare_exec(a.text).error();
       return error != 0 ? error : adopt_after_exec(a);
     },
     {.conflict = lock_all_again}},
    {"detach",
     [](Actor& a) {
       int error = open_small(a);
       if (error == 0) error = locked_range(a);
       if (error == 0) error = a.open("/d/g", O_RDWR, 200);
       return error != 0 ? error : unlink_middle(a);
     },
     [](Actor& a) {
       a.pool->detach();
       a.pool = nullptr;
       return 0;
     },
     {.conflict = lock_all_again}},
    {"attach", nothing, [](Actor& a) { return a.attach(); }, {.attaches = true}},
    {"attach-first", nothing, [](Actor& a) { return a.attach(); }, {.attaches = true, .alone = true}},
};

} // namespace

const std::vector<Scenario>& scenarios() {
  static const std::vector<Scenario> all = [] {
    std::vector<Scenario> made;
    for (const auto* group : {&kNameScenarios, &kFileScenarios, &kOpenScenarios, &kProcessScenarios})
      made.insert(made.end(), group->begin(), group->end());
    return made;
  }();
  return all;
}

} // namespace pmemfile::kill_steps
