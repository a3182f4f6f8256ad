// Compiles the file that the macro `SET_CODE` names, once for each instruction set.
//
// The file can use three macros: `ISA`, the namespace of the set; `BYTES`, the size of its vectors;
// and `FUSED`, true if the set multiplies and adds in one step.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <type_traits>

#if defined(__GNUC__) && !defined(__clang__)
// GCC 12 warns, thousands of times, of values that its own intrinsics leave undefined on purpose (its bug 105593).
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

#ifdef __x86_64__
#include <cpuid.h>
#include <immintrin.h>
#endif

#define INLINE static inline __attribute__((always_inline))

// A function that is called once for a block, and whose code, with a loop for each type of elements, is long:
// inlined at each call, it would take the compiler minutes.
#define CALLED static __attribute__((noinline))

#if defined(__x86_64__)
#define PRAGMA(text) _Pragma(#text)
#if defined(__clang__)
#define FOR(features) PRAGMA(clang attribute push(__attribute__((target(features))), apply_to = function))
#define END_FOR PRAGMA(clang attribute pop)
#else
#define FOR(features) PRAGMA(GCC push_options) PRAGMA(GCC target(features))
#define END_FOR PRAGMA(GCC pop_options)
#endif

FOR("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")
#define ISA avx512
#define BYTES 64
#define FUSED true
#include SET_CODE
#undef ISA
#undef BYTES
#undef FUSED
END_FOR

FOR("avx2,fma,f16c")
#define ISA avx2
#define BYTES 32
#define FUSED true
#include SET_CODE
#undef ISA
#undef BYTES
#undef FUSED
END_FOR
#endif

#ifdef __FP_FAST_FMAF
#define FUSED true
#else
#define FUSED false
#endif
#define ISA baseline
#define BYTES 16
#include SET_CODE

#ifdef __x86_64__
// The wide instruction sets that this machine has, and whose registers its system saves. It is read from the
// processor: __builtin_cpu_supports denies them all in some Clangs (that of ziglang 0.17), f16c in others.
struct WideSets {
    bool avx2 = false, avx512 = false;
};

static WideSets wide_sets() {
    const unsigned basic = bit_OSXSAVE | bit_FMA | bit_F16C;
    const unsigned wide = bit_AVX512F | bit_AVX512DQ | bit_AVX512BW | bit_AVX512VL;
    unsigned a, b, c, d, saved, high;
    if (!__get_cpuid(1, &a, &b, &c, &d) || (c & basic) != basic) return {};
    __asm__("xgetbv" : "=a"(saved), "=d"(high) : "c"(0));
    if ((saved & 0x06) != 0x06 || !__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(b & bit_AVX2)) return {};
#ifdef __APPLE__
    const bool saves_all = true;  // macOS begins to save them when they are first used
#else
    const bool saves_all = (saved & 0xe6) == 0xe6;
#endif
    return {true, saves_all && (b & wide) == wide};
}
#endif

// Returns whether this machine has an instruction set.
static bool runs_here([[maybe_unused]] const char *name) {
#ifdef __x86_64__
    static const WideSets found = wide_sets();
    if (!strcmp(name, "avx2")) return found.avx2;
    if (!strcmp(name, "avx512")) return found.avx512;
#endif
    return true;
}
