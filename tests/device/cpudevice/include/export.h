// How the host side reaches a kernel: its signature in words, and a launch with an array of pointers to its arguments.
#pragma once
#include "runtime.h"

namespace device {

// A vector type counts as its element: an array of float32 may be passed for a float4*.
template <class T>
struct Element {
  using type = T;
};
#define DEVICE_ELEMENT(T, NAME)                                                                                        \
  template <>                                                                                                          \
  struct Element<NAME##2> {                                                                                            \
    using type = T;                                                                                                    \
  };                                                                                                                   \
  template <>                                                                                                          \
  struct Element<NAME##3> {                                                                                            \
    using type = T;                                                                                                    \
  };                                                                                                                   \
  template <>                                                                                                          \
  struct Element<NAME##4> {                                                                                            \
    using type = T;                                                                                                    \
  };
DEVICE_ELEMENT(signed char, char)
DEVICE_ELEMENT(unsigned char, uchar)
DEVICE_ELEMENT(short, short)
DEVICE_ELEMENT(unsigned short, ushort)
DEVICE_ELEMENT(int, int)
DEVICE_ELEMENT(unsigned, uint)
DEVICE_ELEMENT(long long, longlong)
DEVICE_ELEMENT(unsigned long long, ulonglong)
DEVICE_ELEMENT(float, float)
DEVICE_ELEMENT(double, double)

// NumPy's letters: f, i, u, b(ool); V for a structure.
template <class T>
constexpr char kind() {
  return std::is_same_v<T, bool>           ? 'b'
         : std::is_floating_point_v<T>     ? 'f'
         : std::is_unsigned_v<T>           ? 'u'
         : std::is_integral_v<T>           ? 'i'
                                           : 'V';
}

// A scalar as "f4"; a pointer as "*f4", or "+f4" where the kernel may write; the vector's alignment after a slash.
template <class T>
int describe(char* text, size_t room) {
  if constexpr (std::is_pointer_v<T>) {
    using Pointee = std::remove_pointer_t<T>;
    const char access = std::is_const_v<Pointee> ? '*' : '+';
    if constexpr (std::is_void_v<Pointee>) {
      return snprintf(text, room, "%cV0/1 ", access);
    } else {
      using Scalar = typename Element<std::remove_cv_t<Pointee>>::type;
      return snprintf(text, room, "%c%c%zu/%zu ", access, kind<Scalar>(), sizeof(Scalar), alignof(Pointee));
    }
  } else {
    return snprintf(text, room, "%c%zu ", kind<std::remove_cv_t<T>>(), sizeof(T));
  }
}

template <class... A>
const char* signature(void (*)(A...)) {
  // Of the thread: kernels of one signature share this function, and two threads may ask at once.
  static thread_local char text[16 * (sizeof...(A) + 1)];
  [[maybe_unused]] size_t used = 0;
  ((used += describe<A>(text + used, sizeof text - used)), ...);
  return text;
}

template <class... A, size_t... I>
int launch(void (*kernel)(A...), [[maybe_unused]] void** arguments, const Launch& where, std::index_sequence<I...>) {
  auto call = [&] { kernel(*static_cast<std::remove_reference_t<A>*>(arguments[I])...); };
  return run(where, [](void* closure) { (*static_cast<decltype(call)*>(closure))(); }, &call);
}

// The value of __launch_bounds__, or 0: without it the device's own limit counts.
constexpr unsigned first(unsigned bound = 0, unsigned = 0, unsigned = 0) { return bound; }

}  // namespace device

#define DEVICE_VISIBLE extern "C" __attribute__((visibility("default")))
#define DEVICE_EXPORT(NAME, ...)                                                                                       \
  template <class... A>                                                                                                \
  static int device_launch_##NAME(void (*kernel)(A...), void** arguments, const device::Launch* where) {               \
    return device::launch(kernel, arguments, *where, std::index_sequence_for<A...>());                                 \
  }                                                                                                                    \
  DEVICE_VISIBLE int launch_##NAME(void** arguments, const device::Launch* where) {                                    \
    return device_launch_##NAME(NAME, arguments, where);                                                               \
  }                                                                                                                    \
  DEVICE_VISIBLE const char* signature_##NAME() { return device::signature(NAME); }                                    \
  DEVICE_VISIBLE unsigned bound_##NAME() { return device::first(__VA_ARGS__); }
