#pragma once
/* attr.h - compiler attributes and small macros, spelled once. */

#define printf_like(f, a) __attribute__((format(printf, f, a)))
#define must_check        __attribute__((warn_unused_result))
#define cold              __attribute__((cold))
#define ARRAY_LEN(a)      (sizeof(a) / sizeof((a)[0]))
