// Independent channels: the sums over the pixels of one channel of a sample, and their gradient.
//
// segloss/sums/kernels/torch_ops/sigmoid.py has the formulas. p and q are the sigmoids of x and -x,
// g is the target, and w is the weight of a pixel.

struct Cell {  // a task: `count` pixels of one channel of a sample, from `first` on
    int64_t sample, channel, first, count;
};

INLINE Cell cell_of(const Batch &batch, int64_t task) {
    const int64_t cell = task / batch.parts, first = task % batch.parts * batch.part_pixels;
    const int64_t left = batch.pixels - first;
    return {cell / batch.channels, cell % batch.channels, first, left < batch.part_pixels ? left : batch.part_pixels};
}

struct SigmoidBlock {
    const float *x, *g, *w;  // w is null if all weights are 1
    bool valid = true;       // false if a label that counts is out of range
};

struct SigmoidScratch {
    float x[BLOCK], g[BLOCK], w[BLOCK], slope[BLOCK];
    float p[BLOCK], q[BLOCK], nll_p[BLOCK], nll_q[BLOCK], map[BLOCK];  // for the extra sums
    BlockGroups groups;
    // The sums come after it.
};

// Turns a block's labels into the target of a channel, 1 where the label is the channel. Returns false if a
// label that counts is out of range.
INLINE bool labels_to_target(const Batch &batch, int64_t channel, int n, const float *weights, float *labels) {
    const float low = static_cast<float>(channel), high = low + 1.f, end = static_cast<float>(batch.channels);
    uint32_t wrong = 0;
    for (int i = 0; i < n; i++) {
        const float label = labels[i];
        const uint32_t counts = weights ? mask(weights[i] != 0.f) : mask(true);
        wrong |= counts & ~(mask(label >= 0.f) & mask(label < end));
        labels[i] = float_of_bits(bits_of_float(1.f) & mask(label >= low) & mask(label < high));
    }
    return !wrong;
}

INLINE SigmoidBlock read_block(const Batch &batch, const Cell &cell, int64_t first, int n, SigmoidScratch &scratch) {
    const int64_t sample = cell.sample, channel = cell.channel;
    const bool weighted = batch.weight.given || batch.ignores || n % LANES;
    SigmoidBlock block{scratch.x, scratch.g, weighted ? scratch.w : nullptr};
    if (!weighted && is_direct(batch.prediction))
        block.x = start<const float>(batch.prediction, sample, channel, first);
    else
        read(batch.prediction, sample, channel, first, n, scratch.x);
    if (!weighted && !batch.label_map && is_direct(batch.target))
        block.g = start<const float>(batch.target, sample, channel, first);
    else
        read(batch.target, sample, channel, first, n, scratch.g);
    if (weighted) {
        read_weights(batch, sample, channel, first, n, scratch.w);
        if (batch.ignores)
            for (int i = 0; i < n; i++)
                if (scratch.g[i] == static_cast<float>(batch.ignored)) scratch.w[i] = 0.f;
    }
    if (batch.label_map) block.valid = labels_to_target(batch, channel, n, block.w, scratch.g);
    if (weighted) {
        clear_unweighted(scratch.x, scratch.w, n);
        clear_unweighted(scratch.g, scratch.w, n);
    }
    return block;
}

// Returns the sum of a block's probabilities, or 0 if all of them are e^-87, the smallest probability,
// which stands for 0.
INLINE Floats zero_if_smallest(Floats sum) { return sum < 2e-38f * BLOCK / LANES ? Floats{} : sum; }

// The options of a channel's cross-entropy.
struct EntropyOptions {
    float smoothing, pos_weight;
    bool is_plain() const { return smoothing == 0.f && pos_weight == 1.f; }
};

// Computes factor * value; 0 if the factor is 0, even if the value is infinite.
INLINE Floats times(Floats factor, Floats value) { return factor == 0.f ? Floats{} : factor * value; }

INLINE EntropyOptions entropy_options(const Batch &batch, const Cell &cell) {
    return {batch.smoothing, batch.pos_weight.empty() ? 1.f : batch.pos_weight[cell.channel]};
}

// Computes the cross-entropy of logits x, for targets g.
template <bool plain>
INLINE Floats entropy_of(Floats x, Floats g, const Sigmoid &of_x, const EntropyOptions &options) {
    const Floats log = minus_log_1_minus(minimum(of_x.p, of_x.q));  // log(1 + exp(-|x|))
    if (plain) return log + (x > 0.f ? times(1.f - g, x) : times(g, -x));
    const Floats h = g * (1.f - options.smoothing) + options.smoothing / 2;
    const Floats of_p = options.pos_weight * h, of_q = 1.f - h;
    return (of_p + of_q) * log + (x > 0.f ? times(of_q, x) : times(of_p, -x));
}

