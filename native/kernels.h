// The pass over a batch's pixels, forward and backward, for one instruction set.
//
// This file is included once for each set, with `ISA`, a namespace, `BYTES`, its vectors' size, and
// `FUSED`, whether it multiplies and adds in one step.
// The formulas are those of sigmoid.py and softmax.py: no sum and no slope is a difference of
// nearly equal numbers. Pixels go by in blocks; lanes add up at most a block in float32, and
// float64 takes over. The parts of a batch are fixed, so that the number of threads changes no bit.

namespace ISA {

constexpr int LANES = BYTES / 4;

typedef float Floats __attribute__((vector_size(BYTES)));
typedef float Anywhere __attribute__((vector_size(BYTES), aligned(4), may_alias));
typedef float HalfFloats __attribute__((vector_size(BYTES / 2)));
typedef double Doubles __attribute__((vector_size(BYTES)));
typedef int32_t Ints __attribute__((vector_size(BYTES)));
typedef int32_t IntsAnywhere __attribute__((vector_size(BYTES), aligned(4), may_alias));

INLINE Floats load(const float *from) { return *reinterpret_cast<const Anywhere *>(from); }
INLINE Ints load(const int32_t *from) { return *reinterpret_cast<const IntsAnywhere *>(from); }
INLINE void store(float *to, Floats values) { *reinterpret_cast<Anywhere *>(to) = values; }
INLINE Floats all(float value) { return Floats{} + value; }

// The greater and the lesser of two; y where one of them is not a number.
#if BYTES == 64
INLINE Floats greater(Floats x, Floats y) { return (Floats)_mm512_max_ps((__m512)x, (__m512)y); }
INLINE Floats lesser(Floats x, Floats y) { return (Floats)_mm512_min_ps((__m512)x, (__m512)y); }
#elif BYTES == 32
INLINE Floats greater(Floats x, Floats y) { return (Floats)_mm256_max_ps((__m256)x, (__m256)y); }
INLINE Floats lesser(Floats x, Floats y) { return (Floats)_mm256_min_ps((__m256)x, (__m256)y); }
#else
INLINE Floats greater(Floats x, Floats y) { return x > y ? x : y; }
INLINE Floats lesser(Floats x, Floats y) { return x < y ? x : y; }
#endif

INLINE void add(Doubles &sum, Floats values) {
    HalfFloats halves[2];
    memcpy(halves, &values, BYTES);
    sum += __builtin_convertvector(halves[0], Doubles) + __builtin_convertvector(halves[1], Doubles);
}

INLINE double across(Doubles values) {
    double sum = 0;
    for (int i = 0; i < LANES / 2; i++) sum += values[i];
    return sum;
}

// Between these, exp(x) and its reciprocal are normal numbers.
constexpr float LEAST = -87.f, MOST = 87.f;

// exp(x) for x between them, to an ulp: 2^k exp(r), with |r| <= log(2) / 2 and its minimax
// polynomial. A fused product is exact before it is subtracted; otherwise log(2) comes in parts.
INLINE Floats exp_of(Floats x) {
    const float to_integer = 12582912.f;  // added, it leaves the integer in the lowest bits
    const Floats shifted = x * 1.44269504f + to_integer;
    const Floats k = shifted - to_integer;
    const Floats r = FUSED ? x - k * 0.693147181f : (x - k * 0.693359375f) + k * 2.12194440e-4f;
    const Floats r2 = r * r;
    Floats even = 1.394121834e-03f * r2 + 4.166637408e-02f, odd = 8.363235072e-03f * r2 + 1.666657665e-01f;
    even = even * r2 + 5.000000027e-01f;
    const Floats p = (odd * r + even) * r2 + (1.f + r);
    return p * (Floats)(((Ints)shifted << 23) + 0x3f800000);
}

INLINE Floats exp_of_negative(Floats x) { return x < LEAST ? Floats{} : exp_of(greater(all(LEAST), x)); }

// -log(1 - u) for u in [0, 1/2], to 3e-8 of itself.
INLINE Floats minus_log_of_rest(Floats u) {
    const Floats u2 = u * u;
    Floats even = 1.441107949e+00f * u2 + 1.257669862e+00f, odd = -1.695812048e+00f * u2 - 2.035389878e-01f;
    even = even * u2 + 2.696127640e-01f;
    odd = odd * u2 + 2.428050768e-01f;
    even = even * u2 + 3.337006149e-01f;
    odd = odd * u2 + 4.999928525e-01f;
    even = even * u2 + 1.000000023e+00f;
    const Floats p = odd * u + even;
    return p * u;
}

// log(x) for normal x > 0: k log(2) + log(1 + r), with 1 + r in [sqrt(1/2), sqrt(2)).
INLINE Floats log_of(Floats x) {
    const Ints k = ((Ints)x - 0x3f3504f3) >> 23;
    const Floats r = (Floats)((Ints)x - (k << 23)) - 1.f;
    Floats p = -8.064662859e-02f * r + 1.291787187e-01f;
    p = p * r - 1.307255208e-01f;
    p = p * r + 1.417345438e-01f;
    p = p * r - 1.662892031e-01f;
    p = p * r + 2.000269555e-01f;
    p = p * r - 2.500075121e-01f;
    p = p * r + 3.333331294e-01f;
    p = p * r - 4.999999773e-01f;
    const Floats result = __builtin_convertvector(k, Floats) * 0.693147181f + (p * r * r + r);
    return x == x ? result : x;
}

// ---- reading and writing, from and to any type and stride ----

INLINE float as_float(float value) { return value; }
INLINE float as_float(Brain value) {
    const uint32_t bits = static_cast<uint32_t>(value.bits) << 16;
    float result;
    memcpy(&result, &bits, 4);
    return result;
}
template <class T> INLINE float as_float(T value) { return static_cast<float>(value); }

template <class T> INLINE int64_t label_of(T value) {
    if constexpr (std::is_integral<T>::value)
        return value;
    else
        return static_cast<int64_t>(as_float(value));
}

INLINE void assign(float &to, float value) { to = value; }
INLINE void assign(Brain &to, float value) {
    uint32_t bits;
    memcpy(&bits, &value, 4);
    const uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    to.bits = value == value ? static_cast<uint16_t>(rounded) : 0x7fc0;
}
#ifdef HAS_HALF
INLINE void assign(Half &to, float value) { to = static_cast<Half>(value); }
#endif

template <class T> INLINE const T *start(const Tensor &tensor, int64_t sample, int64_t channel, int64_t first) {
    return reinterpret_cast<const T *>(tensor.data) + sample * tensor.sample + channel * tensor.channel +
           first * tensor.pixel;
}

template <class T> INLINE void copy(const T *from, int64_t stride, int n, float *to) {
    if (stride == 1)
        for (int i = 0; i < n; i++) to[i] = as_float(from[i]);
    else
        for (int i = 0; i < n; i++) to[i] = as_float(from[i * stride]);
}

INLINE void read(const Tensor &tensor, int64_t sample, int64_t channel, int64_t first, int n, float *to) {
#define READ(name, T) \
    case Type::name: copy(start<T>(tensor, sample, channel, first), tensor.pixel, n, to); break;
    switch (tensor.type) { EACH_TYPE(READ) }
#undef READ
}

template <class T> INLINE void put(const float *from, int n, T *to, int64_t stride) {
    if (stride == 1)
        for (int i = 0; i < n; i++) assign(to[i], from[i]);
    else
        for (int i = 0; i < n; i++) assign(to[i * stride], from[i]);
}

INLINE void write(const float *from, const Tensor &tensor, int64_t sample, int64_t channel, int64_t first, int n) {
#define WRITE(name, T) \
    case Type::name: put(from, n, const_cast<T *>(start<T>(tensor, sample, channel, first)), tensor.pixel); break;
    switch (tensor.type) { EACH_REAL(WRITE) default: break; }
#undef WRITE
}

// Whether vectors of float32 can be read and written where they are.
INLINE bool is_direct(const Tensor &tensor) { return tensor.type == Type::float32 && tensor.pixel == 1; }

INLINE int padded(int n) { return (n + LANES - 1) / LANES * LANES; }

// Weights of a block, 0 where pixels are padding; 1 where there are none.
INLINE void read_weights(const Batch &batch, int64_t sample, int64_t channel, int64_t first, int n, float *weights) {
    if (batch.weight.data)
        read(batch.weight, sample, channel, first, n, weights);
    else
        for (int i = 0; i < n; i++) weights[i] = 1.f;
    for (int i = n; i < padded(n); i++) weights[i] = 0.f;
}

// What has weight 0 may be anything, NaN too: it is left out, not multiplied.
INLINE void keep(float *values, const float *weights, int n) {
    for (int i = 0; i < padded(n); i++) values[i] = weights[i] > 0.f ? values[i] : 0.f;
}

// ---- independent channels ----

struct Cell {
    int64_t sample, channel, first, count;
};

INLINE Cell cell_of(const Batch &batch, int64_t task) {
    const int64_t cell = task / batch.parts, first = task % batch.parts * batch.part_pixels;
    const int64_t rest = batch.pixels - first;
    return {cell / batch.channels, cell % batch.channels, first, rest < batch.part_pixels ? rest : batch.part_pixels};
}

struct SigmoidBlock {
    const float *x, *g, *w;  // w is null where all weights are 1
};

struct SigmoidScratch {
    float x[BLOCK], g[BLOCK], w[BLOCK], slope[BLOCK];
    float p[BLOCK], q[BLOCK], log_p[BLOCK], log_q[BLOCK], map[BLOCK];  // for further sums
    // Behind it: these sums.
};

INLINE SigmoidBlock read_block(const Batch &batch, const Cell &cell, int64_t first, int n, SigmoidScratch &scratch) {
    const int64_t sample = cell.sample, channel = cell.channel;
    const bool weighted = batch.weight.data || batch.ignores || n % LANES;
    SigmoidBlock block{scratch.x, scratch.g, weighted ? scratch.w : nullptr};
    if (!weighted && is_direct(batch.prediction))
        block.x = start<float>(batch.prediction, sample, channel, first);
    else
        read(batch.prediction, sample, channel, first, n, scratch.x);
    if (!weighted && is_direct(batch.target))
        block.g = start<float>(batch.target, sample, channel, first);
    else
        read(batch.target, sample, channel, first, n, scratch.g);
    if (weighted) {
        read_weights(batch, sample, channel, first, n, scratch.w);
        if (batch.ignores)
            for (int i = 0; i < n; i++)
                if (scratch.g[i] == static_cast<float>(batch.ignored)) scratch.w[i] = 0.f;
        keep(scratch.x, scratch.w, n);
        keep(scratch.g, scratch.w, n);
    }
    return block;
}

struct Sigmoid {
    Floats p, q;  // the sigmoids of x and -x
};

INLINE Sigmoid sigmoid(Floats x) {
    const Floats odds = exp_of(lesser(all(MOST), greater(all(LEAST), -x)));
    const Floats p = 1.f / (1.f + odds);
    return {p, odds * p};
}

// A block's probabilities and their logarithms, negated, for further sums.
INLINE void read_probabilities(const SigmoidBlock &block, int n, SigmoidScratch &s) {
    for (int i = 0; i < n; i += LANES) {
        const Floats x = load(block.x + i), above = greater(Floats{}, x);
        const auto [p, q] = sigmoid(x);
        const Floats log = minus_log_of_rest(lesser(p, q));
        store(s.p + i, p);
        store(s.q + i, q);
        store(s.log_p + i, log + (above - x));
        store(s.log_q + i, log + above);
    }
}

// The sum of a block's probabilities, or 0 where none of them is more than the least that there is,
// e^-87, which stands for 0.
INLINE Floats unless_least(Floats sum) { return sum < 2e-38f * BLOCK / LANES ? Floats{} : sum; }

// What a channel's cross-entropy is made of; plain where it is nothing.
struct Entropy {
    float smoothing, pos_weight;
    bool is_plain() const { return smoothing == 0.f && pos_weight == 1.f; }
};

INLINE Entropy entropy_of(const Batch &batch, const Cell &cell) {
    return {batch.smoothing, batch.pos_weight ? batch.pos_weight[cell.channel] : 1.f};
}

template <bool weighted, bool plain>
INLINE void sigmoid_sums(const SigmoidBlock &block, int n, const Entropy &of, Doubles *sums) {
    Floats hit{}, extra{}, missed{}, actual{}, weight{}, entropy{};
    for (int i = 0; i < n; i += LANES) {
        const Floats x = load(block.x + i), g = load(block.g + i);
        const auto [p, q] = sigmoid(x);
        const Floats log = minus_log_of_rest(lesser(p, q)), above = greater(Floats{}, x);
        Floats positive = g, negative = 1.f - g, loss = log + (above - x * g);
        if (!plain) {
            const Floats h = g * (1.f - of.smoothing) + of.smoothing / 2;
            loss = of.pos_weight * h * (log + (above - x)) + (1.f - h) * (log + above);
        }
        if (weighted) {
            const Floats w = load(block.w + i);
            positive *= w;
            negative *= w;
            loss *= w;
            weight += w;
        }
        hit += positive * p;
        missed += positive * q;
        extra += negative * p;
        actual += positive;
        entropy += loss;
    }
    add(sums[TRUE_POSITIVE], unless_least(hit));
    add(sums[FALSE_POSITIVE], unless_least(extra));
    add(sums[FALSE_NEGATIVE], unless_least(missed));
    add(sums[ACTUAL], actual);
    add(sums[ENTROPY], entropy);
    if (weighted)
        add(sums[PIXEL_WEIGHT], weight);
    else
        sums[PIXEL_WEIGHT][0] += n;
}

struct SoftmaxScratch {
    float most[BLOCK];   // the greatest logit
    float own[BLOCK];    // the label's own logit less that, then what is made of it
    float rest[BLOCK];   // the sum of the other classes' exponentials, then the scale of all
    float mean[BLOCK];   // a sum over classes, weighted by them
    float w[BLOCK];
    float x[3][BLOCK];   // of the label's class: what loops over pixels hand to loops over lanes
    int32_t label[BLOCK];
    // For further sums: of the label's class, and what makes probabilities of exponentials.
    float p[BLOCK], q[BLOCK], surprise[BLOCK], inverse[BLOCK], gamma[BLOCK], alpha[BLOCK], focal[BLOCK], map[BLOCK];
    // Behind it: (channels, BLOCK) of logits, then exponentials; (channels,) of sums; three times
    // (channels,) of factors; and, for the slopes of further sums, (channels, BLOCK).
};

INLINE float *classes_of(SoftmaxScratch &scratch) {
    return reinterpret_cast<float *>(&scratch + 1);
}

#include "further.h"

void sigmoid_forward(Batch &batch, int64_t task, char *memory) {
    auto &scratch = *reinterpret_cast<SigmoidScratch *>(memory);
    auto *sums = reinterpret_cast<Doubles *>(&scratch + 1);
    const Cell cell = cell_of(batch, task);
    const Entropy of = entropy_of(batch, cell);
    for (int64_t k = 0; k < batch.sums(); k++) sums[k] = Doubles{};
    for (int64_t done = 0; done < cell.count; done += BLOCK) {
        const int64_t first = cell.first + done;
        const int n = static_cast<int>(cell.count - done < BLOCK ? cell.count - done : BLOCK);
        const SigmoidBlock block = read_block(batch, cell, first, n, scratch);
        if (block.w && of.is_plain())
            sigmoid_sums<true, true>(block, n, of, sums);
        else if (block.w)
            sigmoid_sums<true, false>(block, n, of, sums);
        else if (of.is_plain())
            sigmoid_sums<false, true>(block, n, of, sums);
        else
            sigmoid_sums<false, false>(block, n, of, sums);
        if (batch.further.count() == 0) continue;
        read_probabilities(block, n, scratch);
        further_sums(batch, cell, first, n, block, scratch, sums + SUMS);
    }
    double *out = batch.partial + task * batch.sums();
    for (int64_t k = 0; k < batch.sums(); k++) out[k] = across(sums[k]);
    out[WEIGHT] = out[PIXEL_WEIGHT];
}

// The slopes of a channel's pixels: by p, where the target is 0 and what a target of 1 adds, and
// by cross-entropy.
struct SigmoidSlopes {
    float of_extra, rise, rate;
};

INLINE SigmoidSlopes slopes_of(const Batch &batch, const Cell &cell) {
    const int64_t cells = batch.samples * batch.channels;
    const double *slopes = batch.slopes + cell.sample * batch.channels + cell.channel;
    const double of_extra = slopes[OF_EXTRA * cells], of_own = slopes[OF_HIT * cells] - slopes[OF_MISSED * cells];
    const float class_weight = batch.class_weights ? batch.class_weights[cell.channel] : 1.f;
    return {static_cast<float>(of_extra), static_cast<float>(of_own - of_extra),
            static_cast<float>(slopes[OF_ENTROPY * cells]) * class_weight};
}

template <bool plain>
INLINE void sigmoid_slopes(const SigmoidBlock &block, int n, const Entropy &of, const SigmoidSlopes &by, float *out) {
    for (int i = 0; i < n; i += LANES) {
        const Floats g = load(block.g + i);
        const auto [p, q] = sigmoid(load(block.x + i));
        const Floats h = plain ? g : g * (1.f - of.smoothing) + of.smoothing / 2;
        const Floats of_entropy = p * (1.f - h) - (plain ? q * h : of.pos_weight * q * h);
        store(out + i, by.rate * of_entropy + p * q * (by.of_extra + by.rise * g));
    }
    if (block.w)
        for (int i = 0; i < n; i += LANES) store(out + i, load(out + i) * load(block.w + i));
}

void sigmoid_backward(Batch &batch, int64_t task, char *memory) {
    auto &scratch = *reinterpret_cast<SigmoidScratch *>(memory);
    const Cell cell = cell_of(batch, task);
    const Entropy of = entropy_of(batch, cell);
    const SigmoidSlopes by = slopes_of(batch, cell);
    for (int64_t done = 0; done < cell.count; done += BLOCK) {
        const int64_t first = cell.first + done;
        const int n = static_cast<int>(cell.count - done < BLOCK ? cell.count - done : BLOCK);
        const SigmoidBlock block = read_block(batch, cell, first, n, scratch);
        const bool direct = is_direct(batch.gradient) && n % LANES == 0;
        float *out = direct ? const_cast<float *>(start<float>(batch.gradient, cell.sample, cell.channel, first))
                            : scratch.slope;
        if (of.is_plain())
            sigmoid_slopes<true>(block, n, of, by, out);
        else
            sigmoid_slopes<false>(block, n, of, by, out);
        if (batch.further.count() > 0) {
            read_probabilities(block, n, scratch);
            add_further_slopes(batch, cell, first, n, block, scratch, out);
        }
        if (!direct) write(out, batch.gradient, cell.sample, cell.channel, first, n);
    }
}

// ---- classes that exclude each other ----

template <class T> INLINE void copy_labels(const T *from, int64_t stride, int n, const Batch &batch, SoftmaxScratch &s) {
    for (int i = 0; i < n; i++) {
        const int64_t label = label_of(from[i * stride]);
        if (batch.ignores && label == batch.ignored) s.w[i] = 0.f;
        s.label[i] = label >= 0 && label < batch.channels ? static_cast<int32_t>(label) : -1;
    }
}

// A block's labels and weights; false where a label that counts is out of range.
INLINE bool read_labels(const Batch &batch, int64_t sample, int64_t first, int n, SoftmaxScratch &s) {
    read_weights(batch, sample, 0, first, n, s.w);
#define LABELS(name, T) \
    case Type::name: copy_labels(start<T>(batch.target, sample, 0, first), batch.target.pixel, n, batch, s); break;
    switch (batch.target.type) { EACH_TYPE(LABELS) }
#undef LABELS
    bool right = true;
    for (int i = 0; i < n; i++) right &= s.label[i] >= 0 || !(s.w[i] > 0.f);
    for (int i = 0; i < padded(n); i++)
        if (i >= n || s.label[i] < 0) s.label[i] = 0;
    return right;
}

struct Rows {
    const float *first;
    int64_t stride;
    const float *operator[](int64_t channel) const { return first + channel * stride; }
};

// A block's logits: where they are, or copied, with 0 where a pixel does not count.
INLINE Rows read_rows(const Batch &batch, int64_t sample, int64_t first, int n, SoftmaxScratch &s) {
    const bool weighted = batch.weight.data || batch.ignores || n % LANES;
    if (!weighted && is_direct(batch.prediction))
        return {start<float>(batch.prediction, sample, 0, first), batch.prediction.channel};
    float *rows = classes_of(s);
    for (int64_t c = 0; c < batch.channels; c++) {
        read(batch.prediction, sample, c, first, n, rows + c * BLOCK);
        if (weighted) keep(rows + c * BLOCK, s.w, n);
    }
    return {rows, BLOCK};
}

// The exponentials of a block, 0 at the label's class, and `s.most`, `s.own`, `s.rest`. `s.mean`
// has the sums of `factors` times exponentials, or, for cross-entropy smoothed, times logits.
enum class Mean { none, of_exponentials, of_logits };

template <Mean mean>
INLINE void exponentials(const Rows &rows, int64_t channels, int n, const float *factors, SoftmaxScratch &s) {
    float *out = classes_of(s);
    for (int i = 0; i < n; i += LANES) {
        store(s.most + i, load(rows[0] + i));
        store(s.rest + i, Floats{});
        store(s.mean + i, Floats{});
    }
    for (int64_t c = 1; c < channels; c++)
        for (int i = 0; i < n; i += LANES) {
            const Floats most = load(s.most + i), x = load(rows[c] + i);
            store(s.most + i, most < x ? x : most);
        }
    for (int i = 0; i < padded(n); i++) s.own[i] = rows[s.label[i]][i] - s.most[i];
    for (int64_t c = 0; c < channels; c++) {
        const float factor = mean == Mean::none ? 0.f : factors[c];
        for (int i = 0; i < n; i += LANES) {
            const Floats x = load(rows[c] + i) - load(s.most + i);
            const Floats e = load(s.label + i) == static_cast<int32_t>(c) ? Floats{} : exp_of_negative(x);
            store(s.rest + i, load(s.rest + i) + e);
            if (mean != Mean::none)
                store(s.mean + i, load(s.mean + i) + factor * (mean == Mean::of_logits ? x : e));
            store(out + c * BLOCK + i, e);
        }
    }
}

// -log p, of q = 1 - p and of what is right where p is small.
INLINE Floats surprise_of(Floats q, Floats of_small) { return q < 0.5f ? minus_log_of_rest(q) : of_small; }

// Of each pixel's own class, what further sums see.
INLINE void read_own(int n, SoftmaxScratch &s) {
    for (int i = 0; i < n; i += LANES) {
        const Floats logit = load(s.own + i), own = exp_of_negative(logit), rest = load(s.rest + i);
        const Floats whole = own + rest, q = rest / whole;
        store(s.inverse + i, 1.f / whole);
        store(s.p + i, own / whole);
        store(s.q + i, q);
        store(s.surprise + i, surprise_of(q, log_of(whole) - logit));
    }
}

INLINE Doubles *sums_of(SoftmaxScratch &scratch, int64_t channels) {
    return reinterpret_cast<Doubles *>(classes_of(scratch) + channels * BLOCK);
}

INLINE void smoothing_factors(const Batch &batch, float *factors) {
    const float share = batch.smoothing / static_cast<float>(batch.channels);
    for (int64_t c = 0; c < batch.channels; c++) factors[c] = share * (batch.class_weights ? batch.class_weights[c] : 1.f);
}

INLINE float *factors_of(SoftmaxScratch &scratch, int64_t channels) {
    return reinterpret_cast<float *>(sums_of(scratch, channels) + channels);
}

void softmax_forward(Batch &batch, int64_t task, char *memory) {
    auto &s = *reinterpret_cast<SoftmaxScratch *>(memory);
    const int64_t channels = batch.channels, sample = task / batch.parts;
    const int64_t begin = task % batch.parts * batch.part_pixels;
    const int64_t end = begin + batch.part_pixels < batch.pixels ? begin + batch.part_pixels : batch.pixels;
    double *out = batch.partial + task * batch.sums() * channels;
    double *hit = out + TRUE_POSITIVE * channels, *missed = out + FALSE_NEGATIVE * channels;
    double *actual = out + ACTUAL * channels;
    memset(out, 0, batch.sums() * channels * sizeof(double));
    Doubles *extra = sums_of(s, channels), entropy{}, weight{};
    for (int64_t c = 0; c < channels; c++) extra[c] = Doubles{};
    float *factors = factors_of(s, channels), total_factor = 0.f;
    smoothing_factors(batch, factors);
    for (int64_t c = 0; c < channels; c++) total_factor += factors[c];
    for (int64_t first = begin; first < end; first += BLOCK) {
        const int n = static_cast<int>(end - first < BLOCK ? end - first : BLOCK);
        if (!read_labels(batch, sample, first, n, s)) batch.wrong_label = true;
        const Rows rows = read_rows(batch, sample, first, n, s);
        if (batch.smoothing > 0)
            exponentials<Mean::of_logits>(rows, channels, n, factors, s);
        else
            exponentials<Mean::none>(rows, channels, n, nullptr, s);
        if (batch.further.count() > 0) read_own(n, s);
        float *hits = s.x[0], *misses = s.x[1], *class_weights = s.x[2];
        for (int i = 0; i < padded(n); i++)
            class_weights[i] = batch.class_weights ? batch.class_weights[s.label[i]] : 1.f;
        for (int i = 0; i < n; i += LANES) {
            const Floats logit = load(s.own + i), own = exp_of_negative(logit), rest = load(s.rest + i);
            const Floats whole = own + rest, w = load(s.w + i), scale = w / whole;
            const Floats log = log_of(whole), of_class = load(class_weights + i);
            const Floats surprise = surprise_of(rest / whole, log - logit);
            const Floats smoothed = total_factor * log - load(s.mean + i);
            add(entropy, w * (of_class * (1.f - batch.smoothing) * surprise + smoothed));
            add(weight, w * of_class);
            store(hits + i, own * scale);
            store(misses + i, rest * scale);
            store(s.rest + i, scale);
        }
        if (batch.further.count() > 0) further_sums(batch, sample, first, n, s, out + SUMS * channels);
        for (int i = 0; i < padded(n); i++) {
            const int32_t label = s.label[i];
            hit[label] += hits[i];
            missed[label] += misses[i];
            actual[label] += s.w[i];
        }
        for (int64_t c = 0; c < channels; c++) {
            const float *e = classes_of(s) + c * BLOCK;
            Floats sum{};
            for (int i = 0; i < n; i += LANES) sum += load(e + i) * load(s.rest + i);
            add(extra[c], sum);
        }
    }
    double pixel_weight = 0;
    for (int64_t c = 0; c < channels; c++) {
        out[FALSE_POSITIVE * channels + c] = across(extra[c]);
        pixel_weight += actual[c];
    }
    for (int64_t c = 0; c < channels; c++) {
        out[PIXEL_WEIGHT * channels + c] = pixel_weight;
        out[ENTROPY * channels + c] = across(entropy);
        out[WEIGHT * channels + c] = across(weight);
    }
}

// dL/dx_j = w [p_j (f_j - S - r p_y + a V) - rate_j], with f_j of false positives, r of the label's
// probability, S the sum of f p over the other classes, a of cross-entropy, and V its weights' sum;
// at the label, w [p_y (r q_y - S) - a V q_y + a V - a v - rate_y].
void softmax_backward(Batch &batch, int64_t task, char *memory) {
    auto &s = *reinterpret_cast<SoftmaxScratch *>(memory);
    const int64_t channels = batch.channels, sample = task / batch.parts;
    const int64_t begin = task % batch.parts * batch.part_pixels;
    const int64_t end = begin + batch.part_pixels < batch.pixels ? begin + batch.part_pixels : batch.pixels;
    const int64_t cells = batch.samples * channels;
    const double *slopes = batch.slopes + sample * channels;
    const float of_entropy = static_cast<float>(slopes[OF_ENTROPY * cells]);
    float *of_extra = factors_of(s, channels), *of_own = of_extra + channels, *rates = of_own + channels;
    float *rises = rates + channels, total_rate = 0.f;
    const bool has_more = batch.further.count() > 0;
    smoothing_factors(batch, rates);
    for (int64_t c = 0; c < channels; c++) {
        of_extra[c] = static_cast<float>(slopes[OF_EXTRA * cells + c]);
        of_own[c] = static_cast<float>(slopes[OF_HIT * cells + c] - slopes[OF_MISSED * cells + c]);
        rates[c] *= of_entropy;
        total_rate += rates[c];
    }
    for (int64_t first = begin; first < end; first += BLOCK) {
        const int n = static_cast<int>(end - first < BLOCK ? end - first : BLOCK);
        read_labels(batch, sample, first, n, s);
        const Rows rows = read_rows(batch, sample, first, n, s);
        exponentials<Mean::of_exponentials>(rows, channels, n, of_extra, s);
        if (has_more) {
            read_own(n, s);
            focal_slopes(batch, sample, n, s);
            further_rises(batch, sample, first, n, s, rises);
        }
        float *change = s.x[0], *of_class = s.x[1], *of_label = s.x[2], *shift = s.most;
        for (int i = 0; i < padded(n); i++) {
            const int32_t label = s.label[i];
            const float class_weight = batch.class_weights ? batch.class_weights[label] : 1.f;
            change[i] = of_own[label];
            of_class[i] = of_entropy * class_weight * (1.f - batch.smoothing) + total_rate;
            of_label[i] = total_rate - rates[label];
            if (has_more) change[i] += rises[label * BLOCK + i];
        }
        for (int i = 0; i < n; i += LANES) {
            const Floats own = exp_of_negative(load(s.own + i)), rest = load(s.rest + i);
            const Floats scale = 1.f / (own + rest), p = own * scale, q = rest * scale;
            const Floats spread = load(s.mean + i) * scale, r = load(change + i), v = load(of_class + i);
            const Floats w = load(s.w + i), focal = has_more ? load(s.focal + i) : Floats{};
            store(shift + i, v - spread - r * p + (q > 0.f ? focal / q : Floats{}));
            store(s.own + i, w * (p * (r * q - spread) + (load(of_label + i) - v * q) - focal));
            store(s.rest + i, w * scale);
        }
        const bool direct = is_direct(batch.gradient) && n % LANES == 0;
        for (int64_t c = 0; c < channels; c++) {
            float *e = classes_of(s) + c * BLOCK;
            float *out = direct ? const_cast<float *>(start<float>(batch.gradient, sample, c, first)) : e;
            for (int i = 0; i < n; i += LANES) {
                const Floats rise = has_more ? of_extra[c] + load(rises + c * BLOCK + i) : all(of_extra[c]);
                const Floats of_p = load(e + i) * load(s.rest + i) * (load(shift + i) + rise);
                const Floats slope = of_p - rates[c] * load(s.w + i);
                store(out + i, load(s.label + i) == static_cast<int32_t>(c) ? load(s.own + i) : slope);
            }
            if (!direct) write(out, batch.gradient, sample, c, first, n);
        }
    }
}

// What a thread needs beside the batch.
int64_t scratch_bytes(const Batch &batch, bool softmax) {
    if (!softmax) return sizeof(SigmoidScratch) + batch.sums() * sizeof(Doubles);
    const int64_t rows = batch.further.count() > 0 ? 2 : 1;
    const int64_t of_class = rows * BLOCK * sizeof(float) + sizeof(Doubles) + 3 * sizeof(float);
    return sizeof(SoftmaxScratch) + batch.channels * of_class;
}

}  // namespace ISA
