// Bounded text without malloc or stdio: messages, environment strings, paths.
//
// Rules: a Text belongs to one thread; usable inside a hook.
#pragma once

#include <string_view>

#include "base/syscall.h"
#include "base/types.h"

namespace pmemfile {

// Appends to a buffer that somebody else owns; what does not fit is cut, and
// truncated() says so. The text always ends in a NUL.
class Text {
 public:
  Text(char* buffer, std::size_t capacity) : buffer_(buffer), capacity_(capacity) {
    if (capacity_ != 0) buffer_[0] = '\0';
  }

  Text& operator<<(std::string_view text) {
    for (char c : text) put(c);
    return *this;
  }
  Text& operator<<(const char* text) { return *this << std::string_view(text, __builtin_strlen(text)); }
  Text& operator<<(char c) {
    put(c);
    return *this;
  }
  Text& operator<<(u64 value) { return number(value, 10); }
  Text& operator<<(u32 value) { return number(value, 10); }
  Text& operator<<(i64 value) {
    if (value < 0) put('-');
    return number(value < 0 ? 0 - static_cast<u64>(value) : static_cast<u64>(value), 10);
  }
  Text& operator<<(i32 value) { return *this << static_cast<i64>(value); }
  Text& hex(u64 value) {
    *this << "0x";
    return number(value, 16);
  }

  std::string_view view() const { return {buffer_, size_}; }
  const char* c_str() const { return buffer_; }
  std::size_t size() const { return size_; }
  bool truncated() const { return truncated_; }

  // One write(2), so that lines of several processes do not mix.
  void write_to(int fd) const { raw_syscall(SYS_write, fd, as_arg(buffer_), static_cast<long>(size_)); }

 private:
  void put(char c) {
    if (size_ + 1 >= capacity_) {
      truncated_ = true;
      return;
    }
    buffer_[size_++] = c;
    buffer_[size_] = '\0';
  }
  Text& number(u64 value, unsigned base) {
    char digits[20];
    unsigned count = 0;
    do {
      digits[count++] = "0123456789abcdef"[value % base];
      value /= base;
    } while (value != 0);
    while (count != 0) put(digits[--count]);
    return *this;
  }

  char* buffer_;
  std::size_t capacity_;
  std::size_t size_ = 0;
  bool truncated_ = false;
};

// A Text with its own room; N bytes of stack.
template <std::size_t N>
class FixedText : public Text {
 public:
  FixedText() : Text(storage_, N) {}
  FixedText(const FixedText&) = delete;
  FixedText& operator=(const FixedText&) = delete;

 private:
  char storage_[N];
};

} // namespace pmemfile
