// Classes that exclude each other: the sums over the pixels of a sample, and their gradient.
//
// segloss/sums/kernels/torch_ops/softmax.py has the formulas. A pixel with the label y has the
// probabilities p_j, and q_y = 1 - p_y, which is the sum of the other probabilities.

struct SoftmaxScratch {
    float max_logit[BLOCK];     // later, in the backward pass, the shift of the slopes in p
    float label_logit[BLOCK];   // the label's logit minus the largest logit; later the label's slope
    float others_total[BLOCK];  // the sum of the other classes' exponentials; later the scale of all
    float class_sum[BLOCK];     // a weighted sum over the classes
    float w[BLOCK];
    float x[3][BLOCK];          // values of the label's class
    int32_t label[BLOCK];
    // For the extra sums: values of the label's class, and 1 / the sum of all exponentials.
    float p[BLOCK], q[BLOCK], nll[BLOCK], inverse_total[BLOCK], gamma[BLOCK], alpha[BLOCK], focal[BLOCK], map[BLOCK];
    float q_likeliest[BLOCK];  // 1 - p of the likeliest class, if it is not the label's
    int32_t index[BLOCK];      // the places in the block of the pixels that count, if few do
    // After it come logits, later exponentials, (channels, BLOCK); sums, (channels,); factors,
    // (3, channels); and the slopes of squared errors, maps and groups, (channels, BLOCK). With groups
    // there are two sums for each group and channel.
    BlockGroups groups;
    int32_t group[BLOCK];  // the group of the label's class
};

INLINE float *classes_of(SoftmaxScratch &scratch) { return reinterpret_cast<float *>(&scratch + 1); }

INLINE Doubles *sums_of(SoftmaxScratch &scratch, int64_t channels) {
    return reinterpret_cast<Doubles *>(classes_of(scratch) + channels * BLOCK);
}

INLINE float *factors_of(const Batch &batch, SoftmaxScratch &scratch) {
    const int64_t sums = batch.groups.given ? 2 * batch.group_count : 1;
    return reinterpret_cast<float *>(sums_of(scratch, batch.channels) + sums * batch.channels);
}

// ---- reading ----

template <class T> INLINE void copy_labels(const T *from, int64_t stride, int n, const Batch &batch, SoftmaxScratch &s) {
    for (int i = 0; i < n; i++) {
        const int64_t label = label_of(element(from + i * stride));
        if (batch.ignores && label == batch.ignored) s.w[i] = 0.f;
        s.label[i] = label >= 0 && label < batch.channels ? static_cast<int32_t>(label) : -1;
    }
}

// Reads a block's labels and weights. Returns false if a label that counts is out of range.
CALLED bool read_labels(const Batch &batch, int64_t sample, int64_t first, int n, SoftmaxScratch &s) {
    read_weights(batch, sample, 0, first, n, s.w);
#define LABELS(name, T) \
    case Type::name: \
        copy_labels(start<const T>(batch.target, sample, 0, first), batch.target.pixel_stride, n, batch, s); \
        break;
    switch (batch.target.type) { EACH_TYPE(LABELS) }
#undef LABELS
    bool valid = true;
    for (int i = 0; i < n; i++) valid &= s.label[i] >= 0 || !(s.w[i] > 0.f);
    for (int i = 0; i < padded(n); i++)
        if (i >= n || s.label[i] < 0) s.label[i] = 0;
    return valid;
}

struct Rows {
    const float *first;
    int64_t stride;
    const float *operator[](int64_t channel) const { return first + channel * stride; }
};

// Returns a block's logits: in place, or copied, with 0 if a pixel does not count.
INLINE Rows read_rows(const Batch &batch, int64_t sample, int64_t first, int n, SoftmaxScratch &s) {
    const bool weighted = batch.weight.given || batch.ignores || n % LANES;
    if (!weighted && is_direct(batch.prediction))
        return {start<const float>(batch.prediction, sample, 0, first), batch.prediction.channel_stride};
    float *rows = classes_of(s);
    for (int64_t c = 0; c < batch.channels; c++) {
        read(batch.prediction, sample, c, first, n, rows + c * BLOCK);
        if (weighted) clear_unweighted(rows + c * BLOCK, s.w, n);
    }
    return {rows, BLOCK};
}

INLINE Floats where_label(const SoftmaxScratch &s, int64_t c, int i, Floats label_value, Floats other_value) {
    return load(s.label + i) == static_cast<int32_t>(c) ? label_value : other_value;
}

