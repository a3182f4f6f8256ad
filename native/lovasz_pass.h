// The Lovasz loss of each set of pixels: the errors are sorted, and the loss is linear in their order.
//
// With the errors in descending order, an element's slope is the step of the Jaccard loss
// (a + b) / (G + b) that it makes, where a and b are the sums of w g and w (1 - g) up to it, and G is
// the sum of all w g. The foreground of equal errors makes one step, the background another; the slopes
// of each are in proportion to the weights, and are the mean for the foreground first and the
// background first. So they do not depend on the order of the pixels, and are a subgradient.
//
// After the last foreground the loss is 1: elements with smaller errors have the slope 0, and are not sorted.
#pragma once

#include <algorithm>
#include <memory>

#include "pass.h"

struct LovaszKernels {
    Kernel errors, gradient;
    int64_t (*scratch_bytes)(const Batch &);
};

#define LOVASZ_SET(isa) {isa::lovasz_errors, isa::lovasz_gradient, isa::lovasz_scratch_bytes}

// In the order of `SETS`.
static const LovaszKernels LOVASZ_SETS[] = {
#if defined(__x86_64__)
    LOVASZ_SET(avx512),
    LOVASZ_SET(avx2),
#endif
    LOVASZ_SET(baseline),
};

// ---- sorting ----

// An error that counts, and the place of its element in the set, with a bit for the foreground.
struct Ranked {
    uint32_t error, place;
};

// Sorts by descending errors. Returns `items` or `spare`, which has the result.
static Ranked *sort_errors(Ranked *items, Ranked *spare, int64_t count, uint32_t least, uint32_t most) {
    if (count < 256) {
        std::sort(items, items + count, [](const Ranked &x, const Ranked &y) { return x.error > y.error; });
        return items;
    }
    constexpr int WIDEST = 11;  // bits of a digit: the counts of its values stay in the first cache
    int bits = 0;
    while (bits < 32 && (most - least) >> bits) bits++;
    const int passes = (bits + WIDEST - 1) / WIDEST, digit = passes ? (bits + passes - 1) / passes : 0;
    for (int pass = 0; pass < passes; pass++) {
        int64_t starts[(1 << WIDEST) + 1] = {};
        const int shift = pass * digit;
        const uint32_t mask = (1u << digit) - 1;
        for (int64_t i = 0; i < count; i++) starts[((most - items[i].error) >> shift & mask) + 1]++;
        for (uint32_t value = 0; value < mask; value++) starts[value + 1] += starts[value];
        for (int64_t i = 0; i < count; i++) spare[starts[(most - items[i].error) >> shift & mask]++] = items[i];
        std::swap(items, spare);
    }
    return items;
}

// ---- a set ----

struct Element {
    double foreground, background;  // w g and w (1 - g)
};

// Reads the elements of a set by their places. `plain`: without weights, and with targets of 0 and 1.
template <bool plain> struct Elements {
    const LovaszBatch &batch;
    int64_t first_sample, channel;

    float *error_at(int64_t place) const {
        return batch.errors_of(first_sample + place / batch.pixels, channel) + place % batch.pixels;
    }

    Element at(int64_t place, bool is_foreground) const {
        if (plain) return {is_foreground ? 1. : 0., is_foreground ? 0. : 1.};
        const int64_t sample = first_sample + place / batch.pixels, pixel = place % batch.pixels;
        float w = 1.f, g = is_foreground ? 1.f : 0.f;
        if (batch.weight.given) baseline::read(batch.weight, sample, channel, pixel, 1, &w);
        if (batch.soft) baseline::read(batch.target, sample, channel, pixel, 1, &g);
        return {double{w} * double{g}, double{w} * (1 - double{g})};
    }
};

struct SetSums {
    double foreground, weight;
    uint32_t least_foreground, most;  // errors
};

// Calls `act` with the place and the bits of the error of each element that counts.
template <class Function> static inline void for_each_counted(const LovaszBatch &batch, int64_t first_sample, int64_t channel, Function act) {
    for (int64_t s = 0; s < batch.set_samples(); s++) {
        const float *errors = batch.errors_of(first_sample + s, channel);
        for (int64_t p = 0; p < batch.pixels; p++) {
            const uint32_t bits = baseline::bits_of_float(errors[p]);
            if (bits != NOT_COUNTED) act(s * batch.pixels + p, bits);
        }
    }
}

template <bool plain> static SetSums sums_of_set(const Elements<plain> &elements) {
    SetSums sums{0, 0, UINT32_MAX, 0};
    int64_t foreground_count = 0, count = 0;
    for_each_counted(elements.batch, elements.first_sample, elements.channel, [&](int64_t place, uint32_t bits) {
        const uint32_t error = bits & SIZE;
        const bool is_foreground = bits & FOREGROUND;
        sums.most = error > sums.most ? error : sums.most;
        const uint32_t of_foreground = is_foreground ? error : UINT32_MAX;
        sums.least_foreground = of_foreground < sums.least_foreground ? of_foreground : sums.least_foreground;
        if (plain) {
            foreground_count += is_foreground;
            count++;
        } else {
            const Element element = elements.at(place, is_foreground);
            sums.foreground += element.foreground;
            sums.weight += element.foreground + element.background;
        }
    });
    if (plain) sums.foreground = static_cast<double>(foreground_count), sums.weight = static_cast<double>(count);
    return sums;
}

