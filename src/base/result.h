// Errors as values: Result<T> is a T or an errno, TRY() passes the errno on.
//
// Rules: usable in any thread, any process, inside a hook; no state.
#pragma once

#include <cerrno>
#include <new>
#include <type_traits>
#include <utility>

namespace pmemfile {

// An errno value, never 0. `Error(ENOENT)` converts to any Result.
class [[nodiscard]] Error {
 public:
  constexpr explicit Error(int errno_value) : errno_(errno_value) {}
  constexpr int value() const { return errno_; }
  constexpr bool operator==(const Error&) const = default;

 private:
  int errno_;
};

// A damaged pool: what was read breaks the format. The errno programs see is
// the one that ext4 uses for it.
inline constexpr int kErrnoCorrupt = EUCLEAN;

// A value costs what storing it costs: an error leaves its room untouched, so that nothing of it may be looked at then.
template <class T = void>
class [[nodiscard]] Result {
 public:
  static_assert(std::is_trivially_copyable_v<T> && std::is_trivially_destructible_v<T>);
  Result(Error error) : errno_(error.value()), none_() {}
  Result(const T& value) : errno_(0), value_(value) {}
  Result(const Result& other) = default;
  Result(Result&&) = default;
  Result& operator=(const Result&) = default;
  Result& operator=(Result&&) = default;
  ~Result() = default;

  bool ok() const { return errno_ == 0; }
  int error() const { return errno_; }
  T& value() { return value_; }
  const T& value() const { return value_; }
  T value_or(T other) const { return ok() ? value_ : other; }

 private:
  int errno_;
  union {
    char none_;
    T value_;
  };
};

template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error error) : errno_(error.value()) {}
  bool ok() const { return errno_ == 0; }
  int error() const { return errno_; }
  void value() const {}

 private:
  int errno_ = 0;
};

} // namespace pmemfile

// TRY(expr): the value of a Result, or return its error from this function.
#define TRY(...)                                                  \
  ({                                                              \
    auto&& try_result_ = (__VA_ARGS__);                           \
    if (PMEMFILE_UNLIKELY(!try_result_.ok()))                     \
      return ::pmemfile::Error(try_result_.error());              \
    try_result_.value();                                          \
  })

#include "base/types.h"
