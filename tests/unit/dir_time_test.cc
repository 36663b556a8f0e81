// Time of each operation on directories of 10 to a million entries: printed, for people; checked is only that all is found.
// PMEMFILE_DIR_ENTRIES sets the size of the largest.
#include <chrono>

#include "dir_testing.h"

namespace pmemfile {
namespace {

TEST(Dir, TimeOfOperationsInALargeDirectory) {
  const char* text = std::getenv("PMEMFILE_DIR_ENTRIES");
  const unsigned count = text != nullptr ? static_cast<unsigned>(std::atoi(text)) : 1000000;
  TestPool t(u64{1} << 30);
  Store& store = t.store();
  Ino dir = make_dir(store, t.root);
  auto name_of = [](u64 i, char* to) {
    int length = std::snprintf(to, 32, "file%07llu", static_cast<unsigned long long>(i));
    return std::string_view(to, static_cast<std::size_t>(length));
  };
  char name[32];
  // The median of slices, so that what other programs do on the machine hardly shows.
  auto timed = [&](const char* what, unsigned operations, auto&& body) {
    std::vector<double> slices;
    const unsigned slice = std::max(operations / 50, 1u);
    for (unsigned i = 0; i < operations;) {
      auto start = std::chrono::steady_clock::now();
      unsigned end = std::min(operations, i + slice), done = end - i;
      for (; i < end; ++i) body(i);
      auto ns = std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now() - start).count();
      slices.push_back(static_cast<double>(ns) / done);
    }
    std::sort(slices.begin(), slices.end());
    std::printf("%-28s %8.1f ns\n", what, slices[slices.size() / 2]);
  };
  auto measure_at = [&](unsigned entries) {
    std::printf("-- %u entries\n", entries);
    const unsigned some = 200000;
    u64 random = 12345;
    auto next = [&] { return random = random * 6364136223846793005 + 1442695040888963407, (random >> 33) % entries; };
    timed("name alone", some, [&](unsigned) { EXPECT_GT(name_of(next(), name).size(), 0u); });
    timed("lookup, any", some, [&](unsigned) { EXPECT_TRUE(dir::lookup(store, dir, name_of(next(), name)).ok()); });
    timed("lookup, few", some, [&](unsigned i) { EXPECT_TRUE(dir::lookup(store, dir, name_of(i % 8, name)).ok()); });
    timed("lookup, missing", some, [&](unsigned) { EXPECT_FALSE(dir::lookup(store, dir, name_of(next() + 5000000, name)).ok()); });
    timed("add + remove", some / 4, [&](unsigned i) {
      EXPECT_EQ(add(store, dir, name_of(i + 8000000, name), t.root), 0);
      EXPECT_EQ(take_away(store, dir, name_of(i + 8000000, name)), 0);
    });
    auto start = std::chrono::steady_clock::now();
    unsigned listed = 0;
    ASSERT_TRUE(dir::list(store, dir, 0, [](void* c, const dir::Listed&) { return ++*static_cast<unsigned*>(c) != 0; }, &listed).ok());
    auto ns = std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now() - start).count();
    EXPECT_EQ(listed, entries);
    std::printf("%-28s %8.1f ns\n", "list, an entry", static_cast<double>(ns) / entries);
  };
  unsigned at = 0;
  for (unsigned stage : {10u, 10000u, count}) {
    unsigned from = at;
    if (stage <= from) continue;
    timed("add", stage - from, [&](unsigned i) { EXPECT_EQ(add(store, dir, name_of(from + i, name), t.root), 0); });
    at = stage;
    measure_at(at);
  }
  timed("remove", at, [&](unsigned i) { EXPECT_EQ(take_away(store, dir, name_of(i, name)), 0); });
  Shape shape = shape_of(store, dir);
  std::printf("%u leaves, %u nodes\n", shape.leaves, shape.nodes);
  timed("shrink, a leaf", 1, [&](unsigned) { EXPECT_TRUE(dir::shrink(store, dir).ok()); });
  EXPECT_EQ(shape_of(store, dir).leaves, 0u);
}

} // namespace
} // namespace pmemfile
