// The operations of the benchmark, by plain libc calls in an ordinary process. The same binary runs in a pool
// (preloaded) and on kernel file systems; it does not know. It works at the pace of whoever started it, so that
// batches of several such processes take turns within milliseconds.
//
//   pmemfile-bench-operations DIR KERNEL_DIR    DIR: where to work; KERNEL_DIR: a directory that never is in a pool
//
// Commands on standard input, one a line, each answered by one line:
//   prepare GROUP [NUMBER]    adds the rows of a group (rows.h)          "ready"
//   run COUNT ROW             a batch without time stamps                nanoseconds of one operation
//   sample COUNT ROW          a batch whose calls are timed one by one   "ready"
//   percentiles ROW           of all samples: p50 p99 p99.99 max count
#include <string.h>

#include "rows.h"

namespace {

using namespace bench;

void prepare(Table& table, const Places& places, const char* arguments) {
  char group[64];
  long number = 0;
  if (sscanf(arguments, "%63s %ld", group, &number) < 1) group[0] = 0;
  auto is = [&](const char* name) { return strcmp(group, name) == 0; };
  if (is("control")) return add_control_rows(table, places);
  if (is("directory")) return add_directory_rows(table, places, number);
  if (is("file")) return add_file_rows(table, places);
  if (is("append")) return add_append_rows(table, places);
  if (is("data")) return add_data_rows(table, places, number);
  if (is("cold-file")) return make_cold_file(places);
  if (is("cold")) return add_cold_rows(table, places);
  if (is("kernel")) return add_kernel_rows(table, places);
  fprintf(stderr, "no group is called `%s`\n", group);
  exit(2);
}

void obey(Table& table, const Places& places, const char* line) {
  long count;
  int rest = 0;
  if (strncmp(line, "prepare ", 8) == 0) {
    prepare(table, places, line + 8);
    printf("ready\n");
  } else if (sscanf(line, "run %ld %n", &count, &rest) == 1 && rest > 0) {
    printf("%.2f\n", table.at(line + rest).run(count));
  } else if (sscanf(line, "sample %ld %n", &count, &rest) == 1 && rest > 0) {
    table.at(line + rest).sample(count);
    printf("ready\n");
  } else if (strncmp(line, "percentiles ", 12) == 0) {
    Row& row = table.at(line + 12);
    printf("%.1f %.1f %.1f %.1f %zu\n", row.quantile(0.5), row.quantile(0.99), row.quantile(0.9999), row.quantile(1), row.samples());
  } else {
    fprintf(stderr, "no command: `%s`\n", line);
    exit(2);
  }
}

} // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    fprintf(stderr, "usage: %s DIR KERNEL_DIR\n", argv[0]);
    return 2;
  }
  const Places places{argv[1], argv[2]};
  ns_per_tick();
  Table table;
  char line[256];
  while (fgets(line, sizeof line, stdin) != nullptr) {
    line[strcspn(line, "\n")] = 0;
    obey(table, places, line);
    fflush(stdout);
  }
  return 0;
}
