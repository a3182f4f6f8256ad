// Sums beside counts and cross-entropy, and their slopes. Included by kernels.h, for each set.
//
// They come after the others, from probabilities that a block has: a loss without them pays nothing.

// Adds up over a block what `of` gives of a lane's place.
template <class Function> INLINE void sum_up(int n, Doubles &sum, Function of) {
    Floats total{};
    for (int i = 0; i < n; i += LANES) total += of(i);
    add(sum, total);
}

// e^gamma, with -log(e) given, which has the digits where e has none.
INLINE Floats power(Floats e, float gamma, Floats minus_log) {
    if (gamma == 0.f) return all(1.f);
    if (gamma == 1.f) return e;
    if (gamma == 2.f) return e * e;
    return exp_of_negative(-gamma * minus_log);
}
INLINE Floats power(Floats e, Floats gamma, Floats minus_log) {
    return gamma == 0.f ? all(1.f) : gamma == 1.f ? e : gamma == 2.f ? e * e : exp_of_negative(-gamma * minus_log);
}

// A class's part of a focal loss, alpha e^gamma s, with e = 1 - p and s = -log p, ...
template <class Number> INLINE Floats focal(Number gamma, Number alpha, Floats e, Floats minus_log_e, Floats s) {
    return alpha * power(e, gamma, minus_log_e) * s;
}

// ... and its slope by the logit of e, alpha e^gamma (gamma (1 - e) s + e).
template <class Number> INLINE Floats focal_slope(Number gamma, Number alpha, Floats e, Floats minus_log_e, Floats s) {
    return alpha * power(e, gamma, minus_log_e) * (gamma * (1.f - e) * s + e);
}

// g - p, in the digits of the smaller of p and 1 - p.
INLINE Floats missing_of(Floats p, Floats q, Floats g) { return g > 0.5f ? q - (1.f - g) : g - p; }

// ---- independent channels ----

INLINE Floats weight_of(const SigmoidBlock &block, int i) { return block.w ? load(block.w + i) : all(1.f); }

INLINE const float *read_map(const Batch &batch, int64_t index, const Cell &cell, int64_t first, int n,
                             const SigmoidBlock &block, SigmoidScratch &s) {
    read(batch.further.map[index], cell.sample, cell.channel, first, n, s.map);
    if (block.w) keep(s.map, s.w, n);
    return s.map;
}

INLINE void further_sums(const Batch &batch, const Cell &cell, int64_t first, int n, const SigmoidBlock &block,
                         SigmoidScratch &s, Doubles *sums) {
    const Further &further = batch.further;
    if (further.squared_error)
        sum_up(n, sums[0], [&](int i) {
            const Floats g = load(block.g + i), error = load(s.p + i) * (1.f - g) - load(s.q + i) * g;
            return weight_of(block, i) * error * error;
        });
    if (further.metric) {
        const auto missing = [&](int i) { return missing_of(load(s.p + i), load(s.q + i), load(block.g + i)); };
        Doubles *of = sums + further.metric_at();
        sum_up(n, of[0], [&](int i) {
            return weight_of(block, i) * (missing(i) > 0.f ? load(s.p + i) : load(block.g + i));
        });
        sum_up(n, of[1], [&](int i) { return weight_of(block, i) * greater(Floats{}, -missing(i)); });
        sum_up(n, of[2], [&](int i) { return weight_of(block, i) * greater(Floats{}, missing(i)); });
    }
    for (int64_t f = 0; f < further.focals; f++) {
        const float *gamma = further.gamma + 2 * f, *alpha = further.alpha + 2 * f;
        sum_up(n, sums[further.focal_at() + f], [&](int i) {
            const Floats g = load(block.g + i), log_p = load(s.log_p + i), log_q = load(s.log_q + i);
            const Floats of_one = focal(gamma[1], alpha[1], load(s.q + i), log_q, log_p);
            const Floats of_none = focal(gamma[0], alpha[0], load(s.p + i), log_p, log_q);
            return weight_of(block, i) * (g * of_one + (1.f - g) * of_none);
        });
    }
    for (int64_t m = 0; m < further.maps; m++) {
        const float *map = read_map(batch, m, cell, first, n, block, s);
        Doubles *of = sums + further.map_at() + 3 * m;
        sum_up(n, of[0], [&](int i) { return weight_of(block, i) * load(s.p + i) * load(map + i); });
        sum_up(n, of[1], [&](int i) { return weight_of(block, i) * load(s.q + i) * load(map + i); });
        sum_up(n, of[2], [&](int i) { return weight_of(block, i) * load(map + i); });
    }
}