// ---- the sums ----

constexpr int GROUP_SUMS = ENTROPY + 1;  // the sums of a group

// Counts of pixels: vectors of w g p, w (1 - g) p, w g (1 - p), w g and w.
struct SigmoidCounts {
    Floats true_positive, false_positive, false_negative, actual, weight;
};

// Adds the counts of some pixels to sums.
template <bool weighted, bool region> INLINE void add(Doubles *sums, const SigmoidCounts &counts, int pixels) {
    if (region) {
        add(sums[TRUE_POSITIVE], zero_if_smallest(counts.true_positive));
        add(sums[FALSE_POSITIVE], zero_if_smallest(counts.false_positive));
        add(sums[FALSE_NEGATIVE], zero_if_smallest(counts.false_negative));
    }
    add(sums[ACTUAL], counts.actual);
    if (weighted)
        add(sums[PIXEL_WEIGHT], counts.weight);
    else
        sums[PIXEL_WEIGHT][0] += pixels;
}

// Returns the counts of some pixels, and 0 for the others.
INLINE SigmoidCounts select(Ints is_selected, const SigmoidCounts &of) {
    const auto selected = [&](Floats values) { return is_selected ? values : Floats{}; };
    return {selected(of.true_positive), selected(of.false_positive), selected(of.false_negative), selected(of.actual),
            selected(of.weight)};
}

// Adds the sums of a block. If `grouped`, they are the sums of each group, (groups, GROUP_SUMS), and the
// cross-entropy of all pixels is with the main group.
template <bool weighted, bool plain, bool region, bool entropy, bool grouped>
INLINE void sigmoid_sums(const SigmoidBlock &block, int n, const EntropyOptions &options, const BlockGroups &groups,
                         Doubles *sums) {
    SigmoidCounts totals{};
    Floats total_loss{};
    int pixels_of_main = n;
    Doubles *of_main = grouped ? sums + groups.main_group() * GROUP_SUMS : sums;
    for (int i = 0; i < n; i += LANES) {
        const Floats g = load(block.g + i);
        Floats positive = g, negative = 1.f - g, loss{};
        Sigmoid of_x{};
        SigmoidCounts counts{};
        if (region || entropy) of_x = sigmoid(load(block.x + i));
        if (entropy) loss = entropy_of<plain>(load(block.x + i), g, of_x, options);
        if (weighted) {
            const Floats w = load(block.w + i);
            positive *= w;
            negative *= w;
            loss *= w;
            counts.weight = w;
        }
        if (region) {
            counts.true_positive = positive * of_x.p;
            counts.false_negative = positive * of_x.q;
            counts.false_positive = negative * of_x.p;
        }
        counts.actual = positive;
        if (grouped) {
            each_other_group(groups, i, [&](int32_t group, Ints has_id) {
                Doubles *of_group = sums + group * GROUP_SUMS;
                const int pixels = __builtin_popcount(lanes_of(has_id));
                add<weighted, region>(of_group, select(has_id, counts), pixels);
                counts = select(~has_id, counts);
                pixels_of_main -= pixels;
            });
        }
        if (region) {
            totals.true_positive += counts.true_positive;
            totals.false_negative += counts.false_negative;
            totals.false_positive += counts.false_positive;
        }
        totals.actual += counts.actual;
        if (weighted) totals.weight += counts.weight;
        if (entropy) total_loss += loss;
    }
    if (entropy) add(of_main[ENTROPY], total_loss);
    add<weighted, region>(of_main, totals, pixels_of_main);
}

template <bool grouped>
INLINE void add_block_sums(const Plan &plan, const SigmoidBlock &block, int n, const EntropyOptions &options,
                           const BlockGroups &groups, Doubles *sums) {
    with_constants(block.w != nullptr, options.is_plain(), [&](auto weighted, auto plain) __attribute__((always_inline)) {
        with_constants(plan.region, plan.entropy, [&](auto region, auto entropy) __attribute__((always_inline)) {
            sigmoid_sums<weighted(), plain(), region(), entropy(), grouped>(block, n, options, groups, sums);
        });
    });
}