// The content of `s.class_sum`: nothing, the sum of factors times the other classes' exponentials, or,
// for smoothed cross-entropy, the sum of factors times logits.
enum class ClassSum { none, of_exponentials, of_logits };

// Writes `s.max_logit`, `s.label_logit`, `s.others_total`, `s.class_sum` and, if `kept`, the
// exponentials of a block, which are 0 at the label's class.
template <ClassSum class_sum, bool kept>
INLINE void exponentials(const Rows &rows, int64_t channels, int n, const float *factors, SoftmaxScratch &s) {
    float *out = classes_of(s);
    for (int i = 0; i < n; i += LANES) {
        store(s.max_logit + i, load(rows[0] + i));
        store(s.others_total + i, Floats{});
        store(s.class_sum + i, Floats{});
    }
    for (int64_t c = 1; c < channels; c++)
        for (int i = 0; i < n; i += LANES) {
            const Floats largest = load(s.max_logit + i), x = load(rows[c] + i);
            store(s.max_logit + i, largest < x ? x : largest);
        }
    for (int i = 0; i < padded(n); i++) s.label_logit[i] = rows[s.label[i]][i] - s.max_logit[i];
    for (int64_t c = 0; c < channels; c++) {
        const float factor = class_sum == ClassSum::none ? 0.f : factors[c];
        const bool counts = class_sum != ClassSum::of_logits || factor != 0.f;  // a factor of 0 is at infinity too
        for (int i = 0; i < n; i += LANES) {
            const Floats x = load(rows[c] + i) - load(s.max_logit + i);
            const Floats e = where_label(s, c, i, Floats{}, exp_of_negative(x));
            store(s.others_total + i, load(s.others_total + i) + e);
            if (class_sum != ClassSum::none && counts)
                store(s.class_sum + i, load(s.class_sum + i) + factor * (class_sum == ClassSum::of_logits ? x : e));
            if (kept) store(out + c * BLOCK + i, e);
        }
    }
}

// Computes -log p from q = 1 - p if q < 1/2. Otherwise returns `minus_log_p`, which is exact there.
INLINE Floats nll_of(Floats q, Floats minus_log_p) { return q < 0.5f ? minus_log_1_minus(q) : minus_log_p; }

// Writes the factors of -log p_j from label smoothing, e c_j / C, and returns their total.
INLINE float write_smoothing_factors(const Batch &batch, float *factors) {
    const float class_smoothing = batch.smoothing / static_cast<float>(batch.channels);
    float total = 0.f;
    for (int64_t c = 0; c < batch.channels; c++) {
        factors[c] = class_smoothing * (batch.class_weights.empty() ? 1.f : batch.class_weights[c]);
        total += factors[c];
    }
    return total;
}

struct Range {
    int64_t begin, end;
};

INLINE Range pixels_of(const Batch &batch, int64_t task) {
    const int64_t begin = task % batch.parts * batch.part_pixels, end = begin + batch.part_pixels;
    return {begin, end < batch.pixels ? end : batch.pixels};
}

// ---- the extra sums: other functions of the probabilities ----

// Writes p, q and nll of each pixel's label, and `s.inverse_total`, for the extra sums.
INLINE void write_probabilities(int n, SoftmaxScratch &s) {
    for (int i = 0; i < n; i += LANES) {
        const Floats logit = load(s.label_logit + i), exp_label = exp_of_negative(logit);
        const Floats exp_others = load(s.others_total + i), total = exp_label + exp_others, q = exp_others / total;
        store(s.inverse_total + i, 1.f / total);
        store(s.p + i, exp_label / total);
        store(s.q + i, q);
        store(s.nll + i, nll_of(q, log_of(total) - logit));
    }
}

// Writes the parameters of a focal loss for each pixel's label.
INLINE void write_focal_parameters(const Batch &batch, int64_t focal_index, int n, SoftmaxScratch &s) {
    const float *gammas = &batch.plan.gammas[focal_index * batch.channels];
    const float *alphas = &batch.plan.alphas[focal_index * batch.channels];
    for (int i = 0; i < padded(n); i++) {
        s.gamma[i] = gammas[s.label[i]];
        s.alpha[i] = alphas[s.label[i]];
    }
}

