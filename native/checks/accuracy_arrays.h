// The functions of vectors.h on arrays, for accuracy.cpp. Sizes are multiples of the lanes of a vector.
namespace ISA {
#include "../vectors.h"

template <class Function> INLINE void each_vector(const float *from, int64_t n, float *to, Function of) {
    for (int64_t i = 0; i < n; i += LANES) store(to + i, of(load(from + i)));
}

static void exp_array(const float *x, int64_t n, float *to) {
    each_vector(x, n, to, [](Floats x) { return exp_of(x); });
}
static void minus_log_1_minus_array(const float *x, int64_t n, float *to) {
    each_vector(x, n, to, [](Floats x) { return minus_log_1_minus(x); });
}
static void log_array(const float *x, int64_t n, float *to) {
    each_vector(x, n, to, [](Floats x) { return log_of(x); });
}
static void sigmoid_p_array(const float *x, int64_t n, float *to) {
    each_vector(x, n, to, [](Floats x) { return sigmoid(x).p; });
}
static void sigmoid_q_array(const float *x, int64_t n, float *to) {
    each_vector(x, n, to, [](Floats x) { return sigmoid(x).q; });
}

}  // namespace ISA
