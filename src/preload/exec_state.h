// What the new image has to know of the old one: one environment variable, which
// is removed before main.
//
// Items: a letter, a length in decimal, ':' and so many bytes. Rules: hook-safe.
#pragma once

#include "preload/state.h"

namespace pmemfile::preload {

inline constexpr char kItemPool = 'p';        // once per mount, in order: Pool::prepare_exec's text
inline constexpr char kItemCwd = 'c';         // mount and inode of the working directory
inline constexpr char kItemExe = 'x';         // path of a program that lies in a pool
inline constexpr char kItemComm = 'n';        // its name for prctl(PR_SET_NAME)
inline constexpr char kItemExecName = 'e';    // AT_EXECFN as the program gave it
inline constexpr char kItemOpenedAs = 'o';    // descriptor, directory's inode and path by which it was opened
inline constexpr char kItemHide = 'h';        // once per variable that we added
inline constexpr char kItemRestore = 'r';     // NAME and how many bytes we put in front of its value
inline constexpr char kItemLibraryDir = 'd';  // directory of links to remove
inline constexpr char kItemLibraryFd = 'f';   // descriptor to close
inline constexpr char kItemArgument0 = 'a';   // argv[0] as it should be
inline constexpr char kItemTraced = 't';      // empty
inline constexpr char kItemSandboxed = 's';   // empty: g_sandboxed
inline constexpr char kStateVariable[] = "PMEMFILE_EXEC_STATE";

inline void put_item(Text& out, char item, std::string_view value) {
  out << item << static_cast<u64>(value.size()) << ':' << value;
}

// Steps through the items; false at the end or at nonsense.
bool next_item(const char*& at, char& item, std::string_view& value);
u64 parse_u64(std::string_view& text);

// Takes over what the text says; called at start after the mounts are known.
void adopt_state(const char* text, char** arguments, char** environment);

} // namespace pmemfile::preload