// Adds the sums of a block to those of its groups, (groups, GROUP_SUMS).
INLINE void add_group_sums(const Batch &batch, const Cell &cell, int64_t first, int n, const SigmoidBlock &block,
                           const EntropyOptions &options, BlockGroups &groups, Doubles *sums) {
    read_groups(batch, cell.sample, cell.channel, first, n, groups);
    if (groups.is_one)
        add_block_sums<false>(batch.plan, block, n, options, groups, sums + groups.main_group() * GROUP_SUMS);
    else
        add_block_sums<true>(batch.plan, block, n, options, groups, sums);
}

// Writes the sums of a task's groups, (sums, groups). The cross-entropy is that of all pixels.
INLINE void write_group_sums(const Batch &batch, const Doubles *sums, double *out) {
    const int64_t groups = batch.group_count;
    for (int64_t i = 0; i < batch.plan.sum_count() * groups; i++) out[i] = 0;
    for (int64_t group = 0; group < groups; group++)
        for (int64_t k = 0; k < GROUP_SUMS; k++)
            out[k * groups + (k == ENTROPY ? 0 : group)] += sum_of_lanes(sums[group * GROUP_SUMS + k]);
    for (int64_t group = 0; group < groups; group++) out[WEIGHT * groups] += out[PIXEL_WEIGHT * groups + group];
}

// ---- the extra sums: other functions of the probabilities ----

// Writes a block's probabilities and, for focal losses, -log p and -log q.
INLINE void write_probabilities(const SigmoidBlock &block, int n, bool focal, SigmoidScratch &s) {
    for (int i = 0; i < n; i += LANES) {
        const auto [p, q] = sigmoid(load(block.x + i));
        store(s.p + i, p);
        store(s.q + i, q);
    }
    if (focal)
        for (int i = 0; i < n; i += LANES) {
            const Floats x = load(block.x + i);
            const Floats log = minus_log_1_minus(minimum(load(s.p + i), load(s.q + i)));
            store(s.nll_p + i, log + maximum(Floats{}, -x));
            store(s.nll_q + i, log + maximum(Floats{}, x));
        }
}

// Computes g - p. If g > 0.5 it is q - (1 - g), which keeps its digits for p near 1.
INLINE Floats target_minus_p(Floats p, Floats q, Floats g) { return g > 0.5f ? q - (1.f - g) : g - p; }

INLINE Floats weight_of(const SigmoidBlock &block, int i) { return block.w ? load(block.w + i) : broadcast(1.f); }

// Computes a focal loss of pixels, after `write_probabilities`.
INLINE Floats focal_of(const Plan &plan, int64_t index, const SigmoidBlock &block, const SigmoidScratch &s, int i) {
    const float *gamma = &plan.gammas[2 * index], *alpha = &plan.alphas[2 * index];
    const Floats g = load(block.g + i), nll_p = load(s.nll_p + i), nll_q = load(s.nll_q + i);
    const Floats foreground = focal(gamma[1], alpha[1], load(s.q + i), nll_q, nll_p);
    const Floats background = focal(gamma[0], alpha[0], load(s.p + i), nll_p, nll_q);
    return times(g, foreground) + times(1.f - g, background);
}

INLINE const float *read_map(const Batch &batch, int64_t index, const Cell &cell, int64_t first, int n,
                             const SigmoidBlock &block, SigmoidScratch &s) {
    read(batch.maps[index], cell.sample, cell.channel, first, n, s.map);
    if (block.w) clear_unweighted(s.map, s.w, n);
    return s.map;
}