// Adds the slopes of a block's pixels to those that are there.
INLINE void add_further_slopes(const Batch &batch, const Cell &cell, int64_t first, int n, const SigmoidBlock &block,
                               SigmoidScratch &s, float *out) {
    const Further &further = batch.further;
    const int64_t cells = batch.samples * batch.channels;
    const double *slopes = batch.slopes + cell.sample * batch.channels + cell.channel;
    const auto by = [&](int64_t k) { return static_cast<float>(slopes[(SLOPES + k) * cells]); };
    const auto add_slope = [&](auto &&of) {
        for (int i = 0; i < n; i += LANES) store(out + i, load(out + i) + weight_of(block, i) * of(i));
    };
    const auto add_slope_by_p = [&](auto &&of) {
        add_slope([&](int i) { return load(s.p + i) * load(s.q + i) * of(i); });
    };
    if (further.squared_error) {
        const float twice = 2 * by(0);
        add_slope_by_p([&](int i) {
            const Floats g = load(block.g + i);
            return twice * (load(s.p + i) * (1.f - g) - load(s.q + i) * g);
        });
    }
    if (further.metric) {
        const int64_t at = further.metric_at();
        const Floats below = all(by(at) - by(at + 2)), above = all(by(at + 1));
        add_slope_by_p([&](int i) {
            return missing_of(load(s.p + i), load(s.q + i), load(block.g + i)) > 0.f ? below : above;
        });
    }
    for (int64_t f = 0; f < further.focals; f++) {
        const float *gamma = further.gamma + 2 * f, *alpha = further.alpha + 2 * f, slope = by(further.focal_at() + f);
        add_slope([&](int i) {
            const Floats g = load(block.g + i), log_p = load(s.log_p + i), log_q = load(s.log_q + i);
            const Floats of_one = focal_slope(gamma[1], alpha[1], load(s.q + i), log_q, log_p);
            const Floats of_none = focal_slope(gamma[0], alpha[0], load(s.p + i), log_p, log_q);
            return slope * ((1.f - g) * of_none - g * of_one);
        });
    }
    for (int64_t m = 0; m < further.maps; m++) {
        const float *map = read_map(batch, m, cell, first, n, block, s);
        const float slope = by(further.map_at() + 3 * m) - by(further.map_at() + 3 * m + 1);
        add_slope_by_p([&](int i) { return slope * load(map + i); });
    }
}

// ---- classes that exclude each other ----

// Adds up values of a block's pixels by their labels.
INLINE void add_by_label(const float *values, int n, const SoftmaxScratch &s, double *sums) {
    for (int i = 0; i < n; i++) sums[s.label[i]] += values[i];
}

// A focal loss's parameters of each pixel's class.
INLINE void read_sides(const Batch &batch, int64_t f, int n, SoftmaxScratch &s) {
    const float *gamma = batch.further.gamma + f * batch.channels, *alpha = batch.further.alpha + f * batch.channels;
    for (int i = 0; i < padded(n); i++) {
        s.gamma[i] = gamma[s.label[i]];
        s.alpha[i] = alpha[s.label[i]];
    }
}

INLINE void read_map(const Batch &batch, int64_t index, int64_t sample, int64_t c, int64_t first, int n,
                     SoftmaxScratch &s) {
    read(batch.further.map[index], sample, c, first, n, s.map);
    keep(s.map, s.w, n);
}

INLINE Ints is_label(const SoftmaxScratch &s, int64_t c, int i) { return load(s.label + i) == static_cast<int32_t>(c); }

