#include "crash/kill_image.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <filesystem>

#include "crash/kill_world.h"
#include "fsck/check.h"
#include "shm/handles.h"
#include "shm/locks.h"
#include "shm/opens.h"
#include "shm/process.h"

namespace pmemfile::kill_steps {
namespace {

constexpr u64 kPoolBytes = 2 << 20;

u8* map_file(const std::string& path, u64* bytes) {
  int fd = open(path.c_str(), O_RDWR | O_CLOEXEC);
  struct stat status{};
  if (fd < 0 || fstat(fd, &status) != 0) return nullptr;
  *bytes = static_cast<u64>(status.st_size);
  void* mapped = mmap(nullptr, *bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
  close(fd);
  return mapped == MAP_FAILED ? nullptr : static_cast<u8*>(mapped);
}

// Names of V, and of what its makers may have left.
std::vector<std::string> files_of_segment() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(world().shm_dir)) names.push_back(entry.path());
  return names;
}

shm::Segment view_of(u8* base, u64 bytes) {
  shm::Segment v;
  v.base = base;
  v.bytes = bytes;
  v.header = reinterpret_cast<shm::SegmentHeader*>(base);
  v.slots = v.at<shm::Slot>(v.header->slots_offset);
  v.stripes = v.at<shm::Stripe>(v.header->stripes_offset);
  return v;
}

// Tables that must be empty when nobody is attached.
std::string leftovers(const shm::Segment& v) {
  const shm::SegmentHeader& h = *v.header;
  std::string text;
  auto count = [&](const char* what, u64 entries, auto&& used) {
    u64 left = 0;
    for (u64 i = 0; i < entries; ++i) left += used(i) ? 1 : 0;
    if (left != 0) text += " " + std::to_string(left) + " " + what + ";";
  };
  count("processes", h.process_count, [&](u64 i) {
    const shm::Process& p = shm::process_entry(v, static_cast<u32>(i));
    return p.state != 0 || p.claim != 0 || p.first_leaf[0] != 0 || p.first_leaf[1] != 0 || p.top_node[0] != 0 || p.top_node[1] != 0;
  });
  count("inodes to be freed", h.process_count, [&](u64 i) {
    for (u64 word : shm::process_entry(v, static_cast<u32>(i)).pending)
      if (word != 0) return true;
    return false;
  });
  count("pages of handles", h.page_count, [&](u64 i) { return v.at<u64>(h.page_owners_offset)[i] != 0; });
  count("handles", h.page_count * shm::kHandlesPerPage, [&](u64 i) { return v.at<u64>(h.pages_offset)[i] != 0; });
  count("descriptions", h.description_count, [&](u64 i) { return shm::description_at(v, i)->refs != 0; });
  count("uses of inodes", h.use_group_count * shm::kUsesPerGroup, [&](u64 i) {
    return shm::use_group(v, i / shm::kUsesPerGroup).words[i % shm::kUsesPerGroup] != 0;
  });
  count("lists of file locks", h.lock_list_count, [&](u64 i) { return shm::lock_list_at(v, i)->in_use != 0; });
  count("file locks", h.file_lock_count, [&](u64 i) { return shm::file_lock_at(v, i)->in_use != 0; });
  count("chains", h.file_lock_stripes, [&](u64 i) {
    return v.at<shm::LockBucket>(h.buckets_offset)[i].first_plus_1 != 0;
  });
  count("slots", h.slot_count, [&](u64 i) {
    const shm::Slot& s = v.slots[i];
    return s.owner != 0 || s.shared_plus_1 != 0 || s.held_count != 0 || s.vlog_committed != 0 || s.left_ino != 0 || s.pending_ino != 0;
  });
  count("stripes", h.stripe_count, [&](u64 i) { return (v.stripes[i].lock & shm::kLockSlotMask) != 0 || (v.stripes[i].sequence & 1) != 0; });
  return text;
}

} // namespace

World& world() {
  static World the_world;
  return the_world;
}

