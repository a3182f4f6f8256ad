// Measures the errors of the functions in vectors.h against double precision, over all normal floats
// in the range of each function, for each instruction set of this machine. It exits with 1 if an
// error is above its bound; the comments in vectors.h state the same bounds. It takes a minute and a
// half on two cores. With a number N it measures every N-th float, for an emulator of another processor
// (an odd N takes turns at the last bits):
//
//     g++ -std=c++17 -O3 -ffp-contract=fast -Wno-psabi -pthread native/checks/accuracy.cpp -o accuracy && ./accuracy

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <cstdio>
#include <thread>
#include <vector>

#define SET_CODE "checks/accuracy_arrays.h"
#include "../instruction_sets.h"

using ArrayFunction = void (*)(const float *, int64_t, float *);

struct Variant {
    const char *name;
    ArrayFunction exp, minus_log_1_minus, log, sigmoid_p, sigmoid_q;
};

#define VARIANT(isa) \
    {#isa, isa::exp_array, isa::minus_log_1_minus_array, isa::log_array, isa::sigmoid_p_array, isa::sigmoid_q_array}

static const Variant VARIANTS[] = {
#if defined(__x86_64__)
    VARIANT(avx512),
    VARIANT(avx2),
#endif
    VARIANT(baseline),
};
constexpr int VARIANT_COUNT = sizeof(VARIANTS) / sizeof(Variant);

// A function and the bounds of its errors, which hold for each instruction set: in units in the last
// place of the exact value, and relative to the exact value.
struct Measured {
    const char *name;
    float from, to;
    ArrayFunction Variant::*function;
    double (*exact)(double);
    double ulp_bound, relative_bound;
};

static const Measured FUNCTIONS[] = {
    {"exp_of", -87.f, 87.f, &Variant::exp, [](double x) { return std::exp(x); }, 1.1, 9e-8},
    {"minus_log_1_minus", 0.f, 0.5f, &Variant::minus_log_1_minus, [](double u) { return -std::log1p(-u); }, 1.5, 1.2e-7},
    {"log_of", FLT_MIN, 16777216.f, &Variant::log, [](double x) { return std::log(x); }, 1.1, 1.2e-7},
    {"sigmoid, p", -87.f, 87.f, &Variant::sigmoid_p, [](double x) { return 1 / (1 + std::exp(-x)); }, 2.5, 1.5e-7},
    {"sigmoid, q", -87.f, 87.f, &Variant::sigmoid_q, [](double x) { return 1 / (1 + std::exp(x)); }, 2.9, 2.1e-7},
};

struct Error {
    double ulp = 0, relative = 0;
    float at = 0;

    void include(const Error &other) {
        if (!(other.ulp <= ulp)) ulp = other.ulp, at = other.at;
        if (!(other.relative <= relative)) relative = other.relative;
    }
};

// Returns 1 over the spacing of floats at a normal number.
static double inverse_ulp(double value) {
    uint64_t bits;
    memcpy(&bits, &value, 8);
    bits = (2046 + 23 - (bits >> 52 & 2047)) << 52;
    memcpy(&value, &bits, 8);
    return value;
}

static float float_of(uint32_t bits) {
    float value;
    memcpy(&value, &bits, 4);
    return value;
}

static uint32_t bits_of(float value) {
    uint32_t bits;
    memcpy(&bits, &value, 4);
    return bits;
}

// Finds the largest errors of each instruction set over every `step`-th float from bits `first` to `last`.
static void measure(const Measured &of, uint32_t first, uint32_t last, uint32_t step, Error *errors) {
    constexpr int64_t SIZE = 4096;
    static thread_local float x[SIZE], y[SIZE];
    static thread_local double exact[SIZE], per_ulp[SIZE];
    for (uint64_t start = first; start <= last; start += SIZE * step) {
        const int64_t n = std::min<int64_t>(SIZE, (last - start) / step + 1);
        for (int64_t i = 0; i < SIZE; i++) x[i] = float_of(static_cast<uint32_t>(start + (i < n ? i * step : 0)));
        for (int64_t i = 0; i < n; i++) {
            exact[i] = of.exact(x[i]);
            per_ulp[i] = inverse_ulp(exact[i]);
        }
        for (int v = 0; v < VARIANT_COUNT; v++) {
            if (!runs_here(VARIANTS[v].name)) continue;
            (VARIANTS[v].*of.function)(x, SIZE, y);
            for (int64_t i = 0; i < n; i++) {
                const double difference = std::fabs(y[i] - exact[i]);
                const double relative = difference == 0 ? 0 : difference / std::fabs(exact[i]);
                errors[v].include({difference * per_ulp[i], relative, x[i]});
            }
        }
    }
}

// Measures every `step`-th float between two numbers of one sign on all cores. The first is nearer to zero.
static void measure_all(const Measured &of, float nearer, float farther, uint32_t step, std::vector<Error> &errors) {
    const uint64_t first = bits_of(nearer), count = bits_of(farther) - first + 1;
    const int64_t threads = std::max(1u, std::thread::hardware_concurrency());
    std::vector<std::vector<Error>> found(threads, std::vector<Error>(VARIANT_COUNT));
    std::vector<std::thread> workers;
    for (int64_t t = 0; t < threads; t++)
        workers.emplace_back([&, t] {
            const uint64_t begin = first + count * t / threads, end = first + count * (t + 1) / threads;
            measure(of, static_cast<uint32_t>(begin), static_cast<uint32_t>(end - 1), step, found[t].data());
        });
    for (std::thread &worker : workers) worker.join();
    for (const auto &thread_errors : found)
        for (int v = 0; v < VARIANT_COUNT; v++) errors[v].include(thread_errors[v]);
}

int main(int count, char **arguments) {
    const uint32_t step = count > 1 ? static_cast<uint32_t>(std::max(1, atoi(arguments[1]))) : 1;
    bool holds = true;
    printf("%-18s %-24s %-9s %9s %10s  %s\n", "function", "range", "set", "ulp", "relative", "largest ulp error at");
    for (const Measured &of : FUNCTIONS) {
        std::vector<Error> errors(VARIANT_COUNT);
        if (of.from < 0) measure_all(of, -FLT_MIN, of.from, step, errors);
        if (of.to > 0) measure_all(of, std::max(of.from, FLT_MIN), of.to, step, errors);
        for (int v = 0; v < VARIANT_COUNT; v++) {
            if (!runs_here(VARIANTS[v].name)) continue;
            char range[64];
            snprintf(range, sizeof range, "[%.9g, %.9g]", of.from, of.to);
            const bool within = errors[v].ulp <= of.ulp_bound && errors[v].relative <= of.relative_bound;
            printf("%-18s %-24s %-9s %9.3f %10.2e  %.9g%s\n", of.name, range, VARIANTS[v].name, errors[v].ulp,
                   errors[v].relative, errors[v].at, within ? "" : "  above its bound");
            holds = holds && within;
            fflush(stdout);
        }
    }
    return holds ? 0 : 1;
}
