#include "cost/operations.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <string>

namespace pmemfile::cost {
namespace {

constexpr u32 kFile = vfs::kFirstPrivateHandle + 100;
constexpr u32 kOther = vfs::kFirstPrivateHandle + 101;
constexpr u64 kBlock = 4096;

vfs::At at(Bench& b, const char* path) { return {b.task.root, path}; }

vfs::Description open(Bench& b, const char* path, int flags, u32 handle) {
  auto opened = vfs::open_at(b.task, at(b, path), flags, 0644, handle);
  must(path, opened.error());
  return opened.value().description;
}
void close(Bench& b, u32 handle) { must("close", vfs::close_handle(b.pool, handle).error()); }
void create(Bench& b, const char* path) {
  open(b, path, O_CREAT | O_EXCL | O_WRONLY, kOther);
  close(b, kOther);
}
void write(Bench& b, vfs::Description file, i64 offset, u64 bytes) {
  static char block[kBlock];
  data::IoVec vector{block, bytes};
  must("write", vfs::write_file(b.task, file, offset, &vector, 1).error());
}
void read(Bench& b, u64 bytes) {
  static char block[kBlock];
  data::IoVec vector{block, bytes};
  must("read", vfs::read_file(b.task, b.file, 0, &vector, 1).error());
}
void rename(Bench& b, const char* from, const char* to, unsigned flags = 0) {
  must("rename", vfs::rename_at(b.task, at(b, from), at(b, to), flags).error());
}
u64 size(Bench& b) {
  struct stat st;
  must("stat", vfs::stat_at(b.task, at(b, "/d/file"), vfs::Follow::kYes, false, &st).error());
  return static_cast<u64>(st.st_size);
}
void append(Bench& b) { write(b, b.file, static_cast<i64>(size(b)), kBlock); }
void set_attribute(Bench& b, const char* value) {
  must("setxattr", vfs::setxattr_at(b.task, at(b, "/d/file"), vfs::Follow::kYes, false, "user.a", value, strlen(value), 0).error());
}

} // namespace

void must(const char* what, int error) {
  if (error == 0) return;
  fprintf(stderr, "%s: %s\n", what, strerror(error));
  exit(2);
}

void furnish(Bench& b) {
  for (const char* dir : {"/d", "/e", "/d/sub"}) must(dir, vfs::mkdir_at(b.task, at(b, dir), 0755).error());
  for (const char* file : {"/e/first", "/d/sub/first"}) create(b, file); // every directory has its leaf
  b.file = open(b, "/d/file", O_CREAT | O_RDWR, kFile);
  for (u64 offset = 0; offset < 16 * kBlock; offset += kBlock) write(b, b.file, static_cast<i64>(offset), kBlock);
}

const std::vector<Operation> operations = {
    {"stat", nullptr, [](Bench& b) { (void)size(b); }},
    {"stat, missing name", nullptr,
     [](Bench& b) {
       struct stat st;
       if (vfs::stat_at(b.task, at(b, "/d/none"), vfs::Follow::kYes, false, &st).error() != ENOENT) must("stat", EEXIST);
     }},
    {"access", nullptr, [](Bench& b) { must("access", vfs::access_at(b.task, at(b, "/d/file"), vfs::Follow::kYes, false, R_OK, false).error()); }},
    {"open", nullptr, [](Bench& b) { open(b, "/d/file", O_RDONLY, kOther); }},
    {"close", nullptr, [](Bench& b) { close(b, kOther); }},
    {"create", nullptr, [](Bench& b) { open(b, "/d/new", O_CREAT | O_EXCL | O_WRONLY, kOther); }},
    {"close of a new file", nullptr, [](Bench& b) { close(b, kOther); }},
    {"unlink, empty file", nullptr, [](Bench& b) { must("unlink", vfs::unlink_at(b.task, at(b, "/d/new")).error()); }},
    {"unlink, 4 KiB",
     [](Bench& b) {
       write(b, open(b, "/d/new", O_CREAT | O_EXCL | O_WRONLY, kOther), 0, kBlock);
       close(b, kOther);
     },
     [](Bench& b) { must("unlink", vfs::unlink_at(b.task, at(b, "/d/new")).error()); }},
    {"mkdir", nullptr, [](Bench& b) { must("mkdir", vfs::mkdir_at(b.task, at(b, "/d/dir"), 0755).error()); }},
    {"rmdir", nullptr, [](Bench& b) { must("rmdir", vfs::rmdir_at(b.task, at(b, "/d/dir")).error()); }},
    {"rename, same directory", [](Bench& b) { create(b, "/d/new"); }, [](Bench& b) { rename(b, "/d/new", "/d/newer"); }},
    {"rename, other directory", nullptr, [](Bench& b) { rename(b, "/d/newer", "/e/newer"); }},
    {"rename over a file", [](Bench& b) { create(b, "/d/new"); }, [](Bench& b) { rename(b, "/e/newer", "/d/new"); }},
    {"rename, exchange", [](Bench& b) { create(b, "/e/new"); }, [](Bench& b) { rename(b, "/d/new", "/e/new", 2); }},
    {"rename of a directory to another",
     [](Bench& b) { must("mkdir", vfs::mkdir_at(b.task, at(b, "/d/dir"), 0755).error()); },
     [](Bench& b) { rename(b, "/d/dir", "/e/dir"); }},
    {"link", nullptr,
     [](Bench& b) { must("link", vfs::link_at(b.task, at(b, "/d/new"), at(b, "/d/link"), vfs::Follow::kNo, false).error()); }},
    {"unlink, other links", nullptr, [](Bench& b) { must("unlink", vfs::unlink_at(b.task, at(b, "/d/link")).error()); }},
    {"symlink", nullptr, [](Bench& b) { must("symlink", vfs::symlink_at(b.task, "target", at(b, "/d/symlink")).error()); }},
    {"chmod", nullptr, [](Bench& b) { must("chmod", vfs::chmod_at(b.task, at(b, "/d/new"), vfs::Follow::kYes, false, 0600).error()); }},
    {"read 4 KiB", nullptr, [](Bench& b) { read(b, kBlock); }},
    {"overwrite 64 B", nullptr, [](Bench& b) { write(b, b.file, 0, 64); }},
    {"overwrite 4 KiB", nullptr, [](Bench& b) { write(b, b.file, 0, kBlock); }},
    {"fsync after overwrite", nullptr, [](Bench& b) { must("fsync", vfs::sync_file(b.task, b.file, false).error()); }},
    {"fsync, nothing to do", nullptr, [](Bench& b) { must("fsync", vfs::sync_file(b.task, b.file, false).error()); }},
    {"append 4 KiB", append, append},
    {"append 64 B", nullptr, [](Bench& b) { write(b, b.file, static_cast<i64>(size(b)), 64); }},
    {"append 64 B into a block", nullptr, [](Bench& b) { write(b, b.file, static_cast<i64>(size(b)), 64); }},
    {"fsync after append", nullptr, [](Bench& b) { must("fsync", vfs::sync_file(b.task, b.file, false).error()); }},
    {"truncate, shorter by a block",
     [](Bench& b) { must("truncate", vfs::truncate_at(b.task, at(b, "/d/file"), 8 * kBlock).error()); },
     [](Bench& b) { must("truncate", vfs::truncate_at(b.task, at(b, "/d/file"), 7 * kBlock).error()); }},
    {"truncate, longer", nullptr, [](Bench& b) { must("truncate", vfs::truncate_at(b.task, at(b, "/d/file"), 8 * kBlock).error()); }},
    {"setxattr, first", nullptr, [](Bench& b) { set_attribute(b, "value"); }},
    {"setxattr, changed", nullptr, [](Bench& b) { set_attribute(b, "other"); }},
};

} // namespace pmemfile::cost
