// Compares the Lovasz loss with plain formulas in double precision, for each instruction set of this
// machine, and all errors. It needs no Python, as kernels.cpp:
//
//     g++ -std=c++17 -O3 -ffp-contract=fast -Wno-psabi -pthread native/checks/lovasz.cpp -o lovasz && ./lovasz

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <numeric>
#include <vector>

#include "../lovasz_pass.h"

static int failures = 0;

static void expect(bool condition, const char *what, const char *set) {
    if (!condition && failures++ < 20) printf("wrong: %s, instruction set %s\n", what, set);
}

constexpr int64_t SAMPLES = 2, CHANNELS = 3, PIXELS = 15013;

using Numbers = std::vector<double>;

static double uniform() {
    static uint32_t state = 1;
    return (state = state * 1664525u + 1013904223u) / 4294967296.0;
}

struct Example {
    bool exclusive, hinge, pooled, weighted;
    std::vector<float> logits, target, weight;

    int64_t at(int64_t sample, int64_t channel, int64_t pixel) const { return (sample * CHANNELS + channel) * PIXELS + pixel; }
    double g(int64_t sample, int64_t channel, int64_t pixel) const {
        if (exclusive) return target[sample * PIXELS + pixel] == static_cast<float>(channel);
        return target[at(sample, channel, pixel)];
    }
    double w(int64_t sample, int64_t pixel) const { return weighted ? weight[sample * PIXELS + pixel] : 1.; }
    double p(int64_t sample, int64_t channel, int64_t pixel) const {
        if (!exclusive) return 1 / (1 + std::exp(-double{logits[at(sample, channel, pixel)]}));
        double total = 0;
        for (int64_t c = 0; c < CHANNELS; c++) total += std::exp(double{logits[at(sample, c, pixel)]});
        return std::exp(double{logits[at(sample, channel, pixel)]}) / total;
    }
    double error(int64_t sample, int64_t channel, int64_t pixel) const {
        const double x = logits[at(sample, channel, pixel)], target_value = g(sample, channel, pixel);
        if (hinge) return std::max(0., 1 - (2 * target_value - 1) * x);
        return std::fabs(target_value - p(sample, channel, pixel));
    }
};

static Example example_of(bool exclusive, bool hinge, bool pooled, bool weighted) {
    Example example{exclusive, hinge, pooled, weighted, {}, {}, {}};
    for (int64_t i = 0; i < SAMPLES * PIXELS; i++) {
        example.weight.push_back(i % 7 ? static_cast<float>(0.5 + uniform()) : 0.f);
        if (exclusive) example.target.push_back(static_cast<float>(i % CHANNELS));
    }
    for (int64_t i = 0; i < SAMPLES * PIXELS * CHANNELS; i++) {
        example.logits.push_back(static_cast<float>((uniform() - 0.5) * 8));
        if (!exclusive) example.target.push_back(weighted ? static_cast<float>(uniform()) : static_cast<float>(i % 5 == 0));
    }
    return example;
}

// The loss of a set, as the sum of the errors times the steps of the Jaccard loss.
static double loss_of_set(const Example &of, int64_t first_sample, int64_t samples, int64_t channel) {
    struct Pixel {
        double error, foreground, background;
    };
    std::vector<Pixel> pixels;
    double total = 0, foreground = 0, background = 0, before = 0, loss = 0;
    for (int64_t s = first_sample; s < first_sample + samples; s++)
        for (int64_t i = 0; i < PIXELS; i++) {
            const double w = of.w(s, i), g = of.g(s, channel, i);
            if (w > 0) pixels.push_back({of.error(s, channel, i), w * g, w * (1 - g)});
            total += w * g;
        }
    std::sort(pixels.begin(), pixels.end(), [](const Pixel &a, const Pixel &b) { return a.error > b.error; });
    for (const Pixel &pixel : pixels) {
        foreground += pixel.foreground, background += pixel.background;
        const double jaccard = (foreground + background) / (total + background);
        loss += pixel.error * (jaccard - before);
        before = jaccard;
    }
    return loss;
}

