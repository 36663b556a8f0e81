// Where the loader's list of libraries names this one. Rules: once, from the constructor, single-threaded.
#pragma once

namespace pmemfile::preload {

// Runtimes of sanitizers insist on being the first library of the process, so that what they replace of libc is found in
// them. This library exports nothing that could be found before: it goes to the end of the list.
void go_to_end_of_list();

} // namespace pmemfile::preload