// Computes the focal loss of pixels, after `write_probabilities` and `write_focal_parameters`.
INLINE Floats focal_of(const SoftmaxScratch &s, int i) {
    const Floats q = load(s.q + i), gamma = load(s.gamma + i), alpha = load(s.alpha + i);
    return focal(gamma, alpha, q, -log_of(q), load(s.nll + i));
}

INLINE void read_map(const Batch &batch, int64_t index, int64_t sample, int64_t c, int64_t first, int n,
                     SoftmaxScratch &s) {
    read(batch.maps[index], sample, c, first, n, s.map);
    clear_unweighted(s.map, s.w, n);
}

// Returns the probability of a class; 0 if it is the label's class.
INLINE Floats p_of_other(SoftmaxScratch &s, int64_t c, int i) {
    return load(classes_of(s) + c * BLOCK + i) * load(s.inverse_total + i);
}

// Writes `s.q_likeliest`: the exponentials of the other classes, which is 1 at the likeliest, without it.
INLINE void write_q_likeliest(int64_t channels, int n, SoftmaxScratch &s) {
    for (int i = 0; i < n; i += LANES) store(s.q_likeliest + i, load(s.p + i));
    for (int64_t c = 0; c < channels; c++)
        for (int i = 0; i < n; i += LANES) {
            const Floats e = load(classes_of(s) + c * BLOCK + i), smaller = e < 1.f ? e : Floats{};
            store(s.q_likeliest + i, load(s.q_likeliest + i) + smaller * load(s.inverse_total + i));
        }
}

// Returns 1 - p of a class other than the label's. Where p > 1/2, it is a sum, not a difference.
INLINE Floats q_of_other(SoftmaxScratch &s, int64_t c, int i) {
    const Floats p = p_of_other(s, c, i);
    return p > 0.5f ? load(s.q_likeliest + i) : 1.f - p;
}

// Adds the extra sums of a block to sums (sums, channels), after `exponentials` and
// `write_probabilities`.
INLINE void add_extra_sums(const Batch &batch, int64_t sample, int64_t first, int n, SoftmaxScratch &s, double *sums) {
    const Plan &plan = batch.plan;
    const int64_t channels = batch.channels;
    if (plan.squared_error)
        for (int64_t c = 0; c < channels; c++) {
            Doubles sum{};
            add_up(n, sum, [&](int i) {
                const Floats error = where_label(s, c, i, load(s.q + i), p_of_other(s, c, i));
                return load(s.w + i) * error * error;
            });
            sums[SQUARED_ERROR * channels + c] += sum_of_lanes(sum);
        }
    if (plan.true_negative || plan.maps) write_q_likeliest(channels, n, s);
    if (plan.true_negative)
        for (int64_t c = 0; c < channels; c++) {
            Doubles sum{};
            add_up(n, sum, [&](int i) { return load(s.w + i) * where_label(s, c, i, Floats{}, q_of_other(s, c, i)); });
            sums[TRUE_NEGATIVE * channels + c] += sum_of_lanes(sum);
        }
    for (int64_t f = 0; f < plan.focal_count; f++) {
        if (!plan.wants(plan.focal_sum(f))) continue;
        write_focal_parameters(batch, f, n, s);
        Doubles sum{};
        add_up(n, sum, [&](int i) { return load(s.w + i) * focal_of(s, i); });
        sums[plan.focal_sum(f) * channels] += sum_of_lanes(sum);
    }
    for (int64_t m = 0; m < plan.map_count; m++) {
        if (!plan.wants_any(plan.map_sum(m), 3)) continue;
        for (int64_t c = 0; c < channels; c++) {
            read_map(batch, m, sample, c, first, n, s);
            Doubles map_sums[3] = {};
            const auto p = [&](int i) { return where_label(s, c, i, load(s.p + i), p_of_other(s, c, i)); };
            const auto q = [&](int i) { return where_label(s, c, i, load(s.q + i), q_of_other(s, c, i)); };
            add_up(n, map_sums[0], [&](int i) { return load(s.w + i) * p(i) * load(s.map + i); });
            add_up(n, map_sums[1], [&](int i) { return load(s.w + i) * q(i) * load(s.map + i); });
            add_up(n, map_sums[2], [&](int i) { return load(s.w + i) * load(s.map + i); });
            for (int k = 0; k < 3; k++) sums[(plan.map_sum(m) + k) * channels + c] += sum_of_lanes(map_sums[k]);
        }
    }
}

