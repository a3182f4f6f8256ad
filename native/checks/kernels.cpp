// Compares the kernels with plain formulas in double precision, for each instruction set of this
// machine, both activations and all types of logits. It needs no Python, so that it also runs for
// other processors under an emulator, and under ThreadSanitizer:
//
//     g++ -std=c++17 -O3 -ffp-contract=fast -Wno-psabi -pthread native/checks/kernels.cpp -o kernels && ./kernels

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <thread>
#include <vector>

#include "../pass.h"

static int failures = 0;

static void expect(bool condition, const char *what, const char *set, int type) {
    if (!condition && failures++ < 20) printf("wrong: %s, instruction set %s, type %d\n", what, set, type);
}

// ---- numbers of 16 bits, by their definition ----

static double half_of(uint16_t bits) {
    const int exponent = bits >> 10 & 31, fraction = bits & 1023;
    const double size = exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(1024 + fraction, exponent - 25);
    return bits & 0x8000 ? -size : size;
}

// Rounds to a multiple of the spacing of float16 at a number, and a tie to even.
static double rounded_to_half(double value) {
    if (std::fabs(value) >= 65520) return value < 0 ? -INFINITY : INFINITY;
    const double spacing = std::ldexp(1, std::max(value == 0 ? -14 : std::ilogb(value), -14) - 10);
    return std::nearbyint(value / spacing) * spacing;
}

static void check_half() {
    for (uint32_t bits = 0; bits < 1 << 16; bits++) {
        const Half half{static_cast<uint16_t>(bits)};
        const float value = baseline::as_float(half);
        Half again;
        baseline::assign(again, value);
        const bool is_special = (bits & 0x7c00) == 0x7c00, is_nan = is_special && (bits & 1023);
        expect(is_nan ? value != value : is_special ? std::isinf(value) : value == half_of(half.bits), "read", "", 2);
        expect(is_nan ? (again.bits & 0x7fff) > 0x7c00 : again.bits == bits, "written again", "", 2);
    }
    for (uint64_t bits = 0; bits < 0xffffffffu; bits += 997) {
        const float value = baseline::float_of_bits(static_cast<uint32_t>(bits));
        Half half;
        baseline::assign(half, value);
        const bool is_infinite = (half.bits & 0x7fff) == 0x7c00;
        const double written = is_infinite ? (half.bits & 0x8000 ? -INFINITY : INFINITY) : half_of(half.bits);
        expect(value != value ? (half.bits & 0x7fff) > 0x7c00 : written == rounded_to_half(value), "written", "", 2);
    }
}

// ---- a batch, and its sums by plain formulas ----

constexpr int64_t SAMPLES = 2, CHANNELS = 3, PIXELS = 15013;
constexpr int64_t FOCAL = FIRST_FOCAL, MAP = FOCAL + 1, SUMS = MAP + 3;
constexpr float GAMMA[] = {2.f, 1.5f, 0.f}, ALPHA[] = {0.7f, 0.4f, 1.f}, CLASS_WEIGHTS[] = {0.5f, 2.f, 1.5f};
constexpr float SMOOTHING = 0.1f;

using Numbers = std::vector<double>;

static double uniform() {
    static uint32_t state = 1;
    return (state = state * 1664525u + 1013904223u) / 4294967296.0;
}

// A batch in channels-last layout, of which every seventh pixel is ignored.
struct Example {
    bool exclusive;
    Type type;
    std::vector<float> logits, target, weight, map;
    std::vector<char> stored;  // the logits, in their type
    Numbers slopes;            // (sums, samples, channels)

    int64_t at(int64_t sample, int64_t pixel, int64_t channel) const {
        return (sample * PIXELS + pixel) * CHANNELS + channel;
    }
    Tensor tensor(const void *data, Type of_type, bool per_pixel = false) const {
        char *const start = static_cast<char *>(const_cast<void *>(data));
        if (per_pixel) return {start, of_type, PIXELS, 0, 1, true};
        return {start, of_type, PIXELS * CHANNELS, 1, CHANNELS, true};
    }
};