INLINE void add_extra_sums(const Batch &batch, const Cell &cell, int64_t first, int n, const SigmoidBlock &block,
                           SigmoidScratch &s, Doubles *sums) {
    const Plan &plan = batch.plan;
    if (plan.squared_error)
        add_up(n, sums[SQUARED_ERROR], [&](int i) {
            const Floats g = load(block.g + i), error = load(s.p + i) * (1.f - g) - load(s.q + i) * g;
            return weight_of(block, i) * error * error;
        });
    if (plan.semimetric) {
        const auto difference = [&](int i) { return target_minus_p(load(s.p + i), load(s.q + i), load(block.g + i)); };
        add_up(n, sums[SEMIMETRIC_TRUE_POSITIVE], [&](int i) {
            return weight_of(block, i) * (difference(i) > 0.f ? load(s.p + i) : load(block.g + i));
        });
        add_up(n, sums[SEMIMETRIC_FALSE_POSITIVE],
               [&](int i) { return weight_of(block, i) * maximum(Floats{}, -difference(i)); });
        add_up(n, sums[SEMIMETRIC_FALSE_NEGATIVE],
               [&](int i) { return weight_of(block, i) * maximum(Floats{}, difference(i)); });
    }
    if (plan.true_negative)
        add_up(n, sums[TRUE_NEGATIVE], [&](int i) { return weight_of(block, i) * load(s.q + i) * (1.f - load(block.g + i)); });
    if (plan.semimetric_true_negative)
        add_up(n, sums[SEMIMETRIC_TRUE_NEGATIVE],
               [&](int i) { return weight_of(block, i) * minimum(load(s.q + i), 1.f - load(block.g + i)); });
    for (int64_t f = 0; f < plan.focal_count; f++) {
        if (!plan.wants(plan.focal_sum(f))) continue;
        add_up(n, sums[plan.focal_sum(f)], [&](int i) { return weight_of(block, i) * focal_of(plan, f, block, s, i); });
    }
    for (int64_t m = 0; m < plan.map_count; m++) {
        if (!plan.wants_any(plan.map_sum(m), 3)) continue;
        const float *map = read_map(batch, m, cell, first, n, block, s);
        Doubles *map_sums = sums + plan.map_sum(m);
        add_up(n, map_sums[0], [&](int i) { return weight_of(block, i) * load(s.p + i) * load(map + i); });
        add_up(n, map_sums[1], [&](int i) { return weight_of(block, i) * load(s.q + i) * load(map + i); });
        add_up(n, map_sums[2], [&](int i) { return weight_of(block, i) * load(map + i); });
    }
}

void sigmoid_forward(Batch &batch, int64_t task, char *memory) {
    auto &scratch = *reinterpret_cast<SigmoidScratch *>(memory);
    auto *sums = reinterpret_cast<Doubles *>(&scratch + 1);
    const Plan &plan = batch.plan;
    const Cell cell = cell_of(batch, task);
    const EntropyOptions options = entropy_options(batch, cell);
    const bool extra = plan.extra() || plan.true_negative, grouped = batch.groups.given;
    const int64_t sum_count = grouped ? batch.group_count * GROUP_SUMS : plan.sum_count();
    for (int64_t k = 0; k < sum_count; k++) sums[k] = Doubles{};
    for (int64_t done = 0; done < cell.count; done += BLOCK) {
        const int64_t first = cell.first + done;
        const int n = static_cast<int>(cell.count - done < BLOCK ? cell.count - done : BLOCK);
        const SigmoidBlock block = read_block(batch, cell, first, n, scratch);
        if (!block.valid) batch.wrong_label = true;
        if (grouped) {
            add_group_sums(batch, cell, first, n, block, options, scratch.groups, sums);
            continue;
        }
        add_block_sums<false>(plan, block, n, options, scratch.groups, sums);
        if (!extra) continue;
        write_probabilities(block, n, plan.focal, scratch);
        add_extra_sums(batch, cell, first, n, block, scratch, sums);
    }
    double *out = batch.partial + task * batch.partial_size();
    if (grouped) return write_group_sums(batch, sums, out);
    for (int64_t k = 0; k < plan.sum_count(); k++) out[k] = sum_of_lanes(sums[k]);
    out[WEIGHT] = out[PIXEL_WEIGHT];
}

// ---- the losses of single pixels ----

template <bool plain>
INLINE void write_entropy(const SigmoidBlock &block, int n, const EntropyOptions &options, float slope, float *out) {
    for (int i = 0; i < n; i += LANES) {
        const Floats x = load(block.x + i);
        store(out + i, slope * entropy_of<plain>(x, load(block.g + i), sigmoid(x), options));
    }
}