// Writes the slopes of squared errors and maps in the probabilities, (channels, BLOCK), and adds
// their products with the exponentials to `s.class_sum`.
INLINE void write_extra_slopes_by_p(const Batch &batch, int64_t sample, int64_t first, int n, SoftmaxScratch &s,
                                    float *slopes_by_p) {
    const Plan &plan = batch.plan;
    for (int64_t c = 0; c < batch.channels; c++) {
        float *slopes = slopes_by_p + c * BLOCK;
        const float *e = classes_of(s) + c * BLOCK;
        const float twice = 2 * static_cast<float>(batch.slope(SQUARED_ERROR, sample, c));
        for (int i = 0; i < n; i += LANES)
            store(slopes + i, twice * where_label(s, c, i, -load(s.q + i), p_of_other(s, c, i)));
        for (int64_t m = 0; m < plan.map_count; m++) {
            const int64_t sum = plan.map_sum(m);
            if (!plan.wants_any(sum, 2)) continue;
            read_map(batch, m, sample, c, first, n, s);
            const float upstream = static_cast<float>(batch.slope(sum, sample, c) - batch.slope(sum + 1, sample, c));
            for (int i = 0; i < n; i += LANES) store(slopes + i, load(slopes + i) + upstream * load(s.map + i));
        }
        for (int i = 0; i < n; i += LANES) store(s.class_sum + i, load(s.class_sum + i) + load(e + i) * load(slopes + i));
    }
}

// Writes to `s.focal` the slopes of focal losses in the logit of 1 - p_y.
INLINE void write_focal_slopes(const Batch &batch, int64_t sample, int n, SoftmaxScratch &s) {
    const Plan &plan = batch.plan;
    for (int i = 0; i < n; i += LANES) store(s.focal + i, Floats{});
    for (int64_t f = 0; f < plan.focal_count; f++) {
        if (!plan.wants(plan.focal_sum(f))) continue;
        write_focal_parameters(batch, f, n, s);
        const float upstream = static_cast<float>(batch.slope(plan.focal_sum(f), sample, 0));
        for (int i = 0; i < n; i += LANES) {
            const Floats q = load(s.q + i), gamma = load(s.gamma + i), alpha = load(s.alpha + i);
            const Floats slope = focal_slope(gamma, alpha, load(s.p + i), q, -log_of(q), load(s.nll + i));
            store(s.focal + i, load(s.focal + i) + upstream * slope);
        }
    }
}

// ---- the sums ----

struct SoftmaxTotals {
    Doubles pixel_weight, entropy, weight;
};

// Computes the cross-entropy of pixels, which `exponentials` has prepared. `s.x[2]` has class weights.
INLINE Floats entropy_of(const SoftmaxScratch &s, int i, Floats logit, Floats total, float smoothing,
                         float total_factor) {
    const Floats log = log_of(total), class_weight = load(s.x[2] + i);
    const Floats nll = nll_of(load(s.others_total + i) / total, log - logit);
    const Floats smoothed = total_factor * log - load(s.class_sum + i);
    return class_weight * (1.f - smoothing) * nll + smoothed;
}

// Adds up the cross-entropy of a block. Writes the true positives and false negatives of its pixels to
// `s.x[0]` and `s.x[1]`, and the scale of its probabilities to `s.others_total`.
template <bool region, bool entropy>
INLINE void softmax_sums(int n, float smoothing, float total_factor, SoftmaxScratch &s, SoftmaxTotals &totals) {
    for (int i = 0; i < n; i += LANES) {
        const Floats logit = load(s.label_logit + i), exp_label = exp_of_negative(logit);
        const Floats exp_others = load(s.others_total + i), total = exp_label + exp_others;
        const Floats w = load(s.w + i), scale = w / total;
        if (entropy) add(totals.entropy, w * entropy_of(s, i, logit, total, smoothing, total_factor));
        if (region) {
            store(s.x[0] + i, exp_label * scale);
            store(s.x[1] + i, exp_others * scale);
            store(s.others_total + i, scale);
        }
    }
}

// ---- groups of pixels ----

// Adds up `of(i)` over the vectors of a block, to the sums of the pixels' groups.
template <class Function>
INLINE void add_up_by_group(const BlockGroups &groups, int n, Doubles *sums, int64_t stride, Function of) {
    Doubles &of_main = sums[groups.main_group() * stride];
    if (groups.is_one) return add_up(n, of_main, of);
    add_up(n, of_main, [&](int i) {
        const Floats values = of(i);
        each_other_group(groups, i, [&](int32_t group, Ints has_id) {
            add(sums[group * stride], has_id ? values : Floats{});
        });
        return load(groups.ids + i) == groups.main ? values : Floats{};
    });
}