template <class T> static void store_as(Example &example) {
    example.stored.resize(example.logits.size() * sizeof(T));
    for (size_t i = 0; i < example.logits.size(); i++) {
        T stored;
        baseline::assign(stored, example.logits[i]);
        memcpy(&example.stored[i * sizeof(T)], &stored, sizeof(T));
        example.logits[i] = baseline::as_float(stored);
    }
}

static Example example_of(bool exclusive, Type type) {
    Example example{exclusive, type, {}, {}, {}, {}, {}, {}};
    for (int64_t i = 0; i < SAMPLES * PIXELS; i++) {
        example.weight.push_back(i % 7 ? static_cast<float>(0.5 + uniform()) : 0.f);
        if (exclusive) example.target.push_back(static_cast<float>(i % CHANNELS));
    }
    for (int64_t i = 0; i < SAMPLES * PIXELS * CHANNELS; i++) {
        example.logits.push_back(static_cast<float>((uniform() - 0.5) * (i % 100 == 0 ? 40 : 8)));
        if (!exclusive) example.target.push_back(i % 2 ? static_cast<float>(uniform()) : i % 4 / 2.f);
        example.map.push_back(static_cast<float>(uniform() - 0.3));
    }
    for (int64_t i = 0; i < SUMS * SAMPLES * CHANNELS; i++) example.slopes.push_back(uniform() - 0.5);
#define STORE(name, T) \
    if (type == Type::name) store_as<T>(example);
    EACH_REAL(STORE)
#undef STORE
    return example;
}

static double focal_loss(double alpha, double gamma, double p, double q) { return -alpha * std::pow(q, gamma) * std::log(p); }

// Adds a pixel's part of the sums, (sums, channels), for logits x.
static void add_sigmoid(const Example &of, int64_t sample, int64_t pixel, const double *x, Numbers &sums) {
    const double w = of.weight[sample * PIXELS + pixel];
    for (int64_t c = 0; c < CHANNELS; c++) {
        const double g = of.target[of.at(sample, pixel, c)], m = of.map[of.at(sample, pixel, c)];
        const double p = 1 / (1 + std::exp(-x[c])), q = 1 / (1 + std::exp(x[c]));
        const double smoothed = g * (1 - SMOOTHING) + SMOOTHING / 2;
        const auto add = [&](int64_t sum, double value) { sums[sum * CHANNELS + c] += w * value; };
        add(TRUE_POSITIVE, p * g), add(FALSE_POSITIVE, p * (1 - g)), add(FALSE_NEGATIVE, q * g), add(TRUE_NEGATIVE, q * (1 - g));
        add(ACTUAL, g), add(PIXEL_WEIGHT, 1), add(WEIGHT, CLASS_WEIGHTS[c]);
        add(ENTROPY, -CLASS_WEIGHTS[c] * (smoothed * std::log(p) + (1 - smoothed) * std::log(q)));
        add(SQUARED_ERROR, (p - g) * (p - g));
        add(FOCAL, g * focal_loss(ALPHA[1], GAMMA[1], p, q) + (1 - g) * focal_loss(ALPHA[0], GAMMA[0], q, p));
        add(MAP, p * m), add(MAP + 1, q * m), add(MAP + 2, m);
    }
}