static void check(const Example &of, size_t set) {
    const char *name = SETS[set].name;
    current_set = &SETS[set];
    std::vector<float> slopes(of.logits.size()), gradient(of.logits.size());
    const auto tensor = [](const std::vector<float> &values, int64_t channels) {
        return Tensor{reinterpret_cast<char *>(const_cast<float *>(values.data())), Type::float32, channels * PIXELS,
                      channels > 1 ? PIXELS : 0, 1, true};
    };
    const auto prepare = [&](LovaszPass &pass) {
        LovaszBatch &batch = pass.batch;
        batch.exclusive = of.exclusive, batch.hinge = of.hinge, batch.pooled = of.pooled, batch.wants_slopes = true;
        batch.samples = SAMPLES, batch.channels = CHANNELS, batch.pixels = PIXELS;
        batch.prediction = tensor(of.logits, CHANNELS);
        batch.target = tensor(of.target, of.exclusive ? 1 : CHANNELS);
        if (of.weighted) batch.weight = tensor(of.weight, 1);
        batch.errors = slopes.data();
        pass.threads = 3;
    };
    LovaszPass forward;
    prepare(forward);
    const int64_t sets = forward.batch.sets();
    Numbers results(3 * sets), upstream(sets);
    forward.batch.results = results.data();
    forward.forward();
    for (int64_t k = 0; k < sets; k++) {
        const int64_t first_sample = of.pooled ? 0 : k / CHANNELS;
        const double expected = loss_of_set(of, first_sample, of.pooled ? SAMPLES : 1, k % CHANNELS);
        expect(std::fabs(results[k] - expected) < 1e-6 * expected, "loss", name);
        upstream[k] = 1 + 0.5 * static_cast<double>(k);
    }
    LovaszPass backward;
    prepare(backward);
    backward.batch.upstream = upstream.data();
    backward.batch.gradient = tensor(gradient, CHANNELS);
    backward.backward();
    Numbers sums(sets);  // of errors times slopes: the loss, because it is homogeneous
    for (int64_t s = 0; s < SAMPLES; s++)
        for (int64_t i = 0; i < PIXELS; i++) {
            double by_p[CHANNELS], mean = 0, largest = 0;
            for (int64_t c = 0; c < CHANNELS; c++) {
                const double slope = slopes[of.at(s, c, i)], g = of.g(s, c, i);
                const int64_t k = backward.batch.set_of(s, c);
                if (slope > 0) sums[k] += slope * of.error(s, c, i);
                expect(slope >= 0 && (slope == 0 || of.w(s, i) > 0), "slope", name);
                by_p[c] = upstream[k] * slope * (of.hinge ? 1 - 2 * g : of.p(s, c, i) > g ? 1 : -1);
                mean += of.p(s, c, i) * by_p[c];
                largest = std::max(largest, std::fabs(by_p[c]));
            }
            for (int64_t c = 0; c < CHANNELS; c++) {
                const double p = of.p(s, c, i);
                const double expected = of.exclusive ? p * (by_p[c] - mean) : by_p[c] * (of.hinge ? 1 : p * (1 - p));
                expect(std::fabs(gradient[of.at(s, c, i)] - expected) <= 1e-5 * largest, "gradient", name);
            }
        }
    for (int64_t k = 0; k < sets; k++) expect(std::fabs(sums[k] - results[k]) < 1e-5 * results[k], "sum of slopes", name);
}

int main() {
    for (size_t set = 0; set < sizeof(SETS) / sizeof(SETS[0]); set++) {
        if (!runs_here(SETS[set].name)) continue;
        for (int k = 0; k < 8; k++) {
            const bool pooled = k & 1, weighted = k & 2;
            if (k & 4) check(example_of(true, false, pooled, weighted), set);
            check(example_of(false, k & 4, pooled, weighted), set);
        }
        printf("%s: checked\n", SETS[set].name);
    }
    return failures > 0;
}
