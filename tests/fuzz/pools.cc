#include "fuzz/pools.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>

#include "fuzz/kernel.h"
#include "fuzz/world.h"

namespace pmemfile::fuzz {
namespace {

[[noreturn]] void give_up(const std::string& what) {
  std::fprintf(stderr, "fuzz: %s\n", what.c_str());
  std::abort();
}

// Does things to a pool that must succeed.
class Builder {
 public:
  explicit Builder(vfs::Pool& pool) : pool_(pool) {
    credentials_.capabilities = ~u64{0};
    task_.pool = &pool;
    task_.credentials = &credentials_;
    task_.root = Ino{pool.store().geometry.root_ino[0]};
  }
  void directory(const std::string& path) { must(path, vfs::mkdir_at(task_, at(path), 0755)); }
  void file(const std::string& path) { must(path, vfs::mknod_at(task_, at(path), S_IFREG | 0644, 0)); }
  void fifo(const std::string& path) { must(path, vfs::mknod_at(task_, at(path), S_IFIFO | 0600, 0)); }
  void link(const std::string& from, const std::string& to) {
    must(to, vfs::link_at(task_, at(from), at(to), vfs::Follow::kNo, false));
  }
  void symlink(const std::string& path, const std::string& target) { must(path, vfs::symlink_at(task_, target, at(path))); }
  void unlink(const std::string& path) { must(path, vfs::unlink_at(task_, at(path))); }
  void attribute(const std::string& path, const std::string& name, const std::string& value) {
    must(path, vfs::setxattr_at(task_, at(path), vfs::Follow::kNo, false, name, value.data(), value.size(), 0));
  }
  void write(const std::string& path, u64 offset, u64 bytes) {
    std::string contents(bytes, 'x');
    data::IoVec vector{contents.data(), contents.size()};
    must(path, data::write(pool_.store(), ino(path), offset, &vector, 1, {}));
  }
  // Until there is no room, or none but in blocks that were metadata once.
  void fill(const std::string& path, bool keep_formatted) {
    char byte = 'x';
    data::IoVec vector{&byte, 1};
    for (u64 at = 0; !(keep_formatted && only_formatted_left()); at += layout::kBlockBytes)
      if (!data::write(pool_.store(), ino(path), at, &vector, 1, {}).ok()) return;
  }
  void open(const std::string& path, int flags, u32 handle) { must(path, vfs::open_at(task_, at(path), flags, 0644, handle)); }
  void allocate(const std::string& path, u64 offset, u64 bytes) {
    open(path, O_RDWR, 100);
    auto opened = vfs::open_at(task_, at(path), O_RDWR, 0, 101);
    must(path, opened);
    must(path, vfs::fallocate_file(task_, opened.value().description, FALLOC_FL_KEEP_SIZE, offset, bytes));
    must(path, vfs::close_handle(pool_, 100));
    must(path, vfs::close_handle(pool_, 101));
  }

 private:
  vfs::At at(const std::string& path) const { return {task_.root, path}; }
  Ino ino(const std::string& path) {
    auto found = vfs::resolve(task_, at(path), vfs::Follow::kNo);
    must(path, found);
    return found.value().ino;
  }
  // The smallest pool has one bitmap line that says something.
  bool only_formatted_left() {
    auto plane = [&](unsigned first) {
      return pool_.store().medium.word(PoolOff{pool_.store().geometry.bitmap_start_block * layout::kBlockBytes + 8 * first});
    };
    return (plane(layout::kPlaneUsed) | plane(layout::kPlaneMeta)) == ~u64{0};
  }
  template <class T>
  void must(const std::string& path, const Result<T>& result) {
    if (!result.ok()) give_up(path + ": errno " + std::to_string(result.error()));
  }