// Writes the cross-entropies and focal losses of a channel's pixels, times the slopes of their sums and
// the pixels' weights.
void sigmoid_pixel_losses(Batch &batch, int64_t task, char *memory) {
    auto &scratch = *reinterpret_cast<SigmoidScratch *>(memory);
    const Plan &plan = batch.plan;
    const Cell cell = cell_of(batch, task);
    const EntropyOptions options = entropy_options(batch, cell);
    const float class_weight = batch.class_weights.empty() ? 1.f : batch.class_weights[cell.channel];
    const float by_entropy = static_cast<float>(batch.slope(ENTROPY, cell.sample, cell.channel)) * class_weight;
    float *losses = scratch.slope;
    for (int64_t done = 0; done < cell.count; done += BLOCK) {
        const int64_t first = cell.first + done;
        const int n = static_cast<int>(cell.count - done < BLOCK ? cell.count - done : BLOCK);
        const SigmoidBlock block = read_block(batch, cell, first, n, scratch);
        if (!block.valid) batch.wrong_label = true;
        if (!plan.entropy)
            for (int i = 0; i < n; i += LANES) store(losses + i, Floats{});
        else if (options.is_plain())
            write_entropy<true>(block, n, options, by_entropy, losses);
        else
            write_entropy<false>(block, n, options, by_entropy, losses);
        if (plan.focal) write_probabilities(block, n, true, scratch);
        for (int64_t f = 0; f < plan.focal_count; f++) {
            if (!plan.wants(plan.focal_sum(f))) continue;
            const float upstream = static_cast<float>(batch.slope(plan.focal_sum(f), cell.sample, cell.channel));
            for (int i = 0; i < n; i += LANES)
                store(losses + i, load(losses + i) + upstream * focal_of(plan, f, block, scratch, i));
        }
        if (block.w)
            for (int i = 0; i < n; i += LANES) store(losses + i, load(losses + i) * load(block.w + i));
        write(losses, batch.losses, cell.sample, cell.channel, first, n);
    }
}

// ---- the gradient ----

// The slopes of a channel's pixels in w p, for a target of 1 and for a target of 0, and the slope in w
// times the cross-entropy.
struct SigmoidSlopes {
    float foreground, background, entropy;
};

INLINE SigmoidSlopes slopes_of(const Batch &batch, const Cell &cell, int64_t group) {
    const float class_weight = batch.class_weights.empty() ? 1.f : batch.class_weights[cell.channel];
    return {static_cast<float>(batch.foreground_slope(cell.sample, cell.channel, group)),
            static_cast<float>(batch.background_slope(cell.sample, cell.channel, group)),
            static_cast<float>(batch.slope(ENTROPY, cell.sample, cell.channel)) * class_weight};
}

template <bool plain, bool region, bool entropy, bool grouped>
INLINE void sigmoid_slopes(const SigmoidBlock &block, int n, const EntropyOptions &options, const SigmoidSlopes *of_groups,
                           const BlockGroups &groups, float *out) {
    const SigmoidSlopes slopes = of_groups[groups.main_group()];
    for (int i = 0; i < n; i += LANES) {
        Floats slope{};
        if (region || entropy) {
            const Floats g = load(block.g + i);
            const auto [p, q] = sigmoid(load(block.x + i));
            Floats foreground = broadcast(slopes.foreground), background = broadcast(slopes.background);
            if (region && grouped)
                each_other_group(groups, i, [&](int32_t group, Ints has_id) {
                    foreground = has_id ? broadcast(of_groups[group].foreground) : foreground;
                    background = has_id ? broadcast(of_groups[group].background) : background;
                });
            if (region) slope = p * q * (foreground * g + background * (1.f - g));
            if (entropy) {
                const Floats h = plain ? g : g * (1.f - options.smoothing) + options.smoothing / 2;
                slope += slopes.entropy * (p * (1.f - h) - (plain ? q * h : options.pos_weight * q * h));
            }
        }
        store(out + i, slope);
    }
    if (block.w && (region || entropy))
        for (int i = 0; i < n; i += LANES) store(out + i, load(out + i) * load(block.w + i));
}

template <bool grouped>
INLINE void write_block_slopes(const Plan &plan, const SigmoidBlock &block, int n, const EntropyOptions &options,
                               const SigmoidSlopes *of_groups, const BlockGroups &groups, float *out) {
    const bool by_p = plan.region || plan.true_negative;
    with_constants(by_p, plan.entropy, [&](auto region, auto entropy) __attribute__((always_inline)) {
        if (options.is_plain())
            sigmoid_slopes<true, region(), entropy(), grouped>(block, n, options, of_groups, groups, out);
        else
            sigmoid_slopes<false, region(), entropy(), grouped>(block, n, options, of_groups, groups, out);
    });
}