// Adds up the false positives and weights of a block by group, (groups, channels) of each, and writes
// the group of each pixel in the map of its label's class. The exponentials are scaled by
// `s.others_total`, if there are any.
INLINE void add_group_sums(const Batch &batch, int64_t sample, int64_t first, int n, SoftmaxScratch &s, Doubles *sums) {
    const int64_t channels = batch.channels;
    BlockGroups &groups = s.groups;
    for (int64_t c = 0; c < channels; c++) {
        read_groups(batch, sample, c, first, n, groups);
        const float *e = classes_of(s) + c * BLOCK;
        if (batch.plan.region)
            add_up_by_group(groups, n, sums + c, channels, [&](int i) { return load(e + i) * load(s.others_total + i); });
        Doubles *weights = sums + batch.group_count * channels;
        add_up_by_group(groups, n, weights + c, channels, [&](int i) { return load(s.w + i); });
        for (int i = 0; i < n; i++) {
            const int32_t group = groups.group(groups.is_one ? groups.main : groups.ids[i]);
            s.group[i] = s.label[i] == c ? group : s.group[i];
        }
    }
    for (int i = n; i < padded(n); i++) s.group[i] = 0;
}

// Writes the slopes of the regions of groups in the probabilities, (channels, BLOCK), and adds their
// products with the exponentials to `s.class_sum`.
INLINE void write_group_slopes(const Batch &batch, int64_t sample, int64_t first, int n, SoftmaxScratch &s,
                               float *slopes_by_p) {
    BlockGroups &groups = s.groups;
    for (int64_t c = 0; c < batch.channels; c++) {
        float *slopes = slopes_by_p + c * BLOCK;
        const float *e = classes_of(s) + c * BLOCK;
        read_groups(batch, sample, c, first, n, groups);
        const auto foreground_of = [&](int32_t group) {
            return broadcast(static_cast<float>(batch.foreground_slope(sample, c, group)));
        };
        const auto background_of = [&](int32_t group) {
            return broadcast(static_cast<float>(batch.background_slope(sample, c, group)));
        };
        const Floats foreground_of_main = foreground_of(groups.main_group());
        const Floats background_of_main = background_of(groups.main_group());
        for (int i = 0; i < n; i += LANES) {
            Floats foreground = foreground_of_main, background = background_of_main;
            if (!groups.is_one)
                each_other_group(groups, i, [&](int32_t group, Ints has_id) {
                    foreground = has_id ? foreground_of(group) : foreground;
                    background = has_id ? background_of(group) : background;
                });
            store(s.class_sum + i, load(s.class_sum + i) + load(e + i) * background);
            store(slopes + i, where_label(s, c, i, foreground, background));
        }
    }
}

