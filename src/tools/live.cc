#include "tools/live.h"

#include <sys/stat.h>

#include <cstring>
#include <set>

#include "fmt/format.h"
#include "journal/tx.h"
#include "shm/opens.h"
#include "shm/process.h"
#include "shm/segment_file.h"

namespace pmemfile::tools {
namespace {

using Json = nlohmann::ordered_json;

const char* state_text(u32 state) {
  constexpr const char* kNames[] = {"free", "prepared", "live", "unburied", "descriptor in a message"};
  return state < std::size(kNames) ? kNames[state] : "unknown";
}

const char* phase_text(u32 phase) {
  constexpr const char* kNames[] = {"idle", "planning", "planning to free an inode", "planning to take blocks from a file",
                                    "planning to replace blocks of a file", "denied", "applying"};
  return phase < std::size(kNames) ? kNames[phase] : "unknown";
}

// Which kind of object a stripe guards.
std::string stripe_text(const shm::SegmentHeader& header, u32 stripe) {
  struct Class {
    const char* name;
    u32 first, count;
  };
  const Class classes[] = {
      {"topology", header.topology_first, 1},           {"inodes", header.inode_first, header.inode_count},
      {"leaves", header.leaf_first, header.leaf_count}, {"orphans", header.orphan_first, header.orphan_count},
      {"bitmap", header.bitmap_first, header.bitmap_count}, {"descriptions", header.description_first, header.description_stripes},
      {"file locks", header.file_lock_first, header.file_lock_stripes}};
  for (const Class& one : classes)
    if (stripe - one.first < one.count) return fmt::format("{}[{}]", one.name, stripe - one.first);
  return fmt::format("stripe {}", stripe);
}

i64 pid_of(const shm::Segment& v, u64 packed) {
  const shm::Process* process = shm::find_process(v, shm::unpack_process(packed));
  return process == nullptr ? 0 : load_relaxed(process->pid);
}

Json read_processes(const shm::Segment& v) {
  Json list = Json::array();
  for (u64 i = 0; i < v.header->process_count; ++i) {
    const shm::Process& process = shm::process_entry(v, static_cast<u32>(i));
    u32 state = load_acquire(process.state);
    if (state == static_cast<u32>(shm::ProcessState::kFree)) continue;
    shm::ProcessRef ref{static_cast<u32>(i) + 1, load_relaxed(process.generation)};
    Json one{{"entry", i}, {"pid", load_relaxed(process.pid)}, {"state", state_text(state)},
             {"alive", shm::process_alive(v, v.fd, ref)}};
    if (u64 claim = load_relaxed(process.claim); claim != 0) one["repaired_by_pid"] = pid_of(v, claim);
    if (u64 waits = load_relaxed(process.waits_for); waits != 0) one["waits_for_file_lock_of_pid"] = pid_of(v, waits);
    list.push_back(one);
  }
  return list;
}

Json read_slots(const shm::Segment& v) {
  Json list = Json::array();
  for (u64 i = 0; i < v.header->slot_count; ++i) {
    const shm::Slot& slot = v.slots[i];
    u64 owner = load_acquire(slot.owner);
    if (owner == 0) continue;
    Json one{{"slot", i}, {"pid", pid_of(v, owner)}, {"phase", phase_text(load_relaxed(slot.phase))},
             {"operation", journal::opcode_text(static_cast<journal::Opcode>(load_relaxed(slot.opcode)))},
             {"sequence", load_relaxed(slot.sequence)}};
    Json held = Json::array(), wanted = Json::array();
    u32 count = min_of<u32>(load_relaxed(slot.held_count), shm::kMaxHeldLocks);
    for (u32 k = 0; k < count; ++k) {
      u32 stripe = load_relaxed(slot.held[k]);
      if (stripe == 0 || stripe > v.header->stripe_count) continue;
      u32 lock = load_relaxed(v.stripes[stripe - 1].lock);
      // Listed before it is locked: a stripe of somebody else's is what this slot waits for.
      bool mine = (lock & shm::kLockSlotMask) == i + 1;
      std::string text = stripe_text(*v.header, stripe - 1);
      if (mine && (lock & shm::kLockWaited) != 0) text += " (others wait)";
      (mine ? held : wanted).push_back(text);
    }
    if (!held.empty()) one["holds"] = held;
    if (!wanted.empty()) one["waits_for"] = wanted;
    if (u32 shared = load_relaxed(slot.shared_plus_1); shared != 0) one["overwrites_under"] = stripe_text(*v.header, shared - 1);
    list.push_back(one);
  }
  return list;
}

} // namespace

Json read_live(const PoolFile& pool, const layout::Geometry& geometry, const layout::State& state, std::string& error) {
  struct stat status{};
  if (fstat(pool.fd(), &status) != 0) return error = error_text(errno), Json();
  shm::PoolIdentity identity;
  identity.dev = status.st_dev;
  identity.ino = status.st_ino;
  std::memcpy(identity.uuid, geometry.uuid, sizeof identity.uuid);
  identity.mode = status.st_mode & 0777;
  identity.uid = status.st_uid;
  identity.gid = status.st_gid;
  if (state.segment_ino == 0) return error = "no volatile segment: nobody has attached since the pool was made", Json();
  const char* dir = std::getenv("PMEMFILE_SHM_DIR");
  auto opened = shm::open_segment(dir, identity, {state.segment_dev, state.segment_ino, state.segment_id},
                                  shm::plan_segment(geometry), false);
  if (!opened.ok()) {
    error = fmt::format("the volatile segment that the pool names is not in {}: {}", dir != nullptr ? dir : shm::kDefaultShmDir,
                        error_text(opened.error()));
    return Json();
  }
  shm::Segment v = opened.value();
  Json live{{"segment_id", fmt::format("{:016x}", v.header->segment_id)}, {"segment_bytes", v.bytes},
            {"record_epoch", v.header->record_epoch}, {"processes", read_processes(v)}, {"slots_busy", read_slots(v)},
            {"slots", v.header->slot_count}};
  u64 descriptions = 0;
  std::set<u64> open_inodes;
  for (u64 i = 0; i < v.header->description_count; ++i) descriptions += load_relaxed(shm::description_at(v, i)->refs) != 0;
  for (u64 i = 0; i < v.header->use_group_count; ++i)
    for (const u64& word : shm::use_group(v, i).words)
      if (u64 value = load_relaxed(word)) open_inodes.insert(raw(shm::use_ino(value)));
  live["open_descriptions"] = descriptions;
  live["open_inodes"] = open_inodes.size();
  shm::unmap_segment(v);
  return live;
}

void print_live(const Json& live) {
  fmt::print("  segment       {} ({}), {} of {} record slots busy, {} open files of {} inodes\n",
             live["segment_id"].get<std::string>(), size_text(live["segment_bytes"].get<u64>()), live["slots_busy"].size(),
             live["slots"].get<u64>(), live["open_descriptions"].get<u64>(), live["open_inodes"].get<u64>());
  for (const Json& process : live["processes"]) {
    fmt::print("  process       pid {} (entry {}): {}{}", process["pid"].get<i64>(), process["entry"].get<u64>(),
               process["state"].get<std::string>(), process["alive"].get<bool>() ? "" : ", dead, to be repaired");
    if (process.contains("repaired_by_pid")) fmt::print(", claimed by pid {}", process["repaired_by_pid"].get<i64>());
    if (process.contains("waits_for_file_lock_of_pid"))
      fmt::print(", waits for a file lock of pid {}", process["waits_for_file_lock_of_pid"].get<i64>());
    fmt::print("\n");
  }
  for (const Json& slot : live["slots_busy"]) {
    fmt::print("  slot {:<8} pid {}: {}, {}, record {}", slot["slot"].get<u64>(), slot["pid"].get<i64>(),
               slot["operation"].get<std::string>(), slot["phase"].get<std::string>(), slot["sequence"].get<u64>());
    for (const char* key : {"holds", "waits_for"})
      if (slot.contains(key)) {
        fmt::print(", {}", key == std::string("holds") ? "holds" : "waits for");
        for (const Json& stripe : slot[key]) fmt::print(" {}", stripe.get<std::string>());
      }
    if (slot.contains("overwrites_under")) fmt::print(", overwrites under {}", slot["overwrites_under"].get<std::string>());
    fmt::print("\n");
  }
}

} // namespace pmemfile::tools
