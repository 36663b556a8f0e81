// Numbers by chance for mutations: made for each input from a seed, so they cost nothing to start.
#pragma once

#include "base/types.h"

namespace pmemfile::fuzz {

class Random { // splitmix64
 public:
  explicit Random(u64 seed) : state_(seed) {}
  u64 operator()() {
    u64 z = state_ += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
  }

 private:
  u64 state_;
};

} // namespace pmemfile::fuzz