void softmax_forward(Batch &batch, int64_t task, char *memory) {
    auto &s = *reinterpret_cast<SoftmaxScratch *>(memory);
    const Plan &plan = batch.plan;
    const int64_t channels = batch.channels, sample = task / batch.parts;
    const auto [begin, end] = pixels_of(batch, task);
    const bool region = plan.region, entropy = plan.entropy, smoothed = batch.smoothing > 0;
    const bool extra = plan.extra() || plan.true_negative;
    const bool weighs_classes = !batch.class_weights.empty(), reads_prediction = plan.reads_prediction();
    const bool wants_actual = plan.wants(ACTUAL);
    const bool grouped = batch.groups.given;
    const int64_t width = channels * batch.group_count;  // the numbers of a sum
    double *out = batch.partial + task * batch.partial_size();
    double *true_positive = out + TRUE_POSITIVE * width, *false_negative = out + FALSE_NEGATIVE * width;
    double *actual = out + ACTUAL * width;
    memset(out, 0, batch.partial_size() * sizeof(double));
    Doubles *false_positive = sums_of(s, channels);
    SoftmaxTotals totals{};
    for (int64_t i = 0; i < (grouped ? 2 * width : channels); i++) false_positive[i] = Doubles{};
    float *factors = factors_of(batch, s), *class_weights = s.x[2];
    const float total_factor = write_smoothing_factors(batch, factors);
    for (int i = 0; i < BLOCK; i++) class_weights[i] = 1.f;
    for (int64_t first = begin; first < end; first += BLOCK) {
        const int n = static_cast<int>(end - first < BLOCK ? end - first : BLOCK);
        if (!read_labels(batch, sample, first, n, s)) batch.wrong_label = true;
        if (weighs_classes)
            for (int i = 0; i < padded(n); i++) class_weights[i] = batch.class_weights[s.label[i]];
        for (int i = 0; i < n; i += LANES) {
            add(totals.pixel_weight, load(s.w + i));
            add(totals.weight, load(s.w + i) * load(class_weights + i));
        }
        if (reads_prediction) {
            const Rows rows = read_rows(batch, sample, first, n, s);
            with_constants(entropy && smoothed, region || extra, [&](auto smooth, auto kept) __attribute__((always_inline)) {
                exponentials<smooth() ? ClassSum::of_logits : ClassSum::none, kept()>(rows, channels, n, factors, s);
            });
        }
        if (extra) {
            write_probabilities(n, s);
            add_extra_sums(batch, sample, first, n, s, out);
        }
        if (region || entropy)
            with_constants(region, entropy, [&](auto region, auto entropy) __attribute__((always_inline)) {
                softmax_sums<region(), entropy()>(n, batch.smoothing, total_factor, s, totals);
            });
        if (grouped) {
            add_group_sums(batch, sample, first, n, s, false_positive);
            for (int i = 0; i < padded(n); i++) {
                const int64_t cell = s.group[i] * channels + s.label[i];
                if (region) {
                    true_positive[cell] += s.x[0][i];
                    false_negative[cell] += s.x[1][i];
                }
                actual[cell] += s.w[i];
            }
            continue;
        }
        if (region && wants_actual)
            for (int i = 0; i < padded(n); i++) {
                const int32_t label = s.label[i];
                true_positive[label] += s.x[0][i];
                false_negative[label] += s.x[1][i];
                actual[label] += s.w[i];
            }
        else if (region)
            for (int i = 0; i < padded(n); i++) {
                const int32_t label = s.label[i];
                true_positive[label] += s.x[0][i];
                false_negative[label] += s.x[1][i];
            }
        else if (wants_actual)
            for (int i = 0; i < padded(n); i++) actual[s.label[i]] += s.w[i];
        if (region)
            for (int64_t c = 0; c < channels; c++) {
                const float *e = classes_of(s) + c * BLOCK;
                add_up(n, false_positive[c], [&](int i) { return load(e + i) * load(s.others_total + i); });
            }
    }
    for (int64_t i = 0; i < width; i++) {
        out[FALSE_POSITIVE * width + i] = sum_of_lanes(false_positive[i]);
        out[PIXEL_WEIGHT * width + i] = sum_of_lanes(grouped ? false_positive[width + i] : totals.pixel_weight);
    }
    out[ENTROPY * width] = sum_of_lanes(totals.entropy);
    out[WEIGHT * width] = sum_of_lanes(totals.weight);
}

// ---- the losses of single pixels ----

// Writes the cross-entropies and focal losses of a sample's pixels, times the slopes of their sums and
// the pixels' weights.
void softmax_pixel_losses(Batch &batch, int64_t task, char *memory) {
    auto &s = *reinterpret_cast<SoftmaxScratch *>(memory);
    const Plan &plan = batch.plan;
    const int64_t channels = batch.channels, sample = task / batch.parts;
    const auto [begin, end] = pixels_of(batch, task);
    const float by_entropy = static_cast<float>(batch.slope(ENTROPY, sample, 0));
    float *factors = factors_of(batch, s), *class_weights = s.x[2], *losses = s.x[0];
    const float total_factor = write_smoothing_factors(batch, factors);
    for (int i = 0; i < BLOCK; i++) class_weights[i] = 1.f;
    for (int64_t first = begin; first < end; first += BLOCK) {
        const int n = static_cast<int>(end - first < BLOCK ? end - first : BLOCK);
        if (!read_labels(batch, sample, first, n, s)) batch.wrong_label = true;
        if (!batch.class_weights.empty())
            for (int i = 0; i < padded(n); i++) class_weights[i] = batch.class_weights[s.label[i]];
        const Rows rows = read_rows(batch, sample, first, n, s);
        if (batch.smoothing > 0)
            exponentials<ClassSum::of_logits, false>(rows, channels, n, factors, s);
        else
            exponentials<ClassSum::none, false>(rows, channels, n, factors, s);
        for (int i = 0; i < n; i += LANES) {
            const Floats logit = load(s.label_logit + i), total = exp_of_negative(logit) + load(s.others_total + i);
            store(losses + i, plan.entropy ? by_entropy * entropy_of(s, i, logit, total, batch.smoothing, total_factor)
                                           : Floats{});
        }
        if (plan.focal) write_probabilities(n, s);
        for (int64_t f = 0; f < plan.focal_count; f++) {
            if (!plan.wants(plan.focal_sum(f))) continue;
            write_focal_parameters(batch, f, n, s);
            const float upstream = static_cast<float>(batch.slope(plan.focal_sum(f), sample, 0));
            for (int i = 0; i < n; i += LANES)
                store(losses + i, load(losses + i) + upstream * focal_of(s, i));
        }
        for (int i = 0; i < n; i += LANES) store(losses + i, load(losses + i) * load(s.w + i));
        write(losses, batch.losses, sample, 0, first, n);
    }
}