void make_world(const std::string& name) {
  World& w = world();
  std::string folder = "/dev/shm/pmemfile-" + name + "-" + std::to_string(getpid());
  w.pool_path = folder + "/pool";
  w.shm_dir = folder + "/shm";
  std::filesystem::create_directories(w.shm_dir);
  w.control = static_cast<Control*>(mmap(nullptr, sizeof(Control), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  setvbuf(stdout, nullptr, _IOLBF, 0);
}

int end_world(bool good) {
  std::filesystem::remove_all(std::filesystem::path(world().pool_path).parent_path());
  printf(good ? "every state was right\n" : "FAILED\n");
  return good ? 0 : 1;
}

Image& image() {
  static Image the_image;
  return the_image;
}

bool Image::make() {
  for (const auto& name : files_of_segment()) unlink(name.c_str());
  vfs::Pool::MakeOptions options;
  options.bytes = kPoolBytes;
  options.force = true;
  vfs::AttachFailure failure{};
  auto made = vfs::Pool::make(world().pool_path.c_str(), options, &failure);
  if (!made.ok()) return printf("%s\n", failure.text), false;
  world().root = Ino{made.value().root_ino[0]};
  pid_t pid = fork();
  if (pid == 0) {
    Actor actor;
    int error = actor.attach();
    if (error == 0) error = build_tree(actor);
    if (error != 0) printf("the tree cannot be built: errno %d %s\n", error, world().control->complaint);
    fflush(stdout);
    if (actor.pool != nullptr) actor.pool->detach();
    _exit(error != 0);
  }
  int status = 0;
  waitpid(pid, &status, 0);
  return status == 0 && map();
}

bool Image::map() {
  u64 bytes = 0;
  if (pool_ != nullptr) munmap(pool_, pool_image_.size());
  if (segment_ != nullptr) munmap(segment_, segment_image_.size());
  pool_ = segment_ = nullptr;
  auto names = files_of_segment();
  if (names.size() != 1) return printf("%zu files where V should be\n", names.size()), false;
  if ((pool_ = map_file(world().pool_path, &bytes)) == nullptr) return false;
  pool_image_.assign(pool_, pool_ + bytes);
  if ((segment_ = map_file(names[0], &bytes)) == nullptr) return false;
  segment_image_.assign(segment_, segment_ + bytes);
  return true;
}

bool Image::restore(bool without_segment) {
  if (!made_ && !make()) return false;
  made_ = true;
  memcpy(pool_, pool_image_.data(), pool_image_.size());
  if (without_segment) {
    for (const auto& name : files_of_segment()) unlink(name.c_str());
    made_ = false;
  } else {
    memcpy(segment_, segment_image_.data(), segment_image_.size());
  }
  return true;
}

std::string Image::check(bool recovered) {
  auto names = files_of_segment();
  if (names.size() != 1) return std::to_string(names.size()) + " files where V should be";
  std::string text;
  if (recovered || !made_) {
    u64 bytes = 0;
    u8* mapped = map_file(names[0], &bytes);
    if (mapped == nullptr) return "V cannot be read";
    text = leftovers(view_of(mapped, bytes));
    munmap(mapped, bytes);
  } else {
    text = leftovers(view_of(segment_, segment_image_.size()));
  }
  if (!text.empty()) return "left in V:" + text;
  auto report = fsck::check({reinterpret_cast<const std::byte*>(pool_), pool_image_.size()});
  for (const auto& finding : report.findings)
    if (fsck::code_info(finding.code).severity != fsck::Severity::kNote) text += " " + fsck::to_text(finding) + ";";
  if (!report.clean()) return "fsck:" + text;
  // The root remains. Blocks of inodes may, too; the checker has proved that every other block is free.
  if (report.totals.orphans != 0) return std::to_string(report.totals.orphans) + " orphans left";
  constexpr u64 kRoots = 4;
  if (report.totals.inodes_used != kRoots) return std::to_string(report.totals.inodes_used) + " inodes left";
  return "";
}

} // namespace pmemfile::kill_steps
