// Terms of the sums, with their slopes: cross-entropy, and overlaps, which are powers of a ratio.
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

#include "batch.h"

// The loss of a cell: (f FP + m FN)^e / (h TP + f FP + m FN + s)^e.
struct Overlap {
    double hit, extra, missed, smooth, exponent, coefficient;
};

enum class Pool : int { sample, batch, micro };

struct Terms {
    const Overlap *overlaps;
    int64_t count;
    double entropy;  // its coefficient
    Pool pool;
    bool skip_absent;
    const int64_t *classes;  // those that overlaps look at; null: all
    int64_t class_count;
};

// What comes of them, in memory of the caller's.
struct Outcome {
    double *loss;           // (1,)
    double *means;          // (1 + count,): of cross-entropy, then of overlaps
    double *of_classes;     // (1 + count, channels)
    double *slopes;         // (4, samples, channels), in the order of Slope
};

inline double ratio_of(double numerator, double denominator) {
    return denominator <= 0 ? 0 : numerator / denominator;  // what is not a number stays so
}

// The means over pixels, with a class's own where channels are independent.
inline void entropy_of(const double *sums, int64_t samples, int64_t channels, bool exclusive, const Terms &terms,
                       const Outcome &out) {
    const int64_t cells = samples * channels;
    const double *entropy = sums + ENTROPY * cells, *weight = sums + WEIGHT * cells;
    double total = 0, total_weight = 0;
    for (int64_t c = 0; c < (exclusive ? 1 : channels); c++) {
        double of_class = 0, class_weight = 0;
        for (int64_t n = 0; n < samples; n++) {
            of_class += entropy[n * channels + c];
            class_weight += weight[n * channels + c];
        }
        out.of_classes[c] = of_class / class_weight;
        total += of_class;
        total_weight += class_weight;
    }
    out.means[0] = ratio_of(total, total_weight);
    *out.loss += terms.entropy * out.means[0];
    for (int64_t i = 0; i < cells; i++) out.slopes[OF_ENTROPY * cells + i] = ratio_of(terms.entropy, total_weight);
}

inline void overlaps_of(const double *sums, int64_t samples, int64_t channels, const Terms &terms, const Outcome &out) {
    const int64_t cells = samples * channels, columns = terms.pool == Pool::micro ? 1 : channels;
    const int64_t rows = terms.pool == Pool::sample ? samples : 1, size = rows * columns;
    std::vector<double> pooled(SUMS * size), slopes(3 * size), shares(size), class_shares(columns);
    const auto place = [&](int64_t n, int64_t c) { return (rows > 1 ? n : 0) * columns + (columns > 1 ? c : 0); };
    const auto each_cell = [&](auto &&act) {
        for (int64_t n = 0; n < samples; n++)
            for (int64_t i = 0; i < (terms.classes ? terms.class_count : channels); i++) {
                const int64_t c = terms.classes ? terms.classes[i] : i;
                act(n * channels + c, place(n, c));
            }
    };
    each_cell([&](int64_t cell, int64_t at) {
        for (int k = 0; k <= PIXEL_WEIGHT; k++) pooled[k * size + at] += sums[k * cells + cell];
    });
    double total = 0;
    for (int64_t at = 0; at < size; at++) {
        const bool absent = terms.skip_absent && !(pooled[ACTUAL * size + at] > 0);
        shares[at] = pooled[PIXEL_WEIGHT * size + at] > 0 && !absent;
        total += shares[at];
    }
    for (int64_t at = 0; at < size; at++) {
        shares[at] = ratio_of(shares[at], total);
        class_shares[at % columns] += shares[at];
    }
    for (int64_t t = 0; t < terms.count; t++) {
        const Overlap &term = terms.overlaps[t];
        double *of_class = out.of_classes + (1 + t) * channels, mean = 0;
        for (int64_t c = 0; c < columns; c++) of_class[c] = 0;
        for (int64_t at = 0; at < size; at++) {
            const double wrong = term.extra * pooled[FALSE_POSITIVE * size + at] + term.missed * pooled[FALSE_NEGATIVE * size + at];
            const double whole = wrong + term.hit * pooled[TRUE_POSITIVE * size + at] + term.smooth;
            const double ratio = ratio_of(wrong, whole);
            const double loss = term.exponent == 1 ? ratio : ratio <= 0 ? 0 : std::pow(ratio, term.exponent);
            const double steep = term.exponent == 1 ? 1 : term.exponent * ratio_of(loss, ratio);
            const double rate = ratio_of(term.coefficient * shares[at] * steep, whole);
            slopes[OF_HIT * size + at] -= rate * ratio * term.hit;
            slopes[OF_EXTRA * size + at] += rate * (1 - ratio) * term.extra;
            slopes[OF_MISSED * size + at] += rate * (1 - ratio) * term.missed;
            mean += shares[at] * loss;
            of_class[at % columns] += shares[at] * loss;
        }
        for (int64_t c = 0; c < columns; c++) of_class[c] /= class_shares[c];
        out.means[1 + t] = mean;
        *out.loss += term.coefficient * mean;
    }
    each_cell([&](int64_t cell, int64_t at) {
        for (int k = 0; k < 3; k++) out.slopes[k * cells + cell] = slopes[k * size + at];
    });
}

inline void evaluate(const double *sums, int64_t samples, int64_t channels, bool exclusive, const Terms &terms,
                     const Outcome &out) {
    *out.loss = 0;
    for (int64_t i = 0; i < 4 * samples * channels; i++) out.slopes[i] = 0;
    if (terms.entropy > 0) entropy_of(sums, samples, channels, exclusive, terms, out);
    if (terms.count > 0) overlaps_of(sums, samples, channels, terms, out);
}
