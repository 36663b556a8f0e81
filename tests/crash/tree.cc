#include "crash/tree.h"

#include <sys/stat.h>

#include <vector>

#include "dir/dir.h"

namespace pmemfile::crash {
namespace {

const vfs::Credentials kSuperuser{.capabilities = ~u64{0}};

struct Child {
  std::string name;
  Ino ino;
  u8 type;
};

// The contents as text, with what lies beyond the size never looked at.
std::string contents(journal::Store& store, const inode::Attr& attr) {
  std::string text(attr.size < (1 << 20) ? attr.size : 1 << 20, '?');
  data::IoVec vector{text.data(), text.size()};
  if (text.empty()) return text;
  auto got = data::read(store, attr.ino, 0, &vector, 1);
  if (!got.ok()) return "error " + std::to_string(got.error());
  text.resize(got.value());
  return text;
}

std::string attributes(vfs::Pool& pool, Ino ino) {
  vfs::Task task = superuser(pool);
  char names[4096], value[4096];
  auto size = vfs::listxattr_at(task, {ino, ""}, vfs::Follow::kNo, true, names, sizeof names);
  if (!size.ok()) return size.error() == EOPNOTSUPP ? "" : " xattr error " + std::to_string(size.error());
  std::string text;
  for (u64 at = 0; at < size.value();) {
    std::string name = names + at;
    auto got = vfs::getxattr_at(task, {ino, ""}, vfs::Follow::kNo, true, name, value, sizeof value);
    text += " " + name + "=" + (got.ok() ? std::string(value, got.value()) : "error " + std::to_string(got.error()));
    at += name.size() + 1;
  }
  return text;
}

std::string describe(vfs::Pool& pool, const inode::Attr& attr) {
  std::string text = "mode " + std::to_string(attr.mode) + " links " + std::to_string(attr.nlink) + " owner " +
                     std::to_string(attr.uid) + ":" + std::to_string(attr.gid);
  if (S_ISREG(attr.mode)) text += " size " + std::to_string(attr.size) + " data " + contents(pool.store(), attr);
  if (S_ISLNK(attr.mode)) {
    char target[4096];
    vfs::Task task = superuser(pool);
    auto got = vfs::readlink_at(task, {attr.ino, ""}, true, target, sizeof target);
    text += " target " + (got.ok() ? std::string(target, got.value()) : "error " + std::to_string(got.error()));
  }
  return text + attributes(pool, attr.ino);
}

} // namespace

vfs::Task superuser(vfs::Pool& pool) {
  vfs::Task task;
  task.pool = &pool;
  task.credentials = &kSuperuser;
  task.umask = 0;
  task.root = Ino{pool.store().geometry.root_ino[0]};
  return task;
}

Tree visible_tree(vfs::Pool& pool) {
  Tree tree;
  std::vector<std::pair<std::string, Ino>> pending{{"/", Ino{pool.store().geometry.root_ino[0]}}};
  while (!pending.empty()) {
    auto [path, ino] = pending.back();
    pending.pop_back();
    auto attr = inode::read(pool.store(), ino);
    if (!attr.ok()) {
      tree[path] = "error " + std::to_string(attr.error());
      continue;
    }
    tree[path] = describe(pool, attr.value());
    if (!S_ISDIR(attr.value().mode)) continue;
    std::vector<Child> children;
    auto listed = dir::list(pool.store(), ino, 0, [](void* context, const dir::Listed& entry) {
      static_cast<std::vector<Child>*>(context)->push_back({std::string(entry.name), entry.ino, entry.type});
      return true;
    }, &children);
    if (!listed.ok()) tree[path] += " listing error " + std::to_string(listed.error());
    for (const Child& child : children) {
      // A name that can be listed must also be found.
      auto found = dir::lookup(pool.store(), ino, child.name);
      if (!found.ok() || found.value().ino != child.ino) tree[path] += " lookup of " + child.name + " differs";
      pending.push_back({path + (path == "/" ? "" : "/") + child.name, child.ino});
    }
  }
  return tree;
}

std::string difference(const Tree& expected, const Tree& found) {
  auto shorten = [](const std::string& text) { return text.size() > 200 ? text.substr(0, 200) + "..." : text; };
  for (const auto& [path, text] : expected) {
    auto other = found.find(path);
    if (other == found.end()) return path + " is missing (" + shorten(text) + ")";
    if (other->second != text) return path + " is '" + shorten(other->second) + "', expected '" + shorten(text) + "'";
  }
  for (const auto& [path, text] : found)
    if (expected.find(path) == expected.end()) return path + " is too much (" + shorten(text) + ")";
  return {};
}

} // namespace pmemfile::crash