// ---- the gradient ----

// Moves the labels and weights of the pixels that count to the front of a block, and returns how many
// they are. `s.index` has their places in the block.
INLINE int pack(int n, SoftmaxScratch &s) {
    int count = 0;
    for (int i = 0; i < n; i++) {
        const float w = s.w[i];
        s.index[count] = i;
        s.w[count] = w;
        s.label[count] = s.label[i];
        count += w != 0.f;
    }
    for (int i = count; i < padded(count); i++) {
        s.w[i] = 0.f;
        s.label[i] = 0;
    }
    return count;
}

// Reads the logits of the pixels that `pack` has moved to the front of a block of n pixels.
INLINE Rows read_packed_rows(const Batch &batch, int64_t sample, int64_t first, int n, int count, SoftmaxScratch &s) {
    for (int64_t c = 0; c < batch.channels; c++) {
        float *row = classes_of(s) + c * BLOCK;
        read(batch.prediction, sample, c, first, n, row);
        for (int i = 0; i < count; i++) row[i] = row[s.index[i]];
        for (int i = count; i < padded(count); i++) row[i] = 0.f;
    }
    return {classes_of(s), BLOCK};
}

// Moves the values of packed pixels back to their places in a block of n pixels, with 0 elsewhere.
INLINE void unpack(const float *packed, int n, int count, const SoftmaxScratch &s, float *out) {
    memset(out, 0, n * sizeof(float));
    for (int i = 0; i < count; i++) out[s.index[i]] = packed[i];
}

// Returns how many pixels of a block count.
INLINE int counted(int n, const SoftmaxScratch &s) {
    int count = 0;
    for (int i = 0; i < n; i++) count += s.w[i] != 0.f;
    return count;
}

// Writes the slopes of a block's class c. The slope in p is the sum of `s.max_logit`, which all classes
// share, `false_positive_by_p`, and `extra_by_p` for squared errors and maps.
template <bool region, bool extra>
INLINE void write_class_slopes(const float *e, int64_t c, int n, float false_positive_by_p, const float *extra_by_p,
                               float smoothing_slope, const SoftmaxScratch &s, float *out) {
    for (int i = 0; i < n; i += LANES) {
        Floats slope_by_p = load(s.max_logit + i);
        if (region) slope_by_p += false_positive_by_p;
        if (extra) slope_by_p += load(extra_by_p + i);
        const Floats slope = load(e + i) * load(s.others_total + i) * slope_by_p - smoothing_slope * load(s.w + i);
        store(out + i, where_label(s, c, i, load(s.label_logit + i), slope));
    }
}

