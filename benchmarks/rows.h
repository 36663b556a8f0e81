// The groups of rows of `operations`: what each furnishes, and the rows it adds to the table.
#pragma once

#include "measure.h"

namespace bench {

struct Places {
  std::string dir;        // to work in: in a pool, or on a kernel file system
  std::string kernel_dir; // never in a pool
};

// Names in a directory that holds `entries` files all the time.
void add_directory_rows(Table& table, const Places& places, long entries);
// A single file: attributes, offsets, locks, sizes; a path of five components.
void add_file_rows(Table& table, const Places& places);
// Appends; those to blocks that nobody used since the pool was made come first.
void add_append_rows(Table& table, const Places& places);
// Contents of a file of `mebibytes` that was written and read before, and plain memory beside it.
void add_data_rows(Table& table, const Places& places, long mebibytes);
// A file for the rows of add_cold_rows, which belong into a process that has not touched it.
void make_cold_file(const Places& places);
void add_cold_rows(Table& table, const Places& places);
// The limits: an empty loop, an empty call on a file of `dir`, the kernel's trivial call, and what this machine's
// processor does without any kernel.
void add_control_rows(Table& table, const Places& places);
// What is none of ours: files outside, the start of a program.
void add_kernel_rows(Table& table, const Places& places);

} // namespace bench
