// The bytes that every round starts from, and what must be true when all have left.
#pragma once

#include <string>
#include <vector>

#include "base/types.h"

namespace pmemfile::kill_steps {

class Image {
 public:
  // Pool and V as they were made. `without_segment`: no V, as after a boot.
  bool restore(bool without_segment);
  // The next restore makes everything anew: V is not the same file any more.
  void forget() { made_ = false; }
  // Nobody is attached, everything was removed. Empty, or what is wrong. `recovered`: V was made anew meanwhile.
  std::string check(bool recovered);

 private:
  bool make();
  bool map();

  bool made_ = false;
  bool has_segment_ = true;
  u8 *pool_ = nullptr, *segment_ = nullptr;
  std::vector<u8> pool_image_, segment_image_;
};
Image& image();

// Where all of it happens: a folder of its own in /dev/shm, and memory that all processes share.
void make_world(const std::string& name);
// Removes it, and says how it ended: the exit status.
int end_world(bool good);

} // namespace pmemfile::kill_steps
