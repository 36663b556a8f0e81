// pmemfile info: what a pool is, how full it is, and who is at work in it. Never attaches.

#include <cstring>

#include "tools/commands.h"
#include "tools/live.h"

namespace pmemfile::tools {
namespace {

using Json = nlohmann::ordered_json;

std::string label_text(const layout::Geometry& geometry) {
  return std::string(reinterpret_cast<const char*>(geometry.label),
                     strnlen(reinterpret_cast<const char*>(geometry.label), sizeof geometry.label));
}

Json describe(const std::string& path, PoolFile& pool, const layout::Geometry& geometry, const Space& space) {
  return Json{{"pool", path},
              {"uuid", uuid_text(geometry.uuid)},
              {"label", label_text(geometry)},
              {"version", fmt::format("{}.{}.{}", geometry.version_major, geometry.version_minor, geometry.version_patch)},
              {"persistence", pmem::persistence_text(pool.level())},
              {"bytes", geometry.block_count * layout::kBlockBytes},
              {"block_bytes", layout::kBlockBytes},
              {"record_slots", geometry.record_slot_count},
              {"data_start_block", geometry.data_start_block},
              {"blocks", space.total_blocks},
              {"blocks_data", space.data_blocks},
              {"blocks_metadata", space.metadata_blocks},
              {"blocks_formatted", space.formatted_blocks},
              {"blocks_free", space.free_blocks + space.formatted_blocks}};
}

void print(const Json& pool, const Json& state) {
  auto blocks = [&](const char* key) { return size_text(pool[key].get<u64>() * layout::kBlockBytes); };
  fmt::print("{}\n", pool["pool"].get<std::string>());
  fmt::print("  uuid          {}\n", pool["uuid"].get<std::string>());
  if (!pool["label"].get<std::string>().empty()) fmt::print("  label         {}\n", pool["label"].get<std::string>());
  fmt::print("  format        {}\n", pool["version"].get<std::string>());
  fmt::print("  persistence   {}\n", pool["persistence"].get<std::string>());
  fmt::print("  size          {}, {} record slots\n", size_text(pool["bytes"].get<u64>()), pool["record_slots"].get<u64>());
  fmt::print("  space         {}: data {}, metadata {}, free {}\n", blocks("blocks"), blocks("blocks_data"),
             blocks("blocks_metadata"), blocks("blocks_free"));
  fmt::print("  state         record epoch {}{}{}\n", state["record_epoch"].get<u64>(),
             state["dirty"].get<bool>() ? ", not cleanly detached" : "", state["in_use"].get<bool>() ? ", in use" : ", not in use");
}

int info(const std::string& path, bool live, bool json) {
  PoolFile pool;
  if (auto error = pool.open(path, false)) return complain(kExitFailed, "{}", *error);
  layout::Geometry geometry;
  if (auto fault = read_geometry(pool, geometry); fault != layout::GeometryFault::kNone)
    return complain(kExitFailed, "{}: {}", path, layout::geometry_fault_text(fault));
  layout::State state{};
  if (!read_state(pool, state))
    return complain(kExitFailed, "{}: both copies of the state are damaged: run fsck.pmemfile", path);
  Json whole = describe(path, pool, geometry, count_space(pool, geometry));
  whole["state"] = Json{{"record_epoch", state.record_epoch}, {"dirty", (state.flags & layout::kStateDirty) != 0},
                        {"in_use", pool.is_in_use()}};
  std::string error;
  if (live) whole["live"] = read_live(pool, geometry, state, error);
  if (json) {
    if (!error.empty()) whole["live_error"] = error;
    fmt::print("{}\n", whole.dump(2, ' ', false, Json::error_handler_t::replace));
    return 0;
  }
  print(whole, whole["state"]);
  if (!error.empty()) fmt::print("  live          {}\n", error);
  else if (live) print_live(whole["live"]);
  return 0;
}

struct InfoArguments {
  std::string path;
  bool live = false, json = false;
};

} // namespace

void add_info(CLI::App& app, Outcome& outcome) {
  auto arguments = std::make_shared<InfoArguments>();
  CLI::App* command = app.add_subcommand("info", "what a pool is, how full, and who uses it");
  command->add_option("POOL", arguments->path, "the pool file or device")->required();
  command->add_flag("-l,--live", arguments->live, "processes, record slots, locks and waits");
  command->add_flag("-j,--json", arguments->json, "as JSON");
  command->callback([arguments, &outcome] { outcome.code = info(arguments->path, arguments->live, arguments->json); });
}

} // namespace pmemfile::tools
