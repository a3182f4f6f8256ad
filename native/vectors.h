// Vectors of one instruction set, and functions of vectors for the kernels.
//
// It is included once for each set. native/checks/accuracy.cpp measures the errors that the comments state,
// over all normal floats in the range of each function.

constexpr int LANES = BYTES / 4;

typedef float Floats __attribute__((vector_size(BYTES)));
typedef float UnalignedFloats __attribute__((vector_size(BYTES), aligned(4), may_alias));
typedef float HalfOfFloats __attribute__((vector_size(BYTES / 2)));
typedef double Doubles __attribute__((vector_size(BYTES)));
typedef int32_t Ints __attribute__((vector_size(BYTES)));
typedef int32_t UnalignedInts __attribute__((vector_size(BYTES), aligned(4), may_alias));
typedef uint32_t Bits __attribute__((vector_size(BYTES)));

INLINE Floats load(const float *from) { return *reinterpret_cast<const UnalignedFloats *>(from); }
INLINE Ints load(const int32_t *from) { return *reinterpret_cast<const UnalignedInts *>(from); }
INLINE void store(float *to, Floats values) { *reinterpret_cast<UnalignedFloats *>(to) = values; }
INLINE Floats broadcast(float value) { return Floats{} + value; }

// The larger and the smaller of two numbers; y if one of them is NaN.
#if BYTES == 64
INLINE Floats maximum(Floats x, Floats y) { return (Floats)_mm512_max_ps((__m512)x, (__m512)y); }
INLINE Floats minimum(Floats x, Floats y) { return (Floats)_mm512_min_ps((__m512)x, (__m512)y); }
#elif BYTES == 32
INLINE Floats maximum(Floats x, Floats y) { return (Floats)_mm256_max_ps((__m256)x, (__m256)y); }
INLINE Floats minimum(Floats x, Floats y) { return (Floats)_mm256_min_ps((__m256)x, (__m256)y); }
#else
INLINE Floats maximum(Floats x, Floats y) { return x > y ? x : y; }
INLINE Floats minimum(Floats x, Floats y) { return x < y ? x : y; }
#endif

// Returns a bit for each lane of a comparison, the lowest for the first one.
INLINE uint32_t lanes_of(Ints is_true) {
#if BYTES == 64
    return static_cast<uint32_t>(_mm512_movepi32_mask((__m512i)is_true));
#elif BYTES == 32
    return static_cast<uint32_t>(_mm256_movemask_ps((__m256)is_true));
#else
    uint32_t lanes = 0;
    for (int i = 0; i < LANES; i++) lanes |= (static_cast<uint32_t>(is_true[i]) & 1u) << i;
    return lanes;
#endif
}

// Converts numbers in one step, unlike __builtin_convertvector of some compilers.
#if BYTES == 64
INLINE Doubles to_doubles(HalfOfFloats values) { return (Doubles)_mm512_cvtps_pd((__m256)values); }
#elif BYTES == 32
INLINE Doubles to_doubles(HalfOfFloats values) { return (Doubles)_mm256_cvtps_pd((__m128)values); }
#else
INLINE Doubles to_doubles(HalfOfFloats values) { return __builtin_convertvector(values, Doubles); }
#endif

INLINE void add(Doubles &sum, Floats values) {
    HalfOfFloats halves[2];
    memcpy(halves, &values, BYTES);
    sum += to_doubles(halves[0]) + to_doubles(halves[1]);
}

INLINE double sum_of_lanes(Doubles values) {
    double sum = 0;
    for (int i = 0; i < LANES / 2; i++) sum += values[i];
    return sum;
}

// The range in which exp(x) and its reciprocal are normal numbers.
constexpr float SMALLEST_EXPONENT = -87.f, LARGEST_EXPONENT = 87.f;

