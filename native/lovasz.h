// The errors of the Lovasz loss, and the gradient with respect to the logits, for one instruction set.
//
// lovasz_pass.h sorts the errors, and replaces them by the slopes of the loss with respect to them.

// Writes the errors of a block: their sizes, and the sign bit where g > 0.
INLINE void store_errors(const Floats &error, const Ints &is_foreground, const Floats &w, float *to) {
    const Bits size = (Bits)(error == error ? error : (Floats)(Bits{} + NOT_A_NUMBER)) & SIZE;
    const Bits bits = size | ((Bits)is_foreground & FOREGROUND);
    const Bits counts = (Bits)(w > 0.f);
    store(to, (Floats)((bits & counts) | (~counts & NOT_COUNTED)));
}

struct LovaszScratch {
    float values[BLOCK], slopes[BLOCK];
};

// ---- independent channels ----

// Returns the error |g - p|, without the difference of 1 and p.
INLINE Floats probability_error(const Sigmoid &of_x, Floats g) {
    const Floats below = of_x.q - (1.f - g), above = of_x.p - g;  // g - p, from the smaller of p and q
    const Floats soft = of_x.p > 0.5f ? below : -above;
    return g == 1.f ? of_x.q : g == 0.f ? of_x.p : soft < 0.f ? -soft : soft;
}

struct LovaszSigmoidScratch {
    SigmoidScratch block;
    LovaszScratch own;
};

INLINE void lovasz_sigmoid_errors(LovaszBatch &batch, int64_t task, char *memory) {
    auto &scratch = *reinterpret_cast<LovaszSigmoidScratch *>(memory);
    const Cell cell = cell_of(batch, task);
    Ints soft{};
    for (int64_t done = 0; done < cell.count; done += BLOCK) {
        const int64_t first = cell.first + done;
        const int n = static_cast<int>(cell.count - done < BLOCK ? cell.count - done : BLOCK);
        const SigmoidBlock block = read_block(batch, cell, first, n, scratch.block);
        for (int i = 0; i < n; i += LANES) {
            const Floats x = load(block.x + i), g = load(block.g + i), w = block.w ? load(block.w + i) : broadcast(1.f);
            Floats error;
            if (batch.hinge) {
                error = 1.f - times(2.f * g - 1.f, x);
                error = error < 0.f ? Floats{} : error;
            } else {
                error = probability_error(sigmoid(x), g);
            }
            soft |= (Ints)(w > 0.f) & (Ints)(g != 0.f) & (Ints)(g != 1.f);
            store_errors(error, (Ints)(g > 0.f), w, scratch.own.values + i);
        }
        memcpy(batch.errors_of(cell.sample, cell.channel) + first, scratch.own.values, n * sizeof(float));
    }
    for (int i = 0; i < LANES; i++)
        if (soft[i]) batch.soft = true;
}

INLINE void lovasz_sigmoid_gradient(LovaszBatch &batch, int64_t task, char *memory) {
    auto &scratch = *reinterpret_cast<LovaszSigmoidScratch *>(memory);
    const Cell cell = cell_of(batch, task);
    const float upstream = static_cast<float>(batch.upstream[batch.set_of(cell.sample, cell.channel)]);
    float *slopes = scratch.own.slopes, *out = scratch.own.values;
    for (int64_t done = 0; done < cell.count; done += BLOCK) {
        const int64_t first = cell.first + done;
        const int n = static_cast<int>(cell.count - done < BLOCK ? cell.count - done : BLOCK);
        const SigmoidBlock block = read_block(batch, cell, first, n, scratch.block);
        memcpy(slopes, batch.errors_of(cell.sample, cell.channel) + first, n * sizeof(float));
        for (int i = n; i < padded(n); i++) slopes[i] = 0.f;
        for (int i = 0; i < n; i += LANES) {
            const Floats x = load(block.x + i), g = load(block.g + i);
            Floats by_x = 1.f - 2.f * g;
            if (!batch.hinge) {
                const Sigmoid of_x = sigmoid(x);
                by_x = of_x.p * of_x.q * (of_x.p > g ? broadcast(1.f) : broadcast(-1.f));
            }
            store(out + i, times(upstream * load(slopes + i), by_x));
        }
        write(out, batch.gradient, cell.sample, cell.channel, first, n);
    }
}

// ---- classes that exclude each other ----

struct LovaszSoftmaxScratch {
    LovaszScratch own;
    SoftmaxScratch block;  // the last, since the classes follow it
};