static void add_softmax(const Example &of, int64_t sample, int64_t pixel, const double *x, Numbers &sums) {
    const double w = of.weight[sample * PIXELS + pixel];
    const int64_t label = static_cast<int64_t>(of.target[sample * PIXELS + pixel]);
    double p[CHANNELS], q[CHANNELS], total = 0;
    for (int64_t c = 0; c < CHANNELS; c++) total += p[c] = std::exp(x[c]);
    for (int64_t c = 0; c < CHANNELS; c++) {
        q[c] = 0;
        for (int64_t k = 0; k < CHANNELS; k++) q[c] += k == c ? 0 : std::exp(x[k]) / total;
        p[c] /= total;
    }
    const auto add = [&](int64_t sum, int64_t c, double value) { sums[sum * CHANNELS + c] += w * value; };
    for (int64_t c = 0; c < CHANNELS; c++) {
        const double m = of.map[of.at(sample, pixel, c)];
        add(c == label ? TRUE_POSITIVE : FALSE_POSITIVE, c, p[c]);
        if (c == label) add(FALSE_NEGATIVE, c, q[c]), add(ACTUAL, c, 1);
        if (c != label) add(TRUE_NEGATIVE, c, q[c]);
        add(PIXEL_WEIGHT, c, 1);
        add(ENTROPY, 0, -CLASS_WEIGHTS[c] * std::log(p[c]) * ((c == label) * (1 - SMOOTHING) + SMOOTHING / CHANNELS));
        add(SQUARED_ERROR, c, c == label ? q[c] * q[c] : p[c] * p[c]);
        add(MAP, c, p[c] * m), add(MAP + 1, c, q[c] * m), add(MAP + 2, c, m);
    }
    add(WEIGHT, 0, CLASS_WEIGHTS[label]);
    add(FOCAL, 0, focal_loss(ALPHA[label], GAMMA[label], p[label], q[label]));
}

static void add_pixel(const Example &of, int64_t sample, int64_t pixel, const double *x, Numbers &sums) {
    (of.exclusive ? add_softmax : add_sigmoid)(of, sample, pixel, x, sums);
}

// The sums, (sums, samples, channels).
static Numbers sums_of(const Example &of) {
    Numbers sums(SUMS * SAMPLES * CHANNELS);
    for (int64_t n = 0; n < SAMPLES; n++) {
        Numbers of_sample(SUMS * CHANNELS);
        for (int64_t i = 0; i < PIXELS; i++) {
            const double x[] = {of.logits[of.at(n, i, 0)], of.logits[of.at(n, i, 1)], of.logits[of.at(n, i, 2)]};
            add_pixel(of, n, i, x, of_sample);
        }
        for (int64_t k = 0; k < SUMS; k++)
            for (int64_t c = 0; c < CHANNELS; c++) sums[(k * SAMPLES + n) * CHANNELS + c] = of_sample[k * CHANNELS + c];
    }
    return sums;
}

// The slope of the loss by a logit, by central differences.
static double slope_of(const Example &of, int64_t sample, int64_t pixel, int64_t channel) {
    constexpr double STEP = 1e-4;
    double loss = 0;
    for (const double direction : {1., -1.}) {
        double x[CHANNELS];
        for (int64_t c = 0; c < CHANNELS; c++) x[c] = of.logits[of.at(sample, pixel, c)];
        x[channel] += direction * STEP;
        Numbers sums(SUMS * CHANNELS);
        add_pixel(of, sample, pixel, x, sums);
        for (int64_t k = 0; k < SUMS; k++)
            for (int64_t c = 0; c < CHANNELS; c++)
                loss += direction * of.slopes[(k * SAMPLES + sample) * CHANNELS + c] * sums[k * CHANNELS + c];
    }
    return loss / (2 * STEP);
}

// ---- the kernels ----

struct Results {
    Numbers sums;
    std::vector<char> gradient;  // like `Example::stored`
};

