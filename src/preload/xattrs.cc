// Extended attributes, by path and by descriptor.

#include <fcntl.h>

#include "preload/handlers.h"
#include "preload/paths.h"

namespace pmemfile::preload {
namespace {

struct Name {
  char text[256];
  std::string_view view;
};

long take_name(Call& call, unsigned index, Name& name) {
  long bytes = pmemfile_preload_strnlen(call.pointer<const char>(index), 256);
  if (bytes < 0) return bytes;
  if (bytes == 0 || bytes > 255) return -ERANGE;
  if (pmem::copy_guarded(name.text, call.pointer<void>(index), static_cast<u64>(bytes)) != 0) return -EFAULT;
  name.view = std::string_view(name.text, static_cast<u64>(bytes));
  return 0;
}

vfs::Follow follow(bool yes) { return yes ? vfs::Follow::kYes : vfs::Follow::kNo; }
unsigned options(bool yes) { return yes ? kFollowLast : 0; }

// The inode of the descriptor argument.
template <class Body>
long on_descriptor(Call& call, Body&& body) {
  FdWord word = call.file(0);
  if (!is_file(word)) return -EBADF;
  vfs::DescriptionInfo info = vfs::info(call.pool(mount_of(word)), description_of(word));
  if ((info.flags & O_PATH) != 0) return -EBADF;
  vfs::Task task = make_task(call, mount_of(word));
  Place place;
  place.at = vfs::At{info.ino, {}};
  place.itself = true;
  return to_long(body(task, place));
}

template <class Body>
long on_target(Call& call, int how, unsigned more_options, Body&& body) { // how: 0 no follow, 1 follow, 2 descriptor
  if (how == 2) return on_descriptor(call, body);
  return at_path(call, AT_FDCWD, 0, options(how == 1) | more_options, body);
}

long get(Call& call, int how) {
  Name name;
  long error = take_name(call, 1, name);
  if (error != 0) return error;
  return on_target(call, how, 0, [&](vfs::Task& task, Place& place) {
    return vfs::getxattr_at(task, place.at, follow(how == 1), place.itself, name.view, call.pointer<void>(2), call.arg(3));
  });
}
long list(Call& call, int how) {
  return on_target(call, how, 0, [&](vfs::Task& task, Place& place) {
    return vfs::listxattr_at(task, place.at, follow(how == 1), place.itself, call.pointer<char>(1), call.arg(2));
  });
}
long set(Call& call, int how) {
  Name name;
  long error = take_name(call, 1, name);
  if (error != 0) return error;
  return on_target(call, how, kNeverKnown, [&](vfs::Task& task, Place& place) {
    return vfs::setxattr_at(task, place.at, follow(how == 1), place.itself, name.view, call.pointer<void>(2), call.arg(3), call.fd(4));
  });
}
long remove(Call& call, int how) {
  Name name;
  long error = take_name(call, 1, name);
  if (error != 0) return error;
  return on_target(call, how, kNeverKnown, [&](vfs::Task& task, Place& place) {
    return vfs::removexattr_at(task, place.at, follow(how == 1), place.itself, name.view);
  });
}

} // namespace

long h_getxattr(Call& call) { return get(call, 1); }
long h_lgetxattr(Call& call) { return get(call, 0); }
long h_fgetxattr(Call& call) { return get(call, 2); }
long h_listxattr(Call& call) { return list(call, 1); }
long h_llistxattr(Call& call) { return list(call, 0); }
long h_flistxattr(Call& call) { return list(call, 2); }
long h_setxattr(Call& call) { return set(call, 1); }
long h_lsetxattr(Call& call) { return set(call, 0); }
long h_fsetxattr(Call& call) { return set(call, 2); }
long h_removexattr(Call& call) { return remove(call, 1); }
long h_lremovexattr(Call& call) { return remove(call, 0); }
long h_fremovexattr(Call& call) { return remove(call, 2); }

} // namespace pmemfile::preload