// Writes the gradient of a block's pixels,
//     dL/dx_j = w [p_j (f_j - m - r p_y + v + R + F / q_y) - s_j] for j other than y, and
//     dL/dx_y = w [p_y (r q_y - m + R) - v q_y - F].
// Here f_j is the slope in p_j of false positives, squared errors and maps, r is the slope in p_y, and
// m is the sum of f_k p_k over the other classes. With the slope a of the cross-entropy, s_j is
// a e c_j / C from label smoothing, R is the sum of the s_k of the other classes, and v is
// a c_y (1 - e) + s_y. F is the slope of focal losses in the logit of q_y.
void softmax_backward(Batch &batch, int64_t task, char *memory) {
    auto &s = *reinterpret_cast<SoftmaxScratch *>(memory);
    const Plan &plan = batch.plan;
    const int64_t channels = batch.channels, sample = task / batch.parts;
    const auto [begin, end] = pixels_of(batch, task);
    const bool grouped = batch.groups.given && plan.region, extra = plan.extra();
    const bool region = (plan.region || plan.true_negative) && !grouped;
    const bool class_extra = plan.squared_error || plan.maps || grouped;
    const float by_entropy = static_cast<float>(batch.slope(ENTROPY, sample, 0));
    float *by_false_positive = factors_of(batch, s), *by_label_p = by_false_positive + channels;
    float *smoothing_slopes = by_label_p + channels, *extra_by_p = smoothing_slopes + channels;
    float total_smoothing_slope = 0.f;
    write_smoothing_factors(batch, smoothing_slopes);
    for (int64_t c = 0; c < channels; c++) {
        const auto slope = [&](Sum sum) { return batch.slope(sum, sample, c); };
        by_false_positive[c] = static_cast<float>(batch.background_slope(sample, c));
        by_label_p[c] = region ? static_cast<float>(slope(TRUE_POSITIVE) - slope(FALSE_NEGATIVE)) : 0.f;
        smoothing_slopes[c] *= by_entropy;
        total_smoothing_slope += smoothing_slopes[c];
    }
    const bool may_be_sparse = (batch.weight.given || batch.ignores) && !class_extra;
    for (int64_t first = begin; first < end; first += BLOCK) {
        const int block = static_cast<int>(end - first < BLOCK ? end - first : BLOCK);
        read_labels(batch, sample, first, block, s);
        const bool is_sparse = may_be_sparse && 2 * counted(block, s) < block;
        const int n = is_sparse ? pack(block, s) : block;  // of pixels to compute
        const Rows rows = is_sparse ? read_packed_rows(batch, sample, first, block, n, s)
                                    : read_rows(batch, sample, first, n, s);
        if (region)
            exponentials<ClassSum::of_exponentials, true>(rows, channels, n, by_false_positive, s);
        else
            exponentials<ClassSum::none, true>(rows, channels, n, nullptr, s);
        if (extra) {
            write_probabilities(n, s);
            write_focal_slopes(batch, sample, n, s);
        }
        if (grouped)
            write_group_slopes(batch, sample, first, n, s, extra_by_p);
        else if (class_extra)
            write_extra_slopes_by_p(batch, sample, first, n, s, extra_by_p);
        float *r = s.x[0], *v = s.x[1], *rest = s.x[2], *shift = s.max_logit;
        for (int i = 0; i < padded(n); i++) {
            const int32_t label = s.label[i];
            const float class_weight = batch.class_weights.empty() ? 1.f : batch.class_weights[label];
            r[i] = by_label_p[label];
            v[i] = by_entropy * class_weight * (1.f - batch.smoothing) + smoothing_slopes[label];
            rest[i] = total_smoothing_slope - smoothing_slopes[label];
            if (class_extra) r[i] += extra_by_p[label * BLOCK + i];
        }
        for (int i = 0; i < n; i += LANES) {
            const Floats exp_label = exp_of_negative(load(s.label_logit + i)), exp_others = load(s.others_total + i);
            const Floats scale = 1.f / (exp_label + exp_others), p = exp_label * scale, q = exp_others * scale;
            const Floats mean_slope = load(s.class_sum + i) * scale - load(rest + i);
            const Floats by_p = load(r + i), by_nll = load(v + i);
            const Floats w = load(s.w + i), focal = extra ? load(s.focal + i) : Floats{};
            store(shift + i, by_nll - mean_slope - by_p * p + (q > 0.f ? focal / q : Floats{}));
            const Floats slope = p * (by_p * q - mean_slope) - by_nll * q - focal;
            store(s.label_logit + i, w * slope);
            store(s.others_total + i, w * scale);
        }
        const bool direct = is_direct(batch.gradient) && n % LANES == 0 && !is_sparse;
        for (int64_t c = 0; c < channels; c++) {
            float *e = classes_of(s) + c * BLOCK;
            float *out = direct ? start<float>(batch.gradient, sample, c, first) : e;
            with_constants(region, class_extra, [&](auto region, auto extra) __attribute__((always_inline)) {
                write_class_slopes<region(), extra()>(e, c, n, by_false_positive[c], extra_by_p + c * BLOCK,
                                                      smoothing_slopes[c], s, out);
            });
            if (is_sparse) {
                unpack(e, block, n, s, s.map);
                write(s.map, batch.gradient, sample, c, first, block);
            } else if (!direct) {
                write(out, batch.gradient, sample, c, first, n);
            }
        }
    }
}