INLINE void lovasz_softmax_errors(LovaszBatch &batch, int64_t task, char *memory) {
    auto &scratch = *reinterpret_cast<LovaszSoftmaxScratch *>(memory);
    SoftmaxScratch &s = scratch.block;
    const int64_t sample = task / batch.parts;
    const auto [begin, end] = pixels_of(batch, task);
    for (int64_t first = begin; first < end; first += BLOCK) {
        const int n = static_cast<int>(end - first < BLOCK ? end - first : BLOCK);
        if (!read_labels(batch, sample, first, n, s)) batch.wrong_label = true;
        const Rows rows = read_rows(batch, sample, first, n, s);
        exponentials<ClassSum::none, true>(rows, batch.channels, n, nullptr, s);
        for (int i = 0; i < n; i += LANES) {
            const Floats others = load(s.others_total + i), total = exp_of_negative(load(s.label_logit + i)) + others;
            store(s.q + i, others / total);
            store(s.inverse_total + i, 1.f / total);
        }
        for (int64_t c = 0; c < batch.channels; c++) {
            const float *e = classes_of(s) + c * BLOCK;
            for (int i = 0; i < n; i += LANES) {
                const Ints is_label = (Ints)(load(s.label + i) == static_cast<int32_t>(c));
                const Floats error = where_label(s, c, i, load(s.q + i), load(e + i) * load(s.inverse_total + i));
                store_errors(error, is_label, load(s.w + i), scratch.own.values + i);
            }
            memcpy(batch.errors_of(sample, c) + first, scratch.own.values, n * sizeof(float));
        }
    }
}

// Writes the gradient. With the slopes s_c of the errors, it is p_j (s_j + s_y p_y - r) for j != y, and
// -p_y (s_y q_y + r) for the label y, where r is the sum of p_c s_c over c != y.
INLINE void lovasz_softmax_gradient(LovaszBatch &batch, int64_t task, char *memory) {
    auto &scratch = *reinterpret_cast<LovaszSoftmaxScratch *>(memory);
    SoftmaxScratch &s = scratch.block;
    const int64_t sample = task / batch.parts;
    const auto [begin, end] = pixels_of(batch, task);
    float *slopes = scratch.own.slopes, *out = scratch.own.values;
    float *label_slope = s.x[0], *others_slope = s.x[1];
    const auto read_slopes = [&](int64_t c, int64_t first, int n) __attribute__((always_inline)) {
        memcpy(slopes, batch.errors_of(sample, c) + first, n * sizeof(float));
        for (int i = n; i < padded(n); i++) slopes[i] = 0.f;
        const float upstream = static_cast<float>(batch.upstream[batch.set_of(sample, c)]);
        for (int i = 0; i < n; i += LANES) store(slopes + i, upstream * load(slopes + i));
    };
    for (int64_t first = begin; first < end; first += BLOCK) {
        const int n = static_cast<int>(end - first < BLOCK ? end - first : BLOCK);
        if (!read_labels(batch, sample, first, n, s)) batch.wrong_label = true;
        const Rows rows = read_rows(batch, sample, first, n, s);
        exponentials<ClassSum::none, true>(rows, batch.channels, n, nullptr, s);
        for (int i = 0; i < n; i += LANES) {
            const Floats others = load(s.others_total + i), exp_label = exp_of_negative(load(s.label_logit + i));
            const Floats inverse = 1.f / (exp_label + others);
            store(s.inverse_total + i, inverse);
            store(s.p + i, exp_label * inverse);
            store(s.q + i, others * inverse);
            store(label_slope + i, Floats{});
            store(others_slope + i, Floats{});
        }
        for (int64_t c = 0; c < batch.channels; c++) {
            const float *e = classes_of(s) + c * BLOCK;  // 0 at the label
            read_slopes(c, first, n);
            for (int i = 0; i < n; i += LANES) {
                const Floats slope = load(slopes + i), p = load(e + i) * load(s.inverse_total + i);
                store(label_slope + i, load(label_slope + i) + where_label(s, c, i, slope, Floats{}));
                store(others_slope + i, load(others_slope + i) + p * slope);
            }
        }
        for (int64_t c = 0; c < batch.channels; c++) {
            const float *e = classes_of(s) + c * BLOCK;
            read_slopes(c, first, n);
            for (int i = 0; i < n; i += LANES) {
                const Floats of_label = load(label_slope + i), of_others = load(others_slope + i), p_label = load(s.p + i);
                const Floats at_label = -p_label * (of_label * load(s.q + i) + of_others);
                const Floats p = load(e + i) * load(s.inverse_total + i);
                store(out + i, where_label(s, c, i, at_label, p * (load(slopes + i) + of_label * p_label - of_others)));
            }
            write(out, batch.gradient, sample, c, first, n);
        }
    }
}

// ---- both ----

void lovasz_errors(Batch &batch, int64_t task, char *memory) {
    auto &lovasz = static_cast<LovaszBatch &>(batch);
    batch.exclusive ? lovasz_softmax_errors(lovasz, task, memory) : lovasz_sigmoid_errors(lovasz, task, memory);
}

void lovasz_gradient(Batch &batch, int64_t task, char *memory) {
    auto &lovasz = static_cast<LovaszBatch &>(batch);
    batch.exclusive ? lovasz_softmax_gradient(lovasz, task, memory) : lovasz_sigmoid_gradient(lovasz, task, memory);
}

int64_t lovasz_scratch_bytes(const Batch &batch) {
    if (!batch.exclusive) return sizeof(LovaszSigmoidScratch);
    return sizeof(LovaszSoftmaxScratch) + batch.channels * BLOCK * static_cast<int64_t>(sizeof(float));
}