// Computes exp(x) for x in that range, to 1.1 ulp: 2^k exp(r), with |r| <= log(2) / 2 and the minimax
// polynomial of exp(r), whose terms 1 and r have no rounding error. log(2) is the sum of two
// constants; the product of k and the first one is exact, because it is fused, or because the constant
// has few bits. Since all numbers are normal, adding k to the bits of the exponent multiplies by 2^k.
INLINE Floats exp_of(Floats x) {
    const float to_integer = 12582912.f;  // 1.5 * 2^23: the sum has the integer in its lowest bits
    const Floats shifted = x * 1.44269504f + to_integer;
    const Floats k = shifted - to_integer;
    const Floats r = FUSED ? (x - k * 0.693147182f) + k * 1.90465421e-9f : (x - k * 0.693359375f) + k * 2.12194440e-4f;
    const Floats r2 = r * r;
    Floats even = 1.383890281e-03f * r2 + 4.166810215e-02f, odd = 8.369192481e-03f * r2 + 1.666651666e-01f;
    even = even * r2 + 4.999999404e-01f;
    const Floats p = ((odd * r + even) * r2 + r) + 1.f;
    return (Floats)((Bits)p + ((Bits)shifted << 23));
}

// Computes exp(x) for x <= 0; 0 below the smallest exponent.
INLINE Floats exp_of_negative(Floats x) {
    return x < SMALLEST_EXPONENT ? Floats{} : exp_of(maximum(broadcast(SMALLEST_EXPONENT), x));
}

// Computes -log(1 - u) for u in [0, 1/2], to 1.5 ulp: u + u^2 (1/2 + u/3 + ...), with a minimax
// polynomial. Only the last sum rounds u; the terms before it are smaller.
INLINE Floats minus_log_1_minus(Floats u) {
    const Floats u2 = u * u;
    Floats even = -1.639056206e+00f * u2 - 1.807410568e-01f, odd = 1.414295554e+00f * u2 + 1.208251357e+00f;
    even = even * u2 + 2.436902970e-01f;
    odd = odd * u2 + 2.636367381e-01f;
    even = even * u2 + 4.999952316e-01f;
    odd = odd * u2 + 3.336315751e-01f;
    return (odd * u + even) * u2 + u;
}

// Computes log(x) for normal x > 0, to 1.1 ulp up to 2^24: k log(2) + log(1 + r), with 1 + r in
// [sqrt(1/2), sqrt(2)).
INLINE Floats log_of(Floats x) {
    const Bits above_sqrt_half = (Bits)x - 0x3f3504f3u;
    const Ints k = (Ints)above_sqrt_half >> 23;
    const Floats r = (Floats)((above_sqrt_half & 0x007fffffu) + 0x3f3504f3u) - 1.f;
    Floats p = -8.064662859e-02f * r + 1.291787187e-01f;
    p = p * r - 1.307255208e-01f;
    p = p * r + 1.417345438e-01f;
    p = p * r - 1.662892031e-01f;
    p = p * r + 2.000269555e-01f;
    p = p * r - 2.500075121e-01f;
    p = p * r + 3.333331294e-01f;
    p = p * r - 4.999999773e-01f;
    const Floats result = __builtin_convertvector(k, Floats) * 0.693147182f + (p * r * r + r);
    return x == x ? result : x;
}

struct Sigmoid {
    Floats p, q;  // the sigmoids of x and -x
};

// Computes p to 2.5 ulp and q to 2.9 ulp. Beyond the range of exponents they are constant.
INLINE Sigmoid sigmoid(Floats x) {
    const Floats odds = exp_of(-minimum(broadcast(LARGEST_EXPONENT), maximum(broadcast(SMALLEST_EXPONENT), x)));
    const Floats p = 1.f / (1.f + odds);
    return {p, odds * p};
}

// Adds up `of(i)` over the vectors of a block, where i is the first pixel of a vector.
template <class Function> INLINE void add_up(int n, Doubles &sum, Function of) {
    Floats total{};
    for (int i = 0; i < n; i += LANES) total += of(i);
    add(sum, total);
}