// Adds the slopes of the extra sums to a block's slopes.
INLINE void add_extra_slopes(const Batch &batch, const Cell &cell, int64_t first, int n, const SigmoidBlock &block,
                             SigmoidScratch &s, float *out) {
    const Plan &plan = batch.plan;
    const auto slope_of_sum = [&](int64_t sum) { return batch.slope(sum, cell.sample, cell.channel); };
    const auto add_slope = [&](auto &&slope_by_x) {
        for (int i = 0; i < n; i += LANES) store(out + i, load(out + i) + weight_of(block, i) * slope_by_x(i));
    };
    const auto add_slope_by_p = [&](auto &&slope_by_p) {
        add_slope([&](int i) { return load(s.p + i) * load(s.q + i) * slope_by_p(i); });
    };
    if (plan.squared_error) {
        const float twice = 2 * static_cast<float>(slope_of_sum(SQUARED_ERROR));
        add_slope_by_p([&](int i) {
            const Floats g = load(block.g + i);
            return twice * (load(s.p + i) * (1.f - g) - load(s.q + i) * g);
        });
    }
    if (plan.semimetric) {
        const double true_positive = slope_of_sum(SEMIMETRIC_TRUE_POSITIVE);
        const Floats below = broadcast(static_cast<float>(true_positive - slope_of_sum(SEMIMETRIC_FALSE_NEGATIVE)));
        const Floats above = broadcast(static_cast<float>(slope_of_sum(SEMIMETRIC_FALSE_POSITIVE)));
        add_slope_by_p([&](int i) {
            return target_minus_p(load(s.p + i), load(s.q + i), load(block.g + i)) > 0.f ? below : above;
        });
    }
    if (plan.semimetric_true_negative) {
        const Floats above = broadcast(-static_cast<float>(slope_of_sum(SEMIMETRIC_TRUE_NEGATIVE)));
        add_slope_by_p([&](int i) {
            return target_minus_p(load(s.p + i), load(s.q + i), load(block.g + i)) > 0.f ? Floats{} : above;
        });
    }
    for (int64_t f = 0; f < plan.focal_count; f++) {
        if (!plan.wants(plan.focal_sum(f))) continue;
        const float *gamma = &plan.gammas[2 * f], *alpha = &plan.alphas[2 * f];
        const float upstream = static_cast<float>(slope_of_sum(plan.focal_sum(f)));
        add_slope([&](int i) {
            const Floats g = load(block.g + i), nll_p = load(s.nll_p + i), nll_q = load(s.nll_q + i);
            const Floats p = load(s.p + i), q = load(s.q + i);
            const Floats foreground = focal_slope(gamma[1], alpha[1], p, q, nll_q, nll_p);
            const Floats background = focal_slope(gamma[0], alpha[0], q, p, nll_p, nll_q);
            return upstream * (times(1.f - g, background) - times(g, foreground));
        });
    }
    for (int64_t m = 0; m < plan.map_count; m++) {
        if (!plan.wants_any(plan.map_sum(m), 2)) continue;
        const float *map = read_map(batch, m, cell, first, n, block, s);
        const float upstream = static_cast<float>(slope_of_sum(plan.map_sum(m)) - slope_of_sum(plan.map_sum(m) + 1));
        add_slope_by_p([&](int i) { return upstream * load(map + i); });
    }
}

void sigmoid_backward(Batch &batch, int64_t task, char *memory) {
    auto &scratch = *reinterpret_cast<SigmoidScratch *>(memory);
    const Plan &plan = batch.plan;
    const Cell cell = cell_of(batch, task);
    const EntropyOptions options = entropy_options(batch, cell);
    const bool extra = plan.extra(), grouped = batch.groups.given;
    auto *of_groups = reinterpret_cast<SigmoidSlopes *>(&scratch + 1);
    for (int64_t group = 0; group < batch.group_count; group++) of_groups[group] = slopes_of(batch, cell, group);
    BlockGroups &groups = scratch.groups;
    groups.count = 1;
    groups.is_one = true;
    groups.main = 0;
    for (int64_t done = 0; done < cell.count; done += BLOCK) {
        const int64_t first = cell.first + done;
        const int n = static_cast<int>(cell.count - done < BLOCK ? cell.count - done : BLOCK);
        const SigmoidBlock block = read_block(batch, cell, first, n, scratch);
        const bool direct = is_direct(batch.gradient) && n % LANES == 0;
        float *out = direct ? start<float>(batch.gradient, cell.sample, cell.channel, first) : scratch.slope;
        if (grouped) read_groups(batch, cell.sample, cell.channel, first, n, groups);
        if (groups.is_one)
            write_block_slopes<false>(plan, block, n, options, of_groups, groups, out);
        else
            write_block_slopes<true>(plan, block, n, options, of_groups, groups, out);
        if (extra) {
            write_probabilities(block, n, plan.focal, scratch);
            add_extra_slopes(batch, cell, first, n, block, scratch, out);
        }
        if (!direct) write(out, batch.gradient, cell.sample, cell.channel, first, n);
    }
}