static Results results_of(const Example &of, const InstructionSet &set, int threads) {
    const auto pass_of = [&](bool is_forward) {
        auto pass = std::make_unique<Pass>();
        Batch &batch = pass->batch;
        pass->set = &set;
        pass->threads = threads;
        batch.exclusive = of.exclusive;
        batch.samples = SAMPLES, batch.channels = CHANNELS, batch.pixels = PIXELS;
        batch.prediction = of.tensor(of.stored.data(), of.type);
        batch.target = of.tensor(of.target.data(), Type::float32, of.exclusive);
        batch.weight = of.tensor(of.weight.data(), Type::float32, true);
        batch.maps = {of.tensor(of.map.data(), Type::float32)};
        batch.class_weights.assign(CLASS_WEIGHTS, CLASS_WEIGHTS + CHANNELS);
        batch.smoothing = SMOOTHING;
        Plan &plan = batch.plan;
        const int64_t wanted[] = {TRUE_POSITIVE, FALSE_POSITIVE, FALSE_NEGATIVE, ACTUAL, PIXEL_WEIGHT, ENTROPY, WEIGHT,
                                  SQUARED_ERROR, TRUE_NEGATIVE, FOCAL, MAP, MAP + 1, MAP + 2};
        plan.row_count = SUMS;
        plan.rows.assign(SUMS, -1);
        for (const int64_t sum : wanted) plan.rows[sum] = static_cast<int32_t>(sum);
        plan.gammas.assign(GAMMA, GAMMA + (of.exclusive ? CHANNELS : 2));
        plan.alphas.assign(ALPHA, ALPHA + (of.exclusive ? CHANNELS : 2));
        plan.focal_count = plan.map_count = 1;
        plan.find_groups();
        pass->allocate(is_forward);
        return pass;
    };
    Results results{Numbers(SUMS * SAMPLES * CHANNELS), std::vector<char>(of.stored.size())};
    pass_of(true)->forward(results.sums.data());
    pass_of(false)->backward(of.slopes.data(), of.tensor(results.gradient.data(), of.type));
    return results;
}

static double read_gradient(const Example &of, const Results &results, int64_t sample, int64_t pixel, int64_t channel) {
    float value;
    baseline::read(of.tensor(results.gradient.data(), of.type), sample, channel, pixel, 1, &value);
    return value;
}

static void check_set(const Example &of, const InstructionSet &set, const Numbers &sums) {
    const Results results = results_of(of, set, 1);
    double sum_error = 0, slope_error = 0, largest = 0;
    for (size_t i = 0; i < sums.size(); i++)
        if (sums[i] != results.sums[i]) sum_error = std::max(sum_error, std::fabs(results.sums[i] / sums[i] - 1));
    const double rounding = of.type == Type::float32 ? 0x1p-24 : of.type == Type::float16 ? 0x1p-11 : 0x1p-8;
    for (int64_t n = 0; n < SAMPLES; n++)
        for (int64_t i = 0; i < PIXELS; i += 5)
            for (int64_t c = 0; c < CHANNELS; c++) {
                const double slope = slope_of(of, n, i, c), error = std::fabs(read_gradient(of, results, n, i, c) - slope);
                largest = std::max(largest, std::fabs(slope));
                slope_error = std::max(slope_error, error - rounding * std::fabs(slope));
            }
    printf("%-8s type %d %-9s sums %.1e gradient %.1e\n", of.exclusive ? "softmax" : "sigmoid",
           static_cast<int>(of.type), set.name, sum_error, slope_error / largest);
    expect(sum_error < 1e-6 && slope_error < 3e-6 * largest, "values", set.name, static_cast<int>(of.type));

    std::vector<std::thread> callers;  // calls at the same time, each on several threads
    std::vector<Results> others(3);
    for (Results &other : others) callers.emplace_back([&] { other = results_of(of, set, 3); });
    for (std::thread &caller : callers) caller.join();
    for (const Results &other : others)
        expect(other.sums == results.sums && other.gradient == results.gradient, "another number of threads changes bits",
               set.name, static_cast<int>(of.type));
}

int main() {
    check_half();
    for (const bool exclusive : {false, true})
        for (const Type type : {Type::float32, Type::bfloat16, Type::float16}) {
            const Example example = example_of(exclusive, type);
            const Numbers sums = sums_of(example);
            for (const InstructionSet &set : SETS)
                if (runs_here(set.name)) check_set(example, set, sums);
        }
    printf("%d failures\n", failures);
    return failures ? 1 : 0;
}
