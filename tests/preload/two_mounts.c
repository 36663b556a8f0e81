// Calls with two paths, one of them on another file system: what is wrong with either side is found before EXDEV.
#include "common.h"

static char away[64];
static const char *at(const char *name) {
  static char path[2][128];
  static int turn;
  snprintf(path[turn ^= 1], 128, "%s/%s", away, name);
  return path[turn];
}

int main(void) {
  strcpy(away, "/tmp/two-mounts-XXXXXX");
  if (mkdtemp(away) == NULL) return 1;
  put("in", "x"), mkdir("dir", 0755), symlink("none", "dangling");
  put(at("out"), "y"), mkdir(at("dir"), 0755);
  int file = open("in", O_RDONLY), other = open(at("out"), O_RDONLY);
  SHOW(link("in", at("new")));
  SHOW(link("none", at("new")));
  SHOW(link("in", at("out")));
  SHOW(link("in", at("none/new")));
  SHOW(link("in", at("out/new")));
  SHOW(link("none", at("none/new")));
  SHOW(link("dangling", at("new")));
  SHOW(linkat(AT_FDCWD, "dangling", AT_FDCWD, at("new"), AT_SYMLINK_FOLLOW));
  SHOW(link(at("out"), "new"));
  SHOW(link(at("none"), "new"));
  SHOW(link(at("out"), "in"));
  SHOW(link(at("out"), "none/new"));
  SHOW(link(at("out"), "in/new"));
  SHOW(link(at("none"), "none/new"));
  SHOW(linkat(file, "x", AT_FDCWD, at("new"), 0));
  SHOW(linkat(AT_FDCWD, "in", other, "new", 0));
  SHOW(linkat(AT_FDCWD, "in", 999, "new", 0));
  SHOW(linkat(other, "x", AT_FDCWD, "new", 0));
  SHOW(linkat(999, "x", AT_FDCWD, "new", 0));
  SHOW(linkat(file, "", AT_FDCWD, at("new"), AT_EMPTY_PATH));
  SHOW(linkat(other, "", AT_FDCWD, "new", AT_EMPTY_PATH));
  SHOW(rename("in", at("new")));
  SHOW(rename("none", at("new")));
  SHOW(rename("none/in", at("new")));
  SHOW(rename("in", at("none/new")));
  SHOW(rename("in", at("out/new")));
  SHOW(rename(at("out"), "new"));
  SHOW(rename(at("none"), "new"));
  SHOW(rename(at("none/in"), "new"));
  SHOW(rename(at("out"), "in/new"));
  SHOW(rename(at("out"), "none/new"));
  SHOW(renameat(AT_FDCWD, "in", other, "new"));
  SHOW(renameat(999, "in", AT_FDCWD, "new"));
  SHOW(renameat2(AT_FDCWD, "in", AT_FDCWD, at("new"), 64));
  SHOW(renameat2(AT_FDCWD, "in", AT_FDCWD, at("new"), RENAME_EXCHANGE | RENAME_NOREPLACE));
  SHOW(renameat2(AT_FDCWD, "in", AT_FDCWD, at("new"), RENAME_EXCHANGE));
  SHOW(rename("dir", at("dir")));
  SHOW(access(at("new"), F_OK));
  SHOW(access("in", F_OK));
  unlink(at("out")), rmdir(at("dir")), rmdir(away);
  return 0;
}
