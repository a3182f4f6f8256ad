// Analytic terms of the sums of a batch, and their slopes with respect to the sums: means over
// pixels, and powers of overlap ratios.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

enum class FormKind : int { mean, ratio };
enum class Pool : int { sample, batch, micro };

// A loss from sums. A mean over pixels is the sum in rows[0] divided by that in rows[1]. A ratio is
// the mean over cells of (f FP + m FN)^e / (h TP + f FP + m FN + s)^e, with TP, FP and FN in rows.
struct Form {
    FormKind kind;
    int64_t loss;  // the loss that it belongs to, with its coefficient
    double coefficient;
    int64_t rows[3], actual_row, pixel_weight_row;
    double hit, extra, missed, smooth, exponent;
    Pool pool;
    bool skip_absent;
    const double *class_weights;  // (channels,), negative where a class is left out; null: all are 1
};

// Sums (rows, samples, channels). Where classes exclude each other, the rows of means have one
// number for each sample, at class 0.
struct Sums {
    const double *values;
    int64_t row_count, samples, channels;
    bool exclusive;

    int64_t cells() const { return samples * channels; }
    const double *row(int64_t index) const { return values + index * cells(); }
};

// The results, in memory of the caller.
struct FormResult {
    double &loss, &value;
    double *per_class;  // (channels,)
    double *slopes;     // (rows, samples, channels) of the form's loss, to which they are added; or null
};

inline double divide(double numerator, double denominator) {
    return denominator <= 0 ? 0 : numerator / denominator;  // NaN stays NaN
}

constexpr double UNDEFINED = std::numeric_limits<double>::quiet_NaN();

inline void mean_over_pixels(const Sums &sums, const Form &form, const FormResult &result) {
    const double *numerator = sums.row(form.rows[0]), *denominator = sums.row(form.rows[1]);
    const int64_t channels = sums.channels, classes = sums.exclusive && channels > 0 ? 1 : channels;
    double total = 0, total_weight = 0;
    for (int64_t c = 0; c < channels; c++) result.per_class[c] = UNDEFINED;
    for (int64_t c = 0; c < classes; c++) {
        double of_class = 0, class_weight = 0;
        for (int64_t n = 0; n < sums.samples; n++) {
            of_class += numerator[n * channels + c];
            class_weight += denominator[n * channels + c];
        }
        if (!sums.exclusive) result.per_class[c] = of_class / class_weight;
        total += of_class;
        total_weight += class_weight;
    }
    result.value = divide(total, total_weight);
    result.loss += form.coefficient * result.value;
    if (!result.slopes) return;
    const double slope = divide(form.coefficient, total_weight);
    for (int64_t n = 0; n < sums.samples; n++)
        for (int64_t c = 0; c < classes; c++) result.slopes[form.rows[0] * sums.cells() + n * channels + c] += slope;
}

inline void mean_of_ratios(const Sums &sums, const Form &form, const FormResult &result) {
    const int64_t channels = sums.channels, cells = sums.cells(), columns = form.pool == Pool::micro ? 1 : channels;
    const int64_t groups = form.pool == Pool::sample ? sums.samples : 1, size = groups * columns;
    enum { TP, FP, FN, ACTUAL_SUM, PIXEL_WEIGHT_SUM, SHARE, PARTS };
    std::vector<double> memory(PARTS * size + columns);
    double *const parts = memory.data(), *const class_shares = parts + PARTS * size;
    const auto each_cell = [&](auto &&act) {
        for (int64_t n = 0; n < sums.samples; n++)
            for (int64_t c = 0; c < channels; c++)
                if (!(form.class_weights && form.class_weights[c] < 0))
                    act(n * channels + c, (groups > 1 ? n : 0) * columns + (columns > 1 ? c : 0));
    };
    const double *of_row[] = {sums.row(form.rows[0]), sums.row(form.rows[1]), sums.row(form.rows[2]),
                              form.skip_absent ? sums.row(form.actual_row) : nullptr, sums.row(form.pixel_weight_row)};
    for (int k = TP; k <= PIXEL_WEIGHT_SUM; k++)
        if (of_row[k]) each_cell([&](int64_t cell, int64_t at) { parts[k * size + at] += of_row[k][cell]; });

    double total = 0;
    for (int64_t at = 0; at < size; at++) {
        const bool is_absent = form.skip_absent && !(parts[ACTUAL_SUM * size + at] > 0);
        const bool is_included = parts[PIXEL_WEIGHT_SUM * size + at] > 0 && !is_absent;
        const double weight = form.class_weights && form.pool != Pool::micro ? form.class_weights[at % columns] : 1;
        parts[SHARE * size + at] = is_included ? weight : 0;
        total += parts[SHARE * size + at];
    }

    result.value = 0;
    for (int64_t c = 0; c < channels; c++) result.per_class[c] = c < columns ? 0 : UNDEFINED;
    for (int64_t at = 0; at < size; at++) {
        const double share = divide(parts[SHARE * size + at], total);
        double &tp = parts[TP * size + at], &fp = parts[FP * size + at], &fn = parts[FN * size + at];
        const double wrong = form.extra * fp + form.missed * fn, whole = wrong + form.hit * tp + form.smooth;
        const double ratio = divide(wrong, whole);
        const double loss = form.exponent == 1 ? ratio : ratio <= 0 ? 0 : std::pow(ratio, form.exponent);
        const double by_ratio = form.exponent == 1 ? 1 : form.exponent * divide(loss, ratio);
        const double rate = divide(form.coefficient * share * by_ratio, whole);
        tp = -rate * ratio * form.hit;  // from here on the slopes
        fp = rate * (1 - ratio) * form.extra;
        fn = rate * (1 - ratio) * form.missed;
        result.value += share * loss;
        result.per_class[at % columns] += share * loss;
        class_shares[at % columns] += share;
    }
    for (int64_t c = 0; c < columns && c < channels; c++) result.per_class[c] /= class_shares[c];
    result.loss += form.coefficient * result.value;
    if (!result.slopes) return;
    for (int k = TP; k <= FN; k++)
        each_cell([&](int64_t cell, int64_t at) { result.slopes[form.rows[k] * cells + cell] += parts[k * size + at]; });
}

// Writes the losses (losses,), the values of the forms, and these by class, (forms, channels), to
// `values`, and the slopes (losses, rows, samples, channels) to `slopes`, unless that is null.
inline void write_losses(const Sums &sums, const std::vector<Form> &forms, int64_t loss_count, double *values,
                         double *slopes) {
    const int64_t size = sums.row_count * sums.cells(), form_count = static_cast<int64_t>(forms.size());
    double *of_forms = values + loss_count, *per_class = of_forms + form_count;
    for (int64_t i = 0; i < loss_count; i++) values[i] = 0;
    for (int64_t i = 0; slopes && i < loss_count * size; i++) slopes[i] = 0;
    for (int64_t t = 0; t < form_count; t++) {
        const Form &form = forms[t];
        const FormResult result{values[form.loss], of_forms[t], per_class + t * sums.channels,
                                slopes ? slopes + form.loss * size : nullptr};
        if (form.kind == FormKind::mean)
            mean_over_pixels(sums, form, result);
        else
            mean_of_ratios(sums, form, result);
    }
}
