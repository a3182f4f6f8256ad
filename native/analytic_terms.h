// Analytic terms: means over pixels and powers of overlap ratios, computed from the sums of a
// batch, with their slopes with respect to the sums. A cell is one (sample, channel) pair.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

enum class TermKind : int { mean, ratio };
enum class Pool : int { sample, batch, micro };

// One term of a loss. A mean over pixels is the total of rows[0] divided by the total of rows[1]. A
// ratio is the mean over cells of (f FP + m FN)^e / (h TP + f FP + m FN + s)^e, with TP, FP, FN in rows.
struct AnalyticTerm {
    TermKind kind;
    int64_t loss;  // the index of its loss
    double coefficient;
    int64_t rows[3], actual_row, pixel_weight_row;
    double tp_weight, fp_weight, fn_weight, smooth, exponent;  // h, f, m, s and e
    Pool pool;
    bool skip_absent, components;  // components: a cell is a component of a sample and channel
    const double *class_weights;  // (channels,), negative for classes that are left out; null: all are 1
};

// The sums, (rows, samples, groups, channels). If classes exclude each other, the rows of means have
// one number per sample, at class 0. The rows of means have their numbers at group 0.
struct Sums {
    const double *values;
    int64_t row_count, samples, groups, channels;
    bool exclusive;

    int64_t cells() const { return samples * groups * channels; }
    int64_t at(int64_t sample, int64_t group, int64_t channel) const {
        return (sample * groups + group) * channels + channel;
    }
    const double *row(int64_t index) const { return values + index * cells(); }
};

// References to the caller's memory for the results of a term.
struct TermResult {
    double &loss, &value;
    double *per_class;  // (channels,)
    double *slopes;     // (rows, samples, groups, channels): the loss's slopes, which the term adds to; or null
};

inline double divide(double numerator, double denominator) {
    return denominator <= 0 ? 0 : numerator / denominator;  // NaN stays NaN
}

// The least denominator of a ratio, as in segloss/terms/base.py. A smaller one counts as 0.
constexpr double LEAST_TOTAL = 1e-37;

constexpr double UNDEFINED = std::numeric_limits<double>::quiet_NaN();

inline void mean_over_pixels(const Sums &sums, const AnalyticTerm &term, const TermResult &result) {
    const double *numerator = sums.row(term.rows[0]), *denominator = sums.row(term.rows[1]);
    const int64_t channels = sums.channels, classes = sums.exclusive && channels > 0 ? 1 : channels;
    double total = 0, total_weight = 0;
    for (int64_t c = 0; c < channels; c++) result.per_class[c] = UNDEFINED;
    for (int64_t c = 0; c < classes; c++) {
        double class_total = 0, class_weight = 0;
        for (int64_t n = 0; n < sums.samples; n++) {
            class_total += numerator[sums.at(n, 0, c)];
            class_weight += denominator[sums.at(n, 0, c)];
        }
        if (!sums.exclusive) result.per_class[c] = class_total / class_weight;
        total += class_total;
        total_weight += class_weight;
    }
    result.value = divide(total, total_weight);
    result.loss += term.coefficient * result.value;
    if (!result.slopes) return;
    const double slope = divide(term.coefficient, total_weight);
    for (int64_t n = 0; n < sums.samples; n++)
        for (int64_t c = 0; c < classes; c++) result.slopes[term.rows[0] * sums.cells() + sums.at(n, 0, c)] += slope;
}

