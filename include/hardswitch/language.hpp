// What the parts of hardswitch.hpp need of the compiler. One line says what is wrong with its options; the rest of the headers would say it in
// hundreds.
#ifndef HARDSWITCH_LANGUAGE_HPP
#define HARDSWITCH_LANGUAGE_HPP

#if __cplusplus < 201703L
#error "hardswitch.hpp needs C++17: -std=c++17 or later"
#elif !defined(__cpp_exceptions)
#error "hardswitch.hpp reports errors by exceptions, and -fno-exceptions has none: use hardswitch.h"
#else
#define HSW_DETAIL_LANGUAGE
#endif

#endif
