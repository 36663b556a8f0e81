// Arguments of a test program: options, some of them followed by a value.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <string>

namespace pmemfile {

class Arguments {
 public:
  // The first `skip` arguments, the program's name among them, are no options.
  Arguments(int argc, char** argv, int skip = 1) : argc_(argc), argv_(argv), at_(skip - 1) {}

  // Goes on to the next option. False: there is none, or a value was missing.
  bool next() { return good_ && ++at_ < argc_; }
  bool is(const char* option) const { return argv_[at_] == std::string(option); }
  // The value of this option.
  std::string text() {
    if (at_ + 1 < argc_) return argv_[++at_];
    good_ = false;
    return "";
  }
  unsigned long number() { return std::strtoul(text().c_str(), nullptr, 0); }
  double real() { return std::strtod(text().c_str(), nullptr); }
  void refuse() { good_ = false; } // an option that nobody knows

  // Whether all was understood; if not, says how it is to be said.
  bool good(const char* usage) const {
    if (!good_) std::fprintf(stderr, "%s\n", usage);
    return good_;
  }

 private:
  int argc_;
  char** argv_;
  int at_;
  bool good_ = true;
};

} // namespace pmemfile
