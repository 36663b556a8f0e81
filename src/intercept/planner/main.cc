// pmemfile-plan: finds the system calls of ELF objects and writes the plans by
// which the interception engine patches them.
//
// Run by the engine when an object has no plan yet, and by hand:
//   pmemfile-plan {--cache DIR... | --output FILE | --output-descriptor N} [--verbose] OBJECT...
// The first cache that can be written to is used.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "base/crc32c.h"
#include "intercept/planner/plan.h"

namespace pmemfile::intercept::planner {

namespace {

struct Arguments {
  std::vector<std::string> caches;
  std::string output;
  int output_descriptor = -1;
  bool verbose = false;
  int first_object = 0;
};

bool write_all(int fd, const void* bytes, u64 size, u64 at) {
  const char* from = static_cast<const char*>(bytes);
  while (size != 0) {
    const ssize_t count = pwrite(fd, from, size, static_cast<off_t>(at));
    if (count <= 0) return false;
    from += count, at += static_cast<u64>(count), size -= static_cast<u64>(count);
  }
  return true;
}

std::vector<u8> patched_text(const ElfFile& elf, const Plan& plan) {
  const PlanHeader& h = plan.header;
  std::vector<u8> image(h.text_bytes);
  // The kernel maps whole pages of the file, beyond the segment's end, too.
  const u64 size = min_of<u64>(h.text_bytes, elf.file().size() - h.text_file_offset);
  std::memcpy(image.data(), elf.file().data() + h.text_file_offset, size);
  for (const TextPatch& p : plan.patches) std::memcpy(image.data() + p.text_offset, p.bytes, p.size);
  return image;
}

bool write_plan(const ElfFile& elf, Plan& plan, int fd) {
  PlanHeader& h = plan.header;
  std::vector<u8> image;
  if (h.patch_count != 0) {
    image = patched_text(elf, plan);
    h.patch_offset = sizeof h;
    h.fixup_offset = h.patch_offset + plan.patches.size() * sizeof(TextPatch);
    h.stub_offset = align_up(h.fixup_offset + plan.fixups.size() * sizeof(u32), kPageBytes);
    h.image_offset = h.stub_offset + h.stub_bytes;
  }
  h.checksum = 0;
  h.checksum = crc32c_words(0xffffffff, reinterpret_cast<const u64*>(&h), sizeof h / 8);
  return write_all(fd, &h, sizeof h, 0) &&
         (h.patch_count == 0 ||
          (write_all(fd, plan.patches.data(), plan.patches.size() * sizeof(TextPatch), h.patch_offset) &&
           write_all(fd, plan.fixups.data(), plan.fixups.size() * sizeof(u32), h.fixup_offset) &&
           write_all(fd, plan.stubs.data(), plan.stubs.size(), h.stub_offset) &&
           write_all(fd, image.data(), image.size(), h.image_offset)));
}

// Readers open the final name only, so what they find is whole.
bool write_plan(const ElfFile& elf, Plan& plan, const std::string& path) {
  const std::string temporary = path + "." + std::to_string(getpid());
  const int fd = open(temporary.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) return false;
  const bool written = write_plan(elf, plan, fd) && fchmod(fd, 0644) == 0 && rename(temporary.c_str(), path.c_str()) == 0;
  close(fd);
  if (!written) unlink(temporary.c_str());
  return written;
}

void make_directories(const std::string& path) {
  for (std::size_t at = path.find('/', 1); at != std::string::npos; at = path.find('/', at + 1))
    mkdir(path.substr(0, at).c_str(), 0755);
  mkdir(path.c_str(), 0755);
}

bool parse(int argc, char** argv, Arguments& out) {
  int i = 1;
  for (; i < argc && argv[i][0] == '-'; ++i) {
    if (std::strcmp(argv[i], "--verbose") == 0) out.verbose = true;
    else if (std::strcmp(argv[i], "--cache") == 0 && i + 1 < argc) out.caches.emplace_back(argv[++i]);
    else if (std::strcmp(argv[i], "--output") == 0 && i + 1 < argc) out.output = argv[++i];
    else if (std::strcmp(argv[i], "--output-descriptor") == 0 && i + 1 < argc) out.output_descriptor = std::atoi(argv[++i]);
    else return false;
  }
  out.first_object = i;
  const bool one_output = !out.output.empty() || out.output_descriptor >= 0;
  return i < argc && (!out.caches.empty() || one_output) && (!one_output || i + 1 == argc);
}

void print(const char* object, const Plan& plan) {
  const PlanHeader& h = plan.header;
  for (const std::string& line : plan.lines) std::puts(line.c_str());
  std::printf("%s: %u sites: %u before, %u over, %u short; left: %u without bounds, %u without room, "
              "%u undecodable, %u return from a signal\n",
              object, h.sites_found, h.before, h.over, h.short_jump, h.left[0], h.left[1], h.left[2], h.left[3]);
}

bool store(const ElfFile& elf, Plan& plan, const Arguments& arguments) {
  if (arguments.output_descriptor >= 0) return write_plan(elf, plan, arguments.output_descriptor);
  if (!arguments.output.empty()) return write_plan(elf, plan, arguments.output);
  for (const std::string& cache : arguments.caches) {
    make_directories(cache);
    if (write_plan(elf, plan, cache + "/" + elf.key())) return true;
  }
  return false;
}

// Most objects have no system calls: they are not taken apart.
Plan plan_of(const ElfFile& elf) {
  if (!elf.may_contain_syscalls()) return empty_plan(elf, false);
  const Code code(elf);
  Plan plan = make_plan(elf, code);
  if (elf.text_segments() != 1 && !plan.patches.empty()) return empty_plan(elf, true);
  return plan;
}

bool plan_object(const char* object, const Arguments& arguments) {
  ElfFile elf;
  Plan plan;
  const auto error = elf.load(object);
  if (error) {
    std::fprintf(stderr, "pmemfile-plan: %s: %s\n", object, error->c_str());
    if (elf.key()[0] == '\0') return false;
    // Remembered, or each start of a program would try again.
    plan = empty_plan(elf, true);
  } else {
    plan = plan_of(elf);
    if (arguments.verbose) print(object, plan);
  }
  if (store(elf, plan, arguments)) return !error;
  std::fprintf(stderr, "pmemfile-plan: %s: cannot write the plan\n", object);
  return false;
}

} // namespace

} // namespace pmemfile::intercept::planner

int main(int argc, char** argv) {
  using namespace pmemfile::intercept::planner;
  Arguments arguments;
  if (!parse(argc, argv, arguments)) {
    std::fprintf(stderr, "usage: pmemfile-plan {--cache DIR... | --output FILE | --output-descriptor N} [--verbose] OBJECT...\n");
    return 2;
  }
  bool all = true;
  for (int i = arguments.first_object; i < argc; ++i) all = plan_object(argv[i], arguments) && all;
  return all ? 0 : 1;
}