inline void mean_of_ratios(const Sums &sums, const AnalyticTerm &term, const TermResult &result) {
    const int64_t channels = sums.channels, cells = sums.cells(), columns = term.pool == Pool::micro ? 1 : channels;
    const int64_t lines_per_sample = term.components ? sums.groups : 1;
    const int64_t lines = term.pool == Pool::sample ? sums.samples * lines_per_sample : 1, size = lines * columns;
    enum { TP, FP, FN, ACTUAL_SUM, PIXEL_WEIGHT_SUM, SHARE, QUANTITIES };
    std::vector<double> memory(QUANTITIES * size + columns);
    double *const pooled = memory.data(), *const class_shares = pooled + QUANTITIES * size;
    const double *weights = sums.row(term.pixel_weight_row);
    const auto for_each_cell = [&](auto &&act) {  // calls it with the sums' index, and the index of their pool
        for (int64_t n = 0; n < sums.samples; n++)
            for (int64_t c = 0; c < channels; c++) {
                if (term.class_weights && term.class_weights[c] < 0) continue;
                if (term.components) {  // each has the pixels of its group, and those of group 0
                    bool is_alone = true;
                    for (int64_t k = 1; k < sums.groups; k++) {
                        if (!(weights[sums.at(n, k, c)] > 0)) continue;
                        is_alone = false;
                        act(sums.at(n, k, c), sums.at(n, k, c));
                        act(sums.at(n, 0, c), sums.at(n, k, c));
                    }
                    if (is_alone) act(sums.at(n, 0, c), sums.at(n, 0, c));
                    continue;
                }
                for (int64_t k = 0; k < sums.groups; k++)
                    act(sums.at(n, k, c), (lines > 1 ? n : 0) * columns + (columns > 1 ? c : 0));
            }
    };
    const double *rows[] = {sums.row(term.rows[0]), sums.row(term.rows[1]), sums.row(term.rows[2]),
                            term.skip_absent ? sums.row(term.actual_row) : nullptr, sums.row(term.pixel_weight_row)};
    for (int k = TP; k <= PIXEL_WEIGHT_SUM; k++)
        if (rows[k]) for_each_cell([&](int64_t cell, int64_t at) { pooled[k * size + at] += rows[k][cell]; });

    double total = 0;
    for (int64_t at = 0; at < size; at++) {
        const bool is_absent = term.skip_absent && !(pooled[ACTUAL_SUM * size + at] > 0);
        const bool is_included = pooled[PIXEL_WEIGHT_SUM * size + at] > 0 && !is_absent;
        const double weight = term.class_weights && term.pool != Pool::micro ? term.class_weights[at % columns] : 1;
        pooled[SHARE * size + at] = is_included ? weight : 0;
        if (!term.components) total += pooled[SHARE * size + at];
    }
    if (term.components)  // the components of a sample and class share its weight
        for (int64_t n = 0; n < sums.samples; n++)
            for (int64_t c = 0; c < channels; c++) {
                double count = 0, weight = 0;
                for (int64_t k = 0; k < sums.groups; k++) {
                    const double share = pooled[SHARE * size + sums.at(n, k, c)];
                    count += share > 0;
                    weight = share > weight ? share : weight;
                }
                for (int64_t k = 0; k < sums.groups; k++) {
                    double &share = pooled[SHARE * size + sums.at(n, k, c)];
                    share = divide(share, count);
                }
                total += weight;
            }

    result.value = 0;
    for (int64_t c = 0; c < channels; c++) result.per_class[c] = c < columns ? 0 : UNDEFINED;
    for (int64_t at = 0; at < size; at++) {
        const double share = divide(pooled[SHARE * size + at], total);
        double &tp = pooled[TP * size + at], &fp = pooled[FP * size + at], &fn = pooled[FN * size + at];
        const double numerator = term.fp_weight * fp + term.fn_weight * fn;
        const double hits = term.tp_weight * tp + term.smooth, sum = numerator + hits;
        const double denominator = sum < LEAST_TOTAL ? 0 : sum, ratio = divide(numerator, denominator);
        const double loss = term.exponent == 1 ? ratio : ratio <= 0 ? 0 : std::pow(ratio, term.exponent);
        const double slope_by_ratio = term.exponent == 1 ? 1 : term.exponent * divide(loss, ratio);
        const double scale = divide(term.coefficient * share * slope_by_ratio, denominator);
        tp = -scale * ratio * term.tp_weight;  // from here on, tp, fp and fn are slopes
        const double by_error = scale * divide(hits, denominator);
        fp = by_error * term.fp_weight;
        fn = by_error * term.fn_weight;
        result.value += share * loss;
        result.per_class[at % columns] += share * loss;
        class_shares[at % columns] += share;
    }
    for (int64_t c = 0; c < columns && c < channels; c++) result.per_class[c] /= class_shares[c];
    result.loss += term.coefficient * result.value;
    if (!result.slopes) return;
    for (int k = TP; k <= FN; k++)
        for_each_cell([&](int64_t cell, int64_t at) {
            result.slopes[term.rows[k] * cells + cell] += pooled[k * size + at];
        });
}

// Writes to `values` the losses, (losses,), the values of the terms, (terms,), and their means per
// class, (terms, channels); and to `slopes`, unless it is null, (losses, rows, samples, groups, channels).
inline void write_losses(const Sums &sums, const std::vector<AnalyticTerm> &terms, int64_t loss_count, double *values,
                         double *slopes) {
    const int64_t size = sums.row_count * sums.cells(), term_count = static_cast<int64_t>(terms.size());
    double *term_values = values + loss_count, *per_class = term_values + term_count;
    for (int64_t i = 0; i < loss_count; i++) values[i] = 0;
    for (int64_t i = 0; slopes && i < loss_count * size; i++) slopes[i] = 0;
    for (int64_t t = 0; t < term_count; t++) {
        const AnalyticTerm &term = terms[t];
        const TermResult result{values[term.loss], term_values[t], per_class + t * sums.channels,
                                slopes ? slopes + term.loss * size : nullptr};
        if (term.kind == TermKind::mean)
            mean_over_pixels(sums, term, result);
        else
            mean_of_ratios(sums, term, result);
    }
}