// Moves the elements that can have a slope to `items`, and sets all slopes to 0.
static int64_t take_ranked(const LovaszBatch &batch, int64_t first_sample, int64_t channel, uint32_t least, Ranked *items) {
    int64_t count = 0;
    for (int64_t s = 0; s < batch.set_samples(); s++) {
        float *errors = batch.errors_of(first_sample + s, channel);
        for (int64_t p = 0; p < batch.pixels; p++) {
            const uint32_t bits = baseline::bits_of_float(errors[p]), error = bits & SIZE;
            items[count] = {error, static_cast<uint32_t>(s * batch.pixels + p) | (bits & FOREGROUND)};
            count += bits != NOT_COUNTED && error >= least;
        }
        if (batch.wants_slopes) memset(errors, 0, batch.pixels * sizeof(float));
    }
    return count;
}

// Returns the loss of a set from its ranked elements, and writes their slopes.
template <bool plain>
static double loss_of_ranked(const Elements<plain> &elements, const Ranked *items, int64_t count, double total_foreground) {
    const double total = total_foreground;
    double foreground = 0, background = 0, loss = 0;
    for (int64_t begin = 0, end; begin < count; begin = end) {
        const uint32_t error = items[begin].error;
        Element tie{0, 0};
        for (end = begin; end < count && items[end].error == error; end++) {
            const Element element = elements.at(items[end].place & SIZE, items[end].place & FOREGROUND);
            tie.foreground += element.foreground;
            tie.background += element.background;
        }
        Element slope;
        if (total > 0) {
            const double before = total + background, after = before + tie.background, product = 1 / (before * after);
            slope.foreground = 0.5 * (before + after) * product;
            const double missing = total - foreground - 0.5 * tie.foreground;
            slope.background = missing > 0 ? missing * product : 0;
        } else {  // the Jaccard loss is 1 from the first error on
            slope = {0, background == 0 && tie.background > 0 ? 1 / tie.background : 0};
        }
        const double step = slope.foreground * tie.foreground + slope.background * tie.background;
        if (step > 0) loss += static_cast<double>(baseline::float_of_bits(error)) * step;
        foreground += tie.foreground;
        background += tie.background;
        if (!elements.batch.wants_slopes) continue;
        for (int64_t i = begin; i < end; i++) {
            const Element element = elements.at(items[i].place & SIZE, items[i].place & FOREGROUND);
            const double by_error = slope.foreground * element.foreground + slope.background * element.background;
            *elements.error_at(items[i].place & SIZE) = static_cast<float>(by_error);
        }
    }
    return loss;
}

template <bool plain> static void lovasz_of_set(LovaszBatch &batch, int64_t set, Ranked *items) {
    const int64_t channel = set % batch.channels, first_sample = batch.pooled ? 0 : set / batch.channels;
    const Elements<plain> elements{batch, first_sample, channel};
    const SetSums sums = sums_of_set(elements);
    const uint32_t least = std::max(1u, std::min(sums.least_foreground, sums.most));  // an error of 0 counts for nothing
    const int64_t count = take_ranked(batch, first_sample, channel, least, items);
    const Ranked *ranked = sort_errors(items, items + batch.set_size() + 1, count, least, sums.most);
    batch.results[set] = loss_of_ranked(elements, ranked, count, sums.foreground);
    batch.results[batch.sets() + set] = sums.foreground;
    batch.results[2 * batch.sets() + set] = sums.weight;
}

static void lovasz_sets(Batch &batch, int64_t set, char *memory) {
    auto &lovasz = static_cast<LovaszBatch &>(batch);
    auto *items = reinterpret_cast<Ranked *>(memory);
    if (lovasz.weight.given || lovasz.soft)
        lovasz_of_set<false>(lovasz, set, items);
    else
        lovasz_of_set<true>(lovasz, set, items);
}

// ---- a pass ----

struct LovaszPass {
    LovaszBatch batch{};
    int threads = 1;
    const LovaszKernels *set = &LOVASZ_SETS[current_set.load() - SETS];

    // Returns the reason why a set can't be ranked, or null.
    const char *too_large() const {
        return batch.set_size() > static_cast<int64_t>(SIZE) ? "A set has more than 2^31 - 1 elements." : nullptr;
    }

    // Writes the losses and sums of the sets, and the slopes in place of the errors.
    void forward() {
        if (batch.set_size() == 0) {
            std::fill(batch.results, batch.results + 3 * batch.sets(), 0.);
            return;
        }
        split(batch);
        run(set->errors, set->scratch_bytes(batch));
        batch.tasks = batch.sets();
        // Pages that no element reaches take no memory
        run(lovasz_sets, 2 * (batch.set_size() + 1) * static_cast<int64_t>(sizeof(Ranked)));
    }

    void backward() {
        split(batch);
        run(set->gradient, set->scratch_bytes(batch));
    }

  private:
    void run(Kernel kernel, int64_t bytes) {
        constexpr int64_t ALIGNMENT = 64;
        const bool is_small = batch.cells() * batch.pixels < SINGLE_THREAD_ELEMENTS;
        const int64_t workers = std::min<int64_t>(is_small || threads < 1 ? 1 : threads, batch.tasks);
        batch.scratch_bytes = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
        const std::unique_ptr<char[]> scratch(new char[workers * batch.scratch_bytes + ALIGNMENT]);
        batch.scratch = scratch.get() + (ALIGNMENT - reinterpret_cast<uintptr_t>(scratch.get()) % ALIGNMENT);
        batch.next_task = batch.next_worker = 0;
        Job job{batch, kernel, {}};
        std::fegetenv(&job.environment);
        run_on(workers, job);
    }
};