  vfs::Pool& pool_;
  vfs::Credentials credentials_;
  vfs::Task task_;
};

void something_of_everything(Builder& b) {
  b.directory("/d");
  b.directory("/d/e");
  b.file("/f");
  b.link("/f", "/d/f2");
  b.write("/f", 0, 12 * 4096);
  b.symlink("/s", "d/e");
  b.symlink("/l", std::string(200, 'l'));
  b.symlink("/loop", "loop");
  b.fifo("/p");
  b.file("/sparse");
  b.write("/sparse", 500 * 4096, 100);
  b.attribute("/f", "user.a", "value");
  b.attribute("/f", "user.b", std::string(300, 'v'));
  b.file("/unwritten");
  b.allocate("/unwritten", 0, 3 * 4096);
}

void large_directory(Builder& b) {
  b.directory("/d");
  b.directory("/d/e");
  b.file("/f");
  for (int i = 0; i < kManyNames; ++i) b.link("/f", "/d/" + long_name(i));
  for (int i = 0; i < 20; ++i) b.link("/f", "/d/e/" + std::to_string(i));
}

void deep_files(Builder& b) {
  b.file("/f");
  // One tree of each height, and what lies between them.
  b.write("/f", 5 * 4096, 4096);
  b.write("/f", 100 * 4096, 3 * 4096);
  b.write("/f", u64{1000} * 4096, 10);
  b.write("/f", u64{300000} * 4096, 10);
  b.write("/f", u64{100000000} * 4096, 10);
  b.file("/sparse");
  for (u64 i = 9; i < 25; i += 2) b.write("/sparse", i * 4096, 4096);
}

void full(Builder& b) {
  something_of_everything(b);
  b.file("/fill");
  b.fill("/fill", false);
}

// No block is free but those that were metadata once.
void formatted(Builder& b) {
  large_directory(b);
  for (int i = 0; i < kManyNames; ++i) b.unlink("/d/" + long_name(i));
  b.file("/fill");
  b.fill("/fill", true);
}

void orphans(Builder& b) {
  something_of_everything(b);
  b.file("/o9");
  b.write("/o9", u64{300000} * 4096, 10);
  b.open("/o9", O_RDWR, 9);
  b.unlink("/o9");
  for (u32 i = 0; i < 4; ++i) {
    std::string name = "/o" + std::to_string(i);
    b.file(name);
    b.write(name, 9 * 4096, 100);
    b.open(name, O_RDWR, i);
    b.unlink(name);
  }
}

void classify(StartingPool& pool) {
  const layout::Geometry& g = pool.geometry;
  auto word = [&](u64 offset) {
    u64 value;
    std::memcpy(&value, pool.image.data() + offset, 8);
    return value;
  };
  for (u64 block = g.data_start_block; block < g.block_count; ++block) {
    u64 line = g.bitmap_start_block * layout::kBlockBytes + block / 128 * 64, half = block % 128 / 64 * 8;
    auto set = [&](unsigned plane) { return (word(line + 8 * plane + half) >> block % 64 & 1) != 0; };
    u64 start = block * layout::kBlockBytes;
    if (!set(layout::kPlaneUsed)) {
      pool.catalog.free.push_back(block);
    } else if (!set(layout::kPlaneMeta)) {
      pool.catalog.data.push_back(block);
    } else if ((word(start) & 0xffff) == layout::kDirLeafMagic && word(start) >> 24 == 0) {
      pool.catalog.leaves.push_back(block);
    } else if ((word(start + layout::kNodeIdentity) & 0xffff) == layout::kDirNodeMagic) {
      pool.catalog.dir_nodes.push_back(block);
    } else {
      bool inodes = false;
      for (u64 i = 0; i < layout::kInodesPerBlock; ++i) {
        if ((word(start + i * 256 + layout::kInodeIdentity) & 0xffff) != layout::kInodeMagic) continue;
        pool.catalog.inodes.push_back(block * layout::kInodesPerBlock + i);
        inodes = true;
      }
      if (!inodes) pool.catalog.map_nodes.push_back(block);
    }
  }
  for (u64 ino : pool.catalog.inodes)
    if (u64 block = word(ino * 256 + layout::kInodeXattrBlock); block != 0) {
      pool.catalog.xattrs.push_back(block);
      std::erase(pool.catalog.map_nodes, block);
    }
}

// A pool file as mkfs makes it, but with a fixed key of the hash, so that an input means the same in each run.
Image fresh_pool() {
  Image image(layout::kMinPoolBytes);
  kernel::start(image);
  vfs::Pool::MakeOptions make;
  make.bytes = image.size();
  make.uuid[0] = 7;
  vfs::AttachFailure failure{};
  if (!vfs::Pool::make(kernel::kPoolPath, make, &failure).ok()) give_up(failure.text);
  kernel::read_pool(image);
  layout::Geometry geometry;
  std::memcpy(&geometry, image.data(), sizeof geometry);
  geometry.hash_key[0] = 1, geometry.hash_key[1] = 2;
  geometry.created_ns = 0;
  geometry.crc = layout::struct_crc(geometry);
  for (u64 copy = 0; copy < 2; ++copy) std::memcpy(image.data() + copy * layout::kBlockBytes, &geometry, sizeof geometry);
  return image;
}

// Attached once and left, or, for pools that are found as a power failure leaves them, looked at while attached.
StartingPool build(const std::string& name, const std::function<void(Builder&, vfs::Pool&)>& fill, bool at_rest) {
  StartingPool pool;
  pool.name = name;
  pool.image = fresh_pool();
  for (int round = 0; round < (at_rest ? 2 : 1); ++round) {
    start(pool.image);
    vfs::Pool* attached = attach();
    if (attached == nullptr) give_up(name + ": cannot be attached");
    Builder builder(*attached);
    if (round == 0) fill(builder, *attached);
    if (!at_rest) kernel::read_pool(pool.image);
    detach(attached);
    if (at_rest) kernel::read_pool(pool.image);
  }
  std::memcpy(&pool.geometry, pool.image.data(), sizeof pool.geometry);
  classify(pool);
  return pool;
}

std::vector<StartingPool> build_all() {
  auto plain = [](void (*fill)(Builder&)) { return [fill](Builder& builder, vfs::Pool&) { fill(builder); }; };
  std::vector<StartingPool> pools;
  pools.push_back(build("everything", plain(something_of_everything), true));
  pools.push_back(build("directory", plain(large_directory), true));
  pools.push_back(build("deep", plain(deep_files), true));
  pools.push_back(build("full", plain(full), true));
  pools.push_back(build("orphans", plain(orphans), false));
  pools.push_back(build("empty", [](Builder&, vfs::Pool&) {}, true));
  pools.push_back(build("records", plain(large_directory), false));
  pools.push_back(build("formatted", plain(formatted), true));
  return pools;
}

} // namespace

const std::vector<StartingPool>& starting_pools() {
  static const std::vector<StartingPool> pools = build_all();
  return pools;
}

std::string long_name(int i) { return std::to_string(i) + std::string(200, 'n'); }

const std::string& path_of(u8 choice) {
  static const std::vector<std::string> paths = {
      "/", "/d", "/d/e", "/f", "/d/f2", "/s", "/l", "/loop", "/p", "/sparse", "/unwritten", "/fill", "/d/e/1", "/d/e/../e/2",
      "/" + std::string(255, 'z'), "/new", "/d/new", "/d/e/new", "/s/new", "/o1", "/d/" + long_name(3), "/d/" + long_name(17),
      "/d/" + long_name(41), "/d/" + long_name(99), "/new/x", "/d/e/7", "/d/..", "/d/e/.", "/f/x", "/s/../new2", "/d/e/3", "/new2"};
  return paths[choice % paths.size()];
}

} // namespace pmemfile::fuzz