// Needs the exponentials, and of each pixel `inverse`, by which they become probabilities, `p`, `q`
// and `surprise`, of its own class; adds to sums (further, channels).
INLINE void further_sums(const Batch &batch, int64_t sample, int64_t first, int n, SoftmaxScratch &s, double *sums) {
    const Further &further = batch.further;
    const int64_t channels = batch.channels;
    const auto each_class = [&](int64_t k, auto &&of) {
        for (int64_t c = 0; c < channels; c++) {
            Doubles sum{};
            sum_up(n, sum, [&](int i) { return load(s.w + i) * of(c, i); });
            sums[k * channels + c] += across(sum);
        }
    };
    const auto p_of = [&](int64_t c, int i) { return load(classes_of(s) + c * BLOCK + i) * load(s.inverse + i); };
    if (further.squared_error)
        each_class(0, [&](int64_t c, int i) {
            const Floats error = is_label(s, c, i) ? load(s.q + i) : p_of(c, i);
            return error * error;
        });
    for (int64_t f = 0; f < further.focals; f++) {
        read_sides(batch, f, n, s);
        Doubles sum{};
        sum_up(n, sum, [&](int i) {
            const Floats q = load(s.q + i);
            const Floats gamma = load(s.gamma + i), alpha = load(s.alpha + i);
            return load(s.w + i) * focal(gamma, alpha, q, -log_of(q), load(s.surprise + i));
        });
        for (int64_t c = 0; c < channels; c++) sums[(further.focal_at() + f) * channels + c] += across(sum);
    }
    for (int64_t m = 0; m < further.maps; m++)
        for (int64_t c = 0; c < channels; c++) {
            read_map(batch, m, sample, c, first, n, s);
            Doubles of[3] = {};
            const auto p = [&](int i) { return is_label(s, c, i) ? load(s.p + i) : p_of(c, i); };
            const auto q = [&](int i) { return is_label(s, c, i) ? load(s.q + i) : 1.f - p_of(c, i); };
            sum_up(n, of[0], [&](int i) { return load(s.w + i) * p(i) * load(s.map + i); });
            sum_up(n, of[1], [&](int i) { return load(s.w + i) * q(i) * load(s.map + i); });
            sum_up(n, of[2], [&](int i) { return load(s.w + i) * load(s.map + i); });
            for (int k = 0; k < 3; k++) sums[(further.map_at() + 3 * m + k) * channels + c] += across(of[k]);
        }
}

// Slopes by the probabilities, (channels, BLOCK), and their products with these in `s.mean`.
INLINE void further_rises(const Batch &batch, int64_t sample, int64_t first, int n, SoftmaxScratch &s, float *rises) {
    const Further &further = batch.further;
    const int64_t channels = batch.channels, cells = batch.samples * channels;
    const double *slopes = batch.slopes + sample * channels;
    for (int64_t c = 0; c < channels; c++) {
        const auto by = [&](int64_t k) { return static_cast<float>(slopes[(SLOPES + k) * cells + c]); };
        float *rise = rises + c * BLOCK;
        const float *e = classes_of(s) + c * BLOCK;
        const float twice = further.squared_error ? 2 * by(0) : 0.f;
        for (int i = 0; i < n; i += LANES)
            store(rise + i, twice * (is_label(s, c, i) ? -load(s.q + i) : load(e + i) * load(s.inverse + i)));
        for (int64_t m = 0; m < further.maps; m++) {
            read_map(batch, m, sample, c, first, n, s);
            const float slope = by(further.map_at() + 3 * m) - by(further.map_at() + 3 * m + 1);
            for (int i = 0; i < n; i += LANES) store(rise + i, load(rise + i) + slope * load(s.map + i));
        }
        for (int i = 0; i < n; i += LANES) store(s.mean + i, load(s.mean + i) + load(e + i) * load(rise + i));
    }
}

// The slopes of focal losses by the logit of 1 - p of each pixel's own class, in `s.focal`.
INLINE void focal_slopes(const Batch &batch, int64_t sample, int n, SoftmaxScratch &s) {
    const Further &further = batch.further;
    const int64_t channels = batch.channels, cells = batch.samples * channels;
    for (int i = 0; i < n; i += LANES) store(s.focal + i, Floats{});
    for (int64_t f = 0; f < further.focals; f++) {
        read_sides(batch, f, n, s);
        const float by = static_cast<float>(batch.slopes[(SLOPES + further.focal_at() + f) * cells + sample * channels]);
        for (int i = 0; i < n; i += LANES) {
            const Floats q = load(s.q + i);
            const Floats gamma = load(s.gamma + i), alpha = load(s.alpha + i);
            const Floats slope = focal_slope(gamma, alpha, q, -log_of(q), load(s.surprise + i));
            store(s.focal + i, load(s.focal + i) + by * slope);
        }
    }
}
